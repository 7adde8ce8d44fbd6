import numpy as np
import pytest
import torch
from PIL import Image

from retfm_dist.data.resize import BatchResizer, resize_bicubic


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    noise = generator.normal(0, 8, (height, width, 3))
    return np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "image_size"),
    [(380, 427, 224), (224, 224, 224), (100, 90, 224), (37, 301, 64), (1024, 700, 32), (1, 1, 16)],
)
def test_pixels_are_those_of_pil_to_one_gray_level(height, width, image_size):
    pixels = picture(height, width)
    resized = resize_bicubic(torch.from_numpy(pixels), image_size)
    assert resized.shape == (1, 3, image_size, image_size)
    ours = resized[0].permute(1, 2, 0).numpy()
    theirs = np.asarray(
        Image.fromarray(pixels).resize((image_size, image_size), Image.Resampling.BICUBIC)
    )
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    # Both round between the two passes; where they disagree, the kernel can stretch one to two.
    assert difference.max() <= 2
    assert (difference > 1).mean() < 1e-4
    assert difference.mean() < 0.05


def test_batches_do_not_depend_on_the_number_of_threads():
    crops = [picture(50 + 9 * seed, 90 - 7 * seed, seed) for seed in range(7)]
    flips = np.array([True, False, True, True, False, False, True])
    batches = []
    for num_threads in (1, 2, 5, 9):
        resizer = BatchResizer(32, num_threads=num_threads, pin_memory=False)
        batches.append(resizer.resize(crops, flips))
        resizer.close()
    assert batches[0].shape == (7, 3, 32, 32)
    assert batches[0].dtype == torch.uint8
    assert batches[0].is_contiguous(memory_format=torch.channels_last)
    for batch in batches[1:]:
        assert torch.equal(batch, batches[0])


@pytest.mark.parametrize("image_size", [32, 224])
def test_flipped_images_are_mirrored_left_to_right_and_others_are_not(image_size):
    crops = [picture(140, 160)] * 2
    resizer = BatchResizer(image_size, num_threads=1, pin_memory=False)
    batch = resizer.resize(crops, np.array([False, True]))
    resizer.close()
    plain = resize_bicubic(torch.from_numpy(crops[0]), image_size)[0]
    assert torch.equal(batch[0], plain)
    assert torch.equal(batch[1], plain.flip(2))
    assert not torch.equal(batch[0], batch[1])


def test_what_a_thread_raises_reaches_the_caller():
    resizer = BatchResizer(32, num_threads=2, pin_memory=False)
    with pytest.raises(RuntimeError):
        resizer.resize([np.zeros((0, 5, 3), dtype=np.uint8)], np.array([False]))
    resizer.close()


def test_a_pool_computes_alone_and_leaves_torch_elsewhere_as_it_was():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        resizer = BatchResizer(32, num_threads=2, pin_memory=False)
        assert torch.get_num_threads() == 3
        inside = [resizer._pool.submit(torch.get_num_threads).result() for _ in range(4)]
        assert inside == [1] * 4
        resizer.close()
    finally:
        torch.set_num_threads(before)
