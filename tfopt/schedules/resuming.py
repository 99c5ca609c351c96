"""Go on from saved weights at the step where they were saved."""

import os
from typing import Any


def resume_from_weights(model: Any, filepath: str | os.PathLike[str]) -> int:
    """Load a ``.weights.h5`` file with the optimizer's state, so that a schedule goes on where it stopped.

    ``model.load_weights`` alone drops the state of an optimizer that was not built yet (Adam and others, right after
    `compile`): its step restarts at 0, and with it every schedule. A ``.keras`` file has no such fault.

    Args:
        model: A compiled and built model, of the shape of the saved one.
        filepath: A file that ``model.save_weights`` or ``ModelCheckpoint(save_weights_only=True)`` wrote.

    Returns:
        The optimizer step at which training goes on.

    Raises:
        ValueError: The model is not compiled or not built.

    Example:
        ```python
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(tfopt.schedules.LinearDecay(0.1, 100)), "mse")
        history = model.fit(np.ones((8, 2)), np.ones(8), batch_size=2, verbose=0)
        model.save_weights("run.weights.h5")
        again = keras.models.clone_model(model)
        again.compile(keras.optimizers.Adam(tfopt.schedules.LinearDecay(0.1, 100)), "mse")
        print(tfopt.schedules.resume_from_weights(again, "run.weights.h5"))  # 4
        ```
    """
    if getattr(model, "optimizer", None) is None or not model.built:
        raise ValueError("The model must be compiled and built before its weights can be loaded with their step.")
    if not model.optimizer.built:  # a LossScaleOptimizer would make its counters a second time
        model.optimizer.build(model.trainable_variables)
    model.load_weights(filepath)
    return int(model.optimizer.iterations)
