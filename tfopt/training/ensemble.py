"""Models whose members are trained each on its own loss and predict together."""

from collections.abc import Sequence
from typing import Any, Self

import keras
from keras import ops

from tfopt._arguments import flag


@keras.saving.register_keras_serializable(package="tfopt")
class MeanOfMembers(keras.layers.Layer):
    """Average the predictions of an ensemble's members in inference; in training pass them on, each for its own loss.

    Inputs are (rows, members, outputs), results in inference (rows, outputs). The last layer of an
    `tfopt.models.EnsembleModel`.

    Args:
        probabilities: Bool: whether the inputs are logits of classes, whose probabilities are averaged: the result is
            the logarithm of the mean probability, which is a logit too.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        TypeError: `probabilities` is not a bool.

    Example:
        ```python
        layer = tfopt.models.MeanOfMembers()
        print(np.asarray(layer(np.array([[[1.0], [3.0]]]))).tolist())  # [[2.0]]
        ```
    """

    def __init__(self, probabilities: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.probabilities = flag("probabilities", probabilities, "MeanOfMembers")

    def mean(self, inputs: Any) -> Any:
        """Return the members' prediction."""
        if not self.probabilities:
            return ops.mean(inputs, axis=1)
        return ops.logsumexp(ops.log_softmax(inputs, axis=-1), axis=1) - ops.log(float(inputs.shape[1]))

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the mean, or in training the inputs."""
        return inputs if training else self.mean(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the mean."""
        return (input_shape[0], input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        return {**super().get_config(), "probabilities": self.probabilities}


@keras.saving.register_keras_serializable(package="tfopt")
class EnsembleModel(keras.Model):
    """A functional model of several members: the loss is the mean of theirs, the prediction is theirs together.

    Its last layer is a `tfopt.models.MeanOfMembers`. The loss of the mean prediction would let members make up for each
    other's errors instead of each learning; here every member sees every row, with its weight. Metrics, validation
    scores and predictions are those of the ensemble.

    Args:
        *args: `inputs` and `outputs`, as in `keras.Model`.
        **kwargs: Further arguments of `keras.Model`.

    Example:
        ```python
        x = keras.Input((3,))
        members = tfopt.layers.SeparateDense(1, num_members=4)(x)
        model = tfopt.models.EnsembleModel(x, tfopt.models.MeanOfMembers()(members))
        model.compile("adam", "mse")
        history = model.fit(np.ones((8, 3)), np.ones(8), verbose=0)
        print(model.predict(np.ones((8, 3)), verbose=0).shape)  # (8, 1)
        ```
    """

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the mean of the members' losses in training, the ensemble's otherwise."""
        if training:
            members = y_pred.shape[1]
            y = ops.repeat(y, members, axis=0)
            y_pred = ops.reshape(y_pred, (-1, y_pred.shape[-1]))
            sample_weight = None if sample_weight is None else ops.repeat(sample_weight, members, axis=0)
        return super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Return the metrics of the ensemble's prediction."""
        if len(y_pred.shape) == 3:
            y_pred = self.layers[-1].mean(y_pred)
        return super().compute_metrics(x, y, y_pred, sample_weight=sample_weight)


@keras.saving.register_keras_serializable(package="tfopt")
class MeanOfNetworks(keras.Model):
    """Average what several trained networks predict for the same inputs: one model to save and to load.

    Use it for the seeds of a deep ensemble (Lakshminarayanan, Pritzel and Blundell 2017, "Simple and scalable
    predictive uncertainty estimation using deep ensembles").

    Args:
        networks: Models of the same inputs and outputs, built.
        activation: Name of what each one's outputs go through first, such as `"softmax"` for logits; None for nothing.
        **kwargs: Further arguments of `keras.Model`.

    Raises:
        TypeError: `networks` is no list of Keras models, or an empty one.

    Example:
        ```python
        first = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        second = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, bias_initializer="ones")])
        print(np.asarray(tfopt.models.MeanOfNetworks([first, second])(np.zeros((1, 3)))).tolist())  # [[0.5]]
        ```
    """

    def __init__(self, networks: Sequence[keras.Model], activation: str | None = None, **kwargs: Any):
        if not isinstance(networks, Sequence) or not networks or not all(map(_is_layer, networks)):
            raise TypeError(
                f"Argument `networks` of MeanOfNetworks must be a list of Keras models. Received: {networks!r}."
            )
        super().__init__(**kwargs)
        self.networks = list(networks)
        self.activation = activation
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return the mean of the predictions."""
        activation = keras.activations.get(self.activation)
        return ops.mean(ops.stack([activation(each(inputs, training=training)) for each in self.networks]), axis=0)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration, the networks' included."""
        networks = [keras.saving.serialize_keras_object(network) for network in self.networks]
        return {**super().get_config(), "networks": networks, "activation": self.activation}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Self:
        """Return the model of a configuration, without weights."""
        read = keras.saving.deserialize_keras_object
        networks = [read(network, custom_objects=custom_objects) for network in config["networks"]]
        return cls(**{**config, "networks": networks})


def _is_layer(value: Any) -> bool:
    return isinstance(value, keras.layers.Layer)
