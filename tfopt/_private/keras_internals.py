"""Private surfaces of Keras 3.15 and TensorFlow 2.21 that the fast engines cannot do without, all in one place.

Each has a test in `tests/private/test_keras_internals.py` that names the version it was read in, and a result
that goes wrong without it. A model that a changed surface breaks is caught by the engines' first-step check.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.backend.tensorflow import nn as tensorflow_nn
from keras.src.layers.regularization import gaussian_dropout
from keras.src.models.functional import Functional
from keras.src.random import seed_generator
from keras.src.utils import rng_utils
from tensorflow.python.eager import context as eager_context
from tensorflow.python.framework import ops as tensorflow_ops
from tensorflow.python.ops.parallel_for import pfor as tensorflow_pfor

from tfopt.errors import CannotStack
from tfopt.training.symbolic import SymbolicMath, SymbolicNumber

__all__ = [
    "BOOKKEEPING",
    "averages_of",
    "calls_of",
    "clip_with",
    "compiled_parts",
    "exempts_from_decay",
    "forget_gradients_of_any_shape",
    "free_shape",
    "function_of",
    "global_generator",
    "gradients_forgotten",
    "layers_of",
    "learning_rate_of",
    "make_variables",
    "moments_of",
    "pass_exemptions_on",
    "random_streams_kept",
    "replace_learning_rate",
    "seeded",
    "set_global_generator",
    "stateful_stream",
    "step_counter",
    "tensorflow_pfor",  # where converters of `tf.vectorized_map` are registered
    "topology",
    "unfix",
    "variables_alike",
]

# What Keras keeps for itself on models, layers, optimizers and losses: names, caches, call bookkeeping. None of it
# is a number that a step uses, and much of it differs between two builds of the same model.
BOOKKEEPING = frozenset(
    """
    name _name _path _parent_path path built history stop_training arguments_ input_names output_names
    _inbound_nodes _outbound_nodes _nodes _nodes_by_depth _operations _operations_by_depth _layers _functional
    _tracker _tracked _auto_config _build_shapes_dict _losses _loss_ids _losses_override _lock _metrics _obj_type
    _loss_tracker _call_context_args _called _call_signature _call_arg_names _call_has_training_arg
    _call_has_mask_arg _call_has_context_arg _convert_input_args _allow_non_tensor_positional_args _supports_masking
    _seed_generators _trainable_variables _non_trainable_variables _trainable_variables_indices
    _compiled_trainable_state _inputs_struct _outputs_struct _inferred_static_shapes _input_names _input_names_
    _output_names _saved_model_inputs_spec _saved_model_arg_spec _compile_config _initial_epoch _initial_seed
    _distribution_strategy _distribute_reduction_method _jit_compile run_eagerly _run_eagerly _epoch_iterator
    train_function test_function predict_function _self_setattr_tracking _obj_reference_counts_dict
    _unconditional_checkpoint_dependencies _unconditional_dependency_names _update_uid _built_by_summary
    """.split()  # noqa: SIM905 - a page of quotation marks is not easier to read
)


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """Return a model's direct layers."""
    return list(model._flatten_layers(recursive=False, include_self=False))


def topology(model: keras.Model) -> list[str]:
    """Return which operation of a functional model takes which tensors; empty for other models."""
    if not isinstance(model, Functional):
        return []
    operations = model.operations
    index = {id(operation): position for position, operation in enumerate(operations)}
    ends = [
        [index.get(id(t._keras_history.operation), -1) for t in tensors] for tensors in (model.inputs, model.outputs)
    ]
    links = [f"inputs {ends[0]}, outputs {ends[1]}"]
    for position, operation in enumerate(operations):
        for node in operation._inbound_nodes:
            histories = [tensor._keras_history for tensor in node.arguments.keras_tensors]
            sources = [(index.get(id(h.operation), -1), h.node_index, h.tensor_index) for h in histories]
            links.append(f"{position}<{sources}")
    return links


def calls_of(model: keras.Model) -> list[tuple[Any, list[int]]]:
    """Return a model's operations in the order of their calls, each with the positions of those that it takes.

    Raises:
        CannotStack: It is not a plain Sequential or functional model of one input and one output, or calls something
            twice or with arguments of its own.
    """
    functional = model._functional if type(model) is keras.Sequential else model
    if type(functional) is not Functional or len(functional.inputs) != 1 or len(functional.outputs) != 1:
        raise CannotStack("it is not a Sequential or functional model of one input and one output")
    operations = functional.operations
    index = {id(operation): position for position, operation in enumerate(operations)}
    calls = []
    for position, operation in enumerate(operations):
        if len(operation._inbound_nodes) != 1:
            raise CannotStack(f"{operation.name} is called {len(operation._inbound_nodes)} times")
        arguments = operation._inbound_nodes[0].arguments
        # `training=False` is what is noted of any call that was told nothing; the model's own call decides.
        if len(arguments.args) > 1 or any(value not in (None, False) for value in arguments.kwargs.values()):
            raise CannotStack(f"{operation.name} is called with arguments of its own")
        sources = [index.get(id(tensor._keras_history.operation), position) for tensor in arguments.keras_tensors]
        if any(source >= position for source in sources):
            raise CannotStack(f"{operation.name} takes what comes after it")
        calls.append((operation, sources))
    if functional.outputs[0]._keras_history.operation is not operations[-1]:
        raise CannotStack("its output is not that of its last operation")
    return calls


def compiled_parts(
    model: keras.Model,
) -> tuple[Any, list[keras.metrics.Metric], list[keras.metrics.Metric]]:
    """Return the one loss of a model whose variables are made, its metrics, and its weighted metrics.

    Raises:
        CannotStack: It has several losses or a weighted one.
    """
    losses, metrics = model._compile_loss._flat_losses, model._compile_metrics
    if len(losses) != 1 or losses[0].loss_weights is not None:
        raise CannotStack("it has several losses or a weighted one")
    lists = ([], []) if metrics is None else (metrics._flat_metrics, metrics._flat_weighted_metrics)
    plain, weighted = ([metric for one in found if one is not None for metric in one.metrics] for found in lists)
    return losses[0].loss, plain, weighted


def function_of(loss_or_metric: Any) -> tuple[Any, dict[str, Any]]:
    """Return the function that a loss or a mean metric wraps, None if there is none, and its options."""
    function = getattr(loss_or_metric, "fn", getattr(loss_or_metric, "_fn", None))
    return function, dict(getattr(loss_or_metric, "_fn_kwargs", {}))


def moments_of(optimizer: keras.optimizers.Optimizer) -> dict[str, Sequence[keras.Variable]]:
    """Return an optimizer's running moments of the gradients by name, in the order of the weights."""
    found = {"momentum": getattr(optimizer, "_momentums", None), "velocity": getattr(optimizer, "_velocities", None)}
    return {name: list(slots) for name, slots in found.items() if slots}


def exempts_from_decay(optimizer: keras.optimizers.Optimizer) -> bool:
    """Return whether an optimizer leaves some weights out of its weight decay."""
    pattern = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    return bool(getattr(optimizer, "_exclude_from_weight_decay", None)) or pattern is not None


def make_variables(model: keras.Model, batch: tuple) -> None:
    """Make the variables of layers, metrics and losses that Keras makes at the first batch."""
    model._symbolic_build(data_batch=batch)


@contextmanager
def random_streams_kept() -> Iterator[None]:
    """Put Python's and NumPy's random streams back afterwards."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed as `keras.utils.set_random_seed` does, and put Python's and NumPy's streams back afterwards.

    TensorFlow's public seeding throws away every optimised graph, which costs each graph 0.35 s at its next call. Kept,
    the kernels of `tf.random`'s stateful functions go on where they were: see `stateful_stream`.
    """
    context = eager_context.context()
    with random_streams_kept():
        if hasattr(context, "_seed") and hasattr(context, "_rng"):
            global_state.set_global_attribute(rng_utils.GLOBAL_RANDOM_SEED, seed)
            global_state.set_global_attribute("global_seed_generator", None)
            random.seed(seed)
            np.random.seed(seed)
            context._seed, context._rng = seed, random.Random(seed)
        else:
            keras.utils.set_random_seed(seed)
        yield


@contextmanager
def variables_alike() -> Iterator[None]:
    """Make TensorFlow's variables under one name, for models that are soon thrown away; Keras's keep theirs.

    TensorFlow keeps a kernel for every name for good: half a millisecond and 0.04 MB for each variable.
    """

    def create(following: Any, **arguments: Any) -> Any:
        with tf.name_scope("shadow/"):
            return following(**{**arguments, "name": "variable"})

    with tf.variable_creator_scope(create):
        yield


@contextmanager
def gradients_forgotten() -> Iterator[None]:
    """Forget the custom gradients that a trace registers: for good, they would keep every graph traced alive."""
    registry = tensorflow_ops.gradient_registry._registry
    before = set(registry)
    try:
        yield
    finally:
        for name in set(registry) - before:
            if name.startswith("CustomGradient-"):
                del registry[name]


def stateful_stream() -> Any:
    """Return the state of the stream that `tf.random`'s stateful functions draw from; it moves when one is called."""
    rng = getattr(eager_context.context(), "_rng", None)
    return None if rng is None else rng.getstate()


def global_generator() -> keras.random.SeedGenerator:
    """Return the generator that `keras.random` functions without a seed draw from."""
    return seed_generator.global_seed_generator()


def set_global_generator(generator: keras.random.SeedGenerator) -> None:
    """Make this the generator of `keras.random` functions without a seed."""
    global_state.set_global_attribute("global_seed_generator", generator)


def unfix(variable: keras.Variable) -> keras.Variable:
    """Let the first axis of a variable's storage have any length; its `shape` still says the present one."""
    variable._value = tf.Variable(
        variable.value, shape=(None, *variable.shape[1:]), trainable=variable.trainable, name=variable.name
    )
    return variable


def free_shape(variable: keras.Variable) -> None:
    """Let a variable's `shape` say that its first axis has any length: what is assigned is checked against it."""
    variable._shape = (None, *variable.shape[1:])


def step_counter(optimizer: keras.optimizers.Optimizer) -> keras.Variable:
    """Return the variable that counts the steps, those that only add to the accumulated gradients too."""
    return optimizer._iterations


def learning_rate_of(optimizer: keras.optimizers.Optimizer) -> Any:
    """Return the variable or schedule of an optimizer's learning rate; the public property gives its value now."""
    return vars(optimizer)["_learning_rate"]


def replace_learning_rate(
    optimizer: keras.optimizers.Optimizer, schedule: keras.optimizers.schedules.LearningRateSchedule
) -> None:
    """Make an optimizer read another schedule, and keep the variable of its own: the public setter lets it go."""
    vars(optimizer)["_learning_rate"] = schedule  # Keras locks the attributes of what is built, not the dictionary


def clip_with(optimizer: keras.optimizers.Optimizer, clip: Callable[[Sequence[Any]], list[Any]]) -> None:
    """Make an optimizer clip gradients so."""
    vars(optimizer)["_clip_gradients"] = clip


def forget_gradients_of_any_shape(optimizer: keras.optimizers.Optimizer) -> None:
    """Let accumulated gradients whose shape has a free axis be zeroed; Keras makes zeros of the shape that it knows."""

    def forget() -> None:
        for accumulated in optimizer._accumulated_gradients:
            accumulated.assign(keras.ops.zeros_like(accumulated.value))

    vars(optimizer)["_backend_reset_gradient_accumulators"] = forget


def pass_exemptions_on(
    optimizer: keras.optimizers.Optimizer, originals: Sequence[keras.Variable], variables: Sequence[keras.Variable]
) -> None:
    """Exempt those variables from weight decay whose originals are, by `exclude_from_weight_decay(var_list=…)`.

    Exemptions by name stay; the public method would take them back, and refuses once the optimizer is built.
    """
    exempt: set[str] = getattr(optimizer, "_exclude_from_weight_decay", set())
    spared = [new for own, new in zip(originals, variables, strict=True) if optimizer._var_key(own) in exempt]
    if spared:
        vars(optimizer)["_exclude_from_weight_decay"] = {optimizer._var_key(variable) for variable in spared}


def averages_of(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Return the moving averages that an optimizer with `use_ema` keeps, in the order of the weights."""
    return optimizer._model_variables_moving_average


def _leaky_relu(x: Any, negative_slope: Any = 0.2) -> Any:
    if isinstance(negative_slope, SymbolicNumber):  # tf.nn.leaky_relu would bake it in as an attribute of its operation
        x = tf.convert_to_tensor(x)
        return tf.where(x > 0, x, x * negative_slope.tensor(x.dtype))
    return _stock_leaky_relu(x, negative_slope)


# Two places where Keras itself turns a number into C's: both act as before on anything but a live number.
_stock_leaky_relu = tensorflow_nn.leaky_relu
tensorflow_nn.leaky_relu = _leaky_relu
gaussian_dropout.math = SymbolicMath()
