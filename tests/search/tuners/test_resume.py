"""Searches that are killed at any moment go on, lose no finished trial, and end as if nothing had happened."""

import json
import multiprocessing
import os
import signal

import keras_tuner
import numpy as np
import pytest

import tfopt
from tfopt.errors import UserError
from tfopt.search.tuners import files
from tfopt.search.tuners.files import KeptStates

SCORE = keras_tuner.Objective("score", "max")
X = np.zeros((2, 1))
KINDS = {
    "RandomSearch": {"max_trials": 7},
    "GridSearch": {"max_trials": 7},
    "BayesianOptimization": {"max_trials": 7, "batch_trials": 2},
    "Hyperband": {"max_epochs": 4, "factor": 2},
}


def build(hp):
    hp.Float("x", 0, 1)
    hp.Choice("c", [1, 2, 3])


def curve(values, epoch, seed):
    return values["x"] + 0.1 * values["c"] + 0.01 * epoch + 1e-12 * seed


def search(kind, folder, overwrite=False, **kwargs):
    tuner = getattr(tfopt.search, kind)(
        build, objective=SCORE, seed=5, directory=str(folder), project_name="p", overwrite=overwrite,
        **KINDS[kind], **kwargs,
    )  # fmt: skip
    tuner.search(x=X, y=X, epochs=3, verbose=0)
    return tuner


def story(tuner) -> list:
    ordered = sorted(tuner.oracle.trials.values(), key=lambda trial: int(trial.trial_id))
    return [(t.trial_id, t.status, t.score, t.hyperparameters.values, t.members[0].history) for t in ordered]


class Killed(BaseException):
    pass


@pytest.mark.slow
@pytest.mark.long("BayesianOptimization")
@pytest.mark.parametrize("kind", KINDS)
def test_a_crash_at_any_write_loses_no_finished_trial(kind, fake, tmp_path, monkeypatch):
    fake(curve)
    whole = story(search(kind, tmp_path / "whole", overwrite=True))
    real, crash = files.replace, {}

    def replace(path, write, synced=True):
        crash["writes"] += 1
        if crash["writes"] == crash["at"]:
            if crash["torn"]:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.with_name(f".{path.name}.1").write_bytes(b"{")  # what a process that dies leaves behind
            raise Killed
        real(path, write, synced)

    monkeypatch.setattr(files, "replace", replace)
    at, finished = 0, 0
    while True:
        at += 3
        folder = tmp_path / str(at)
        crash.update(writes=0, at=at, torn=at % 2 == 0)
        try:
            search(kind, folder, overwrite=True)
        except Killed:
            crash["at"] = -1
            before = [path for path in folder.glob("p/trial_*/trial.json") if '"COMPLETED"' in path.read_text()]
            engine = fake(curve)
            resumed = search(kind, folder)
            assert story(resumed) == whole
            assert len(engine.requests) == len(whole) - len(before), "only what was not finished is run"
            finished += len(before)
            continue
        break
    assert at > 12
    assert finished > 0


@pytest.mark.parametrize("kind", KINDS)
def test_interrupted_by_the_keyboard(kind, fake, tmp_path):
    fake(curve)
    whole = story(search(kind, tmp_path / "whole", overwrite=True))
    engine = fake(curve)

    def interrupted(values, epoch, seed):
        if len(engine.requests) == 4:
            raise KeyboardInterrupt
        return curve(values, epoch, seed)

    engine.curve = interrupted
    with pytest.raises(KeyboardInterrupt):
        search(kind, tmp_path / "cut", overwrite=True)
    engine = fake(curve)
    assert story(search(kind, tmp_path / "cut")) == whole
    assert len(engine.requests) == len(whole) - 3


@pytest.mark.slow
def test_killed_with_signal_9(fake, tmp_path):
    """KerasTuner's grid search raises KeyError when it is taken up again; all of ours go on."""
    context = multiprocessing.get_context("fork")
    for kind in KINDS:
        fake(curve)
        whole = story(search(kind, tmp_path / kind / "whole", overwrite=True))
        process = context.Process(target=_forked, args=(kind, tmp_path / kind / "cut"))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        fake(curve)
        assert story(search(kind, tmp_path / kind / "cut")) == whole


def _forked(kind, folder):
    import tfopt.search.tuners.tuner as module

    engine = module.engine_for()

    def deadly(values, epoch, seed):
        if len(engine.requests) > 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return curve(values, epoch, seed)

    engine.curve = deadly
    search(kind, folder, overwrite=True)


def test_keras_tuners_grid_search_cannot_be_resumed(tmp_path):
    class Grid(keras_tuner.GridSearch):
        stop = 3

        def run_trial(self, trial, **kwargs):
            if trial.trial_id == f"{self.stop:04d}":
                raise keras_tuner.errors.FatalError
            return curve(trial.hyperparameters.values, 0, 0)

    kwargs = {"directory": str(tmp_path), "project_name": "p", "objective": SCORE}
    with pytest.raises(keras_tuner.errors.FatalError):
        Grid(build, **kwargs).search(verbose=0)
    Grid.stop = -1
    with pytest.raises(KeyError):
        Grid(build, **kwargs).search(verbose=0)


@pytest.mark.parametrize("name", ["oracle.json", "trial_0/trial.json", "trial_6/trial.json", "tuner0.json"])
def test_a_torn_file_costs_at_most_its_own_trial(name, fake, tmp_path, caplog):
    fake(curve)
    whole = story(search("RandomSearch", tmp_path, overwrite=True))
    path = tmp_path / "p" / name
    path.write_text(path.read_text()[: len(path.read_text()) // 2])
    if name != "tuner0.json":
        with pytest.raises(ValueError, match=r"Expecting|Unterminated|delimiter|Extra"):
            keras_tuner.RandomSearch(build, objective=SCORE, directory=str(tmp_path), project_name="p")
    engine = fake(curve)
    assert story(search("RandomSearch", tmp_path)) == whole
    assert len(engine.requests) == name.startswith("trial_")
    if name != "tuner0.json":
        assert "is torn" in caplog.text


@pytest.mark.parametrize("left", [0, 100])
def test_a_torn_state_is_set_aside(left, tmp_path, caplog):
    states = KeptStates(tmp_path)
    states.write("1", [np.arange(100.0)], 0)
    np.testing.assert_array_equal(states.read("1", 0)[0], np.arange(100.0))
    [path] = tmp_path.glob("trial_1/*.npz")
    path.write_bytes(path.read_bytes()[:left])
    assert states.read("1", 0) is None
    assert "is torn" in caplog.text
    assert not path.exists()


def test_a_resumed_search_may_be_made_longer(fake, tmp_path, monkeypatch):
    fake(curve)
    first = story(search("RandomSearch", tmp_path, overwrite=True))
    monkeypatch.setitem(KINDS, "RandomSearch", {"max_trials": 9})
    engine = fake(curve)
    assert story(search("RandomSearch", tmp_path))[:7] == first
    assert len(engine.requests) == 2


def test_trials_that_ended_after_the_oracles_file_was_written_have_ended(fake, tmp_path):
    fake(curve)
    before = search("RandomSearch", tmp_path, overwrite=True).oracle
    path = before.folder / "oracle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"end_order": before.end_order[:2]}))
    assert search("RandomSearch", tmp_path).oracle.end_order == before.end_order


def test_a_search_without_a_seed_keeps_the_one_it_drew(fake, tmp_path):
    fake(curve)
    kwargs = {"objective": SCORE, "max_trials": 2, "directory": str(tmp_path), "project_name": "p"}
    tuner = tfopt.search.RandomSearch(build, **kwargs)
    tuner.search(x=X, y=X, verbose=0)
    assert tfopt.search.RandomSearch(build, **kwargs).oracle.seed == tuner.oracle.seed


DAMAGES = ["", "[]", "{}", '"x"', "null", "[" * 9999, '{"trial_id": "x/../../../victim"}', '{"score": "a"}', "\0"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside_and_its_trial_done_again(damage, fake, tmp_path, caplog):
    fake(curve)
    whole = story(search("RandomSearch", tmp_path))
    for name in ("trial_3/trial.json", "oracle.json"):
        path = tmp_path / "p" / name
        held = json.loads(path.read_text())
        changed = damage if not damage.startswith('{"') else json.dumps(held | json.loads(damage))
        path.write_text(changed)
        engine = fake(curve)
        assert story(search("RandomSearch", tmp_path)) == whole
        assert len(engine.requests) == (name != "oracle.json")
    assert "trial.json is torn or damaged" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_planted_in_a_project_folder_leads_nowhere(overwrite, fake, tmp_path):
    fake(curve)
    search("RandomSearch", tmp_path)
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "thesis.tex").write_text("mine")
    (tmp_path / "p" / "trial_7").symlink_to(victim)
    with pytest.raises(UserError, match="trial_7 is a link, and a search writes through none"):
        search("RandomSearch", tmp_path, overwrite=overwrite)
    assert [path.name for path in victim.iterdir()] == ["thesis.tex"]
    (tmp_path / "p" / "trial_7").unlink()
    (tmp_path / "link").symlink_to(tmp_path / "p")  # the user's own way to the whole folder
    (tmp_path / "p" / "trial_0" / ".0123456789abcdef-trial.json").touch()  # of a search that was killed
    search("RandomSearch", tmp_path / "link" / "..", overwrite=overwrite)
    assert not list(tmp_path.glob("p/trial_*/.*"))


def test_a_folder_that_keras_tuner_wrote_is_taken_over(fake, tmp_path):
    class Random(keras_tuner.RandomSearch):
        def run_trial(self, trial, **kwargs):
            return curve(trial.hyperparameters.values, 0, 0)

    kwargs = {"directory": str(tmp_path), "project_name": "p", "objective": SCORE}
    theirs = Random(build, max_trials=3, **kwargs)
    theirs.search(verbose=0)
    engine = fake(curve)
    ours = tfopt.search.RandomSearch(build, max_trials=5, **kwargs)
    assert ours.oracle.get_best_trials()[0].score == theirs.oracle.get_best_trials()[0].score
    ours.search(x=X, y=X, verbose=0)
    assert len(engine.requests) == 2
