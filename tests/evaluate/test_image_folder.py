import pytest

from retfm_dist.errors import ConfigError, EvaluateError
from retfm_dist.evaluate.image_folder import read_image_folder
from tests.fakes.evaluation import checked, evaluation


def write_folder(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def test_split_and_class_are_folders(tmp_path):
    write_folder(
        tmp_path, "train/dr/7_L.jpg", "train/ok/8_R.PNG", "test/ok/9_L.tif", "test/ok/.cache.png",
        ".old/a/b.jpg", "train/dr/notes.txt",
    )  # fmt: skip
    records = read_image_folder(tmp_path, patient_pattern=r"^(?P<patient>\d+)_")
    assert [(r.row, r.image_path, r.patient_id, dict(r.labels)) for r in records] == [
        (1, "test/ok/9_L.tif", "9", {"split": "test", "class": "ok"}),
        (2, "train/dr/7_L.jpg", "7", {"split": "train", "class": "dr"}),
        (3, "train/ok/8_R.PNG", "8", {"split": "train", "class": "ok"}),
    ]


def test_without_a_pattern_each_image_is_a_patient(tmp_path):
    write_folder(tmp_path, "dr/1.jpg", "dr/2.jpg", "ok/1.jpg")
    records = read_image_folder(tmp_path, patient_pattern=None)
    assert len({record.patient_id for record in records}) == 3
    assert all(set(record.labels) == {"class"} for record in records)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no image in the folder.*expected SPLIT/CLASS/image or CLASS/image"),
        (["a.jpg"], "images at another depth; got a file 0 folders deep"),
        (["dr/a.jpg", "train/dr/b.jpg"], "images at another depth; got a file 2 folders deep"),
        (["a/b/c/d.jpg"], "images at another depth; got a file 3 folders deep, in a"),
    ],
)
def test_another_layout_is_an_error(tmp_path, names, message):
    with pytest.raises(EvaluateError, match=message):
        read_image_folder(write_folder(tmp_path, *names), patient_pattern=None)


def test_a_name_that_does_not_tell_its_patient_is_not_repeated(tmp_path):
    write_folder(tmp_path, "dr/Smith_L.jpg")
    with pytest.raises(
        EvaluateError, match="image 1: the file name does not tell its patient"
    ) as e:
        read_image_folder(tmp_path, patient_pattern=r"(?P<patient>\d+)")
    assert "Smith" not in str(e.value)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "no regular expression"), (r"(\d+)", r"needs a group \(\?P<patient>")],
)
def test_a_pattern_is_checked_with_the_config(tmp_path, pattern, message):
    tables = {"discs": {"path": str(tmp_path), "patient_pattern": pattern}}
    with pytest.raises(ConfigError, match=message):
        checked(evaluation(tmp_path, tables=tables))
