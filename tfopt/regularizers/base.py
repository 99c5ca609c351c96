"""What every penalty has in common."""

from typing import Any

import keras

from tfopt._arguments import config_of, repr_of


class Penalty(keras.regularizers.Regularizer):
    """A cost on a weight that is added to the loss, with its proximal step where one has a closed form.

    Subclass it for a penalty of your own: `__call__(x)` returns the cost of the weight `x`, and `proximal(x, step)`,
    if you can write it, the exact solution of the small problem that a proximal optimizer solves after each update.
    Store every argument under its own name; `get_config` reads them back, and what a variable holds is saved as a
    number.

    Example:
        ```python
        @keras.saving.register_keras_serializable(package="mine")
        class Cubic(tfopt.regularizers.Penalty):
            def __init__(self, strength=0.01):
                self.strength = strength

            def __call__(self, x):
                return self.strength * keras.ops.sum(keras.ops.abs(x) ** 3)
        ```
    """

    # True where the gradient alone is exact: no corner at which weights should come to rest.
    smooth = False

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(x).")

    def proximal(self, x: Any, step: Any) -> Any:
        """Return argmin over w of ½‖w − x‖² + step · penalty(w).

        Args:
            x: The weight after the optimizer's own step.
            step: Scalar, the learning rate of that step.

        Raises:
            NotImplementedError: The penalty has no closed form.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no proximal step in closed form. Leave its gradient in the loss: use an "
            "ordinary optimizer for it."
        )

    @property
    def has_proximal(self) -> bool:
        """Whether the class defines a proximal step."""
        return type(self).proximal is not Penalty.proximal

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        return config_of(self)

    def __repr__(self) -> str:
        return repr_of(self)
