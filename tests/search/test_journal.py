"""What is in the journal survives a crash, and what a crash cut short is done again."""

import json
import os

import numpy as np
import pytest

from tfopt.search.journal import Journal


def trial(fold=0, score=0.5, **values) -> dict:
    return {
        **{"kind": "trial", "fold": fold, "trial_id": "0", "values": values, "status": "COMPLETED", "score": score},
        **{"inner_scores": [score], "epochs": [1], "seconds": 0.1, "message": None, "curve": {}, "fits": []},
    }


def test_a_record_is_on_the_disk_when_append_returns_and_is_found_again(tmp_path):
    path = tmp_path / "trials.jsonl"
    journal = Journal(path)
    journal.append(trial(a=1))
    assert json.loads(path.read_text())["values"] == {"a": 1}
    found = Journal(path).find("trial", fold=0, trial_id="0", values={"a": 1})
    assert found is not None
    assert found["score"] == 0.5


def test_records_differ_by_fold_trial_and_values(tmp_path):
    journal = Journal(tmp_path / "trials.jsonl")
    journal.append(trial(a=1))
    assert journal.find("trial", fold=1, trial_id="0", values={"a": 1}) is None
    assert journal.find("trial", fold=0, trial_id="1", values={"a": 1}) is None
    assert journal.find("trial", fold=0, trial_id="0", values={"a": 2}) is None
    assert journal.find("refit", fold=0, values={"a": 1}) is None


def test_a_line_that_a_crash_cut_short_is_dropped_and_the_file_goes_on_whole(tmp_path):
    path = tmp_path / "trials.jsonl"
    Journal(path).append(trial(a=1))
    whole = path.read_bytes()
    for cut in (1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole + whole[:cut])
        journal = Journal(path)
        assert len(journal.records) == 1
        journal.append(trial(a=2))
        assert [json.loads(line)["values"]["a"] for line in path.read_text().splitlines()] == [1, 2]


def test_a_damaged_line_is_dropped_with_a_warning(tmp_path, caplog):
    path = tmp_path / "trials.jsonl"
    Journal(path).append(trial(a=1))
    whole = path.read_bytes()
    lacking = json.loads(whole)
    del lacking["status"]
    wrong = {**json.loads(whole), "values": [1]}
    for line in (
        b"\x00\x00{\n",
        b"[]\n",
        b"{}\n",
        b"[" * 9000 + b"\n",
        *(json.dumps(each).encode() + b"\n" for each in (lacking, wrong)),
    ):
        path.write_bytes(line + whole)
        caplog.clear()
        assert [record["values"] for record in Journal(path).records] == [{"a": 1}]
        assert "trials.jsonl: line 1 is damaged and left out; tfopt search --resume" in caplog.text
        assert path.read_bytes() == whole


def test_a_torn_journal_is_never_rewritten_in_place(tmp_path):
    path, old = tmp_path / "trials.jsonl", tmp_path / "old"
    Journal(path).append(trial(a=1))
    damaged = b"damaged\n" + path.read_bytes() + b"cut"
    path.write_bytes(damaged)
    os.link(path, old)
    assert len(Journal(path).records) == 1
    assert (old.read_bytes(), path.read_bytes()) == (damaged, damaged[8:-3])


def test_nothing_is_written_through_a_link(tmp_path):
    path, victim = tmp_path / "trials.jsonl", tmp_path / "victim"
    journal = Journal(path)
    path.unlink()
    path.symlink_to(victim)
    with pytest.raises(OSError, match=r"trials\.jsonl"):
        journal.append(trial())
    with pytest.raises(OSError, match=r"trials\.jsonl"):
        Journal(path)
    assert not victim.exists()


def test_numbers_that_json_lacks_become_null_and_numpys_become_plain(tmp_path):
    record = Journal(tmp_path / "trials.jsonl").append(
        trial(score=float("nan"), a=np.float64(0.1), b=np.int64(3), c=[float("inf")])
    )
    assert record["score"] is None
    assert record["values"] == {"a": 0.1, "b": 3, "c": [None]}


def test_values_come_back_as_the_very_same_floats(tmp_path):
    rate = 0.1 + 0.2
    journal = Journal(tmp_path / "trials.jsonl")
    journal.append(trial(learning_rate=rate))
    assert Journal(tmp_path / "trials.jsonl").find("trial", fold=0, trial_id="0", values={"learning_rate": rate})
