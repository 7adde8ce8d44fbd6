import pytest

from tests.fakes.archive import build, write_archive


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """The table of twelve good images; read only."""
    return write_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="session")
def shard_set(archive, tmp_path_factory):
    """A set of several shards built from `archive`; read only."""
    out_dir = tmp_path_factory.mktemp("sets") / "set"
    build(archive, out_dir)
    return out_dir
