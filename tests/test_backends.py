"""Schedules, penalties, initializers, constraints, layers and models give the same numbers under Keras's JAX backend.

KERAS_BACKEND=jax python tests/test_backends.py values.npz  # the numbers of a backend, on whatever device it has
python tests/test_backends.py values.npz other.npz          # these beside others: the largest difference
"""

import runpy
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tfopt import constraints, initializers, layers, models, regularizers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype("float32")
WEIGHT = RNG.normal(size=(6, 4)).astype("float32")
TABLE = np.column_stack([X[:, :2], RNG.integers(0, 4, 40), RNG.integers(0, 2, 40)]).astype("float32")
SCHEDULES = runpy.run_path(str(Path(__file__).parent / "schedules" / "conftest.py"))["EXAMPLES"]
PENALTIES = [
    "L1",
    "L2",
    "L1L2",
    "ElasticNet",
    "L21",
    "GroupLasso",
    "SparseGroupLasso",
    "MCP",
    "SCAD",
    "LogSum",
    "LHalf",
]
PENALTIES += ["LHalf", "Hoyer", "HoyerSquare", "SLOPE", "Nuclear", "Spectral", "Orthogonality", "TotalVariation"]
LAYERS = {
    "BatchEnsembleDense": lambda: layers.BatchEnsembleDense(5, 4, "relu"),
    "CategoryCodes": lambda: layers.CategoryCodes([2, 1]),
    "CategoryEmbedding": lambda: layers.CategoryEmbedding([3, 20, 2], 4),
    "Dropout": lambda: layers.Dropout(0.5),
    "EnsembleScaling": lambda: layers.EnsembleScaling(4),
    "FeatureScaling": lambda: layers.FeatureScaling(),
    "NeuralTangentDense": lambda: layers.NeuralTangentDense(4, "relu"),
    "OneHotCategories": lambda: layers.OneHotCategories([3, 20, 2]),
    "ParametricActivation": lambda: layers.ParametricActivation("mish"),
    "PeriodicEmbedding": lambda: layers.PeriodicEmbedding(5, 8),
    "PiecewiseLinearEmbedding": lambda: layers.PiecewiseLinearEmbedding(4, 8),
    "ProductDense": lambda: layers.ProductDense(4),
    "RobustScaling": lambda: layers.RobustScaling(),
    "SelectColumns": lambda: layers.SelectColumns([2, 0]),
    "SeparateDense": lambda: layers.SeparateDense(5, 4, "tanh"),
    "TargetScaling": lambda: layers.TargetScaling(),
}
MODELS = {
    "mlp": lambda: models.mlp(["number", "number", 4, "flag"], "regression", 20, units=8, dropout=0.0),
    "realmlp": lambda: models.realmlp(["number", "number", 4, "flag"], "regression", 20, units=8, dropout=0.0),
    "tabm": lambda: models.tabm(["number", "number", 4, "flag"], "regression", num_members=3, units=8, dropout=0.0),
}


def set_weights(model):
    """Weights that are the same everywhere: each backend draws random numbers of its own."""
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape) * 0.3)


def values():
    """What each piece gives, by its name; of a model its predictions after four steps."""
    found = {}
    for name, make in SCHEDULES.items():
        found[f"schedule {name}"] = make()(np.arange(70))
    for name in PENALTIES:
        found[f"penalty {name}"] = getattr(regularizers, name)()(keras.ops.convert_to_tensor(WEIGHT))
    for name in ("Simplex", "L1Ball", "L2Ball", "Box", "SpectralBall"):
        arguments = {"low": -0.2, "high": 0.3} if name == "Box" else {}
        found[f"constraint {name}"] = getattr(constraints, name)(**arguments)(keras.ops.convert_to_tensor(WEIGHT))
    for name in ("Glorot", "He", "LeCun", "Orthogonal", "ZerO", "Sparse"):
        arguments = {"connections": 40} if name == "Sparse" else {}
        drawn = keras.ops.convert_to_numpy(getattr(initializers, name)(**arguments)((200, 300)))
        found[f"spread {name}"] = drawn.std()  # each backend has draws of its own
    for name in ("relu", "gelu", "tanh", "selu"):
        found[f"gain {name}"] = [initializers.gain(name, mode=mode) for mode in ("forward", "backward")]
    for name, make in LAYERS.items():
        layer = make()
        layer.build((None, 3))
        set_weights(layer)
        found[f"layer {name}"] = layer(X)
    for name, make in MODELS.items():
        model = make()
        model(TABLE)
        initializers.from_data(model, TABLE, 3 * TABLE[:, 0] + 5)
        set_weights(model)
        model.fit(TABLE, 3 * TABLE[:, 0] + 5, batch_size=20, epochs=2, shuffle=False, verbose=0)
        found[f"model {name}"] = model.predict(TABLE, verbose=0)
    return {name: np.asarray(keras.ops.convert_to_numpy(value)) for name, value in found.items()}


def differences(first, second):
    """The largest difference of each piece, over the largest number."""
    assert set(first) == set(second)
    return {name: np.abs(first[name] - second[name]).max() / max(np.abs(first[name]).max(), 1e-9) for name in first}


def test_jax_gives_the_numbers_of_tensorflow(fresh_python, tmp_path):
    pytest.importorskip("jax", reason="JAX is not installed")
    found = fresh_python(__file__, tmp_path / "values.npz", environment={"KERAS_BACKEND": "jax"})
    assert found.returncode == 0, found.stderr
    apart = differences(values(), dict(np.load(tmp_path / "values.npz")))
    assert all(apart[name] < (0.03 if name.startswith("spread") else 1e-5) for name in apart), apart


def test_what_needs_tensorflow_says_so(fresh_python):
    pytest.importorskip("jax", reason="JAX is not installed")
    for statement in ("import tfopt.callbacks", "from tfopt.regularizers import ProximalOptimizer"):
        found = fresh_python("-c", statement, environment={"KERAS_BACKEND": "jax"})
        assert "needs Keras's TensorFlow backend. Received: jax." in found.stderr


if __name__ == "__main__":
    if len(sys.argv) == 2:
        np.savez(sys.argv[1], **values())
        print(len(values()), "pieces under", keras.backend.backend())
    else:
        apart = differences(*(dict(np.load(name)) for name in sys.argv[1:]))
        for name, difference in sorted(apart.items(), key=lambda item: -item[1])[:8]:
            print(f"{difference:.1e} {name}")
