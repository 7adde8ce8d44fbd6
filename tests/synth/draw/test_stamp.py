import numpy as np
import pytest

from retfm_dist.synth.draw.stamp import Marks, stamp


def marks(*rows: tuple[float, float, float, float]) -> Marks:
    """Marks from rows of x, y, radius, weight."""
    table = np.array(rows, np.float32).reshape(-1, 4)
    return Marks(centers=table[:, :2], radii=table[:, 2], weights=table[:, 3])


def test_a_sharp_mark_covers_the_area_of_its_disk_wherever_it_lies():
    for x, y in [(20.0, 20.0), (20.3, 19.6), (20.5, 20.5)]:
        field = stamp((40, 40), marks((x, y, 6.0, 1.0)), profile="sharp")
        assert field.sum() == pytest.approx(np.pi * 36, rel=0.03)
        rows, columns = np.mgrid[:40, :40]
        assert (field * columns).sum() / field.sum() == pytest.approx(x, abs=0.05)
        assert (field * rows).sum() / field.sum() == pytest.approx(y, abs=0.05)


def test_a_cylinder_is_the_chord_through_a_vessel():
    field = stamp((41, 41), marks((20, 20, 10.0, 2.0)), profile="cylinder")
    expected = 2 * np.sqrt(1 - np.array([0, 3, 6, 9]) ** 2 / 100)
    np.testing.assert_allclose(field[20, [20, 23, 26, 29]], expected, atol=0.03)


def test_a_soft_mark_fades_without_an_edge():
    field = stamp((41, 41), marks((20, 20, 8.0, 1.0)), profile="soft")
    line = field[20, 20:]
    assert line[0] == pytest.approx(0.99, abs=0.01)
    assert np.all(np.diff(line) <= 0)
    assert line[-1] == 0
    assert np.abs(np.diff(line)).max() < 0.2


def test_where_marks_overlap_the_larger_value_stays():
    one, other = (15.0, 15.0, 4.0, 1.0), (17.0, 15.0, 4.0, 0.5)
    alone = [stamp((30, 30), marks(row), profile="cylinder") for row in (one, other)]
    together = stamp((30, 30), marks(one, other), profile="cylinder")
    np.testing.assert_array_equal(together, np.maximum(*alone))


@pytest.mark.parametrize("profile", ["cylinder", "soft", "sharp"])
def test_marks_are_cut_at_the_border_and_never_wrap_around(profile):
    rows = [(x, y, 3.0, 1.0) for x in (-2.0, 9.0, 21.0) for y in (-2.0, 9.0, 15.5)]
    cut = stamp((14, 20), marks(*rows), profile=profile)
    moved = [(x + 30, y + 30, radius, weight) for x, y, radius, weight in rows]
    whole = stamp((80, 80), marks(*moved), profile=profile)
    np.testing.assert_array_equal(cut, whole[30:44, 30:50])


def test_marks_far_outside_and_no_marks_draw_nothing():
    assert not stamp((10, 12), marks((500, 5, 3, 1), (5, -90, 3, 1)), profile="soft").any()
    empty = stamp((10, 12), marks(), profile="soft")
    assert empty.shape == (10, 12)
    assert not empty.any()
