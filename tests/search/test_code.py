"""The program of a model predicts what the model does."""

import io
import runpy
import sys

import numpy as np
import pandas as pd
import pytest

from tfopt.baselines import select_families, train_for_use
from tfopt.comparison.folds import Split
from tfopt.comparison.objective import get_objective
from tfopt.search.code import baseline_code
from tfopt.search.config import SearchConfig
from tfopt.search.plan import table_of

INNER = [Split(np.arange(0, 60, 2), np.arange(1, 60, 2))]


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"size, net": random.normal(100, 20, 60), "age": 2_459_000.5 + random.normal(size=60)})
    frame["mostly 0"] = np.where(random.random(60) < 0.8, 0.0, random.normal(size=60))
    frame["city"] = random.choice(["Bonn", "Köln", "(other)", "'"], 60)
    frame["grade"] = [f"g{place % 40}" for place in range(60)]  # more levels than have a column each
    frame["open"] = random.choice(["yes", "no"], 60)
    frame["day"] = pd.date_range("2024-01-01 06:30", periods=60, freq="31h").strftime("%d.%m.%Y %H:%M")
    frame.loc[[7, 8], ["size, net", "city", "open", "day"]] = None
    frame["w"] = random.integers(1, 4, 60)
    frame["price"] = frame["size, net"].fillna(100) * 3 + random.normal(size=60)
    frame["kind"] = random.choice(["flat", "house", "shed"], 60)
    return frame


@pytest.fixture
def same(tmp_path, monkeypatch, capsys):
    """Return a function that runs a program on new rows and compares it with the model that it stands for."""

    def check(frame, family, choice, separator=",", self_contained=True, name="houses.csv", **settings):
        path, new = tmp_path / name, tmp_path / f"new-{name}"
        frame.to_csv(path, index=False, sep=separator, **({"decimal": ","} if separator == ";" else {}))
        rows = frame.iloc[30:].copy()
        rows.loc[rows.index[0], "city"] = "Trier"
        rows.drop(columns=settings["target"]).to_csv(
            new, index=False, sep=separator, decimal="," if separator == ";" else "."
        )
        config = SearchConfig(data=str(path), **settings)
        table = table_of(config)
        [*_, found] = select_families(family, table.task, get_objective(None, table.task), 60)
        baseline = train_for_use(table, found, [choice], INNER, get_objective(None, table.task), 0)
        code = baseline_code(baseline, table, config)
        assert ("tfopt.data" not in code) == self_contained
        (tmp_path / "model.py").write_text(code, encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["model.py"])
        with pytest.raises(SystemExit, match="which rows"):
            runpy.run_path(str(tmp_path / "model.py"), run_name="__main__")
        monkeypatch.setattr(sys, "argv", ["model.py", str(new)])
        capsys.readouterr()
        runpy.run_path(str(tmp_path / "model.py"), run_name="__main__")
        given = pd.read_csv(io.StringIO(capsys.readouterr().out))
        outputs = baseline.outputs(rows.drop(columns=settings["target"]))
        if table.task == "regression":
            np.testing.assert_allclose(given[list(table.target_names)], outputs, rtol=1e-9)
        else:
            codes = outputs if outputs.ndim == 1 else outputs.argmax(axis=1)
            assert given["prediction"].tolist() == [table.classes[code] for code in codes]
            if outputs.ndim == 2:
                shares = given[[f"probability_{label}" for label in table.classes]]
                np.testing.assert_allclose(shares, outputs, atol=1e-9)
        return code

    return check


@pytest.mark.parametrize(
    ("family", "choice"),
    [
        ("svm", {"C": 10.0, "gamma": 0.03, "epsilon": 0.1, "scaling": "robust"}),
        ("ridge", {"alpha": 0.51794746792312, "scaling": "common"}),
        ("lasso", {"alpha": 0.01, "scaling": "standard"}),
        ("random_forest", {"max_features": 0.33, "min_samples_leaf": 5}),
        ("dummy", {"strategy": "median"}),
    ],
)
def test_a_regression_program_predicts_what_the_model_does(family, choice, frame, same):
    same(frame.drop(columns=["kind", "w"]), family, choice, target=["price"])


@pytest.mark.parametrize(
    ("family", "choice", "settings"),
    [
        ("logistic", {"scaling": "robust", "solver": "newton-cg", "l1_ratio": 0.0, "max_iter": 1000, "C": 0.1}, {}),
        ("hist_gradient_boosting", {"learning_rate": 0.1, "max_iter": 20, "max_leaf_nodes": 3}, {"weights": "w"}),
        ("svm", {"C": 10.0, "gamma": 0.03, "scaling": "standard"}, {"class_weight": "balanced"}),
        ("knn", {"n_neighbors": 7, "weights": "distance", "scaling": "standard"}, {"drop": ["w"]}),
    ],
)
def test_a_classification_program_predicts_what_the_model_does(family, choice, settings, frame, same):
    code = same(frame.drop(columns="price"), family, choice, target=["kind"], **settings)
    assert ("sample_weight" in code) == (family in ("hist_gradient_boosting", "svm"))


@pytest.mark.parametrize(
    ("library", "choice"),
    [
        ("lightgbm", {"learning_rate": 0.1, "n_estimators": 20, "min_child_samples": 5}),
        ("xgboost", {"learning_rate": 0.1, "n_estimators": 20, "max_depth": 3}),
        ("catboost", {"learning_rate": 0.1, "iterations": 20, "depth": 3}),
    ],
)
def test_a_program_of_boosted_trees_predicts_what_the_model_does(library, choice, frame, same):
    pytest.importorskip(library, reason=f"{library} is not installed: pip install tfopt[boosting]")
    code = same(frame.drop(columns="price"), library, choice, target=["kind"], weights="w")
    assert f"from {library} import" in code
    assert "from tfopt.baselines.boosting import BoostedClassifier" in code
    numbers = frame[["size, net", "city", "day", "price"]].assign(rent=frame["age"] - 2_459_000)
    same(numbers, library, choice, target=["price", "rent"])


def test_what_pandas_or_scikit_learn_do_not_do_alike_is_done_by_tfopt(frame, same):
    numbers = frame[["size, net", "age", "city", "price"]]
    same(numbers, "ridge", {"alpha": 1.0, "scaling": "standard"}, separator=";", target=["price"])  # decimal commas
    money = numbers.assign(cost=[f"{place % 7}.50 €" for place in range(60)])
    same(money, "ridge", {"alpha": 1.0, "scaling": "standard"}, target=["price"], self_contained=False)
    text = numbers.assign(note=["a fine old house", "a garden of roses", "needs a new roof"] * 20)
    settings = {"target": ["price"], "column": ["note=text"], "self_contained": False}
    same(text, "ridge", {"alpha": 1.0, "scaling": "standard"}, **settings)
    several = frame[["size, net", "city", "age", "price"]].assign(rent=frame["age"] - 2_459_000)
    same(several, "svm", {"C": 1.0, "gamma": 0.1, "epsilon": 0.1, "scaling": "common"}, target=["price", "rent"])
