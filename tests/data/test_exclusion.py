import numpy as np
import pytest

from retfm_dist.data.exclusion import read_uids
from retfm_dist.errors import DataError


def test_uids_are_read_once_each_and_in_order(tmp_path):
    path = tmp_path / "uids.txt"
    path.write_text(
        "# seen on 3 May\nffffffffffffffff\n\n00000000000000AB  # blurred\n00000000000000ab\n"
    )
    uids = read_uids(path)
    assert uids.dtype == np.uint64
    assert uids.tolist() == [0xAB, 2**64 - 1]


@pytest.mark.parametrize("line", ["12", "g" * 16, "0" * 17, "0000000000000001,1"])
def test_a_line_that_is_no_uid_is_named(tmp_path, line):
    path = tmp_path / "uids.txt"
    path.write_text(f"0000000000000001\n{line}\n")
    with pytest.raises(
        DataError, match=r"uids.txt, line 2: not the uid of an image; got .* 16 hex"
    ):
        read_uids(path)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "uids.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"uids.txt: cannot read the list of uids"):
        read_uids(path)
