import numpy as np
import pytest
import torch

from retfm_dist.rng.streams import Stream, mask_noise, sample_words, uniforms

UIDS = np.array([0, 1, 0x0123456789ABCDEF, 2**63, 2**64 - 1], dtype=np.uint64)


def test_stream_numbers_are_part_of_the_format():
    assert {stream.name: stream.value for stream in Stream} == {
        "ORDER": 0, "CROP": 1, "FLIP": 2, "MASK": 4, "INIT": 5, "SUBSTITUTE": 6
    }  # fmt: skip


def test_words_are_pinned():
    words = sample_words(2026, 3, UIDS[2:3], Stream.CROP, 6)
    assert words.dtype == np.uint32
    assert [f"{word:08x}" for word in words[0]] == [
        "b8f388dc", "311dd001", "08347ed3", "f13cc954", "a8d856a5", "77f9d627",
    ]  # fmt: skip


def test_the_first_words_do_not_depend_on_how_many_are_drawn():
    many = sample_words(1, 2, UIDS, Stream.CROP, 23)
    for num_words in (1, 4, 5, 8):
        few = sample_words(1, 2, UIDS, Stream.CROP, num_words)
        np.testing.assert_array_equal(few, many[:, :num_words])


def test_a_sample_does_not_depend_on_its_batch():
    together = sample_words(1, 2, UIDS, Stream.CROP, 9)
    for row, uid in enumerate(UIDS):
        alone = sample_words(1, 2, np.array([uid]), Stream.CROP, 9)
        np.testing.assert_array_equal(alone[0], together[row])


def test_seed_epoch_uid_and_stream_each_matter():
    drawn = [
        sample_words(seed, epoch, np.array([uid], dtype=np.uint64), stream, 4).tobytes()
        for seed in (0, 1, 2**32, 2**63 - 1)
        for epoch in (0, 1)
        for uid in (0, 1, 2**32)
        for stream in Stream
    ]
    assert len(set(drawn)) == len(drawn)


def test_uniforms_are_exact_and_stay_below_one():
    ends = uniforms(np.array([0, 255, 256, 2**32 - 1], dtype=np.uint32))
    assert ends.dtype == np.float64
    assert ends.tolist() == [0.0, 0.0, 2.0**-24, 1 - 2.0**-24]


def test_uniforms_are_uniform():
    uids = np.arange(10_000, dtype=np.uint64)
    drawn = uniforms(sample_words(0, 0, uids, Stream.CROP, 4)).ravel()
    assert drawn.mean() == pytest.approx(0.5, abs=5 / np.sqrt(12 * drawn.size))
    assert drawn.var() == pytest.approx(1 / 12, rel=0.02)


@pytest.mark.parametrize("num_patches", [1, 4, 5, 196])
def test_mask_noise_has_the_bits_of_the_numpy_stream(num_patches):
    noise = mask_noise(2026, 3, torch.from_numpy(UIDS.view(np.int64)), num_patches)
    expected = uniforms(sample_words(2026, 3, UIDS, Stream.MASK, num_patches))
    assert noise.dtype == torch.float32
    assert noise.shape == (len(UIDS), num_patches)
    np.testing.assert_array_equal(noise.numpy(), expected)


def test_mask_noise_is_pinned():
    noise = mask_noise(2026, 3, torch.tensor([-1, 5]), 2)
    assert noise.tolist() == [
        [0.39764493703842163, 0.27526289224624634],
        [0.7627301812171936, 0.06274938583374023],
    ]


@pytest.mark.parametrize(
    "backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.exhaustive)]
)
def test_compiled_mask_noise_has_the_same_bits_in_every_epoch(backend, compile_with):
    compile_with(backend)
    uids = torch.from_numpy(UIDS.view(np.int64))
    with torch._dynamo.config.patch(error_on_recompile=True):
        for epoch in (0, 3, 2**32 - 1):
            found = mask_noise(2026, epoch, uids, 196, compiled=True)
            assert torch.equal(found, mask_noise(2026, epoch, uids, 196))


@pytest.mark.gpu
def test_mask_noise_is_the_same_on_a_gpu():
    uids = torch.from_numpy(UIDS.view(np.int64))
    assert torch.equal(mask_noise(1, 2, uids.cuda(), 196).cpu(), mask_noise(1, 2, uids, 196))


def test_values_beyond_the_counter_are_refused():
    with pytest.raises(AssertionError, match="seed -1 does not fit"):
        sample_words(-1, 0, UIDS, Stream.CROP, 1)
    with pytest.raises(AssertionError, match="epoch 4294967296 does not fit"):
        mask_noise(0, 2**32, torch.tensor([0]), 4)
    with pytest.raises(AssertionError, match="overrun the block counter"):
        sample_words(0, 0, UIDS[:0], Stream.CROP, 2**26 + 1)
