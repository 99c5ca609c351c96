"""The inside of Keras's optimizers and variables, as read in Keras 3.15."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt._private.needs import Need, expect


def moments_of(optimizer: keras.optimizers.Optimizer) -> dict[str, Sequence[keras.Variable]]:
    """Return an optimizer's running moments of the gradients by name, in the order of the weights."""
    found = {"momentum": getattr(optimizer, "_momentums", None), "velocity": getattr(optimizer, "_velocities", None)}
    return {name: list(slots) for name, slots in found.items() if slots}


def exempts_from_decay(optimizer: keras.optimizers.Optimizer) -> bool:
    """Return whether an optimizer leaves some weights out of its weight decay."""
    pattern = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    return bool(getattr(optimizer, "_exclude_from_weight_decay", None)) or pattern is not None


def unfix(variable: keras.Variable) -> keras.Variable:
    """Let the first axis of a variable's storage have any length; its `shape` still says the present one."""
    variable._value = tf.Variable(
        variable.value, shape=(None, *variable.shape[1:]), trainable=variable.trainable, name=variable.name
    )
    return variable


def free_shape(variable: keras.Variable) -> None:
    """Let a variable's `shape` say that its first axis has any length: what is assigned is checked against it."""
    variable._shape = (None, *variable.shape[1:])


def learning_rate_of(optimizer: keras.optimizers.Optimizer) -> Any:
    """Return the variable or schedule of an optimizer's learning rate; the public property gives its value now."""
    return optimizer._learning_rate


def replace_learning_rate(
    optimizer: keras.optimizers.Optimizer, schedule: keras.optimizers.schedules.LearningRateSchedule
) -> None:
    """Make an optimizer read another schedule, and keep the variable of its own: the public setter lets it go."""
    object.__setattr__(optimizer, "_learning_rate", schedule)  # Keras locks the attributes of what is built


def clip_with(optimizer: keras.optimizers.Optimizer, clip: Callable[[Sequence[Any]], list[Any]]) -> None:
    """Make an optimizer clip gradients so."""
    object.__setattr__(optimizer, "_clip_gradients", clip)


def forget_gradients_of_any_shape(optimizer: keras.optimizers.Optimizer) -> None:
    """Let accumulated gradients whose shape has a free axis be zeroed; Keras makes zeros of the shape that it knows."""

    def forget() -> None:
        for accumulated in optimizer._accumulated_gradients:
            accumulated.assign(keras.ops.zeros_like(accumulated.value))

    object.__setattr__(optimizer, "_backend_reset_gradient_accumulators", forget)


def pass_exemptions_on(
    optimizer: keras.optimizers.Optimizer, originals: Sequence[keras.Variable], variables: Sequence[keras.Variable]
) -> None:
    """Exempt those variables from weight decay whose originals are, by `exclude_from_weight_decay(var_list=…)`.

    Exemptions by name stay; the public method would take them back, and refuses once the optimizer is built.
    """
    exempt: set[str] = getattr(optimizer, "_exclude_from_weight_decay", set())
    spared = [new for own, new in zip(originals, variables, strict=True) if optimizer._var_key(own) in exempt]
    if spared:
        keys = {optimizer._var_key(variable) for variable in spared}
        object.__setattr__(optimizer, "_exclude_from_weight_decay", keys)


def averages_of(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Return the moving averages that an optimizer with `use_ema` keeps, in the order of the weights."""
    return optimizer._model_variables_moving_average


SUM_OVER_REPLICAS = "_all_reduce_sum_gradients"


def trained_by(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Return the variables that a built optimizer updates."""
    return optimizer._trainable_variables


def accumulated_by(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Return the sums of the gradients since an optimizer's last update, in the order of the variables."""
    return optimizer._accumulated_gradients


def _check_moments() -> None:
    optimizer, [weight] = keras.optimizers.Adam(1.0, beta_1=0.75, beta_2=0.5, name="tfopt_check"), _weights()
    optimizer.exclude_from_weight_decay(var_names=["tfopt_check"])
    expect(exempts_from_decay(optimizer), "Optimizer._exclude_from_weight_decay_pattern")
    other = keras.optimizers.Adam(name="tfopt_check")
    expect(not exempts_from_decay(other), "Optimizer._exclude_from_weight_decay")
    other.exclude_from_weight_decay(var_list=[weight])
    expect(exempts_from_decay(other), "Optimizer._exclude_from_weight_decay")
    optimizer.apply([tf.constant([[2.0]])], [weight])
    moments = {name: float(slot.numpy().item()) for name, [slot] in moments_of(optimizer).items()}
    expect(moments == {"momentum": 0.5, "velocity": 2.0}, "Adam._momentums or Adam._velocities")


def _check_learning_rate() -> None:
    optimizer, [weight] = keras.optimizers.SGD(0.5, name="tfopt_check"), _weights()
    own = learning_rate_of(optimizer)
    expect(isinstance(own, keras.Variable) and float(own.numpy()) == 0.5, "Optimizer._learning_rate")
    replace_learning_rate(optimizer, keras.optimizers.schedules.ExponentialDecay(2.0, 1, 0.5))
    optimizer.apply([tf.constant([[1.0]])], [weight])
    expect(float(weight.numpy().item()) == -2.0, "Optimizer._learning_rate")


def _check_stacked() -> None:
    optimizer = keras.optimizers.SGD(1.0, gradient_accumulation_steps=2, name="tfopt_check")
    [weight] = _weights()
    expect(tuple(weight._shape) == (1, 1) and weight._value is weight.value, "Variable._shape or Variable._value")
    unfix(weight)
    optimizer.build([weight])
    expect(callable(optimizer._clip_gradients), "Optimizer._clip_gradients")
    expect(callable(optimizer._backend_reset_gradient_accumulators), "Optimizer._backend_reset_gradient_accumulators")
    clip_with(optimizer, lambda gradients: [gradient / 2 for gradient in gradients])
    forget_gradients_of_any_shape(optimizer)
    [accumulated] = optimizer._accumulated_gradients
    unfix(accumulated)
    for variable in (weight, accumulated):
        free_shape(variable)
        variable.assign(np.zeros((3, 1), "float32"))
    for step in (1, 2):
        optimizer.apply([tf.ones((3, 1))], [weight])
        expect(int(optimizer.variables[0].numpy()) == step, "Optimizer.variables")  # accumulating steps count too
    expect(weight.numpy().ravel().tolist() == [-0.5] * 3, "Optimizer._clip_gradients")
    expect(not accumulated.numpy().any(), "Optimizer._backend_reset_gradient_accumulators")
    original, stand_in = *_weights(), *_weights()
    decaying = keras.optimizers.SGD(1.0, weight_decay=0.5, use_ema=True, name="tfopt_check")
    decaying.exclude_from_weight_decay(var_list=[original])
    decaying.build([stand_in])
    pass_exemptions_on(decaying, [original], [stand_in])
    stand_in.assign([[4.0]])
    decaying.apply([tf.zeros((1, 1))], [stand_in])
    expect(float(stand_in.numpy().item()) == 4.0, "Optimizer._var_key or Optimizer._exclude_from_weight_decay")
    expect([tuple(average.shape) for average in averages_of(decaying)] == [(1, 1)], "the averages of `use_ema`")


def _check_tap() -> None:
    optimizer, weights = keras.optimizers.SGD(1.0, gradient_accumulation_steps=2, name="tfopt_check"), _weights()
    optimizer.apply([tf.constant([[2.0]])], weights)
    expect(trained_by(optimizer)[0] is weights[0], "Optimizer._trainable_variables")
    expect(accumulated_by(optimizer)[0].numpy().item() == 2.0, "Optimizer._accumulated_gradients")
    [(reduced, _)] = list(getattr(optimizer, SUM_OVER_REPLICAS)([(tf.constant([[2.0]]), weights[0])]))
    expect(float(reduced[0, 0]) == 2.0, f"Optimizer.{SUM_OVER_REPLICAS}")


def _weights() -> list[keras.Variable]:
    return [keras.Variable([[0.0]], dtype="float32", name="tfopt_check")]


_OF_OPTIMIZERS = "keras.optimizers:Optimizer."
_EXEMPT = f"{_OF_OPTIMIZERS}_exclude_from_weight_decay"

NEEDS = (
    Need(
        "moments",
        ("keras.optimizers:Adam._momentums", "keras.optimizers:Adam._velocities", _EXEMPT, f"{_EXEMPT}_pattern"),
        "populations in NumPy",
        "Populations are trained in a graph",
        _check_moments,
    ),
    Need(
        "learning rate",
        (f"{_OF_OPTIMIZERS}_learning_rate",),
        "populations",
        "Fits are trained one after another on a shared graph",
        _check_learning_rate,
    ),
    Need(
        "stacked optimizer",
        (
            "keras:Variable._value",
            "keras:Variable._shape",
            f"{_OF_OPTIMIZERS}_clip_gradients",
            f"{_OF_OPTIMIZERS}_accumulated_gradients",
            f"{_OF_OPTIMIZERS}_backend_reset_gradient_accumulators",
            f"{_OF_OPTIMIZERS}_var_key",
            _EXEMPT,
            f"{_OF_OPTIMIZERS}_model_variables_moving_average",
        ),
        "populations in a graph",
        "Fits are trained one after another on a shared graph",
        _check_stacked,
    ),
    Need(
        "gradients at the optimizer",
        (
            f"{_OF_OPTIMIZERS}_trainable_variables",
            f"{_OF_OPTIMIZERS}_accumulated_gradients",
            f"{_OF_OPTIMIZERS}_all_reduce_sum_gradients",
        ),
        "GradientNorms and NonFiniteGuard",
        "GradientNorms logs NaN, NonFiniteGuard watches the loss alone",
        _check_tap,
    ),
)
