import math

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from retfm_dist.data.augment import Augmentation, draw_boxes, draw_flips
from retfm_dist.rng.streams import Stream, sample_words, uniforms

MAE = Augmentation(crop_scale=(0.2, 1.0), crop_ratio=(3 / 4, 4 / 3), flip_probability=0.5)


def uids(count: int) -> np.ndarray:
    generator = np.random.default_rng(5)
    return generator.integers(0, 2**64, count, dtype=np.uint64)


def boxes_of(augmentation, drawn_uids, *, height, width, seed=1, epoch=2):
    sizes = np.ones(len(drawn_uids), dtype=np.uint16)
    return draw_boxes(
        augmentation,
        seed=seed,
        epoch=epoch,
        uids=drawn_uids,
        heights=sizes * height,
        widths=sizes * width,
    )


def reference_box(augmentation, uid, *, height, width, seed=1, epoch=2):
    """RandomResizedCrop with the library's exp and log, one sample at a time."""
    words = sample_words(seed, epoch, np.array([uid], dtype=np.uint64), Stream.CROP, 40)
    drawn = uniforms(words).reshape(10, 4)
    low, high = augmentation.crop_ratio
    for area_draw, ratio_draw, top_draw, left_draw in drawn.tolist():
        scale_low, scale_high = augmentation.crop_scale
        area = height * width * (scale_low + area_draw * (scale_high - scale_low))
        ratio = math.exp(math.log(low) + ratio_draw * (math.log(high) - math.log(low)))
        box_width = round(math.sqrt(area * ratio))
        box_height = round(math.sqrt(area / ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = math.floor(top_draw * (height - box_height + 1))
            left = math.floor(left_draw * (width - box_width + 1))
            return [top, left, box_height, box_width]
    if width / height < low:
        box_height, box_width = round(width / low), width
    elif width / height > high:
        box_height, box_width = height, round(height * high)
    else:
        box_height, box_width = height, width
    return [(height - box_height) // 2, (width - box_width) // 2, box_height, box_width]


@pytest.mark.parametrize(
    ("height", "width"), [(512, 512), (224, 300), (600, 100), (30, 400), (3, 2), (1, 1)]
)
def test_boxes_follow_the_published_algorithm(height, width):
    drawn = uids(300)
    boxes = boxes_of(MAE, drawn, height=height, width=width)
    expected = [reference_box(MAE, uid, height=height, width=width) for uid in drawn]
    assert boxes.dtype == np.int64
    assert boxes.tolist() == expected


@pytest.mark.parametrize(("height", "width"), [(512, 512), (200, 640)])
def test_boxes_are_distributed_as_those_of_torchvision(height, width):
    count = 4000
    ours = boxes_of(MAE, uids(count), height=height, width=width)
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    theirs = np.array(
        [RandomResizedCrop.get_params(image, [0.2, 1.0], [3 / 4, 4 / 3]) for _ in range(count)]
    )
    for column in range(4):
        spread = theirs[:, column].std() + 1e-9
        shift = abs(ours[:, column].mean() - theirs[:, column].mean()) / spread
        # Five standard errors of a difference of two means.
        assert shift < 5 * math.sqrt(2 / count)
        assert ours[:, column].std() == pytest.approx(spread, rel=0.1, abs=1e-6)


def test_boxes_lie_inside_images_of_any_shape():
    generator = np.random.default_rng(0)
    heights = generator.integers(1, 3000, 3000).astype(np.uint16)
    widths = generator.integers(1, 3000, 3000).astype(np.uint16)
    for augmentation in (MAE, Augmentation((0.01, 0.02), (5.0, 6.0), 0.5)):
        top, left, height, width = draw_boxes(
            augmentation, seed=0, epoch=0, uids=uids(3000), heights=heights, widths=widths
        ).T
        assert (height >= 1).all()
        assert (width >= 1).all()
        assert (top >= 0).all()
        assert (left >= 0).all()
        assert (top + height <= heights).all()
        assert (left + width <= widths).all()


def test_a_scale_of_one_and_a_square_give_the_whole_image():
    whole = Augmentation(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), flip_probability=0.0)
    boxes = boxes_of(whole, uids(50), height=333, width=333)
    assert (boxes == [0, 0, 333, 333]).all()


def test_boxes_are_pinned():
    boxes = boxes_of(MAE, np.array([1, 2**63 + 5], dtype=np.uint64), height=512, width=480)
    assert boxes.tolist() == [[8, 0, 428, 479], [62, 141, 319, 281]]


def test_a_sample_is_cropped_and_flipped_alike_in_any_batch():
    drawn = uids(64)
    boxes = boxes_of(MAE, drawn, height=512, width=512)
    flips = draw_flips(MAE, seed=1, epoch=2, uids=drawn)
    for i in (0, 17, 63):
        assert (boxes_of(MAE, drawn[i : i + 1], height=512, width=512)[0] == boxes[i]).all()
        assert draw_flips(MAE, seed=1, epoch=2, uids=drawn[i : i + 1])[0] == flips[i]


def test_another_epoch_or_seed_crops_and_flips_otherwise():
    drawn = uids(200)
    boxes = [
        boxes_of(MAE, drawn, height=512, width=512, seed=s, epoch=e)
        for s, e in ((1, 2), (1, 3), (4, 2))
    ]
    flips = [draw_flips(MAE, seed=s, epoch=e, uids=drawn) for s, e in ((1, 2), (1, 3), (4, 2))]
    for other in (1, 2):
        assert (boxes[0] != boxes[other]).any(axis=1).mean() > 0.95
        assert 0.3 < (flips[0] != flips[other]).mean() < 0.7


@pytest.mark.parametrize("probability", [0.0, 0.25, 0.5, 1.0])
def test_flips_have_their_probability(probability):
    augmentation = Augmentation((0.2, 1.0), (1.0, 1.0), probability)
    flips = draw_flips(augmentation, seed=0, epoch=0, uids=uids(4000))
    assert flips.dtype == np.bool_
    margin = 5 * math.sqrt(probability * (1 - probability) / 4000)
    assert flips.mean() == pytest.approx(probability, abs=margin)
