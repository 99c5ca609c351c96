"""Between a table and a network: rows to numbers for one split, and the network's outputs back to predictions."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from scipy import special

from tfopt.comparison.objective import Objective
from tfopt.data.encoder import TableEncoder
from tfopt.data.table import Table
from tfopt.data.table_ensemble import TableEnsemble
from tfopt.data.table_model import TableModel, TablePreprocessing
from tfopt.training.ensemble import MeanOfNetworks

Output = Literal["values", "logits", "probabilities", "binary_logit", "binary_probability"]
TargetForm = Literal["values", "codes", "one_hot", "binary"]

# What the mean of several networks emits, and what makes it of their outputs: it is probabilities that are averaged.
_MEANS: dict[Output, tuple[Output, str]] = {
    "logits": ("probabilities", "softmax"),
    "binary_logit": ("binary_probability", "sigmoid"),
}


@dataclass(frozen=True)
class TargetScaler:
    """Standardises regression targets by the mean and standard deviation of the training rows, per target."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, target: np.ndarray, how: str) -> "TargetScaler":
        """Return the scaler of these training targets, (rows, targets); `how` is `"standard"` or `"none"`."""
        if how == "none":
            return cls(np.zeros(target.shape[1]), np.ones(target.shape[1]))
        scale = target.std(axis=0)
        return cls(target.mean(axis=0), np.where(scale > 0, scale, 1.0))


def loss_of(model: keras.Model, place: str | int | None = None) -> Any:
    """Return the loss of the output at a place; the only one where there are no places."""
    loss = model.loss
    if place is not None and isinstance(loss, dict | list | tuple):
        return loss.get(place) if isinstance(loss, dict) else loss[int(place)]
    return loss


def output_kind(model: keras.Model, width: int, table: Table, place: str | int | None = None) -> Output:
    """Return what the network's last layer of this width emits, read off its width and its loss.

    Raises:
        ValueError: The width fits no target of this table.
    """
    if table.task == "regression":
        if width != table.num_outputs:
            raise ValueError(f"The network has {width} outputs for {table.num_outputs} target(s).")
        return "values"
    from_logits = bool(getattr(loss_of(model, place), "from_logits", False))
    if width == table.num_outputs:
        return "logits" if from_logits else "probabilities"
    if width == 1 and table.num_outputs == 2:
        return "binary_logit" if from_logits else "binary_probability"
    raise ValueError(f"The network has {width} outputs for {table.num_outputs} classes.")


def target_form(model: keras.Model, output: Output, place: str | int | None = None) -> TargetForm:
    """Return how the loss of the output at a place wants its targets."""
    if output == "values":
        return "values"
    if output.startswith("binary"):
        return "binary"
    loss = loss_of(model, place)
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return "codes" if "sparse" in name.lower() else "one_hot"


def code_target(target: np.ndarray, form: TargetForm, num_outputs: int, scaler: TargetScaler | None) -> np.ndarray:
    """Return the targets as the loss wants them: float32 (rows, outputs), or int32 codes (rows,)."""
    if form == "values":
        assert scaler is not None
        return ((target.reshape(len(target), -1) - scaler.mean) / scaler.scale).astype("float32")
    if form == "codes":
        return target.astype("int32")
    if form == "binary":
        return target.astype("float32")[:, None]
    return np.eye(num_outputs, dtype="float32")[target]


def decode(outputs: np.ndarray, kind: Output, scaler: TargetScaler | None) -> np.ndarray:
    """Return predictions in the table's units: values (rows, targets), or probabilities (rows, classes)."""
    outputs = outputs.astype("float64")
    if kind == "values":
        assert scaler is not None
        return outputs * scaler.scale + scaler.mean
    if kind == "logits":
        return special.softmax(outputs, axis=1)
    if kind == "probabilities":
        return outputs
    if kind == "binary_logit":
        return special.expit(np.concatenate([-outputs[:, :1], outputs[:, :1]], axis=1))
    return np.concatenate([1 - outputs[:, :1], outputs[:, :1]], axis=1)


def for_objective(prediction: np.ndarray, table: Table, objective: Objective) -> np.ndarray:
    """Return the decoded predictions in the form that the objective scores."""
    if table.task == "regression":
        return prediction[:, 0] if table.target.ndim == 1 else prediction
    return prediction if objective.needs == "probabilities" else prediction.argmax(axis=1)


class SplitCoder:
    """Encodes the rows of a split, fitted on its training part; keeps the latest encodings within a byte budget."""

    def __init__(self, table: Table, target_scaling: str, max_bytes: int = 2**30):
        self._table, self._target_scaling, self._max_bytes = table, target_scaling, max_bytes
        self._kept: OrderedDict[tuple, tuple[Any, Any]] = OrderedDict()

    def described(self) -> dict[str, Any]:
        """Return what a `Problem` says of the encoded inputs, the same for every split and scaling."""
        encoder = TableEncoder(self._table.columns)
        return {"num_features": len(encoder.kinds), "kinds": encoder.kinds, "one_hots": encoder.one_hots}

    def encoder(self, train: np.ndarray, scaling: str) -> TableEncoder:
        """Return the encoder fitted on these rows."""
        return TableEncoder(self._table.columns, scaling=scaling).fit(self._table.features.iloc[train])

    def scaler(self, train: np.ndarray) -> TargetScaler | None:
        """Return the target scaler fitted on these rows; None in classification."""
        if self._table.task == "classification":
            return None
        return TargetScaler.fit(self._table.target[train].reshape(len(train), -1), self._target_scaling)

    def exported(self, networks: Sequence[keras.Model], train: np.ndarray, scaling: str) -> Any:
        """Return networks that were trained on these rows as a model of raw columns, which gives what `decode` does.

        Of several networks it gives the mean.
        """
        scaler, network = self.scaler(train), networks[0]
        output = output_kind(network, int(network.output_shape[-1]), self._table)
        if len(networks) > 1:
            output, activation = _MEANS.get(output, (output, None))
            network = MeanOfNetworks(networks, activation)
        return TableModel(
            TablePreprocessing.from_encoder(self.encoder(train, scaling)),
            network,
            task=self._table.task,
            output=output,
            classes=self._table.classes,
            target_names=self._table.target_names,
            target_mean=() if scaler is None else scaler.mean.tolist(),
            target_scale=() if scaler is None else scaler.scale.tolist(),
        )

    def exported_together(self, members: Sequence[tuple[keras.Model, str, float]], train: np.ndarray) -> keras.Model:
        """Return the weighted mean of networks, each given with its scaling and its weight, as one model."""
        models = [self.exported([network], train, scaling) for network, scaling, _ in members]
        return TableEnsemble(models, [weight for _, _, weight in members])

    def features(self, train: np.ndarray, other: np.ndarray, scaling: str) -> tuple[Any, Any]:
        """Return the inputs of the training rows and of the other rows, encoded as the training rows are."""
        key = (train.tobytes(), other.tobytes(), scaling)
        if key not in self._kept:
            self._kept[key] = self.encoded(train, other, scaling)
            sizes = [sum(array.nbytes for array in keras.tree.flatten(held)) for held in self._kept.values()]
            while sum(sizes) > self._max_bytes and len(sizes) > 1:
                self._kept.popitem(last=False)
                del sizes[0]
        self._kept.move_to_end(key)
        return self._kept[key]

    def encoded(self, train: np.ndarray, other: np.ndarray, scaling: str) -> tuple[Any, Any]:
        """Return what `features` keeps."""
        encoder, frame = self.encoder(train, scaling), self._table.features
        return encoder.transform(frame.iloc[train]), encoder.transform(frame.iloc[other])

    def is_fixed(self, scaling: str) -> bool:
        """Whether inputs, targets and weights of a row are the same in every split: not where a split scales them."""
        return False

    def all_inputs(self, scaling: str) -> Any:
        """Return the inputs of all rows, where `is_fixed` says that there are such."""
        raise NotImplementedError

    def compared(self, outputs: Any) -> Any:
        """Return the one of a network's outputs that is compared: its only one."""
        return outputs

    @property
    def place(self) -> str | int | None:
        """Where among a network's outputs the one is that is compared; None where there is one."""
        return None

    def targets(self, rows: np.ndarray, form: TargetForm, scaler: TargetScaler | None) -> np.ndarray:
        """Return the targets of these rows as the loss wants them."""
        return code_target(self._table.target[rows], form, self._table.num_outputs, scaler)

    def weights(self, rows: np.ndarray) -> np.ndarray:
        """Return the weights that these rows are learned with, averaging 1."""
        weights = self._table.training_weights(rows)
        weights = np.ones(len(rows)) if weights is None else weights
        return (weights / max(weights.mean(), np.finfo(float).tiny)).astype("float32")
