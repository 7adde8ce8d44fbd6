"""Options: their ranges are refused where they are made; see also test_build."""

import pytest

from retfm_dist.errors import ShardError
from retfm_dist.shard.packing.options import BuildOptions
from tests.fakes.archive import SALT


def test_defaults_are_usable_and_hide_the_salt(tmp_path):
    options = BuildOptions(images_dir=tmp_path, salt=SALT)
    assert (options.duplicates, tuple(options.accept), options.modalities) == (
        "exact",
        (),
        ("cfp",),
    )
    assert "0123" not in repr(options)


def test_no_time_limit_is_allowed(tmp_path):
    assert (
        BuildOptions(images_dir=tmp_path, salt=SALT, image_timeout_s=None).image_timeout_s is None
    )


def test_an_image_directory_must_exist(tmp_path):
    with pytest.raises(ShardError, match="none: the image directory does not exist"):
        BuildOptions(images_dir=tmp_path / "none", salt=SALT)
