import shutil

import pytest

from retfm_dist.evaluate.run import run_evaluation
from tests.fakes.evaluation import (
    checked,
    evaluation,
    write_archive,
    write_table,
    write_tiny_export,
)
from tests.fakes.tables import COLUMNS, ROWS


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """One evaluation of drawn discs, with pictures; tests copy what they change."""
    root = tmp_path_factory.mktemp("evaluation")
    write_archive(root)
    write_tiny_export(root / "export")
    run_evaluation(checked(evaluation(root, report={"pictures": True})))
    return root


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


@pytest.fixture
def archive(tmp_path):
    write_table(tmp_path / "table.csv", ROWS, COLUMNS)
    for row in ROWS:
        (tmp_path / row[0]).write_bytes(row[0].encode())
    return tmp_path
