"""LightGBM, XGBoost and CatBoost as baselines: gaps and categories go to them as they are, and they come back whole."""

import importlib

import numpy as np
import pandas as pd
import pytest

from tfopt.baselines import TableBaseline, families, left_out_families, select_families, tune
from tfopt.baselines.final import train_in_worker
from tfopt.baselines.tree_encoder import TreeEncoder
from tfopt.comparison.folds import Split
from tfopt.comparison.objective import get_objective
from tfopt.data import load_table
from tfopt.errors import UserError

LIBRARIES = ["lightgbm", "xgboost", "catboost"]
INNER = [Split(np.arange(0, 90, 2), np.arange(1, 90, 2)), Split(np.arange(1, 90, 2), np.arange(0, 90, 2))]
SPLIT = Split(np.arange(90), np.arange(90, 120))


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"size": random.normal(100, 20, 120), "day": pd.date_range("2024-01-01", periods=120)})
    frame["city"] = random.choice([f"city {n}" for n in range(8)], 120)
    frame["open"] = random.choice(["yes", "no"], 120)
    worth = np.array([int(name[-1]) % 3 for name in frame["city"]])
    frame["price"] = 50.0 * worth + frame["size"] + random.normal(size=120)
    frame["kind"] = np.where(worth == 0, "flat", np.where(frame["size"] > 100, "house", "shed"))
    frame.loc[[7, 8, 95], ["size", "open"]] = None
    frame.loc[[3, 4, 96], "city"] = None
    return frame


def table_of(frame, target):
    return load_table(frame.drop(columns={"price", "kind"} - {target}), target=target)


def test_trees_get_gaps_as_gaps_and_a_category_as_one_number(frame):
    table = table_of(frame, "price")
    encoder = TreeEncoder(table.columns).fit(table.features.iloc[:90])
    matrix = encoder.transform(table.features)
    named = dict(zip(encoder.sources, matrix.T, strict=True))
    np.testing.assert_array_equal(np.isnan(named["size"]), frame["size"].isna())
    np.testing.assert_array_equal(named["size"][10:], frame["size"][10:].to_numpy())  # no digit is lost
    np.testing.assert_array_equal(np.isnan(named["open"]), frame["open"].isna())
    [(place, number)] = encoder.num_codes.items()
    assert encoder.sources[place] == "city"
    counts = frame["city"].iloc[:90].value_counts()
    most = counts.sort_index().sort_values(ascending=False, kind="stable").index[0]
    assert set(matrix[(frame["city"] == most).to_numpy(), place]) == {0}
    assert set(matrix[frame["city"].isna().to_numpy(), place]) == {number - 1}
    other = encoder.transform(table.features.assign(city="elsewhere"))
    assert set(other[:, place]) == {number - 2}


@pytest.mark.slow
@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("target", ["price", "kind"])
def test_a_family_is_tuned_and_the_same_after_a_reload(name, target, frame, tmp_path):
    pytest.importorskip(name, reason=f"{name} is not installed: pip install tfopt[boosting]")
    table = table_of(frame, target)
    objective = get_objective(None if target == "price" else "log_loss", table.task)
    [*_, family] = select_families(name, table.task, objective, 120)
    result = tune(family, table, 0, SPLIT, INNER, objective)
    again = tune(family, table, 0, SPLIT, INNER, objective)
    np.testing.assert_array_equal(result.outputs, again.outputs)
    assert result.num_configurations > 2
    if target == "price":
        assert result.score > 0.6  # the city alone explains three quarters
    else:
        assert result.score > -0.8
        np.testing.assert_allclose(result.outputs.sum(axis=1), 1, atol=1e-6)
    content, parameters, _ = train_in_worker(table, family, [result.chosen], INNER, objective, 0)
    path = tmp_path / "model.skops"
    path.write_bytes(content)
    baseline = TableBaseline.load(path)
    given = frame.iloc[90:].astype({"day": str}).assign(city=lambda rows: rows["city"].replace("city 1", "elsewhere"))
    outputs = baseline.outputs(given)
    assert np.isfinite(outputs).all()
    in_order = baseline.model.predict(baseline.encoder.transform(table.features.iloc[90:]))
    unchanged = (frame["city"].iloc[90:] != "city 1").to_numpy()
    mine = outputs[:, 0] if target == "price" else outputs.argmax(axis=1)
    np.testing.assert_allclose(mine[unchanged], in_order[unchanged])
    assert {key.rpartition("__")[2]: value for key, value in parameters.items()} == result.chosen


def test_a_fold_that_lacks_a_class_is_learned(frame):
    pytest.importorskip("xgboost", reason="xgboost is not installed: pip install tfopt[boosting]")
    table = table_of(frame, "kind")
    rare = np.flatnonzero(table.target == 0)
    split = Split(np.setdiff1d(np.arange(120), rare), rare)
    inner = [Split(split.train[::2], split.train[1::2])]
    objective = get_objective(None, table.task)
    [*_, family] = select_families("xgboost", table.task, objective, 120)
    result = tune(family, table, 0, split, inner, objective)
    assert result.outputs.shape == (len(rare), 3)
    assert (result.outputs[:, 0] == 0).all()


def test_without_the_libraries_one_line_says_how_to_get_them(frame, monkeypatch):
    monkeypatch.setattr(families.importlib.util, "find_spec", lambda name: None)
    objective = get_objective(None, "regression")
    assert not {"lightgbm", "xgboost"} & {family.name for family in select_families("all", "regression", objective, 99)}
    reasons = left_out_families("all", "regression", objective, 99)
    [line] = {reasons[name] for name in LIBRARIES}
    assert "pip install 'tfopt[boosting]'" in line
    assert set(left_out_families("fast", "regression", objective, 99)) == {"lightgbm"}
    with pytest.raises(UserError, match=r"'xgboost' needs xgboost\. pip install 'tfopt\[boosting\]' brings it"):
        select_families("xgboost", "regression", objective, 99)


def test_a_model_whose_library_is_not_there_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("skops.io.load", lambda *_, **__: importlib.import_module("no_such_library"))
    with pytest.raises(UserError, match=r"needs no_such_library\. pip install 'tfopt\[boosting\]'"):
        TableBaseline.load(tmp_path / "model.skops")
