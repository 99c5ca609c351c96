"""Small tables made by hand."""

import pandas as pd
import pytest

from tfopt.data.table import Column, Table


@pytest.fixture(scope="session")
def make_table():
    def make(features, target, *, task, weights=None):
        names = [f"x{i}" for i in range(features.shape[1])]
        return Table(
            name="made",
            source="made",
            sha256="",
            task=task,
            features=pd.DataFrame(features, columns=names),
            columns=tuple(Column(name, "numeric") for name in names),
            target=target,
            target_names=("y",) if target.ndim == 1 else tuple(f"y{i}" for i in range(target.shape[1])),
            classes=tuple(f"c{i}" for i in range(int(target.max()) + 1)) if task == "classification" else (),
            weights=weights,
        )

    return make
