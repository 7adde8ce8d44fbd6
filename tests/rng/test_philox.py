import numpy as np
import pytest
import torch

from retfm_dist.rng import philox, philox_torch

# Known answers of the Random123 library (kat_vectors, philox4x32 10): counter, key, words.
KNOWN_ANSWERS = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def words(text: str) -> np.ndarray:
    return np.array([int(word, 16) for word in text.split()], dtype=np.uint32)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_numpy_gives_the_published_answers(counter, key, expected):
    drawn = philox.philox4x32(words(counter)[None], words(key))
    assert drawn.dtype == np.uint32
    np.testing.assert_array_equal(drawn, words(expected)[None])


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_torch_gives_the_published_answers(counter, key, expected):
    k0, k1 = (int(word) for word in words(key))
    counters = torch.from_numpy(words(counter)[None].astype(np.int64))
    drawn = philox_torch.philox4x32(counters, (k0, k1))
    np.testing.assert_array_equal(drawn.numpy(), words(expected)[None])


def test_numpy_and_torch_agree_on_every_bit():
    generator = np.random.default_rng(0)
    counters = generator.integers(0, 2**32, (5000, 4), dtype=np.uint32)
    counters[:2] = [[0] * 4, [2**32 - 1] * 4]
    for key in generator.integers(0, 2**32, (5, 2), dtype=np.uint32):
        from_numpy = philox.philox4x32(counters, key)
        from_torch = philox_torch.philox4x32(
            torch.from_numpy(counters.astype(np.int64)), (int(key[0]), int(key[1]))
        )
        np.testing.assert_array_equal(from_torch.numpy(), from_numpy)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_gpu_and_cpu_agree_on_every_bit():
    counters = torch.randint(0, 2**32, (5000, 4), generator=torch.Generator().manual_seed(0))
    on_cpu = philox_torch.philox4x32(counters, (1, 2**32 - 1))
    on_gpu = philox_torch.philox4x32(counters.cuda(), (1, 2**32 - 1))
    assert torch.equal(on_gpu.cpu(), on_cpu)


def test_rows_do_not_depend_on_their_neighbors():
    counters = np.arange(400, dtype=np.uint32).reshape(100, 4)
    key = np.array([3, 4], dtype=np.uint32)
    together = philox.philox4x32(counters, key)
    np.testing.assert_array_equal(philox.philox4x32(counters[37:38], key)[0], together[37])


def test_no_counters_give_no_words():
    empty = philox.philox4x32(np.empty((0, 4), dtype=np.uint32), np.zeros(2, dtype=np.uint32))
    assert empty.shape == (0, 4)
