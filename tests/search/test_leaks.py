"""No test row reaches what is judged by it: over whole searches, whoever trains, proposes, resumes or works beside."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from tfopt.search.config import GIVEN_TABLE, SearchConfig
from tfopt.search.fitting import engine_for
from tfopt.search.fold_study import seed_of
from tfopt.search.plan import prepare
from tfopt.search.progress import Progress
from tfopt.search.session import run

SPACE = """
import keras

def build(hp):
    hp.Fixed("batch_size", 16)
    units, rate = hp.Fixed("units", {units}), hp.Choice("learning_rate", [0.003, 0.01, 0.1])
    layers = [keras.layers.Dense(units, "tanh"), {layer}, keras.layers.Dense({outputs})]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(rate), {loss}, run_eagerly={eager})
    return model
"""
DROPOUT = "keras.layers.Dropout(hp.Choice('dropout', [0.0, 0.3]))"


class Interrupting(Progress):
    """Interrupts a search at its second result."""

    def __init__(self):
        self.left = 1

    def advance(self, phase, text="", amount=1):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.fixture
def search(tmp_path):
    """Return a function that searches a frame and returns the run folder and the plan."""
    numbers = iter(range(100))

    def make(frame, *, interrupted=False, units=4, layer=DROPOUT, outputs=1, loss="'mse'", eager=False, **options):
        folder = tmp_path / f"run-{next(numbers)}"
        space = tmp_path / "space.py"
        space.write_text(SPACE.format(units=units, layer=layer, outputs=outputs, loss=loss, eager=eager))
        values = {"target": ("target",), "max_trials": 3, "epochs": 3, "folds": 2, "inner_folds": 2, "workers": 1}
        config = SearchConfig(data=GIVEN_TABLE, space=f"{space}:build", out=str(folder), **(values | options))
        plan = prepare(config, frame=frame)
        if interrupted:
            with pytest.raises(KeyboardInterrupt):
                run(config, Interrupting(), plan)
            plan = prepare(replace(config, out=None, resume=str(folder)), frame=frame)
        run(plan.config, plan=plan)
        return folder, plan

    return make


def lines(folder: Path, kind: str, fold: int | str | None = None) -> list[dict]:
    records = [json.loads(line) for line in (folder / "trials.jsonl").read_text(encoding="utf-8").splitlines()]
    return [record for record in records if record["kind"] == kind and record.get("fold") == fold]


def judged(folder: Path) -> dict:
    """Return all that fold 0 chose by, what it chose, and what its refits predict for its test rows."""
    trials = lines(folder, "trial", 0)
    found = {
        json.dumps(trial["values"], sort_keys=True): [trial["inner_scores"], trial["curve"], trial["epochs"]]
        for trial in trials
    }
    for refit in lines(folder, "refit", 0):
        found["refit " + json.dumps(refit["values"], sort_keys=True)] = np.load(folder / refit["predictions"])
    for baseline in lines(folder, "baseline", 0):
        name = baseline["model"]
        found[name] = [baseline["chosen"], baseline["inner_score"]]
        found[f"{name} predictions"] = np.load(folder / "predictions" / f"{name}-fold-0.npy")[None]
    return found


def scores(folder: Path) -> list[float]:
    return [score for refit in lines(folder, "refit", 0) for score in refit["scores"]] + [
        baseline["score"] for baseline in lines(folder, "baseline", 0)
    ]


def houses():
    random = np.random.default_rng(3)
    frame = pd.DataFrame({"size": random.normal(100, 20, 48).round(3), "age": random.integers(0, 50, 48) + 0.5})
    frame["city"] = np.resize(["Bonn", "Köln", "Trier"], 48)
    frame["target"] = (3 * frame["size"] - 2 * frame["age"] + random.normal(0, 9, 48)).round(2)
    return frame


SEARCHES = {
    "plain": {"engine": "plain", "tuner": "random", "eager": True, "epochs": 1, "seeds": 1},
    "shared-grid-resumed": {"engine": "shared", "tuner": "grid", "interrupted": True},
    "numpy-bayesian-patience": {
        "engine": "population", "tuner": "bayesian", "patience": 1, "epochs": 12, "max_trials": 4, "seeds": 1,
        "baselines": "dummy,knn",
    },
    "graph-random": {
        "engine": "population", "tuner": "random", "layer": "keras.layers.LayerNormalization()",
    },
    "auto-hyperband-resumed": {"tuner": "hyperband", "max_trials": None, "interrupted": True},
    "two-workers": {"tuner": "random", "workers": 2},
}  # fmt: skip


@pytest.mark.long("auto-hyperband-resumed", "two-workers")
@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHES)
def test_other_test_rows_change_no_choice_and_no_prediction(name, search):
    """All targets of the test part, and the features of half of it, are others: what the rest is told stays the same.

    Only the changed search is interrupted or has workers, so that neither changes anything, too.
    """
    options = {"holdout": 0.25, "seeds": 2, "max_trials": 2, "baselines": "none", **SEARCHES[name]}
    frame = houses()
    mine, plan = search(frame, **(options | {"interrupted": False, "workers": 1}))
    test = plan.outer[0].test
    assert len(test) == 12
    half = test[6:]
    other = frame.copy()
    other.loc[test, "target"] = 1000 - 3 * frame.loc[test, "target"]
    other.loc[half, ["size", "age"]] = frame.loc[half, ["size", "age"]] * 50
    other.loc[half, "city"] = np.roll(frame.loc[half, "city"], 1)
    theirs, _ = search(other, **options)
    if "engine" in options:  # a leak in one that fell back to another would not be seen
        assert {fit["engine"] for line in lines(theirs, "trial", 0) for fit in line["fits"]} == {options["engine"]}
    before, after = judged(mine), judged(theirs)
    assert before.keys() == after.keys()
    assert sum("refit" in key for key in before) >= 1
    for key, value in before.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value[:, :6], after[key][:, :6], err_msg=key)
            assert (value[:, 6:] != after[key][:, 6:]).any() or "dummy" in key
        else:
            assert value == after[key], key
    assert not set(scores(mine)) & set(scores(theirs)), "the score is that of the test rows"
    assert len(lines(mine, "trial", "final")) > 0


# Rows and seeds


@pytest.fixture
def fits(monkeypatch):
    """Return a list that every fit of a network goes into: what it was given, read off the engine's own examples."""
    seen = []

    def watched(*args, **kwargs):
        engine = engine_for(*args, **kwargs)
        train = engine.fit

        def fit(requests, *others):
            for request in requests:
                x, y = engine.train.take(request.rows)[:2]
                other_x, other_y = (
                    engine.train.take(request.predict)[:2] if request.predict is not None else (x[:0], y[:0])
                )
                held = None if request.validation is None else engine.held_out.take(request.validation)[1]
                seen.append(SimpleNamespace(seed=request.seed, x=x, y=y, other_x=other_x, other_y=other_y, held=held))
            return train(requests, *others)

        engine.fit = fit
        return engine

    monkeypatch.setattr("tfopt.search.fitting.engine_for", watched)
    return seen


def ids(target) -> tuple[int, ...]:
    return tuple(np.ravel(target).round().astype(int).tolist())


def numbered():
    """Return rows whose target is their number, in groups of 3, one city in one group only."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"row": np.arange(48), "noise": random.normal(size=48).round(3)})
    frame["who"] = [f"pupil {place // 3}" for place in random.permutation(48)]
    frame["city"] = random.choice(["Bonn", "Köln"], 48)
    frame.loc[frame["who"] == "pupil 5", "city"] = "Trier"
    frame["target"] = np.arange(48.0)
    return frame.sample(frac=1, random_state=1).reset_index(drop=True)


@pytest.mark.slow
def test_every_fit_has_its_own_rows_and_its_own_seed(search, fits, monkeypatch):
    """A row's target is its number, so that what an engine is given says by itself which rows those are."""
    ridge: list = []
    fit_ridge = Ridge.fit

    def watched(self, x, y, *weights):
        ridge.append((x, ids(y)))
        return fit_ridge(self, x, y, *weights)

    monkeypatch.setattr(Ridge, "fit", watched)
    frame = numbered()
    folder, plan = search(
        frame, folds=3, group="who", column=("row=number",), target_scaling="none", patience=1, max_trials=2,
        baselines="ridge",
    )  # fmt: skip
    number = frame["target"].to_numpy().astype(int)
    group = dict(zip(number, frame["who"], strict=True))
    assert sorted(row for fold in plan.outer for row in fold.test) == list(range(48))
    # What a fit may be, by the rows that it learns and those that it predicts.
    kinds: dict[tuple, tuple] = {(ids(number[plan.final.train]), ()): ("final",)}
    for fold in (*plan.outer, plan.final):
        if len(fold.test):
            kinds[ids(number[fold.train]), ids(number[fold.test])] = ("refit", fold.key)
        assert sorted(row for split in fold.inner for row in split.test) == sorted(fold.train)
        for place, split in enumerate(fold.inner):
            assert not set(fold.test) & {*split.train, *split.test}
            kinds[ids(number[split.train]), ids(number[split.test])] = ("trial", fold.key, place)
    learned = {rows for rows, _ in kinds}
    seeds: dict[tuple, list[int]] = {}
    for fit in fits:
        train, test = ids(fit.y), ids(fit.other_y)
        kind = kinds[train, test]
        seeds.setdefault(kind, []).append(fit.seed)
        assert len(set(train)) == len(train)
        assert not set(train) & set(test)
        assert not {group[row] for row in train} & {group[row] for row in test}
        # A trial may stop where its own test rows say so; what is judged by its test rows may not.
        assert fit.held is None if kind[0] != "trial" else ids(fit.held) == test
        for x, rows in ((fit.x, train), (fit.other_x, test)):
            np.testing.assert_allclose(x[:, 0], (np.array(rows) - np.mean(train)) / np.std(train), atol=1e-5)
        cities = frame.set_index(number)["city"]
        unseen = [place for place, row in enumerate(test) if cities[row] not in set(cities[list(train)])]
        assert (fit.other_x[unseen, -1] == 1).all(), "a city that no training row is in is any other city"
    num_trials = Counter(line["fold"] for fold in (0, 1, 2, "final") for line in lines(folder, "trial", fold))
    for fold in (0, 1, 2):
        for place in (0, 1):
            assert seeds["trial", fold, place] == [seeds["trial", 0, place][0]] * num_trials[fold]
        assert len(set(seeds["refit", fold])) == 3
        assert len(seeds["refit", fold]) == 3 + len(lines(folder, "refit", fold)) - 1
    assert len(set(seeds["final",])) == len(seeds["final",]) == 3
    assert seeds["trial", 0, 0][0] != seeds["trial", 0, 1][0]
    assert any("Trier" not in set(cities[list(rows)]) for rows in learned), "that the test is about something"

    fitted = {rows for _, rows in ridge}
    assert fitted <= learned
    assert [rows for _, rows in ridge].count(ids(number)) == 1, "for use"
    # Where all folds choose alike, nothing is left to be chosen by the inner splits of all rows.
    assert learned - fitted <= {ids(number[split.train]) for split in plan.final.inner}
    for x, rows in ridge:
        assert min(abs(np.mean(x[:, 0])), abs(np.median(x[:, 0]))) < 1e-6, f"scaled by other rows than {rows}"


def test_seeds_differ_by_search_purpose_and_index():
    seeds = {seed_of(seed, what, index) for seed in range(3) for what in ("inner", "refit") for index in range(3)}
    assert len(seeds) == 3 * 2 * 3


# Noise


@pytest.mark.long
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_noise_that_can_be_memorised_is_not_predicted(task, search):
    random = np.random.default_rng(6)
    frame = pd.DataFrame(random.normal(size=(60, 40)), columns=[f"x{n}" for n in range(40)])
    frame["target"] = random.normal(size=60) if task == "regression" else random.permutation(["yes", "no"] * 30)
    loss = "'mse'" if task == "regression" else "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"
    folder, _ = search(
        frame, layer="keras.layers.Dropout(0.0)", units=64, outputs=1 if task == "regression" else 2, loss=loss,
        epochs=40, folds=4, seeds=2, max_trials=2, baselines="dummy,ridge" if task == "regression" else "dummy,knn",
    )  # fmt: skip
    [final] = lines(folder, "final")
    assert final["curve"]["loss"][-1] < 0.1, "it can be memorised"
    result = json.loads((folder / "result.json").read_text())
    chance = 0.0 if task == "regression" else 0.5
    board = {row["model"]: row for row in result["leaderboard"]}
    assert len(board) == 4
    for name, row in board.items():
        assert row["low"] <= chance, name
    assert board["network"]["score"] < chance + 0.1
    assert result["outcome"] == "guessing", result["verdict"]
