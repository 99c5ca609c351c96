"""The inside of Keras's models, layers, losses and metrics, as read in Keras 3.15."""

from typing import Any

import keras
import numpy as np

from tfopt._private.needs import Need, available, expect
from tfopt.errors import CannotStack

# What Keras keeps for itself on models, layers, optimizers and losses: names, caches, call bookkeeping. None of it
# is a number that a step uses, and much of it differs between two builds of the same model.
BOOKKEEPING = frozenset(
    """
    name _name _path _parent_path path build built history stop_training arguments_ input_names output_names
    _inbound_nodes _outbound_nodes _nodes _nodes_by_depth _operations _operations_by_depth _layers _functional
    _tracker _tracked _auto_config _build_shapes_dict _losses _loss_ids _losses_override _lock _metrics _obj_type
    _loss_tracker _call_context_args _called _call_signature _call_arg_names _call_has_training_arg
    _call_has_mask_arg _call_has_context_arg _convert_input_args _allow_non_tensor_positional_args _supports_masking
    _seed_generators _trainable_variables _non_trainable_variables _trainable_variables_indices
    _compiled_trainable_state _inputs_struct _outputs_struct _inferred_static_shapes _input_names _input_names_
    _output_names _saved_model_inputs_spec _saved_model_arg_spec _compile_config _initial_epoch _initial_seed
    _distribution_strategy _distribute_reduction_method run_eagerly _run_eagerly _epoch_iterator
    train_function test_function predict_function _self_setattr_tracking _obj_reference_counts_dict
    _unconditional_checkpoint_dependencies _unconditional_dependency_names _update_uid _built_by_summary
    """.split()  # noqa: SIM905 - a page of quotation marks is not easier to read
)


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """Return a model's direct layers."""
    return list(model._flatten_layers(recursive=False, include_self=False))


def topology(model: keras.Model) -> list[str]:
    """Return which operation of a functional model takes which tensors; empty for other models."""
    from keras.src.models.functional import Functional

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


def calls_of(model: keras.Model, *kinds: type) -> list[tuple[Any, list[int]]]:
    """Return a model's operations in the order of their calls, each with the positions of those that it takes.

    Raises:
        CannotStack: It is not a plain Sequential or functional model of one input and one output, or calls something
            twice or with arguments of its own.
    """
    from keras.src.models.functional import Functional

    functional = model._functional if type(model) is keras.Sequential else model
    if type(functional) not in (Functional, *kinds) or len(functional.inputs) != 1 or len(functional.outputs) != 1:
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
    model: keras.Model, targets: Any
) -> tuple[Any, list[keras.metrics.Metric], list[keras.metrics.Metric]]:
    """Return the one loss of a built model of one output, its metrics, and its weighted metrics.

    Keras makes them at the first batch, in a trace that takes ten times as long.

    Raises:
        CannotStack: It has several losses or a weighted one.
    """
    y = keras.tree.map_structure(lambda array: keras.KerasTensor(array.shape, str(array.dtype)), targets)
    metrics = model._compile_metrics
    for part in (model._compile_loss, metrics):
        if part is not None and not part.built:
            part.build(y, model.outputs[0])
    losses = model._compile_loss._flat_losses
    if len(losses) != 1 or losses[0].loss_weights is not None:
        raise CannotStack("it has several losses or a weighted one")
    lists = ([], []) if metrics is None else (metrics._flat_metrics, metrics._flat_weighted_metrics)
    plain, weighted = ([metric for one in found if one is not None for metric in one.metrics] for found in lists)
    return losses[0].loss, plain, weighted


def function_of(loss_or_metric: Any) -> tuple[Any, dict[str, Any]]:
    """Return the function that a loss or a mean metric wraps, None if there is none, and its options."""
    function = getattr(loss_or_metric, "fn", getattr(loss_or_metric, "_fn", None))
    return function, dict(getattr(loss_or_metric, "_fn_kwargs", {}))


def make_variables(model: keras.Model, batch: tuple) -> None:
    """Make the variables of layers, metrics and losses that Keras makes at the first batch."""
    if available("first batch"):
        _build_symbolically(model, batch)
    else:
        model.evaluate(*batch, batch_size=len(keras.tree.flatten(batch[0])[0]), verbose=0)
        model.reset_metrics()


def _build_symbolically(model: keras.Model, batch: tuple) -> None:
    model._symbolic_build(data_batch=batch)


def _check_calls() -> None:
    inputs = keras.Input((2,), name="tfopt_check_inputs")
    first, second = _dense("tfopt_check_first"), _dense("tfopt_check_second")
    model = keras.Model(inputs, second(first(inputs)), name="tfopt_check")
    expect([first, second] == layers_of(model)[1:], "Layer._flatten_layers")
    expect(calls_of(model)[1:] == [(first, [0]), (second, [1])], "Layer._inbound_nodes")
    expect(topology(model)[1:] == ["0<[]", "1<[(0, 0, 0)]", "2<[(1, 0, 0)]"], "KerasTensor._keras_history")
    only = _dense("tfopt_check_only")
    sequential = keras.Sequential([keras.Input((2,), name="tfopt_check_inputs"), only], name="tfopt_check")
    expect(calls_of(sequential)[1:] == [(only, [0])], "Sequential._functional")


def _check_compiled() -> None:
    model = _compiled(keras.Input((2,), name="tfopt_check_inputs"))
    loss, metrics, weighted = compiled_parts(model, _BATCH[1])
    expect(loss is model.loss, "CompileLoss._flat_losses")
    expect([metric.name for metric in metrics] == ["tfopt_check"], "CompileMetrics._flat_metrics")
    expect(not weighted, "CompileMetrics._flat_weighted_metrics")
    expect(function_of(loss) == (keras.losses.mean_squared_error, {}), "LossFunctionWrapper.fn")
    function, options = function_of(metrics[0])
    expect(function is keras.metrics.binary_accuracy, "MeanMetricWrapper._fn")
    expect(options == {"threshold": 0.25}, "MeanMetricWrapper._fn_kwargs")


def _check_first_batch() -> None:
    model = _compiled()
    _build_symbolically(model, _BATCH)
    expect(model.built and len(model.metrics_variables) == 4, "Model._symbolic_build")  # the loss's and the metric's


def _dense(name: str) -> keras.layers.Layer:
    return keras.layers.Dense(2, kernel_initializer="zeros", name=name, dtype="float32")


def _compiled(*inputs: Any) -> keras.Model:
    model = keras.Sequential([*inputs, _dense("tfopt_check_dense")], name="tfopt_check")
    metric = keras.metrics.BinaryAccuracy(threshold=0.25, name="tfopt_check")
    loss = keras.losses.MeanSquaredError(name="tfopt_check")
    model.compile(keras.optimizers.SGD(name="tfopt_check"), loss, metrics=[metric])
    return model


_BATCH = (np.zeros((1, 2), "float32"), np.zeros((1, 2), "float32"))

NEEDS = (
    Need(
        "calls of layers",
        (
            "keras.layers:Layer._flatten_layers",
            "keras.layers:Layer._inbound_nodes",
            "keras:KerasTensor._keras_history",
            "keras:Sequential._functional",
            "keras.src.models.functional:Functional",
        ),
        "the shared graph and populations",
        "Each fit is a `model.fit` of its own",
        _check_calls,
    ),
    Need(
        "first batch",
        ("keras:Model._symbolic_build",),
        "searches",
        "Models are made ready by evaluating some rows, which takes longer",
        _check_first_batch,
    ),
    Need(
        "loss and metrics",
        (
            "keras:Model._compile_loss",
            "keras:Model._compile_metrics",
            "keras.src.trainers.compile_utils:CompileLoss._flat_losses",
            "keras.src.trainers.compile_utils:CompileMetrics._flat_metrics",
            "keras.src.trainers.compile_utils:CompileMetrics._flat_weighted_metrics",
            "keras.metrics:MeanMetricWrapper._fn",
            "keras.metrics:MeanMetricWrapper._fn_kwargs",
        ),
        "populations in NumPy",
        "Populations are trained in a graph",
        _check_compiled,
    ),
)
