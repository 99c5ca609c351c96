"""Small tables made by hand."""

import numpy as np
import pandas as pd
import pytest

from tfopt.data.table import Column, Table


@pytest.fixture(scope="session")
def make_table():
    def make(target, *, task="classification", groups=None, weights=None, times=None):
        target = np.asarray(target)
        num_rows = len(target)
        return Table(
            name="made",
            source="made",
            sha256="",
            task=task,
            features=pd.DataFrame({"x": np.arange(num_rows, dtype=float)}),
            columns=(Column("x", "numeric"),),
            target=target,
            target_names=("y",),
            classes=tuple(f"c{i}" for i in range(int(target.max()) + 1)) if task == "classification" else (),
            groups=None if groups is None else np.asarray(groups),
            weights=weights,
            times=None if times is None else np.asarray(times, float),
        )

    return make
