"""Files of a set from spooled images: bytes, order, table, and shards kept over an interruption."""

import hashlib
import tarfile
from contextlib import closing

import pyarrow.parquet
import pytest

from retfm_dist.cohort.records import ImageRecord
from retfm_dist.durable import sha256_file
from retfm_dist.image.field_of_view import FieldOfView
from retfm_dist.shard import write
from retfm_dist.shard.index import read_sample_index
from retfm_dist.shard.packing.pack import Packed, PackedFacts
from retfm_dist.shard.packing.spool import Spool
from retfm_dist.shard.sample import make_sample
from retfm_dist.shard.write import TABLE_NAME, JpegsGoneError, ShardWriter, list_files
from tests.fakes.archive import read_tree


def sample_of(record, entry):
    return make_sample(record, entry.outcome, subject_id="0123456789ab")


def packed(number):
    facts = PackedFacts(
        height=4, width=4, source_sha256=hashlib.sha256(b"%d" % number).hexdigest(), source_height=8, source_width=8,
        field_of_view=FieldOfView(1, 2, 3, "circle"), perceptual_hash="0", miniature="",
    )  # fmt: skip
    return Packed(facts, b"jpeg of %d" % number, (1, 2))


class Workspace:
    """A spool of twenty images and the directories of a set."""

    def __init__(self, root):
        self.root, self.directory = root, root / "set"
        self.directory.mkdir()
        (root / "notes").mkdir()

    def write(self, *, label="x"):
        with closing(Spool(self.root / "spool", seed=0, terms={})) as spool:
            waiting = []
            for number in range(20):
                entry = spool.find(str(number)) or spool.add(str(number), packed(number))
                record = ImageRecord(
                    row=number, image_path="", patient_id="", labels={"label_x": f"{label}{number}"}
                )
                waiting.append((record, entry))
            waiting.sort(key=lambda pair: pair[1].order)
            writer = ShardWriter(spool, self.directory, self.root / "notes", sample_of)
            return writer.write(waiting, shard_bytes=12_000, labels={"label_x": None})


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


def test_every_sample_is_in_one_tar_and_the_indexes_say_where(workspace):
    shards = workspace.write()
    assert len(shards) > 1
    assert sum(shard.num_samples for shard in shards) == 20
    seen = set()
    for shard in shards:
        assert shard.sha256 == sha256_file(workspace.directory / shard.name)
        data = (workspace.directory / shard.name).read_bytes()
        for record in read_sample_index(workspace.directory / shard.index_name):
            seen.add(data[record["offset"] : record["offset"] + record["size"]])
    assert seen == {b"jpeg of %d" % number for number in range(20)}


def test_the_table_lists_the_samples_in_the_order_of_the_tars(workspace):
    shards = workspace.write()
    table = pyarrow.parquet.read_table(workspace.directory / TABLE_NAME)
    assert sorted(table["label_x"].to_pylist()) == sorted(f"x{n}" for n in range(20))
    assert set(table["kind"].to_pylist()) == {"circle"}
    keys = []
    for shard in shards:
        with tarfile.open(workspace.directory / shard.name) as tar:
            keys += [name.removesuffix(".jpg") for name in tar.getnames() if name.endswith(".jpg")]
    assert table["key"].to_pylist() == keys


def test_all_files_but_the_tars_are_listed_with_their_hashes(workspace):
    shards = workspace.write()
    files = list_files(workspace.directory, shards=shards)
    names = {path.name for path in workspace.directory.iterdir()}
    assert {file.name for file in files} | {shard.name for shard in shards} == names
    assert all(file.sha256 == sha256_file(workspace.directory / file.name) for file in files)


class KilledError(Exception):
    """Stands for a kill."""


def kill_at(monkeypatch, number):
    original = write._write_shard

    def write_or_die(pairs, directory, index):
        if index == number:
            raise KilledError
        return original(pairs, directory, index)

    monkeypatch.setattr(write, "_write_shard", write_or_die)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_shards_that_stand_are_kept_and_the_rest_is_written_alike(tmp_path, monkeypatch, number):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = Workspace(tmp_path / "a")
    expected = whole.write()
    broken = Workspace(tmp_path / "b")
    with monkeypatch.context() as patch:
        kill_at(patch, number)
        with pytest.raises(KilledError):
            broken.write()
    with monkeypatch.context() as patch:
        for kept in range(number):
            kill_at(patch, kept)  # would fail if it were written again
        assert broken.write() == expected
    assert read_tree(broken.directory) == read_tree(whole.directory)


def test_a_changed_plan_cannot_use_images_that_are_gone(workspace, monkeypatch):
    with monkeypatch.context() as patch:
        kill_at(patch, 2)
        with pytest.raises(KilledError):
            workspace.write()
    with pytest.raises(JpegsGoneError):
        workspace.write(label="another label ")


def test_a_shard_of_another_size_than_its_note_says_is_written_again(workspace, monkeypatch):
    with monkeypatch.context() as patch:
        kill_at(patch, 1)
        with pytest.raises(KilledError):
            workspace.write()
    first = workspace.directory / "000000.tar"
    first.write_bytes(first.read_bytes()[:-1])
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "holds", lambda self, entry: True)
        kill_at(patch, 0)
        with pytest.raises(KilledError):
            workspace.write()
