"""The search from Python: the same as the command line's, whatever holds the table, and errors in Python's words."""

import io
import json
import pickle
from datetime import timedelta

import keras
import numpy as np
import pandas as pd
import pytest

import tfopt
from tfopt.errors import UserError
from tfopt.search import session
from tfopt.search.progress import ProgressLine
from tfopt.search.run_search import _asked

QUICK = {
    "space": "small",
    "max_trials": 2,
    "epochs": 2,
    "folds": 2,
    "inner_folds": 2,
    "seeds": 1,
    "workers": 1,
    "baselines": ["dummy", "ridge"],
}


@pytest.fixture(scope="module")
def frame(table_path):
    return pd.read_csv(table_path)


@pytest.fixture(scope="module")
def result(frame, tmp_path_factory):
    return tfopt.search.run(frame, "price", out=tmp_path_factory.mktemp("python") / "run", **QUICK)


@pytest.mark.long
def test_a_frame_gives_what_its_file_gives(result, table_path, configure, tmp_path):
    settings = QUICK | {"baselines": "dummy,ridge"}
    outcome = session.run(configure(tmp_path / "run", data=str(table_path), target=("price",), **settings))
    expected = outcome.comparison.leaderboard.set_index("model")["score"]
    pd.testing.assert_series_equal(result.leaderboard.set_index("model")["score"], expected, rtol=1e-5)
    assert result.verdict.split()[0] == outcome.comparison.verdict.split()[0]


@pytest.mark.slow
@pytest.mark.parametrize("labels", [[3, 7], [True, False], [0.5, 2.5]])
def test_labels_are_those_of_the_categories(labels, tmp_path):
    """Also where pandas calls numbers categories, as users do to say that they are classes."""
    y = pd.Categorical(np.resize(labels, 24), categories=labels)
    frame = pd.DataFrame({0: np.resize([1.0, -1.0], 24), "y": y})
    settings = QUICK | {"holdout": 0.25, "max_trials": 1, "baselines": ["logistic"]}
    found = tfopt.search.run(frame, "y", out=tmp_path / "run", progress=False, **settings)
    predicted = found.predict(frame, model="baseline")
    assert predicted.dtype == np.array(labels).dtype
    assert (predicted == frame["y"]).all()


@pytest.mark.slow
def test_predictions_are_the_models_own(result, frame, table_path):
    network = keras.models.load_model(result.folder / "best.keras", compile=False)
    expected = network.predict(frame.drop(columns="price"), verbose=0)[:, 0]
    for rows in (frame, frame.drop(columns="price"), str(table_path), frame.drop(columns="price").to_numpy()):
        np.testing.assert_allclose(result.predict(rows, model="network"), expected, rtol=1e-6)
    best = result.best_model
    assert result.best == best.family == "ridge"  # a straight line, and two epochs
    np.testing.assert_array_equal(result.predict(frame), best.predict(frame))
    low, high = result.predict_interval(frame, 0.8).T
    np.testing.assert_allclose((low + high) / 2, best.predict(frame), rtol=1e-6)
    covered = (low <= frame["price"]) & (frame["price"] <= high)  # of rows that the model has learned
    assert covered.mean() > 0.7
    with pytest.raises(UserError, match="between 0 and 1"):
        result.predict_interval(frame, 80)
    with pytest.raises(UserError, match=r"must have the 3 columns .* Received: 2\."):
        result.predict(np.ones((2, 2)))
    with pytest.raises(UserError, match="is a regression"):
        result.predict_proba(frame)


@pytest.mark.slow
def test_a_result_is_read_again_shown_and_copied(result, frame, tmp_path):
    again = tfopt.load(result.save(tmp_path / "copy"))
    np.testing.assert_array_equal(again.predict(frame), result.predict(frame))
    assert again.best_params == json.loads((result.folder / "result.json").read_text())["chosen"]["ridge"]
    assert len(repr(result)) < 600
    assert "<table" in result._repr_html_()
    assert result.plot().axes
    assert result.verdict.split()[0] in result.report().read_text(encoding="utf-8")
    assert pickle.loads(pickle.dumps(again)).verdict == result.verdict
    keras.models.load_model(result.save(tmp_path / "network.keras"), compile=False)
    (again.folder / "result.json").unlink()
    unfinished = tfopt.load(again.folder)
    assert unfinished.verdict.startswith("The search has not ended. Go on with tfopt.search.run(data, resume=")
    assert (len(unfinished.trials), len(unfinished.leaderboard)) == (len(result.trials), 0)
    with pytest.raises(UserError, match="exists already"):
        result.save(tmp_path / "copy")
    with pytest.raises(UserError, match="Did you mean 'leaderboard'"):
        result.plot("leaderbord")


@pytest.mark.slow
def test_a_function_is_a_space_and_its_run_goes_on_from_python_only(frame, tmp_path):
    def build(hp):
        model = keras.Sequential([keras.layers.Dense(hp.Choice("units", [2, 3])), keras.layers.Dense(3)])
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    rows = frame.dropna()
    x, y = rows[["size", "age"]].to_numpy(), rows["city"].to_numpy()
    settings = QUICK | {"space": build, "baselines": "none"}
    found = tfopt.search.run((x, y), out=tmp_path / "run", progress=False, **settings)
    assert set(found.best_params) <= {"units", "batch_size", "scaling"}
    assert found.predict_proba(x).shape == (len(x), 3)
    assert set(found.predict(x)) <= set(y)
    assert found.predict_interval(x, 0.8).any(axis=1).all()
    again = tfopt.search.run((x, y), resume=tmp_path / "run", space=build)
    assert again.best_params == found.best_params

    def other(hp):
        return build(hp)

    with pytest.raises(UserError, match="keeps its settings"):
        tfopt.search.run((x, y), resume=tmp_path / "run", space=other)
    with pytest.raises(UserError, match="given in Python"):
        tfopt.search.run(resume=tmp_path / "run", space=build)
    with pytest.raises(UserError, match="given in Python"):
        tfopt.search.run((x, y), resume=tmp_path / "run")


@pytest.mark.slow
def test_trials_add_no_names_of_variables_that_tensorflow_keeps_for_good(frame, tmp_path):
    names = []

    def build(hp, problem):
        model = keras.Sequential([keras.Input((problem.num_features,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(hp.Float("rate", 1e-3, 1e-2)), "mse")
        names.append(model.weights[0].value.name)
        return model

    once = QUICK | {"space": build, "baselines": "none", "folds": None, "holdout": 0.3, "epochs": 1, "max_trials": 12}
    tfopt.search.run(frame, "price", out=tmp_path / "run", **once)
    assert len(names) > 24
    assert len(set(names)) < 12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fold": 3}, "unknown setting 'fold'. Did you mean 'folds'"),
        ({"families": ["svm"]}, "Did you mean 'baselines'"),
        ({"random_state": 3}, "Did you mean 'seed'"),
        ({"folds": "many"}, "`folds`: 'many' is not a whole number."),
        ({"folds": True}, "`folds` takes no true or false"),
        ({"inner_folds": 1}, "`inner_folds` must be at least 2. Received: 1."),
        ({"time_limit": "soon"}, "`time_limit`: 'soon' is not a time"),
        (
            {"space": "smal"},
            "`space` must be one of default, small, mlp, .*, wide.*Did you mean 'small'",
        ),
        ({"space": 5}, "is no hypermodel"),
        ({"target": "prise"}, "no column 'prise' for `target`.*Did you mean 'price'"),
        ({"tuner": ["random"]}, "`tuner` must be a single value"),
        ({"resume": "nowhere"}, "no run folder nowhere"),
    ],
)
def test_errors_are_the_command_lines_in_pythons_names(frame, settings, message):
    with pytest.raises(UserError, match=message):
        tfopt.search.run(frame, **settings)


@pytest.mark.parametrize("data", [{"size": [1, 2], "price": [3, 4]}, [{"size": 1, "price": 3}], {1, 2}])
def test_what_only_pandas_makes_a_table_of_is_said_to_be_that(data):
    with pytest.raises(UserError, match=f"Received: {type(data).__name__}. Make a data frame of it."):
        tfopt.search.run(data)


def test_settings_are_taken_as_text_or_as_pythons_values(frame):
    named = frame.rename(columns={"price": "price, net"})
    config, _, _ = _asked(
        named, "price, net", {"drop": "size,age", "seed": np.int64(3), "column": {"city": "category"}}
    )
    assert (config.target, config.drop, config.seed) == (("price, net",), ("size", "age"), 3)
    assert config.column == ("city=category",)
    config, _, _ = _asked("a.csv", ["x", "y"], {"time_limit": "10m", "memory": "2GB", "header": False})
    assert (config.data, config.target, config.header) == ("a.csv", ("x", "y"), "no")
    assert (config.time_limit, config.memory) == (600.0, 2 * 10**9)
    config, _, _ = _asked(["a.csv", "b.csv"], None, {"time_limit": timedelta(minutes=1), "folds": None})
    assert (config.data, config.time_limit, config.folds) == ("a.csv,b.csv", 60.0, 5)


@pytest.mark.parametrize("name", [0, 2.5, None, pd.Timestamp("2024-01-01"), ("a", "b")])
def test_a_column_is_named_as_the_frame_names_it(name):
    frame = pd.DataFrame([[1, 2], [3, 4]], columns=pd.Index(["x", name], tupleize_cols=False))
    last = frame.columns[-1]  # pandas makes NaN of None
    for target in (last, [last], str(last)):
        assert _asked(frame, target, {})[0].target == (str(last),)
    assert _asked(frame, "x", {"drop": [last], "group": 7})[0].drop == (str(last),)


def test_the_progress_line_leaves_nothing_behind(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    with ProgressLine() as line:
        line.start("network", 4)
        line.advance("network", "trial 1")
    last, cleared = stream.getvalue().split("\r")[-3:-1]
    assert last.startswith("network 1/4 · ")
    assert cleared.strip() == ""
    assert len(cleared) >= len(last)
