import contextlib
import csv
import errno
import io
import json
import os
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest

import tfopt.search
from tfopt.errors import UserError
from tfopt.search.config import SearchConfig

RESULT = {
    "leaderboard": [
        {"model": "ridge", "kind": "sklearn", "score": 0.4871, "low": 0.41, "high": 0.56},
        {"model": "network", "kind": "keras", "score": 0.4702, "low": 0.38, "high": 0.55},
    ],
    "verdict": "Keep ridge.",
}


class BaselineRuns:
    def __init__(self, plan, workers):
        self.plan, self.begun = plan, False

    def begin(self):
        self.begun = True


@pytest.fixture
def session(monkeypatch):
    """Put a session in place that records its calls; TensorFlow is not started."""
    from tfopt.cli import startup

    calls = []
    outcome = types.SimpleNamespace(num_completed=2, num_failed=0, first_failure=None, result=RESULT)

    def run(config, progress, plan, workers, baselines):
        assert plan.config == config
        assert (workers, baselines.plan) == ("workers", plan)
        assert baselines.begun == (config.resume is None)
        calls.append(config)
        outcome.run_folder = Path(config.out)
        outcome.run_folder.mkdir(parents=True, exist_ok=True)
        (outcome.run_folder / "config.json").write_text(json.dumps(config.to_dict()))
        progress.note("the last column, 'y', is the target")
        progress.start("networks", 2)
        progress.advance("networks", "trial 0000: 0.47")
        progress.advance("networks", "trial 0001: 0.46")
        progress.finish("networks")
        return outcome

    module = types.ModuleType("tfopt.search.session")
    module.run = run
    monkeypatch.setitem(sys.modules, "tfopt.search.session", module)
    planning = types.ModuleType("tfopt.search.plan")
    planning.prepare = lambda config, progress: types.SimpleNamespace(
        stream=None,
        config=config,
        table=types.SimpleNamespace(name=config.data, num_rows=442, columns=[0] * 10, task="regression"),
        outer=[0] * 5,
        families=[0] * 8,
    )
    monkeypatch.setitem(sys.modules, "tfopt.search.plan", planning)
    monkeypatch.setattr(tfopt.search, "plan", planning, raising=False)
    runs = types.ModuleType("tfopt.search.baseline_runs")
    runs.workers_of = lambda config: contextlib.nullcontext("workers")
    runs.BaselineRuns = BaselineRuns
    monkeypatch.setitem(sys.modules, "tfopt.search.baseline_runs", runs)
    monkeypatch.setattr(tfopt.search, "baseline_runs", runs, raising=False)
    monkeypatch.setattr(startup, "start", lambda *arguments, **settings: contextlib.nullcontext())
    return types.SimpleNamespace(calls=calls, outcome=outcome, module=module)


def test_result_alone_is_on_standard_output(session, tfopt, tmp_path):
    folder = tmp_path / "run"
    code, out, err = tfopt("search", "diabetes", "--max-trials", 2, "--out", folder, "--format", "json")
    assert code == 0
    assert json.loads(out) == RESULT
    assert session.calls == [SearchConfig(data="diabetes", max_trials=2, out=str(folder))]
    assert "note: the last column, 'y', is the target" in err
    assert "networks 1/2  trial 0000: 0.47" in err
    assert f"tfopt report {folder}" in err
    assert f"tfopt predict {folder} TABLE" in err
    assert "\x1b" not in out + err


def test_what_is_about_to_be_done_is_said_before_tensorflow_starts(session, tfopt, tmp_path, monkeypatch):
    from tfopt.cli import startup

    def start(*arguments):
        raise ImportError("no TensorFlow")

    monkeypatch.setattr(startup, "start", start)
    _, out, err = tfopt("search", "diabetes", "--max-trials", 2, "--workers", 3, "--out", tmp_path / "run")
    assert out == ""
    said = "note: diabetes: 442 rows, 10 columns, regression; 2 networks and 8 baselines on 5 folds, by 3 workers."
    assert err.splitlines()[0] == said
    assert "no TensorFlow" in err.splitlines()[1]


def test_table_has_models_intervals_and_verdict_within_eighty_columns(session, tfopt, tmp_path):
    code, out, _ = tfopt("search", "diabetes", "--out", tmp_path / "run")
    lines = out.splitlines()
    assert code == 0
    assert "0.487" in lines[1]
    assert "0.410 … 0.560" in lines[1]
    assert lines[-1] == "Keep ridge."
    assert max(map(len, lines)) <= 80


def test_csv_and_markdown(session, tfopt, tmp_path):
    out = tfopt("search", "diabetes", "--out", tmp_path / "a", "--format", "csv")[1]
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["model"], float(row["score"])) for row in rows] == [("ridge", 0.4871), ("network", 0.4702)]
    out = tfopt("search", "diabetes", "--out", tmp_path / "b", "--format", "md")[1]
    assert "| ridge | sklearn | 0.487 | 0.410 … 0.560 |" in out
    assert out.endswith("Keep ridge.\n")


def test_quiet_says_nothing_on_standard_error(session, tfopt, tmp_path):
    code, out, err = tfopt("search", "diabetes", "--out", tmp_path / "run", "-q")
    assert (code, err) == (0, "")
    assert "Keep ridge." in out


def test_without_out_the_run_goes_below_runs(session, tfopt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tfopt("search", "wine", "--seed", 4)[0] == 0
    assert session.calls[0].out.startswith(os.path.join("runs", "wine__4__20"))


def test_no_completed_trial_is_exit_3_with_the_first_failures_last_line(session, tfopt, tmp_path):
    session.outcome.num_completed, session.outcome.num_failed = 0, 4
    session.outcome.first_failure = "Traceback (most recent call last):\n  …\nValueError: units must be positive"
    code, out, err = tfopt("search", "wine", "--out", tmp_path / "run")
    assert (code, out) == (3, "")
    last = err.splitlines()[-1]
    assert last == "error: none of 4 trials completed; the first failed with: ValueError: units must be positive"


def test_a_network_that_could_not_be_trained_on_all_rows_is_exit_4_and_not_offered(session, tfopt, tmp_path):
    session.outcome.result = {**RESULT, "final_failure": "ValueError: no room", "engines": "3 fits by engine: 3 plain"}
    code, out, err = tfopt("search", "wine", "--out", tmp_path / "run")
    assert code == 4
    assert "Keep ridge." in out
    assert "\n3 fits by engine: 3 plain\n" in err
    assert "tfopt predict" not in err
    assert err.splitlines()[-1].startswith("error: the network could not be trained on all rows")
    assert "ValueError: no room" in err
    assert tfopt("search", "wine", "--out", tmp_path / "quiet", "-q")[0] == 4

    session.outcome.result |= {"recommended": "svm"}
    code, _, err = tfopt("search", "wine", "--out", tmp_path / "other")
    assert code == 4
    assert f"tfopt predict {tmp_path / 'other'} TABLE     predictions of svm for new rows\n" in err


def test_failed_trials_are_counted_and_shown(session, tfopt, tmp_path):
    session.outcome.num_failed, session.outcome.first_failure = 3, "ValueError: units must be positive"
    code, _, err = tfopt("search", "wine", "--out", tmp_path / "run")
    assert code == 0
    assert "3 trials failed; the first: ValueError: units must be positive" in err


def test_run_folder_is_never_overwritten_unasked(session, tfopt, tmp_path):
    run = tmp_path / "run"
    assert tfopt("search", "wine", "--out", run)[0] == 0
    code, _, err = tfopt("search", "wine", "--out", run)
    assert code == 2
    assert "--resume" in err
    assert len(session.calls) == 1
    assert tfopt("search", "wine", "--out", run, "--overwrite")[0] == 0


def test_bad_values_end_before_anything_is_made(session, tfopt, tmp_path):
    for words in (["--max-trials", 0], ["--folds", 1], ["--space", "nope"], ["--device", "gup"]):
        code, out, err = tfopt("search", "wine", "--out", tmp_path / "run", *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
    assert session.calls == []
    assert list(tmp_path.iterdir()) == []


def test_bad_data_found_later_is_one_line_too(session, tfopt, tmp_path):
    def run(config, progress, plan, workers, baselines):
        raise UserError("t.csv line 17 has 6 fields, the header has 5. Check for an unquoted comma.")

    session.module.run = run
    code, out, err = tfopt("search", "t.csv", "--out", tmp_path / "run")
    assert (code, out) == (2, "")
    said, error = err.splitlines()
    assert said.startswith("note: t.csv: ")
    assert error == "error: t.csv line 17 has 6 fields, the header has 5. Check for an unquoted comma."


def test_interruption_names_the_command_that_goes_on(session, tfopt, tmp_path):
    usual = session.module.run

    def run(config, progress, plan, workers, baselines):
        usual(config, progress, plan, workers, baselines)
        raise KeyboardInterrupt

    session.module.run = run
    code, out, err = tfopt("search", "wine", "--out", tmp_path / "run")
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == f"interrupted; go on with: tfopt search --resume {tmp_path / 'run'}"


def test_resume_takes_the_settings_of_its_run(session, tfopt, tmp_path):
    run = tmp_path / "run"
    tfopt("search", "wine", "--out", run, "--seed", 5, "--folds", 4)
    assert tfopt("search", "--resume", run, "--time-limit", "1h")[0] == 0
    first, second = session.calls
    assert second == replace(first, resume=str(run), time_limit=3600.0)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--seed", "6"], "--seed is 5 in "),
        (["iris"], "is a run on wine, not on iris"),
        (["--max-trials", "99"], "--max-trials is not set in "),
        (["--config", "x.toml"], "--config does not go with it"),
        (["--overwrite"], "Give one of the two"),
        (["--out", "elsewhere"], "leave --out elsewhere out"),
    ],
)
def test_resume_changes_nothing_that_matters(words, told, session, tfopt, tmp_path):
    run = tmp_path / "run"
    tfopt("search", "wine", "--out", run, "--seed", 5)
    code, _, err = tfopt("search", "--resume", run, *words)
    assert (code, err.count("\n")) == (2, 1)
    assert told in err
    assert len(session.calls) == 1


def test_resume_of_a_damaged_run(session, tfopt, tmp_path):
    (tmp_path / "config.json").write_text('{"data": "wi')
    code, _, err = tfopt("search", "--resume", tmp_path)
    assert code == 2
    assert "config.json is damaged" in err


def test_a_full_disk_says_how_to_go_on(session, tfopt, tmp_path):
    def run(config, *rest):
        Path(config.out).mkdir()
        (Path(config.out) / "config.json").touch()
        raise OSError(errno.ENOSPC, "No space left on device", f"{config.out}/trials.jsonl")

    session.module.run = run
    run_folder = tmp_path / "run"
    code, out, err = tfopt("search", "wine", "--out", run_folder, "--quiet")
    assert (code, out) == (2, "")
    assert err == (
        f"error: {run_folder}/trials.jsonl: No space left on device. Free some space, then go on with: "
        f"tfopt search --resume {run_folder}\n"
    )


LONG = 300 * "x"


@pytest.mark.parametrize(
    "words",
    [
        ("search", "wine", "--out", LONG),
        ("search", f"{LONG}.csv"),
        ("search", "--resume", LONG),
        ("predict", LONG, "x.csv"),
        ("report", LONG),
        ("show", LONG),
    ],
)
def test_a_name_of_300_characters_is_one_line(words, tfopt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = tfopt(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "File name too long. Choose a shorter name." in err


def test_a_working_folder_that_was_deleted_is_said(tfopt, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    code, out, err = tfopt("search", "houses.csv")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "the working folder has been deleted" in err
