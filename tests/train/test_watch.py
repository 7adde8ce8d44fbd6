import json

import pytest

from retfm_dist.errors import DataError
from retfm_dist.ranks.heartbeat import Heartbeat
from retfm_dist.ranks.stalls import Beat
from retfm_dist.ranks.world import Ranks
from retfm_dist.train.watch import FailureNotes, watching


@pytest.fixture
def notes(tmp_path):
    return FailureNotes(tmp_path, "step 0", Ranks())


def notes_in(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def test_a_failure_leaves_its_first_line_and_step_and_goes_on_up(tmp_path, notes):
    def fail():
        with watching(notes, stall_timeout_s=None) as heartbeat:
            heartbeat.note(12, "reading data")
            raise DataError("first\nsecond")

    with pytest.raises(DataError, match="second"):
        fail()
    (note,) = notes_in(tmp_path)
    assert note == {
        "attempt": 0, "rank": 0, "step": 12, "error": "DataError: first", "is_lost_rank": False,
        "began": "step 0",
    }  # fmt: skip


def test_an_end_without_failure_leaves_nothing(tmp_path, notes):
    with watching(notes, stall_timeout_s=60.0) as heartbeat:
        heartbeat.note(1, "training")
    assert notes_in(tmp_path) == []


def test_a_stalled_rank_leaves_a_note_of_what_it_did(tmp_path, notes, monkeypatch):
    told = []
    monkeypatch.setattr(Heartbeat, "start", lambda self, peers, *, on_stall: told.append(on_stall))
    with watching(notes, stall_timeout_s=60.0):
        told[0](Beat(1, "host", 7, "saving", 61.0))
    (note,) = notes_in(tmp_path)
    assert (note["rank"], note["step"], note["is_lost_rank"]) == (1, 7, True)
    assert note["error"] == "no progress while saving"
