from retfm_dist.data.open_sets import open_shard_sets
from retfm_dist.data.shard_set import fingerprint_of
from retfm_dist.shard.set_index import write_set_index


def test_directories_and_addresses_may_be_mixed(make_config, shard_dir, tmp_path):
    write_set_index(shard_dir)
    mix = f"data.shards=[{{path: {shard_dir}, weight: 1}}, {{path: file://{shard_dir}, weight: 2}}]"
    here, there = open_shard_sets(make_config(mix, f"data.cache_dir={tmp_path / 'cache'}"))
    assert (here.is_remote, there.is_remote) == (False, True)
    assert fingerprint_of([here]) == fingerprint_of([there])
    for shard_set in (here, there):
        assert shard_set.is_there()
        shard_set.close()
