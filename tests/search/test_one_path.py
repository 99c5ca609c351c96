"""What the leaderboard scores is what the exported model prints for the same rows of the same file."""

import csv
import io

import keras
import numpy as np
import pandas as pd
import pytest

from tfopt.comparison.folds import Split
from tfopt.data import load_table, read_rows, to_inputs
from tfopt.data.encoder import SCALINGS
from tfopt.report.predictions import as_csv
from tfopt.search.coding import SplitCoder, decode, output_kind
from tfopt.search.config import SearchConfig
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


def printed_by(model, folder, frame, num_outputs):
    """Save and load an exported model; return what `tfopt predict` prints for a file of the rows to be scored."""
    frame.iloc[SPLIT.test].to_csv(folder / "test.csv", index=False)
    model.save(folder / "best.keras")
    model = keras.models.load_model(folder / "best.keras", compile=False)
    rows = read_rows(folder / "test.csv", model.columns, target_names=model.target_names)
    inputs = to_inputs(rows, model.columns)
    outputs = np.asarray(model(inputs))  # what `predict` does in batches; the tests of the command have `predict`
    header, *lines = csv.reader(io.StringIO(as_csv(model, outputs)))
    labels = len(header) - num_outputs  # a class stands before the numbers
    return header, np.array([line[labels:] for line in lines], float), [line[0] for line in lines]


RANGES = {"1e-9": (0.0, 1e-9), "1e9": (1e9, 1.0), "dates": (1.7e9, 3e7), "julian days": (2_459_000.5, 1.0)}
TARGETS = [("regression", name) for name in RANGES] + [("several", ""), (2, ""), (3, "")]


@pytest.mark.parametrize(
    ("task", "target_range", "scaling"),
    [*((*target, "standard") for target in TARGETS), *(("several", "", scaling) for scaling in SCALINGS[1:])],
)
def test_every_task_scaling_and_range(task, target_range, scaling, tmp_path):
    frame = table_of(task, *RANGES.get(target_range, (1.7e9, 10.0)))
    if task == "several":
        for name, (offset, unit) in RANGES.items():
            frame[name] = offset + unit * frame["second"] / 1e-9
    if scaling == "none":  # as read, so that large numbers would drown the others
        frame = frame.drop(columns=["julian day", "stamp", "huge", "when"])
    names = ["first", "second", *RANGES] if task == "several" else ["target"]
    frame.to_csv(tmp_path / "rows.csv", index=False)
    table = load_table(tmp_path / "rows.csv", target=names)
    coder = SplitCoder(table, "standard")
    keras.utils.set_random_seed(1)
    wide = 1 if task == 2 else table.num_outputs
    network = keras.Sequential(
        [keras.Input((coder.described()["num_features"],)), keras.layers.Dense(wide, kernel_initializer="normal")]
    )
    network.compile("sgd", "mse" if table.task == "regression" else keras.losses.BinaryCrossentropy(from_logits=True))
    network.optimizer.build(network.trainable_variables)
    matrix = coder.features(SPLIT.train, SPLIT.test, scaling)[1]
    kind = output_kind(network, wide, table)
    scored = decode(np.asarray(network(matrix)), kind, coder.scaler(SPLIT.train))
    exported = coder.exported([network], SPLIT.train, scaling)
    header, printed, labels = printed_by(exported, tmp_path, frame, table.num_outputs)
    if table.task == "classification":
        assert header == ["prediction", *(f"probability_{name}" for name in table.classes)]
        assert [table.classes.index(name) for name in labels] == scored.argmax(axis=1).tolist()
        spread = 1.0
    else:
        assert header == names
        spread = table.target.reshape(ROWS, -1).std(axis=0)
    assert (np.ptp(scored, axis=0) > 0.01 * spread).all()
    np.testing.assert_allclose(printed / spread, scored / spread, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["regression", 3])
def test_a_trained_network(task, tmp_path):
    frame = table_of(task, *RANGES["julian days"])
    frame.to_csv(tmp_path / "rows.csv", index=False)
    table = load_table(tmp_path / "rows.csv", target="target")
    coder = SplitCoder(table, "standard")
    problem = Problem(
        task=table.task,
        **coder.described(),
        num_outputs=table.num_outputs,
        num_rows=ROWS,
        epochs=8,
        table_rows=ROWS,
        same_units=False,
    )
    space = load_space("small")
    hyperparameters = discover(space, problem)
    fitting = Fitting(table, coder, space, problem, hyperparameters, [SPLIT], SearchConfig())
    values = {**default_values(hyperparameters), "scaling": "common"}
    task = Task(SPLIT, seed=1, epochs=8)
    fit = fitting.fit(values, task, member=None)
    [result] = fitting.engine(fit.engine).fit([fit.request])
    scored = fitting.prediction(values, task, result)
    assert scored is not None, result.failure
    exported = coder.exported([fitting.trained(values, task, result)], SPLIT.train, "common")
    _, printed, _ = printed_by(exported, tmp_path, frame, table.num_outputs)
    spread = table.target.std() if table.task == "regression" else 1.0
    assert np.ptp(scored) > 0.01 * spread
    np.testing.assert_allclose(printed, scored, rtol=0, atol=1e-6 * spread)
