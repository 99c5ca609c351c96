"""Baselines for use: what is chosen for them, that they predict after a reload, and that a file runs no code."""

import os

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from tfopt.baselines import TableBaseline, select_families, train_for_use
from tfopt.baselines.final import train_in_worker
from tfopt.comparison.folds import Split
from tfopt.comparison.objective import get_objective
from tfopt.data import load_table
from tfopt.errors import UserError

INNER = [Split(np.arange(0, 60, 2), np.arange(1, 60, 2)), Split(np.arange(1, 60, 2), np.arange(0, 60, 2))]


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"size": random.normal(100, 20, 60), "day": pd.date_range("2024-01-01", periods=60)})
    frame["city"] = random.choice(["Bonn", "Köln", "Trier"], 60)
    frame.loc[7, ["city", "size"]] = None
    frame["note"] = ["a fine old house", "a garden of roses", "needs a new roof soon", "near the old town wall"] * 15
    frame["price"] = frame["size"].fillna(100) * 3 + random.normal(size=60)
    frame["kind"] = random.choice(["flat", "house", "shed"], 60)
    return frame


def family_of(name, task):
    return select_families(name, task, get_objective(None, task), 60)[-1]


@pytest.mark.long("regression")
@pytest.mark.slow
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_every_family_is_the_same_after_a_reload(task, frame, tmp_path):
    target = "price" if task == "regression" else "kind"
    table = load_table(frame.drop(columns={"price", "kind"} - {target}), target=target, columns={"note": "text"})
    objective = get_objective(None, task)
    choice = {"mlp": {"early_stopping": False, "hidden_layer_sizes": [8]}}
    for family in select_families("all", task, objective, 60):
        name = family.name
        content, parameters, _ = train_in_worker(table, family, [choice.get(name, {})], INNER, objective, 0)
        path = tmp_path / "model.skops"
        path.write_bytes(content)
        baseline = TableBaseline.load(path)
        trained = train_for_use(table, family, [choice.get(name, {})], INNER, objective, 0)
        given = frame[["note", "city", "day", "size"]].iloc[40:].astype({"day": str})  # as a file has them
        np.testing.assert_array_equal(baseline.outputs(given), trained.outputs(table.features.iloc[40:]))
        assert (baseline.parameters, baseline.target_names) == (parameters, (target,))
        if task == "classification":
            assert set(baseline.predict(given)) <= {"flat", "house", "shed"}
        if task == "regression" or not family.probabilities:
            with pytest.raises(UserError, match="gives no class probabilities"):
                baseline.predict_proba(given)
        else:
            np.testing.assert_allclose(baseline.predict_proba(given).sum(axis=1), 1)


def test_the_choice_for_use_is_the_best_of_the_folds_choices_fitted_on_all_rows(make_table):
    random = np.random.default_rng(1)
    features = random.normal(3, 2, size=(60, 4))
    table = make_table(features, features[:, 0] + random.normal(size=60), task="regression", weights=np.arange(1.0, 61))
    choices = [{"alpha": alpha, "scaling": "standard"} for alpha in (1000.0, 3.0, 1000.0)]
    baseline = train_for_use(
        table, family_of("ridge", "regression"), choices, INNER, get_objective(None, "regression"), 0
    )
    assert baseline.parameters == {"model__alpha": 3.0, "encode__scaling": "standard"}
    scaled = StandardScaler().fit_transform(features)
    expected = Ridge(alpha=3.0).fit(scaled, table.target, sample_weight=table.weights).predict(scaled)
    np.testing.assert_allclose(baseline.predict(table.features), expected, rtol=1e-6)


def test_a_file_of_other_types_is_refused_and_nothing_of_it_runs(tmp_path):
    path = tmp_path / "model.skops"
    skops.io.dump({"run": os.system}, path)
    with pytest.raises(UserError, match=r"is not loaded: it holds types that no baseline of tfopt's has .*system"):
        TableBaseline.load(path)
    skops.io.dump([1], path)
    with pytest.raises(UserError, match="holds no baseline but a list"):
        TableBaseline.load(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="is damaged"):
        TableBaseline.load(path)
