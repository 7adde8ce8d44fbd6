import numpy as np
import pytest

from retfm_dist.synth.draw.field import build_field, mirror_field

LAYOUTS = ("full", "cut_top_bottom", "cut_four_sides", "notch")


@pytest.mark.parametrize("size_px", [64, 97, 128, 512])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_field_is_a_disk_of_its_radius(layout, size_px):
    field = build_field(layout, size_px=size_px, aspect_ratio=4 / 3)
    assert field.canvas_shape == (size_px, round(size_px * 4 / 3))
    assert field.left + field.shape[1] <= field.canvas_shape[1]
    distance = np.hypot(field.x, field.y)
    edge = 2 / field.radius_px
    assert (field.mask[distance < 1 - edge] == 1).all()
    beyond = field.mask[distance > 1.04 + edge]
    assert not beyond.any()


@pytest.mark.parametrize(
    ("layout", "aspect_ratio", "top", "side"),
    [
        ("full", 4 / 3, 0, 0),
        ("notch", 1.5, 0, 0),
        ("cut_top_bottom", 1.5, 1, 0),
        ("cut_four_sides", 1.0, 1, 1),
    ],
)
def test_each_layout_cuts_the_sides_it_should(layout, aspect_ratio, top, side):
    field = build_field(layout, size_px=256, aspect_ratio=aspect_ratio)
    canvas = np.zeros(field.canvas_shape)
    canvas[:, field.left : field.left + field.shape[1]] = field.mask
    height, width = canvas.shape
    assert canvas[0, width // 2] == canvas[-1, width // 2] == top
    assert canvas[height // 2, 0] == canvas[height // 2, -1] == side
    corners = canvas[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert not corners.any()


def test_only_the_notch_has_a_bump_and_it_is_at_the_upper_right():
    full, notch = (build_field(name, size_px=256, aspect_ratio=1.5) for name in ("full", "notch"))
    bump = notch.mask - full.mask
    rows, columns = np.nonzero(bump > 0.5)
    assert len(rows) > 20
    assert rows.max() < 128
    assert columns.min() > notch.shape[1] / 2


@pytest.mark.parametrize("mirrored", [False, True])
def test_positions_agree_with_the_grids(mirrored):
    field = build_field("cut_top_bottom", size_px=200, aspect_ratio=1.5)
    field = mirror_field(field) if mirrored else field
    row, column = 37, 120
    point = np.array([field.x[row, column], field.y[row, column]])
    np.testing.assert_allclose(field.to_px(point), [column, row], atol=1e-3)


@pytest.mark.parametrize(("size_px", "factor"), [(64, 1), (130, 2), (511, 4), (2048, 4)])
def test_the_coarse_field_enlarged_is_the_fine_one(size_px, factor):
    field = build_field("notch", size_px=size_px, aspect_ratio=1.5)
    assert field.coarse.factor == factor
    inner = (slice(2 * factor, -3 * factor),) * 2
    for coarse, fine in ((field.coarse.x, field.x), (field.coarse.y, field.y)):
        enlarged = field.coarse.enlarge(coarse)
        assert enlarged.shape == fine.shape
        np.testing.assert_allclose(enlarged[inner], fine[inner], atol=1e-5)
