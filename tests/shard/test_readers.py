"""Other people's readers open our shards."""

import gc
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from retfm_dist.shard.manifest import read_manifest


# The library leaves its files to the garbage collector; it runs inside the filter, below.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_webdataset_reads_every_sample_in_order(shard_set):
    wds = pytest.importorskip("webdataset")
    urls = [str(shard_set / shard.name) for shard in read_manifest(shard_set).shards]
    samples = list(wds.WebDataset(urls, shardshuffle=False))
    gc.collect()
    keys = pq.read_table(shard_set / "samples.parquet")["key"].to_pylist()
    assert [sample["__key__"] for sample in samples] == keys
    for sample in samples:
        assert sample["jpg"][:2] == b"\xff\xd8"
        assert json.loads(sample["json"])["key"] == sample["__key__"]


@pytest.mark.parametrize("with_index", [True, False])
def test_dali_reads_every_sample_in_order(shard_set, with_index, capfd):
    dali = pytest.importorskip("nvidia.dali")
    shards = read_manifest(shard_set).shards

    @dali.pipeline_def(batch_size=12, num_threads=1, device_id=None)
    def pipeline():
        images, facts = dali.fn.readers.webdataset(
            paths=[str(shard_set / shard.name) for shard in shards],
            index_paths=[str(shard_set / shard.dali_index_name) for shard in shards]
            if with_index
            else [],
            ext=["jpg", "json"],
            missing_component_behavior="error",
        )
        return images, facts

    images, facts = pipeline().run()
    keys = pq.read_table(shard_set / "samples.parquet")["key"].to_pylist()
    read = [json.loads(np.asarray(facts.at(number)).tobytes())["key"] for number in range(12)]
    assert read == keys
    assert all(np.asarray(images.at(number))[:2].tolist() == [0xFF, 0xD8] for number in range(12))
