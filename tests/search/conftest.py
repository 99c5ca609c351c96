"""A table small enough to search in seconds."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tfopt.search.config import SearchConfig
from tfopt.search.session import run


@pytest.fixture(scope="session")
def table_path(tmp_path_factory) -> Path:
    """Return a CSV of 60 rows: two numbers, a category with a missing value, and a price."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"size": random.normal(100, 20, 60).round(3), "age": random.integers(0, 50, 60) + 0.5})
    frame["city"] = random.choice(["Bonn", "Köln", "Trier"], 60)
    frame.loc[7, "city"] = None
    frame["price"] = (3 * frame["size"] - 2 * frame["age"] + 40 * (frame["city"] == "Köln")).round(2)
    path = tmp_path_factory.mktemp("table") / "houses.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def configure(table_path):
    """Return a function that makes a configuration of a search of a few seconds, in a folder of its own."""

    def make(out: Path, **changes) -> SearchConfig:
        values = {
            "data": str(table_path),
            "space": "small",
            "max_trials": 3,
            "epochs": 3,
            "folds": 2,
            "inner_folds": 2,
            "seeds": 2,
            "baselines": "dummy,ridge",
            "workers": 1,
            "out": str(out),
        }
        return SearchConfig(**(values | changes))

    return make


@pytest.fixture(scope="session")
def whole(configure, tmp_path_factory):
    """Return the outcome of an uninterrupted search, which tests look at and leave as it is."""
    return run(configure(tmp_path_factory.mktemp("whole") / "run"))


@pytest.fixture
def quick(configure, tmp_path):
    """Return a function that makes such a configuration in the folder of this test."""
    return partial(configure, tmp_path / "run")


@pytest.fixture
def rates(tmp_path) -> str:
    """Return a space of one shape of network, which takes a third of the time of many."""
    path = tmp_path / "rates.py"
    path.write_text(
        "import keras\n"
        "def build(hp):\n"
        "    model = keras.Sequential([keras.layers.Dense(4, 'tanh'), keras.layers.Dense(1)])\n"
        "    model.compile(keras.optimizers.Adam(hp.Float('rate', 1e-3, 1e-1, sampling='log')), 'mse')\n"
        "    return model\n"
    )
    return f"{path}:build"
