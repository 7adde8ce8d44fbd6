import torch

import retfm_dist
from retfm_dist.versions import software_versions


def test_installed_software_is_listed_and_the_rest_left_out():
    versions = software_versions("torch", "numpy", "no-such-distribution")
    assert versions.keys() == {"torch", "numpy", "retfm_dist"}
    assert versions["retfm_dist"] == retfm_dist.__version__
    assert versions["torch"] == torch.__version__
