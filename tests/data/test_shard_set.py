import json

import pytest

from retfm_dist.data.open_sets import open_shard_sets
from retfm_dist.data.shard_set import fingerprint_of, open_shard_set
from retfm_dist.errors import DataError
from retfm_dist.shard.set_index import write_set_index


def test_a_missing_tar_is_refused_at_the_start_or_allowed_for(shard_dir):
    write_set_index(shard_dir)
    (shard_dir / "000001.tar").unlink()
    with pytest.raises(
        DataError,
        match=r"shards: tars of the shard set are missing; got 1 of 3 tars with 15 samples absent, "
        r"the first is 000001.tar; .*max_bad_ratio",
    ):
        open_shard_set(shard_dir, max_missing_ratio=0.4)
    shard_set = open_shard_set(shard_dir, max_missing_ratio=0.41)
    assert shard_set.index.num_samples == 37
    shard_set.close()


def test_the_sets_of_a_config_are_opened_in_order(
    make_config, shard_dir, tmp_path, pack_shards, jpegs
):
    other = pack_shards(tmp_path / "other", [jpegs[:4]], composition={"num_images": 4})
    mix = f"data.shards=[{{path: {other}, weight: 1}}, {{path: {shard_dir}, weight: 2}}]"
    sets = open_shard_sets(make_config(mix))
    assert [shard_set.index.num_samples for shard_set in sets] == [4, 37]
    assert [shard_set.read_composition() for shard_set in sets] == [{"num_images": 4}, None]
    assert (
        fingerprint_of(sets[:1]) == json.loads((other / "manifest.json").read_text())["fingerprint"]
    )
    assert len({fingerprint_of(sets), fingerprint_of(sets[::-1]), fingerprint_of(sets[:1])}) == 3
