import pytest

from retfm_dist.synth.sites import DEVICES, LABELS, SITES


def test_two_sites_with_names_and_prefixes_of_their_own():
    assert len({site.name for site in SITES}) == len({site.prefix for site in SITES}) == 2


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_shares_are_shares_and_devices_exist(site):
    assert sum(site.ethnicities.values()) == pytest.approx(1)
    assert site.age_range[0] < site.age_mean < site.age_range[1]


def test_devices_are_told_apart():
    assert len(DEVICES) == 4
    assert len({device.layout for device in DEVICES.values()}) == 4
    assert LABELS
