"""What the leaderboard scores is what the exported model prints for the same rows of the same file."""

import csv
import io

import keras
import numpy as np
import pandas as pd
import pytest

from tfopt.comparison.folds import Split
from tfopt.data import load_table, read_rows
from tfopt.report.predictions import as_csv
from tfopt.search.coding import SplitCoder
from tfopt.search.fitting import Fitting, Task
from tfopt.search.oracles import default_values, discover
from tfopt.search.problem import Problem
from tfopt.search.user_space import load_space

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROWS = 60
SPLIT = Split(np.arange(40), np.arange(40, ROWS))


def table_of(task, offset=0.0, unit=1.0):
    """Return features of every kind and range, and targets that depend on them."""
    random = np.random.default_rng(0)
    signal, noise = random.normal(size=(2, ROWS))
    frame = pd.DataFrame(
        {
            "julian day": 2_459_000.5 + signal,
            "stamp": 1.7e9 + 3600 * random.normal(size=ROWS),
            "tiny": 1e-9 * random.normal(size=ROWS),
            "huge": 1e30 * random.normal(size=ROWS),
            "when": pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 10**8, ROWS), unit="s"),
            "city": random.choice(["Bonn", "Köln", "Trier"], ROWS),
            "open": random.choice(["yes", "no"], ROWS),
        }
    )
    frame.loc[[3, 50], "tiny"] = np.nan
    frame.loc[[4, 51], "city"] = None
    value = signal + 0.3 * noise + (frame["city"] == "Bonn")
    if task == "regression":
        frame["target"] = offset + unit * value
    elif task == "several":
        frame["first"], frame["second"] = offset + unit * value, 1e-9 * noise
    else:
        frame["target"] = pd.qcut(value, task, labels=["no", "yes", "perhaps"][:task])
    return frame


def both_paths(frame, folder, targets, scaling, target_scaling="standard", space="small"):
    """Return the table, what is scored, and what the exported, reloaded model prints for the file of the same rows."""
    frame.to_csv(folder / "rows.csv", index=False)
    frame.iloc[SPLIT.test].to_csv(folder / "test.csv", index=False)
    table = load_table(folder / "rows.csv", target=targets)
    coder = SplitCoder(table, target_scaling)
    problem = Problem(
        task=table.task,
        num_features=coder.num_features,
        num_outputs=table.num_outputs,
        num_rows=ROWS,
        epochs=8,
        table_rows=ROWS,
        same_units=False,
    )
    space = load_space(space)
    hyperparameters = discover(space, problem)
    fitting = Fitting(table, coder, space, problem, hyperparameters, [SPLIT])
    values = {**default_values(hyperparameters), "scaling": scaling}
    task = Task(SPLIT, seed=1, epochs=8)
    fit = fitting.fit(values, task, member=None)
    [result] = fitting.engine(fit.engine).fit([fit.request])
    scored = fitting.prediction(values, task, result)
    assert scored is not None, result.failure
    coder.exported(fitting.trained(values, task, result), SPLIT.train, scaling).save(folder / "best.keras")
    model = keras.models.load_model(folder / "best.keras", compile=False)
    rows = read_rows(folder / "test.csv", model.columns, target_names=model.target_names)
    header, *lines = csv.reader(io.StringIO(as_csv(model, model.predict(rows, verbose=0))))
    labels = len(header) - table.num_outputs  # a class stands before the numbers
    return table, scored, header, np.array([line[labels:] for line in lines], float), [line[0] for line in lines]


@pytest.mark.parametrize(
    ("offset", "unit", "scaling"),
    [
        (1.7e9, 3e7, "robust"),
        (2_459_000.5, 1.0, "common"),
        (1e9, 1.0, "none"),
        (0.0, 1e-9, "robust"),
        (0.0, 1e30, "standard"),
    ],
)
def test_regression(offset, unit, scaling, tmp_path):
    frame = table_of("regression", offset, unit)
    if scaling == "none":  # as read, so that large numbers would drown the others
        frame = frame[["tiny", "city", "open", "target"]]
    table, scored, header, printed, _ = both_paths(frame, tmp_path, "target", scaling)
    assert header == ["target"]
    spread = table.target.std()
    assert np.ptp(scored) > 0.01 * spread
    np.testing.assert_allclose(printed, scored, rtol=0, atol=1e-6 * spread)


def test_several_targets(tmp_path):
    targets = ["first", "second"]
    table, scored, header, printed, _ = both_paths(table_of("several", 1.7e9, 10.0), tmp_path, targets, "standard")
    assert header == targets
    np.testing.assert_allclose((printed - scored) / table.target.std(axis=0), 0 * scored, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("num_classes", "scaling"), [(2, "standard"), (3, "robust")])
def test_classes(num_classes, scaling, tmp_path):
    table, scored, header, printed, labels = both_paths(table_of(num_classes), tmp_path, "target", scaling)
    assert header == ["prediction", *(f"probability_{name}" for name in table.classes)]
    np.testing.assert_allclose(printed, scored, rtol=0, atol=1e-6)
    assert [table.classes.index(name) for name in labels] == scored.argmax(axis=1).tolist()
