"""The battery that every public class of the penalties, initializers, constraints and their layers passes."""

import copy
import inspect
import json
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt import constraints, initializers, layers, regularizers

PENALTIES = [
    cls
    for cls in vars(regularizers).values()
    if inspect.isclass(cls) and issubclass(cls, regularizers.Penalty) and cls is not regularizers.Penalty
]
INITIALIZERS = [
    cls
    for cls in vars(initializers).values()
    if inspect.isclass(cls) and issubclass(cls, keras.initializers.Initializer)
]
CONSTRAINTS = [
    cls
    for cls in vars(constraints).values()
    if inspect.isclass(cls) and issubclass(cls, keras.constraints.Constraint) and not cls.__name__.startswith("_")
]
LAYERS = [layers.L0Gate, layers.ProductDense, layers.ResidualGain]
SERIALIZABLE = [*PENALTIES, *INITIALIZERS, *CONSTRAINTS]

# Arguments that differ from every default; what is not listed is made without any.
ARGUMENTS = {
    "L1": {"l1": 0.3},
    "L2": {"l2": 0.3},
    "L1L2": {"l1": 0.3, "l2": 0.1},
    "ElasticNet": {"strength": 0.3, "l1_ratio": 0.2},
    "TextbookL2": {"strength": 3.0, "num_samples": 50, "loss": "crossentropy"},
    "L21": {"strength": 0.3, "groups": "columns", "l2": 0.1},
    "GroupLasso": {"strength": 0.3, "groups": "columns"},
    "SparseGroupLasso": {"l1": 0.3, "group": 0.2, "groups": "channels"},
    "MCP": {"strength": 0.3, "gamma": 2.5},
    "SCAD": {"strength": 0.3, "a": 3.1},
    "LogSum": {"strength": 0.3, "epsilon": 0.2},
    "LHalf": {"strength": 0.3, "epsilon": 0.01},
    "Hoyer": {"strength": 0.3},
    "HoyerSquare": {"strength": 0.3},
    "SLOPE": {"strength": 0.3, "sequence": "linear", "q": 0.2},
    "Nuclear": {"strength": 0.3},
    "Spectral": {"strength": 0.3},
    "Orthogonality": {"strength": 0.3, "mode": "rows"},
    "Orthogonal": {"gain": 0.5, "seed": 3},
    "TotalVariation": {"strength": 0.3, "l1": 0.1, "axis": 1},
    "L2SP": {"strength": 0.3, "reference": [[0.5] * 4] * 6},
    "Glorot": {"gain": 1.5, "distribution": "uniform", "seed": 3, "strides": 2},
    "He": {"gain": [1.5, 2.5], "seed": 3, "layout": "transposed"},
    "LeCun": {"seed": 3, "input_axes": [0], "output_axes": [1]},
    "VarianceScaling": {"gain": 1.5, "mode": "fan_out", "distribution": "normal", "seed": 3, "groups": 2},
    "Normal": {"stddev": 0.2, "seed": 3},
    "Sparse": {"connections": 2, "stddev": 0.5, "seed": 3},
    "DepthScaled": {"num_layers": 5, "stddev": 0.1, "branches": 1, "seed": 3},
    "Fixup": {"num_branches": 4, "layers_per_branch": 3, "last": False, "gain": 0.5, "seed": 3},
    "DeepNorm": {"num_layers": 4, "gain": 0.5, "seed": 3},
    "SIREN": {"first": True, "omega": 20.0, "gain": 0.5, "seed": 3},
    "MuP": {"role": "output", "gain": 0.5, "seed": 3},
    "DeltaOrthogonal": {"gain": 0.5, "seed": 3},
    "Dirac": {"gain": 0.5, "groups": 2},
    "ZerO": {"gain": 0.5},
    "UnitVariance": {"stddev": 0.5, "seed": 3},
    "HePlusBias": {"num_rows": 3},
    "PriorBias": {"probability": 0.2, "activation": "softmax"},
    "Simplex": {"total": 2.0, "axis": 1},
    "L1Ball": {"radius": 2.0, "axis": 1},
    "L2Ball": {"radius": 2.0, "axis": [1]},
    "Box": {"low": -0.2, "high": 0.3},
    "SpectralBall": {"radius": 0.7},
}
SHAPES = {"DeltaOrthogonal": (3, 3, 4, 6), "PriorBias": (6,)}
WEIGHT = np.random.default_rng(0).normal(size=(6, 4))


def example(cls):
    return cls(**ARGUMENTS.get(cls.__name__, {}))


def result(instance):
    name = type(instance).__name__
    if isinstance(instance, keras.initializers.Initializer):
        if getattr(instance, "seed", 0) is None:
            instance = type(instance).from_config({**instance.get_config(), "seed": 5})
        return np.asarray(instance(SHAPES.get(name, (6, 4))))
    return np.asarray(instance(tf.constant(WEIGHT)))


def test_everything_is_found():
    registered = [keras.saving.get_registered_name(cls) for cls in [*SERIALIZABLE, *LAYERS]]
    assert len(set(registered)) == len(registered)  # no two packages share a name
    assert (len(PENALTIES), len(INITIALIZERS), len(CONSTRAINTS)) == (20, 18, 5)
    names = {cls.__name__ for cls in SERIALIZABLE}
    assert set(ARGUMENTS) <= names


@pytest.mark.parametrize("cls", SERIALIZABLE, ids=lambda cls: cls.__name__)
def test_config_round_trip_through_json(cls):
    instance = example(cls)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(instance)))
    assert config["registered_name"] == f"tfopt>{cls.__name__}"
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is cls
    assert again.get_config() == instance.get_config()
    np.testing.assert_array_equal(result(again), result(instance))
    assert repr(again) == repr(instance)


@pytest.mark.parametrize("cls", SERIALIZABLE, ids=lambda cls: cls.__name__)
def test_config_keys_are_the_signature(cls):
    instance = example(cls)
    assert list(instance.get_config()) == list(inspect.signature(cls).parameters)
    for name, value in ARGUMENTS.get(cls.__name__, {}).items():
        assert instance.get_config()[name] == value


@pytest.mark.parametrize("cls", SERIALIZABLE, ids=lambda cls: cls.__name__)
def test_deepcopy(cls):
    instance = example(cls)
    np.testing.assert_array_equal(result(copy.deepcopy(instance)), result(instance))


@pytest.mark.parametrize("cls", SERIALIZABLE, ids=lambda cls: cls.__name__)
def test_default_construction_and_name(cls):
    packages = {regularizers: PENALTIES, initializers: INITIALIZERS, constraints: CONSTRAINTS}
    package = next(package for package, classes in packages.items() if cls in classes)
    assert type(package.get(cls.__name__)) is cls
    assert type(package.get(cls)) is cls


def model_with(instance):
    """A small model that holds the instance where it belongs."""
    if isinstance(instance, regularizers.Penalty):
        return keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, kernel_regularizer=instance)])
    if isinstance(instance, keras.constraints.Constraint):
        return keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, kernel_constraint=instance)])
    if isinstance(instance, keras.layers.Layer):
        return keras.Sequential([keras.Input((6,)), instance, keras.layers.Dense(4)])
    if type(instance).__name__ == "PriorBias":
        return keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, bias_initializer=instance)])
    if np.ndim(getattr(instance, "gain", 0)):
        instance = type(instance)(seed=3)
    convolution = keras.layers.Conv1D(4, 3, padding="same", kernel_initializer=instance)
    return keras.Sequential([keras.Input((6,)), keras.layers.Reshape((3, 2)), convolution, keras.layers.Flatten()])


def test_trained_models_load_in_a_fresh_process(tmp_path, fresh_keras):
    """Compile, fit, save; then a process that knows only `import tfopt` gives the same predictions and losses."""
    x = np.random.default_rng(1).normal(size=(16, 6)).astype("float32")
    expected = {}
    instances = [example(cls) for cls in SERIALIZABLE if cls is not regularizers.TotalVariation]
    instances += [regularizers.TotalVariation(0.3), layers.L0Gate(0.1), layers.ProductDense(6, 0.1)]
    instances += [layers.ResidualGain(0.5)]
    for number, instance in enumerate(instances):
        model = model_with(instance)
        model.compile(keras.optimizers.SGD(0.01), "mse", run_eagerly=True)
        model.train_on_batch(x, np.zeros((16, *model.output_shape[1:])))
        model.save(tmp_path / f"{number}.keras")
        expected[number] = [np.asarray(model(x)).astype(float).sum(), float(sum(model.losses))]
    script = textwrap.dedent(
        """
        import json, sys
        import tfopt, keras
        import numpy as np
        x = np.random.default_rng(1).normal(size=(16, 6)).astype("float32")
        for number in range(int(sys.argv[2])):
            model = keras.models.load_model(f"{sys.argv[1]}/{number}.keras")
            print(json.dumps([number, float(np.asarray(model(x)).astype(float).sum()), float(sum(model.losses))]))
        """
    )
    run = fresh_keras(script, tmp_path, len(instances))
    assert run.returncode == 0, run.stderr
    found = {number: values for number, *values in map(json.loads, run.stdout.splitlines())}
    assert len(found) == len(instances)
    for number, values in expected.items():
        np.testing.assert_allclose(found[number], values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", PENALTIES, ids=lambda cls: cls.__name__)
def test_penalties_under_mixed_precision(cls):
    axis = {"axis": 0} if cls is regularizers.TotalVariation else {}
    penalty = cls(**{**ARGUMENTS.get(cls.__name__, {}), **axis})
    layer = keras.layers.Dense(4, kernel_regularizer=penalty, dtype="mixed_float16")
    layer(np.ones((2, 6), "float16"))
    assert layer.losses[0].dtype == "float32"
    assert np.isfinite(float(layer.losses[0]))
