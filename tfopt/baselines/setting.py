"""What a family's fit depends on, and what comes of it: a model, its untuned default and its grid."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sklearn import multioutput

from tfopt.baselines.tree_encoder import TreeEncoder
from tfopt.comparison.folds import Split
from tfopt.data.encoder import TableEncoder
from tfopt.data.table import Column, Table

Grid = list[dict[str, list[Any]]]

AS_TREES = "trees"  # in place of a scaling: the encoding is `TreeEncoder`'s


@dataclass(frozen=True)
class Setting:
    """What a grid depends on.

    Args:
        num_rows: Rows of the outer training part.
        fewest_rows: Rows of the smallest inner training part.
        width: Columns of the encoded matrix.
        num_targets: Regression targets; 1 for classification.
        num_classes: Classes; 0 for regression.
        seed: Seed of everything random.
        num_levels: For each column of a `TreeEncoder`'s matrix that holds categories, by its place, how many codes.
        exchangeable: Whether any rows may be held out to stop a training: not where groups or times keep rows together.
    """

    num_rows: int
    fewest_rows: int
    width: int
    num_targets: int
    num_classes: int
    seed: int
    num_levels: dict[int, int] = field(default_factory=dict)
    exchangeable: bool = True

    @classmethod
    def of(cls, table: Table, rows: int, inner: Sequence[Split], seed: int) -> "Setting":
        """Return the setting of an outer training part of so many rows with these inner splits."""
        regression = table.task == "regression"
        return cls(
            num_rows=rows,
            fewest_rows=min(len(split.train) for split in inner),
            width=TableEncoder(table.columns).width,
            num_targets=table.num_outputs if regression else 1,
            num_classes=0 if regression else table.num_outputs,
            seed=seed,
            num_levels=TreeEncoder(table.columns).num_codes,
            exchangeable=table.groups is None and table.times is None,
        )


@dataclass(frozen=True)
class Tunable:
    """How one family is fitted.

    Args:
        model: The model to tune.
        default: What a user gets without tuning: the library's own defaults, on standardised features where the
            encoding is not `AS_TREES`.
        grid: Parameter grids over the pipeline of `encode` and `model`; empty where there is nothing to tune.
        scaling: The scaling of the features where the grid does not choose it, or `AS_TREES`.
        num_draws: How many configurations to draw from the grid at random; None tries all.
        openmp: Whether it runs OpenMP threads of its own. They are limited for the calling thread only, so such fits go
            one by one.
    """

    model: Any
    default: Any
    grid: Grid
    scaling: str = "standard"
    num_draws: int | None = None
    openmp: bool = False


def encoder_of(columns: Sequence[Column], scaling: str) -> TableEncoder:
    """Return the encoder, not fitted, that a scaling or `AS_TREES` stands for."""
    return TreeEncoder(columns) if scaling == AS_TREES else TableEncoder(columns, scaling=scaling)


def each_target(model: Any, setting: Setting) -> tuple[Any, str]:
    """Return a model that fits each target by itself where there are several, and the prefix of its parameters."""
    if setting.num_targets == 1:
        return model, ""
    return multioutput.MultiOutputRegressor(model), "estimator__"


def under(prefix: str, **values: list[Any]) -> dict[str, list[Any]]:
    """Return lists of a model's parameters by their names in the pipeline."""
    return {f"model__{prefix}{name}": value for name, value in values.items()}
