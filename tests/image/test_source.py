"""Only regular files below the root are opened, whatever a table names."""

import os
import socket
import unicodedata

import pytest

from retfm_dist.errors import ImageError
from retfm_dist.image.source import find_source, read_source


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "archive"
    (root / "left").mkdir(parents=True)
    (root / "left" / "a.jpg").write_bytes(b"eye")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    return root


@pytest.mark.parametrize("name", ["left/a.jpg", "./left//a.jpg", "left\\a.jpg"])
def test_a_file_below_the_root_is_found(root, name):
    assert find_source(root, name) == (root / "left" / "a.jpg").resolve()
    assert read_source(find_source(root, name))[0] == b"eye"


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("spelled", ["NFC", "NFD"])
def test_names_in_another_unicode_form_are_found(root, stored, spelled):
    name = "M\xfcller \u5de6\u773c.jpg"
    path = root / unicodedata.normalize(stored, name)
    path.write_bytes(b"eye")
    assert read_source(find_source(root, unicodedata.normalize(spelled, name)))[0] == b"eye"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.jpg", "no such file$"),
        ("gone/a.jpg", "no such file; its directory does not exist or is empty"),
        ("left/A.JPG", "no such file; there is one whose name differs in letter case"),
        ("left/a", "no such file; there is one with the suffix .jpg"),
        ("left/a.png", "no such file; there is one with the suffix .jpg instead"),
        ("left\\A.jpg", "no such file; there is one whose name differs in letter case"),
        ("../secret.jpg", "leaves the image directory by .."),
        ("left/../../secret.jpg", "leaves the image directory by .."),
        ("left\\..\\a.jpg", "leaves the image directory by .."),
        ("/etc/passwd", "the path is absolute"),
        ("C:\\eyes\\a.jpg", "the path is absolute"),
        ("\\\\server\\a.jpg", "the path is absolute"),
        ("left/a.jpg\0.png", "holds a NUL character"),
        ("x" * 300 + ".jpg", "file name too long"),
        ("left/a.jpg/b.jpg", "no such file"),
        ("\ud800.jpg", "the name cannot be a file name"),
    ],
)
def test_what_names_no_file_below_the_root_is_refused(root, name, reason):
    with pytest.raises(ImageError, match=reason) as caught:
        find_source(root, name)
    assert "secret" not in str(caught.value)


def test_links_may_lead_anywhere_below_the_root_and_nowhere_else(root, tmp_path):
    (root / "inside.jpg").symlink_to(root / "left" / "a.jpg")
    (root / "outside.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "folder").symlink_to(tmp_path)
    (root / "dangling.jpg").symlink_to(root / "none.jpg")
    (root / "circle.jpg").symlink_to(root / "circle.jpg")
    assert find_source(root, "inside.jpg") == (root / "left" / "a.jpg").resolve()
    for name in ("outside.jpg", "folder/secret.jpg"):
        with pytest.raises(ImageError, match="a link leads out of the image directory"):
            find_source(root, name)
    for name in ("dangling.jpg", "circle.jpg"):
        with pytest.raises(ImageError, match="a link that leads to no file"):
            find_source(root, name)


def test_a_root_that_is_a_link_is_followed(root, tmp_path):
    (tmp_path / "alias").symlink_to(root)
    assert read_source(find_source(tmp_path / "alias", "left/a.jpg"))[0] == b"eye"


def test_special_files_are_refused_at_once(root):
    os.mkfifo(root / "pipe.jpg")
    with pytest.raises(ImageError, match="not a regular file but a pipe"):
        read_source(root / "pipe.jpg")
    for device in ("/dev/zero", "/dev/null"):
        with pytest.raises(ImageError, match="not a regular file but a device"):
            read_source(root.parent.joinpath(device))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(root / "s.jpg"))
        with pytest.raises(OSError, match="No such device"):
            read_source(root / "s.jpg")
    with pytest.raises(OSError, match="directory"):
        read_source(root / "left")


def test_a_large_file_is_refused_before_and_while_reading(root):
    with pytest.raises(ImageError, match="implausibly large, 3 bytes"):
        read_source(root / "left" / "a.jpg", max_bytes=2)
    with pytest.raises(ImageError, match="implausibly large, over 2 bytes"):
        read_source(root.parent.joinpath("/proc/cpuinfo"), max_bytes=2)  # its size is given as 0


def test_without_confinement_links_and_absolute_paths_lead_out(root, tmp_path):
    (root / "outside.jpg").symlink_to(tmp_path / "secret.jpg")
    assert find_source(root, "outside.jpg", is_confined=False) == root / "outside.jpg"
    assert find_source(root, "../secret.jpg", is_confined=False).read_bytes() == b"secret"
    assert (
        find_source(root, str(tmp_path / "secret.jpg"), is_confined=False).read_bytes() == b"secret"
    )
    assert find_source(root, "left\\a.jpg", is_confined=False).read_bytes() == b"eye"
    with pytest.raises(ImageError, match="no such file"):
        find_source(root, "none.jpg", is_confined=False)
