"""A guard against layers that begin as copies of each other."""

import warnings
from collections import defaultdict

import keras
import numpy as np

from tfopt._layers import path_in_model
from tfopt._logged import LoggedCallback


def find_identical_weights(model: keras.Model) -> list[list[str]]:
    """Return the groups of weights that hold the very same random numbers, and warn of each.

    Use it after building a model. One unseeded Keras initializer instance that is shared by layers of equal shape
    gives them identical weights, in silence; so do equal integer seeds. Initializers of tfopt draw anew at every call
    unless they are given an integer seed, and so do names such as `"he_normal"`.

    Args:
        model: A built model that has not been trained.

    Returns:
        Paths of the weights, a list for each group; empty if all is well. Constant weights (zeros, ones) don't count.

    Warns:
        UserWarning: For each group.

    Example:
        ```python
        import warnings

        shared = keras.initializers.HeNormal()
        layers = [keras.layers.Dense(4, kernel_initializer=shared, name=name) for name in ("a", "b")]
        model = keras.Sequential([keras.Input((4,)), *layers])
        with warnings.catch_warnings(action="ignore"):
            print(tfopt.initializers.find_identical_weights(model))  # [['a/kernel', 'b/kernel']]
        ```
    """
    groups = defaultdict(list)
    for weight in model.trainable_weights:
        values = weight.numpy()
        if values.size > 1 and np.any(values != values.flat[0]) and not _is_identity(values):
            groups[values.shape, values.tobytes()].append(path_in_model(model, weight))
    identical = [paths for paths in groups.values() if len(paths) > 1]
    for paths in identical:
        warnings.warn(
            f"The weights {', '.join(paths)} hold identical random numbers: one initializer instance, or one integer "
            "seed, was given to all of them. Give each layer its own instance, a name such as 'he_normal', or a "
            "keras.random.SeedGenerator as seed.",
            stacklevel=2,
        )
    return identical


def _is_identity(values: np.ndarray) -> bool:
    return values.ndim >= 2 and bool(np.all((values == 0) | (values == values.max())))


class IdenticalWeightsGuard(LoggedCallback):
    """Warns at the start of training if layers begin as copies of each other; see `find_identical_weights`.

    Use it in every `fit` of a new architecture. Only models that have not taken a step are looked at.

    Example:
        ```python
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        guard = tfopt.initializers.IdenticalWeightsGuard()
        model.fit(keras.ops.ones((8, 4)), keras.ops.ones((8, 1)), verbose=0, callbacks=[guard])
        ```
    """

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Look at the weights."""
        if int(self.model.optimizer.iterations) == 0:
            find_identical_weights(self.model)
