"""Several exported models as one: raw columns in, the weighted mean of what they predict out."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import tensorflow as tf

from tfopt.data.table_model import TableModel

__all__ = ["TableEnsemble"]


@keras.saving.register_keras_serializable(package="tfopt")
class TableEnsemble(TableModel):
    """The weighted mean of several `TableModel`s of the same columns and target, each with its own preprocessing.

    Of classes it is probabilities that are averaged. It is saved, loaded, asked and exported as one of them is.

    Args:
        members: The models.
        weights: The weight of each, a number above 0; they are divided by their sum.
        name: The model's name.

    Raises:
        ValueError: When there is no member, when they differ in columns or target, or when the weights do not fit.

    Example:
        ```python
        table = tfopt.data.load_table("iris")
        members = []
        for scaling in ("standard", "robust"):
            encoder = tfopt.data.TableEncoder(table.columns, scaling=scaling).fit(table.features)
            network = keras.Sequential([keras.Input((encoder.width,)), keras.layers.Dense(3)])
            preprocessing = tfopt.data.TablePreprocessing.from_encoder(encoder)
            members.append(
                tfopt.data.TableModel(preprocessing, network, "classification", "logits", classes=table.classes)
            )
        ensemble = tfopt.data.TableEnsemble(members, [3, 1])
        print(ensemble.predict(table.features, verbose=0).shape)  # (150, 3)
        ```
    """

    def __init__(self, members: Sequence[TableModel], weights: Sequence[float], name: str = "table_ensemble"):
        keras.Model.__init__(self, name=name, dtype="float32", autocast=False)
        if not members:
            raise ValueError("Argument `members` must hold a model. Received: members=[].")
        first = members[0]
        for member in members[1:]:
            for what in ("columns", "task", "classes", "target_names"):
                mine, theirs = getattr(first, what), getattr(member, what)
                if mine != theirs:
                    raise ValueError(
                        f"Argument `members` must hold models of one table. Received: `{what}` {mine!r} and {theirs!r}."
                    )
        if len(weights) != len(members) or not all(weight > 0 for weight in weights):
            raise ValueError(
                f"Argument `weights` must hold a number above 0 for each of {len(members)} members. "
                f"Received: weights={list(weights)!r}."
            )
        self.members = list(members)
        self.member_weights = tuple(float(weight) for weight in weights)
        self.task, self.classes, self.target_names = first.task, first.classes, first.target_names
        self.target_scale = first.target_scale
        self.columns = first.columns
        self.built = True

    @property
    def levels(self) -> Mapping[str, Sequence[str]]:
        """For each categorical column the levels that it knows."""
        return self.members[0].levels

    def call(self, columns: Mapping[str, Any], training: bool | None = None) -> Any:
        """Return the mean of the predictions, or of the class probabilities."""
        total = sum(self.member_weights)
        parts = [
            weight / total * member(columns, training=training)
            for weight, member in zip(self.member_weights, self.members, strict=True)
        ]
        return tf.add_n(parts)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration, the members' included."""
        return {
            "members": [keras.saving.serialize_keras_object(member) for member in self.members],
            "weights": list(self.member_weights),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Self:
        """Return the model of a configuration, without weights."""
        read = keras.saving.deserialize_keras_object
        members = [read(member, custom_objects=custom_objects) for member in config["members"]]
        return cls(**{**config, "members": members})
