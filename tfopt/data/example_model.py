"""A trained network for examples of any shape with its preprocessing, as one Keras model: arrays in, answers out."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from tfopt.data.example_encoder import encoded, words_layer
from tfopt.data.examples import InputPart, Nest, each, leaves, plain_parts, read_parts
from tfopt.data.given_examples import inputs_like
from tfopt.data.table_model import check_target, in_units

__all__ = ["ExampleModel"]


@keras.saving.register_keras_serializable(package="tfopt")
class ExampleModel(keras.Model):
    """Trained networks together with what was learned from their training examples: examples in, predictions out.

    Saved as one `.keras` file, it loads with `keras.models.load_model` after `import tfopt`. It takes images as bytes,
    texts as `str` and sequences in their own units. Of several networks it gives the weighted mean of what they say, of
    classes that of the probabilities.

    Args:
        networks: Keras models of the same inputs and outputs, built.
        parts: What each array of the inputs is: a `tfopt.data.InputPart`, or a dict or tuple of them.
        learned: For each network what was learned for it, by the parts' names: `mean` and `scale`, or `words`.
        task: `"regression"` or `"classification"`.
        outputs: What each network emits, as for `tfopt.data.TableModel`.
        weights: The weight of each network; None for equal ones.
        place: Name or place of the output that is wanted, of a network of several; None for the only one.
        texts_as_they_are: For each network, whether it takes texts itself.
        classes: Class labels in the order of the columns of the result; empty for regression.
        target_names: Name of each target.
        target_mean: For each network what is added to its scaled values, a number for each target; None for classes.
        target_scale: Likewise what they are first multiplied with.
        name: The model's name.

    Call arguments:
        x: Inputs, as `tfopt.data.examples_of` takes them.

    Returns:
        float64: predictions (rows, targets), or probabilities (rows, classes).

    Raises:
        ValueError: When `task`, `outputs`, `classes` and the target's scale do not fit together.

    Example:
        ```python
        network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
        part = tfopt.data.InputPart("", (8, 8, 1), "uint8", "image")
        classes = ["cat", "cow", "dog"]
        model = tfopt.data.ExampleModel([network], part, [{}], "classification", ["logits"], classes=classes)
        print(model.predict(np.zeros((2, 8, 8, 1), "uint8"), verbose=0).shape)  # (2, 3)
        ```
    """

    def __init__(
        self,
        networks: Sequence[keras.Model],
        parts: Any,
        learned: Sequence[Mapping[str, Any]],
        task: str,
        outputs: Sequence[str],
        *,
        weights: Sequence[float] | None = None,
        place: str | int | None = None,
        texts_as_they_are: Sequence[bool] | None = None,
        classes: Sequence[str] = (),
        target_names: Sequence[str] = (),
        target_mean: Sequence[Sequence[float]] | None = None,
        target_scale: Sequence[Sequence[float]] | None = None,
        name: str = "example_model",
    ):
        super().__init__(name=name, dtype="float32", autocast=False)
        number = len(networks)
        self.target_means = [list(map(float, mean)) for mean in target_mean or [()] * number]
        self.target_scales = [list(map(float, scale)) for scale in target_scale or [()] * number]
        for output, mean, scale in zip(outputs, self.target_means, self.target_scales, strict=True):
            check_target(task, output, list(classes), mean, scale)
        self.networks = list(networks)
        self.parts, self.learned = parts, [dict(each_learned) for each_learned in learned]
        self.task, self.output_kinds, self.place = task, list(outputs), place
        self.member_weights = [float(weight) for weight in weights or [1.0] * number]
        self.as_they_are = list(texts_as_they_are or [False] * number)
        self.classes, self.target_names = tuple(map(str, classes)), tuple(map(str, target_names))
        self.target_scale = tuple(self.target_scales[0])
        self.word_layers = [
            {
                part.name: words_layer(part, held[part.name]["words"])
                for part in leaves(parts)
                if part.kind == "text" and not raw
            }
            for held, raw in zip(self.learned, self.as_they_are, strict=True)
        ]
        self.built = True

    def call(self, x: Nest, training: bool | None = None) -> Any:
        """Return predictions, or class probabilities."""
        training = bool(training)  # not None, by which layers that change images at random would do so
        total = sum(self.member_weights)
        return tf.add_n(
            [self._of_network(place, x, training) * (w / total) for place, w in enumerate(self.member_weights)]
        )

    def _of_network(self, number: int, x: Nest, training: bool) -> Any:
        learned, words, raw = self.learned[number], self.word_layers[number], self.as_they_are[number]

        def inputs(part: InputPart, array: Any) -> Any:
            if part.kind == "text":
                return array if raw else tf.cast(words[part.name](array), tf.int32)
            return encoded(part, tf.convert_to_tensor(array), learned.get(part.name))

        emitted = self.networks[number](each(inputs, self.parts, x), training=training)
        emitted = emitted if self.place is None else emitted[self.place]
        kind = self.output_kinds[number]
        if kind == "values":
            emitted = tf.reshape(emitted, (-1, len(self.target_means[number])))
        return in_units(emitted, kind, self.target_means[number], self.target_scales[number])

    def predict(self, x: Any, batch_size: int | None = None, verbose: Any = "auto", **options: Any) -> np.ndarray:
        """Return the predictions for arrays, or a dict or tuple of arrays, or what else `keras.Model.predict` takes."""
        if not isinstance(x, tf.data.Dataset):
            x = inputs_like(x, self.parts, "the given inputs")
            # Keras itself refuses arrays of text.
            tensors = each(lambda array: tf.constant(array.tolist()) if array.dtype.kind == "O" else array, x)
            x = tf.data.Dataset.from_tensor_slices((tensors,)).batch(batch_size or 256)
            batch_size = None
        return super().predict(x, batch_size=batch_size, verbose=verbose, **options)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration, the networks' and what was learned included."""
        return {
            "networks": [keras.saving.serialize_keras_object(network) for network in self.networks],
            "parts": plain_parts(self.parts),
            "learned": self.learned,
            "task": self.task,
            "outputs": self.output_kinds,
            "weights": self.member_weights,
            "place": self.place,
            "texts_as_they_are": self.as_they_are,
            "classes": list(self.classes),
            "target_names": list(self.target_names),
            "target_mean": self.target_means,
            "target_scale": self.target_scales,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Self:
        """Return the model of a configuration, without weights."""
        read = keras.saving.deserialize_keras_object
        networks = [read(network, custom_objects=custom_objects) for network in config["networks"]]
        return cls(**{**config, "networks": networks, "parts": read_parts(config["parts"])})
