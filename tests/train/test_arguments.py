import pytest

from retfm_dist.train.arguments import parse_arguments


def test_words_that_may_be_repeated_are_collected(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    words = ["--config", "x.yaml", "--set", "a.b=1", "--override", "c.d=2", "--set", "e.f=3"]
    found = parse_arguments("text", [*words, "--local_rank", "0"])
    assert (found.config, found.overrides, found.intended) == (
        "x.yaml",
        ["a.b=1", "e.f=3"],
        ["c.d=2"],
    )
    assert (found.resume, found.fresh) == (None, False)


@pytest.mark.parametrize(
    "words", [["--no-such"], [], ["--config", "x", "--fresh", "--resume", "checkpoint"]]
)
@pytest.mark.parametrize("rank", ["0", "1"])
def test_bad_usage_is_said_once(monkeypatch, capsys, words, rank):
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(SystemExit) as found:
        parse_arguments("text", words)
    assert found.value.code == 2
    assert ("usage:" in capsys.readouterr().err) == (rank == "0")


def test_help_is_shown_once(monkeypatch, capsys):
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit) as found:
            parse_arguments("what it does", ["--help"])
        assert found.value.code == 0
        assert ("what it does" in capsys.readouterr().out) == (rank == "0")
