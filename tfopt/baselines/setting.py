"""What a family's fit depends on, and what comes of it: a model, its untuned default and its grid."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sklearn import multioutput

from tfopt.baselines.example_features import WordEncoder
from tfopt.baselines.tree_encoder import TreeEncoder
from tfopt.comparison.folds import Split
from tfopt.data.encoder import TableEncoder
from tfopt.data.examples import ExampleSet
from tfopt.data.table import Column, Table

Grid = list[dict[str, list[Any]]]

# In place of a scaling: the encoding is `TreeEncoder`'s or `WordEncoder`'s.
AS_TREES, AS_WORDS = "trees", "words"
_ENCODERS: dict[str, type[TableEncoder]] = {AS_TREES: TreeEncoder, AS_WORDS: WordEncoder}


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
        shape: Of an image or a sequence, whose numbers are the columns; empty for a table.
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
    shape: tuple[int, ...] = ()

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
            shape=table.parts.shape if isinstance(table, ExampleSet) and table.kind != "other" else (),
        )


@dataclass(frozen=True)
class Tunable:
    """How one family is fitted.

    Args:
        model: The model to tune.
        default: What a user gets without tuning: the library's own defaults, on standardised features where the
            encoding is one.
        grid: Parameter grids over the pipeline of `encode` and `model`; empty where there is nothing to tune.
        scaling: The scaling of the features where the grid does not choose it, `AS_TREES` or `AS_WORDS`.
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
    """Return the encoder, not fitted, that a scaling or what stands in its place means."""
    return _ENCODERS[scaling](columns) if scaling in _ENCODERS else TableEncoder(columns, scaling=scaling)


def untuned_scaling(scaling: str) -> str:
    """Return the scaling of an untuned default."""
    return scaling if scaling in _ENCODERS else "standard"


def each_target(model: Any, setting: Setting) -> tuple[Any, str]:
    """Return a model that fits each target by itself where there are several, and the prefix of its parameters."""
    if setting.num_targets == 1:
        return model, ""
    return multioutput.MultiOutputRegressor(model), "estimator__"


def under(prefix: str, **values: list[Any]) -> dict[str, list[Any]]:
    """Return lists of a model's parameters by their names in the pipeline."""
    return {f"model__{prefix}{name}": value for name, value in values.items()}
