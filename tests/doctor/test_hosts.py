import pytest

from retfm_dist.doctor.hosts import own_address, read_hostfile
from retfm_dist.errors import ConfigError


def test_a_hostfile_is_read_as_deepspeed_reads_it(tmp_path):
    path = tmp_path / "hostfile"
    path.write_text("# nodes\nnode0 slots=8\n\nnode1 slots=4  # half\n")
    assert read_hostfile(path) == [("node0", 8), ("node1", 4)]


@pytest.mark.parametrize(
    "line", ["node0", "node0 slots=", "node0 slots=0", "slots=8", "a b slots=2"]
)
def test_a_line_of_another_form_is_named(tmp_path, line):
    path = tmp_path / "hostfile"
    path.write_text(f"ok slots=1\n{line}\n")
    with pytest.raises(ConfigError, match="hostfile:2: not a line of a hostfile.*HOST slots=N"):
        read_hostfile(path)


def test_a_file_without_hosts_is_refused(tmp_path):
    (tmp_path / "hostfile").write_text("# none\n")
    with pytest.raises(ConfigError, match="no host"):
        read_hostfile(tmp_path / "hostfile")
    with pytest.raises(ConfigError, match="cannot read the hostfile"):
        read_hostfile(tmp_path / "missing")


def test_the_way_to_a_host_has_an_address():
    assert own_address("127.0.0.1") == "127.0.0.1"
    with pytest.raises(ConfigError, match="no-such-host.invalid: no address.*--address"):
        own_address("no-such-host.invalid")
