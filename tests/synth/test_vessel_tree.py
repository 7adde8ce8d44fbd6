import itertools

import numpy as np
import pytest

from retfm_dist.synth.streams import EyeDraws, PatientKey, Purpose
from retfm_dist.synth.vessel_tree import grow_vessels

FOVEA = np.array([-0.66, -0.06])


@pytest.fixture(scope="module", params=range(6))
def tree(request):
    draws = EyeDraws(PatientKey(4, 0, request.param), Purpose.VESSELS, eye="right", correlation=0.8)
    return grow_vessels(draws, fovea=FOVEA, origin_x=0.04)


def test_there_are_trunks_branches_and_twigs_of_both_kinds(tree):
    assert [generation.points.ndim for generation in tree] == [3, 3, 3]
    trunks, branches, twigs = (len(generation.is_artery) for generation in tree)
    assert trunks == 18
    assert trunks < branches < 200
    assert 50 < twigs < 400
    for generation in tree:
        assert 0.25 < generation.is_artery.mean() < 0.75


def test_all_vessels_come_from_the_disc(tree):
    assert np.hypot(*tree[0].points[:, 0].T).max() < 0.12


def test_vessels_taper_and_end_for_good(tree):
    for generation in tree:
        assert (np.diff(generation.radii, axis=1) <= 1e-12).all()
        assert generation.radii.min() >= 0


def test_branches_start_on_their_parents_and_are_thinner(tree):
    for parents, children in itertools.pairwise(tree):
        alive = parents.radii > 0
        known = parents.points[alive]
        for start, radius in zip(children.points[:, 0], children.radii[:, 0], strict=True):
            distance = np.hypot(*(known - start).T)
            assert distance.min() < 1e-12
            assert radius < parents.radii[alive][distance.argmin()]


def test_veins_are_wider_than_arteries(tree):
    trunks = tree[0]
    mains = trunks.radii[:, 0].reshape(2, 9)[:, :2].mean(axis=1)
    assert mains[0] < mains[1]
    assert trunks.is_artery.tolist() == [True] * 9 + [False] * 9


def test_no_vessel_enters_the_avascular_zone(tree):
    for generation in tree:
        drawn = generation.points[generation.radii > 0]
        assert np.hypot(*(drawn - FOVEA).T).min() >= 0.075


def test_the_arcades_arch_around_the_macula(tree):
    """On the fovea's column, the upper main trunks pass above it and the lower ones below."""
    trunks = tree[0]
    for index, sign in ((0, 1), (1, -1), (9, 1), (10, -1)):
        line = trunks.points[index]
        at_fovea = np.interp(FOVEA[0], line[::-1, 0], line[::-1, 1])
        assert sign * (at_fovea - FOVEA[1]) > 0.15


def test_the_raphe_parts_upper_from_lower_vessels(tree):
    for generation in tree:
        drawn = (generation.radii > 0) & (generation.points[:, :, 0] < -0.16)
        above = generation.points[:, :, 1] - FOVEA[1]
        assert (above[drawn & (generation.half == 1)[:, None]] >= 0).all()
        assert (above[drawn & (generation.half == -1)[:, None]] <= 0).all()
