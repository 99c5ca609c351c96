"""A fitted scikit-learn model together with the encoding of its table: raw columns in, predictions out."""

import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from skops.io.exceptions import UntrustedTypesFoundException

from tfopt.data.column import Column
from tfopt.data.encoder import TableEncoder
from tfopt.data.rows import canonical
from tfopt.data.table import Table, Task
from tfopt.errors import UserError, command, one_line

# What a file may hold beside the types that skops trusts by itself: compiled parts of scikit-learn's models, boosted
# trees, whose libraries read their own format, and ours.
_TRUSTED = [
    "builtins.bytearray",
    "builtins.bytes",
    "catboost.core.CatBoostClassifier",
    "catboost.core.CatBoostRegressor",
    "collections.OrderedDict",
    "collections.defaultdict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
    "tfopt.baselines.boosting.BoostedClassifier",
    "tfopt.baselines.boosting.BoostedRegressor",
    "tfopt.baselines.example_features.GradientHistogram",
    "tfopt.baselines.example_features.SequenceSummary",
    "tfopt.baselines.example_features.WordEncoder",
    "tfopt.baselines.forecasts.EarlierValue",
    "tfopt.baselines.table_baseline.TableBaseline",
    "tfopt.baselines.tree_encoder.TreeEncoder",
    "tfopt.data.column.Column",
    "tfopt.data.encoder.TableEncoder",
    "tfopt.data.text.TopicCoder",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRegressor",
]


@dataclass
class TableBaseline:
    """A trained baseline that takes raw columns, as `tfopt.data.TableModel` is a trained network that does.

    Args:
        family: Name of the family, such as `"ridge"`.
        parameters: What was chosen, by scikit-learn's names of the steps `encode` and `model`.
        encoder: Columns to numbers, fitted.
        model: The scikit-learn model, fitted on float64 of the encoder's numbers and, for classes, on codes.
        task: The kind of target.
        classes: The class labels; empty for regression.
        target_names: Name of each target.
        target_scale: Standard deviation of each regression target in training.

    Example:
        ```python
        from sklearn.linear_model import RidgeClassifier

        table = tfopt.data.load_table("iris")
        encoder = tfopt.data.TableEncoder(table.columns).fit(table.features)
        ridge = RidgeClassifier().fit(encoder.transform(table.features).astype("float64"), table.target)
        model = tfopt.baselines.TableBaseline.of(table, "ridge_classifier", {}, encoder, ridge)
        print(model.predict(table.features)[:2].tolist())  # ['setosa', 'setosa']
        ```
    """

    family: str
    parameters: dict[str, Any]
    encoder: TableEncoder
    model: Any
    task: Task
    classes: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    target_scale: tuple[float, ...] = field(default=())

    @classmethod
    def of(
        cls, table: Table, family: str, parameters: dict[str, Any], encoder: TableEncoder, model: Any
    ) -> "TableBaseline":
        """Return the baseline of an encoder and a model that were fitted on this table."""
        scale = table.target.reshape(table.num_rows, -1).std(axis=0)
        return cls(
            family=family,
            parameters=parameters,
            encoder=encoder,
            model=model,
            task=table.task,
            classes=tuple(table.classes),
            target_names=tuple(table.target_names),
            target_scale=tuple(np.where(scale > 0, scale, 1.0).tolist()) if table.task == "regression" else (),
        )

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that it needs."""
        return tuple(self.encoder.columns)

    @property
    def levels(self) -> Mapping[str, tuple[str, ...]]:
        """For each categorical column the levels that it knows."""
        return self.encoder.levels_

    def outputs(self, frame: pd.DataFrame | Mapping[str, Any]) -> np.ndarray:
        """Return values (rows, targets) or probabilities (rows, classes); class codes (rows,) where it knows no more.

        Args:
            frame: Rows with the training table's columns, as files or people write them; other columns are left aside.

        Raises:
            UserError: When a column is missing, or holds what its kind cannot.
        """
        encoded = self.encoder.transform(canonical(frame, self.columns)).astype(np.float64)
        return outputs_of(self.model, encoded, self.task, len(self.classes))

    def predict(self, frame: pd.DataFrame | Mapping[str, Any]) -> np.ndarray:
        """Return class labels (rows,), or values (rows,) or (rows, targets)."""
        outputs = self.outputs(frame)
        if self.task == "regression":
            return outputs[:, 0] if outputs.shape[1] == 1 else outputs
        return np.array(self.classes, dtype=object)[outputs if outputs.ndim == 1 else outputs.argmax(axis=1)]

    def predict_proba(self, frame: pd.DataFrame | Mapping[str, Any]) -> np.ndarray:
        """Return the probability of each class (rows, classes).

        Raises:
            UserError: The model gives none.
        """
        outputs = self.outputs(frame)
        if self.task == "regression" or outputs.ndim == 1:
            raise UserError(f"{self.family} gives no class probabilities. Use predict, or another model.")
        return outputs

    def save(self, path: Path) -> None:
        """Write it with skops, so that reading it back runs no code of the file."""
        skops.io.dump(self, path, compression=zipfile.ZIP_DEFLATED)

    @classmethod
    def load(cls, path: Path, packages: Collection[str] = ()) -> "TableBaseline":
        """Read what `save` wrote.

        Args:
            path: The file.
            packages: Names of modules and packages whose types it may hold too.

        Raises:
            UserError: The file holds other types than such a baseline, is damaged, or needs a library.
        """
        try:
            unknown = skops.io.get_untrusted_types(file=path) if packages else []
            others = [name for name in unknown if name.partition(".")[0] in packages]
            loaded = skops.io.load(path, trusted=[*_TRUSTED, *others])
        except UntrustedTypesFoundException as error:
            raise UserError(
                f"{path} is not loaded: it holds types that no baseline of tfopt's has ({one_line(error)}). Is it a "
                "baseline of your own, name its file with --space FILE."
            ) from None
        except MemoryError:
            raise
        except ModuleNotFoundError as error:
            raise UserError(f"{path} needs {error.name}. pip install 'tfopt[boosting]' brings it.") from None
        except Exception as error:  # of a damaged archive anything may come
            raise UserError(
                f"{path} is damaged ({one_line(error)[:200]}). Restore it, or delete it and have it made anew: "
                + command("search", "--resume", path.parent.parent)
            ) from None
        if not isinstance(loaded, cls):
            raise UserError(f"{path} holds no baseline but a {type(loaded).__name__}. Name a run of tfopt search.")
        return loaded


def outputs_of(model: Any, features: Any, task: Task, num_classes: int) -> np.ndarray:
    """Return what a fitted model knows of some rows: see `TableBaseline.outputs`.

    Args:
        model: A model, or a pipeline that ends in one.
        features: What it takes.
        task: The kind of target.
        num_classes: Classes of the whole table; a fold may have learned fewer.
    """
    if task == "regression":
        values = model.predict(features)
        return values.reshape(len(values), -1)
    if not hasattr(model, "predict_proba"):
        return model.predict(features)
    known = model.predict_proba(features)
    probabilities = np.zeros((len(known), num_classes))
    probabilities[:, model.classes_] = known
    return probabilities
