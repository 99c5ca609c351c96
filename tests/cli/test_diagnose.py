"""`tfopt diagnose` on a log: its words, its JSON, its mistakes."""

import json

import pytest

from tfopt.cli.main import main


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "run.jsonl"
    epochs = [{"event": "epoch", "epoch": i, "logs": {"loss": 1.0 / (i + 1), "grad_norm_clipped": 1.0}} for i in (0, 1)]
    path.write_text("".join(json.dumps(line) + "\n" for line in epochs))
    return path


def test_text(log, capsys):
    assert main(["diagnose", str(log)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{log}: 2 epochs\n1. clipping always active: Clipping changes 100% of the steps.\n   Try: ")


def test_json(log, capsys):
    assert main(["diagnose", str(log.parent), "--format", "json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [finding["name"] for finding in answer["findings"]] == ["clipping always active"]
    assert answer["num_epochs"] == 2


def test_a_log_that_is_not_there(tmp_path, capsys):
    assert main(["diagnose", str(tmp_path / "none.jsonl")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "There is no such log" in error
