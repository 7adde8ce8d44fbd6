"""Seams: a planted shift is found wherever it begins, and no sound picture has one."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from retfm_dist.image.block_steps import BlockLayout
from retfm_dist.image.seam import has_seam
from tests.fakes.damage import shift
from tests.fakes.discs import draw_disc

LAYOUTS = [
    BlockLayout(8, 8, (0.5, 0.5, 0.5)),
    BlockLayout(16, 16, (0.5, 0.5, 0.5)),
    BlockLayout(8, 16, (0.5, 0.5, 0.5)),
]


def scene(**changes):
    return np.asarray(
        draw_disc(
            **(
                {"height": 480, "width": 640, "center_y": 240, "center_x": 320, "radius": 230}
                | changes
            )
        )
    )


def shaded():
    """A disc that grows darker from left to right: few photographs are even."""
    return (scene() * np.linspace(1.0, 0.7, 640)[None, :, None]).astype(np.uint8)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("place", [0.25, 0.4, 0.51, 0.7])
@pytest.mark.parametrize(
    "amount", [[12, 12, 12], [-12, -12, -12], [8, -4, 0], [0, -3, 15], [40, 40, 40]]
)
def test_a_planted_shift_is_found(layout, place, amount):
    pixels = shaded()
    blocks = (480 // layout.height) * (640 // layout.width)
    assert not has_seam(pixels, layout)
    assert has_seam(shift(pixels, layout, int(place * blocks), np.array(amount)), layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_shift_between_the_rows_of_blocks_is_no_seam(layout):
    pixels = scene().astype(int)
    pixels[240 + layout.height // 2 :] += 12
    assert not has_seam(np.clip(pixels, 0, 255).astype(np.uint8), layout)


@pytest.mark.parametrize("row", [239, 240, 243])
@pytest.mark.parametrize("width", [1, 3, 5])
def test_a_line_across_the_picture_is_no_seam(row, width):
    for color in ((90, 40, 20), (230, 230, 230)):
        image = Image.fromarray(scene())
        ImageDraw.Draw(image).line((0, row, 640, row), fill=color, width=width)
        assert not any(has_seam(np.asarray(image), layout) for layout in LAYOUTS)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("color", [0, 60, 255])
def test_a_bar_across_the_picture_is_no_seam(layout, color):
    for bar in (slice(0, 144), slice(336, None), slice(144, 288)):
        pixels = shaded()
        pixels[bar] = color
        assert not has_seam(pixels, layout)


@pytest.mark.parametrize("quality", [20, 40, 75, 95])
@pytest.mark.parametrize("side", [64, 200, 480])
def test_sound_pictures_of_any_size_and_quality_have_none(quality, side):
    for seed in range(4):
        image = Image.fromarray(scene(seed=seed, noise=6)).resize((side * 4 // 3, side))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        table = image_steps(buffer.getvalue())
        pixels = np.asarray(Image.open(buffer).convert("RGB"))
        assert not has_seam(pixels, BlockLayout(16, 16, table))


def image_steps(data):
    tables = Image.open(io.BytesIO(data)).quantization
    return tables[0][0] / 8, tables[1][0] / 8, tables[1][0] / 8


def test_a_picture_too_small_for_a_verdict_has_none():
    assert not has_seam(np.zeros((20, 20, 3), np.uint8), LAYOUTS[0])


@pytest.mark.parametrize("width", [640, 1000, 1700, 2500, 3300, 4100])
def test_pictures_of_any_width_are_measured(width):
    pixels = np.asarray(Image.fromarray(scene()).resize((width, 300)))
    for layout in LAYOUTS:
        blocks = (300 // layout.height) * (width // layout.width)
        assert not has_seam(pixels, layout)
        assert has_seam(shift(pixels, layout, blocks // 2, np.array([12, 12, 12])), layout)
