import pytest

from retfm_dist.evaluate.encode.models import build_models
from retfm_dist.evaluate.encode.photographs import Photograph
from tests.fakes.evaluation import checked, evaluation, write_archive, write_tiny_export


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("encode")
    write_archive(root, num_patients=4)
    write_tiny_export(root / "export")
    return root


@pytest.fixture(scope="module")
def models(root):
    return build_models(checked(evaluation(root, compute={"device": "cpu"})))


@pytest.fixture(scope="module")
def photographs(root):
    paths = sorted((root / "images").iterdir())
    return [Photograph(row, path, f"row {row}") for row, path in enumerate(paths, start=1)]
