"""Files of a set from spooled images: bytes, order, table."""

import tarfile
from contextlib import closing

import pyarrow.parquet
import pytest

from retfm_dist.durable import sha256_file
from retfm_dist.shard.index import read_sample_index
from retfm_dist.shard.sample import Sample
from retfm_dist.shard.spool import Spool
from retfm_dist.shard.write import TABLE_NAME, list_files, write_shards


def sample(number):
    digest = f"{number:064x}"
    return Sample(
        uid=number, key=f"subject-{number:016x}", subject_id="subject", eye=None, age=None, sex=None,
        ethnicity=None, device=None, site=None, labels={"label_x": str(number)}, height=4, width=4,
        source_height=8, source_width=8, field_of_view={}, source_sha256=digest, perceptual_hash="0",
    )  # fmt: skip


@pytest.fixture
def written(tmp_path):
    directory = tmp_path / "set"
    directory.mkdir()
    with closing(Spool(tmp_path / "spool", seed=0)) as spool:
        for number in range(20):
            spool.add(sample(number), b"jpeg of %d" % number)
        shards = write_shards(spool, directory, shard_bytes=12_000, labels={"label_x": None})
    return directory, shards


def test_every_sample_is_in_one_tar_and_the_indexes_say_where(written):
    directory, shards = written
    assert len(shards) > 1
    assert sum(shard.num_samples for shard in shards) == 20
    seen = {}
    for shard in shards:
        assert shard.sha256 == sha256_file(directory / shard.name)
        data = (directory / shard.name).read_bytes()
        for record in read_sample_index(directory / shard.index_name):
            seen[int(record["uid"])] = data[record["offset"] : record["offset"] + record["size"]]
    assert seen == {number: b"jpeg of %d" % number for number in range(20)}


def test_the_table_lists_the_samples_in_the_order_of_the_tars(written):
    directory, shards = written
    table = pyarrow.parquet.read_table(directory / TABLE_NAME)
    assert sorted(table["uid"].to_pylist()) == list(range(20))
    assert table["label_x"].to_pylist() == [str(uid) for uid in table["uid"].to_pylist()]
    keys = []
    for shard in shards:
        with tarfile.open(directory / shard.name) as tar:
            keys += [name.removesuffix(".jpg") for name in tar.getnames() if name.endswith(".jpg")]
    assert table["key"].to_pylist() == keys


def test_all_files_but_the_tars_are_listed_with_their_hashes(written):
    directory, shards = written
    files = list_files(directory, shards=shards)
    names = {path.name for path in directory.iterdir()}
    assert {file.name for file in files} | {shard.name for shard in shards} == names
    assert all(file.sha256 == sha256_file(directory / file.name) for file in files)
