"""A small archive table whose images are a few bytes each, and a task on it."""

from retfm_dist.evaluate.config import ComputeConfig, TableConfig
from retfm_dist.evaluate.encode.features import encode_images
from retfm_dist.evaluate.select import read_tasks
from retfm_dist.evaluate.usable import list_photographs
from tests.fakes.evaluation import checked, evaluation

COLUMNS = ("image_path", "patient_id", "eye", "source", "grade", "age", "quality")
ROWS = [
    ("a.png", "P1", "L", "here", "0", "44", "good"),
    ("b.png", "P1", "R", "here", "2", "44", "good"),
    ("c.png", "P2", "L", "here", "1.0", "71", "bad"),
    ("d.png", "P2", "R", "here", "", "71", "bad"),
    ("e.png", "P3", "L", "here", "ungradable", "", "good"),
    ("f.png", "P3", "R", "there", "0", "", "good"),
    ("g.png", "P4", "L", "here", "0", "", "bad"),
]


def table(archive, **changes):
    return TableConfig(path=archive / "table.csv", images=archive, **changes)


def hashed(samples, archive):
    photographs = list_photographs([samples], table(archive))
    return encode_images(photographs, [], cache_dir=archive / "cache", compute=ComputeConfig())


def one_task(archive, **changes):
    task = {
        "id": "x",
        "title": "X",
        "table": "discs",
        "filter": {"column": "source", "values": ["here"]},
        "label": {"column": "grade", "positive": [1, 2, 3], "negative": [0]},
        **changes,
    }
    return read_tasks(checked(evaluation(archive, tasks=[task])))[0]


def flow(samples):
    return [(step.reason, step.num_images) for step in samples.exclusions]
