import ctypes.util
import json
import logging
import os
import subprocess
import sys
import types
from pathlib import Path

import keras
import pytest

from tfopt import _cuda, devices
from tfopt.errors import UserError

ROOT = Path(__file__).parents[1]


def in_fresh_process(program, **environment):
    """Run `program` where TensorFlow has not started; return the JSON object that it prints last."""
    inherited = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=300,
        env={**inherited, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("device", ["", "gup", "gpu:", "gpu:x", "gpu:0,", "GPU", "cpu:0", "tpu"])
def test_unknown_device_is_refused_before_tensorflow_loads(device):
    with pytest.raises(UserError, match="device must be auto, cpu, gpu, gpu:N or gpu:N,M"):
        devices.configure(device)


def test_other_bad_arguments(monkeypatch):
    with pytest.raises(UserError, match="names a GPU twice"):
        devices.configure("gpu:1,1")
    with pytest.raises(UserError, match="precision must be one of"):
        devices.configure("cpu", precision="float16")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(UserError, match="KERAS_BACKEND=jax"):
        devices.configure("cpu")


@pytest.mark.parametrize(
    ("device", "before", "after"),
    [
        ("cpu", None, "-1"),
        ("cpu", "0,1", "-1"),
        ("auto", None, None),
        ("auto", "1", "1"),
        ("gpu", "2,3", "2,3"),
        ("gpu:1", None, "1"),
        ("gpu:0,2", None, "0,2"),
        ("gpu:1", "4,7", "7"),  # numbers count within what the user left visible
        ("gpu:1", "GPU-aa, GPU-bb", "GPU-bb"),
        ("gpu:1", "4", "4"),  # absent: left for the error message
        ("gpu:0", "-1", "-1"),
    ],
)
def test_gpus_that_are_not_asked_for_are_hidden(device, before, after, monkeypatch):
    monkeypatch.setattr(os, "environ", {} if before is None else {"CUDA_VISIBLE_DEVICES": before})
    devices._hide_gpus(device, devices._parse(device))
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == after


@pytest.fixture
def two_gpus(monkeypatch):
    """Let TensorFlow list two GPUs, one old and one new, and record what is set on them."""
    import tensorflow as tf

    gpus = [tf.config.PhysicalDevice(f"/physical_device:GPU:{number}", "GPU") for number in (0, 1)]
    details = [
        {"device_name": "Old", "compute_capability": (6, 1)},
        {"device_name": "New", "compute_capability": (9, 0)},
    ]
    seen = types.SimpleNamespace(visible=None, grown=[], started=False)

    def set_visible_devices(chosen, kind):
        assert kind == "GPU"
        if seen.started:
            raise RuntimeError("Visible devices cannot be modified after being initialized")
        seen.visible = [gpu.name[-1] for gpu in chosen]

    experimental = tf.config.experimental
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus if kind == "GPU" else [])
    monkeypatch.setattr(tf.config, "set_visible_devices", set_visible_devices)
    monkeypatch.setattr(experimental, "get_memory_growth", lambda gpu: gpu.name[-1] in seen.grown)
    monkeypatch.setattr(experimental, "set_memory_growth", lambda gpu, on: seen.grown.append(gpu.name[-1]))
    monkeypatch.setattr(experimental, "get_device_details", lambda gpu: details[gpus.index(gpu)])
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    policy = keras.config.dtype_policy()
    yield seen
    keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize(
    ("device", "visible", "names"),
    [
        ("auto", ["0", "1"], ("GPU:0 Old", "GPU:1 New")),
        ("gpu", ["0", "1"], ("GPU:0 Old", "GPU:1 New")),
        ("gpu:1", ["1"], ("GPU:1 New",)),
        ("gpu:0,1", ["0", "1"], ("GPU:0 Old", "GPU:1 New")),
    ],
)
def test_gpus_asked_for_are_used_and_grow(device, visible, names, two_gpus):
    report = devices.configure(device)
    assert (report.kind, report.names, report.memory_growth) == ("gpu", names, True)
    assert two_gpus.visible == two_gpus.grown == visible


def test_cpu_hides_gpus_and_touches_none(two_gpus):
    report = devices.configure("cpu")
    assert (report.kind, report.memory_growth, two_gpus.visible, two_gpus.grown) == ("cpu", False, [], [])


def test_absent_gpu_is_an_error_never_the_cpu(two_gpus):
    with pytest.raises(UserError, match=r"no GPU for device gpu:2: TensorFlow sees 2 \(CUDA_VISIBLE_DEVICES=0,1\)"):
        devices.configure("gpu:2")
    with pytest.raises(UserError, match=r"no GPU for device gpu:0,2"):
        devices.configure("gpu:0,2")
    assert two_gpus.visible is None


def test_too_late_is_said_clearly(two_gpus):
    two_gpus.started = True
    with pytest.raises(RuntimeError, match=r"already started with 2 GPUs, so device 'gpu:1' comes too late"):
        devices.configure("gpu:1")


def test_memory_growth_that_comes_too_late_is_reported(two_gpus, monkeypatch, caplog):
    import tensorflow as tf

    def refuse(gpu, on):
        raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", refuse)
    monkeypatch.setattr(logging.getLogger("tfopt"), "propagate", True)
    assert devices.configure("gpu").memory_growth is False
    assert "takes its memory all at once" in caplog.text


def test_precision_without_units_for_it_is_warned_about(two_gpus, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("tfopt"), "propagate", True)
    assert devices.configure("gpu", "mixed_bfloat16").precision == "mixed_bfloat16"
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    assert "Old has no units for mixed_bfloat16" in caplog.text
    assert "New" not in caplog.text
    devices.configure("cpu", "mixed_float16")
    assert "slower than float32 on a CPU" in caplog.text


@pytest.mark.slow
def test_real_process_before_and_after_tensorflow_loads():
    seen = in_fresh_process("""
import json, os, sys
sys.argv = ["tfopt"]  # as on the command line, where `import tfopt` does not load TensorFlow
from tfopt import _cuda, devices
loaded_before = "tensorflow" in sys.modules
report = devices.configure("cpu", precision="mixed_bfloat16", deterministic=True, seed=3)
import keras, numpy as np, tensorflow as tf
def draw():
    return [float(np.random.rand()), float(keras.random.uniform(()))]
first = draw()
devices.configure("cpu", seed=3)
second, third = draw(), draw()
policy_afterwards = keras.config.dtype_policy().name
errors = {}
for name in ("gpu", "gpu:0"):
    try:
        devices.configure(name)
    except ValueError as error:
        errors[name] = str(error)
tf.random.set_seed(None)
try:
    tf.random.uniform(())
    unseeded = "ran"
except RuntimeError as error:
    unseeded = str(error)
print(json.dumps([loaded_before, report.to_dict(), os.environ["CUDA_VISIBLE_DEVICES"], policy_afterwards,
                  first, second, third, errors, unseeded]))
""")
    loaded_before, report, hidden, policy_afterwards, first, second, third, errors, unseeded = seen
    assert loaded_before is False
    assert hidden == "-1"
    assert report == {
        "requested": "cpu",
        "kind": "cpu",
        "names": ["CPU:0"],
        "memory_growth": False,
        "precision": "mixed_bfloat16",
        "deterministic": True,
    }
    assert policy_afterwards == "float32"
    assert first == second != third
    assert set(errors) == {"gpu", "gpu:0"}
    assert all("no GPU for device" in text and "use device cpu" in text for text in errors.values())
    assert "Random ops require a seed" in unseeded  # TensorFlow says so only while determinism is on


@pytest.mark.parametrize(
    ("device", "num_found", "visible", "own", "each"),
    [
        ("cpu", 4, None, "cpu", []),
        ("auto", 0, None, "auto", []),
        ("auto", 1, None, "gpu:0", ["0"]),
        ("auto", 3, None, "gpu:0", ["0", "1", "2"]),
        ("gpu", 2, "4,GPU-bb", "gpu:0", ["4", "GPU-bb"]),
        ("gpu:1", 3, None, "gpu:1", ["1"]),
        ("gpu:0,2", 3, "5, 6, 7", "gpu:0", ["5", "7"]),
        ("gpu:2,1", 3, None, "gpu:2", ["2", "1"]),
        ("gpu:0,7", 2, None, "gpu:0,7", []),  # absent: `configure` says so
        ("gpu", 0, None, "gpu", []),
    ],
)
def test_gpus_are_divided_among_processes(device, num_found, visible, own, each, monkeypatch):
    import tensorflow as tf

    found = [types.SimpleNamespace(name=f"/physical_device:GPU:{number}") for number in range(num_found)]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: found)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.one_each(device, 3) == (own, each)
    alone = devices.one_each(device, 1)
    assert alone == ((own, each) if device == "auto" else (device, []))


@pytest.mark.slow
def test_one_model_on_two_devices_trains_as_on_one(fresh_keras):
    done = fresh_keras("""
import json
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np
import tfopt
report = tfopt.devices.configure("cpu")
rows = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
target = rows @ [1.0, -2.0, 0.5]
def train(devices):
    strategy = tfopt.devices.strategy(devices)
    with strategy.scope():
        penalty = tfopt.regularizers.L1(0.1)  # whose gradient the optimizer takes out again, a share on each device
        dense = keras.layers.Dense(1, kernel_initializer="zeros", kernel_regularizer=penalty)
        model = keras.Sequential([keras.layers.Input((3,)), dense])
        model.compile(tfopt.regularizers.ProximalOptimizer(keras.optimizers.SGD(0.1)), loss="mse")
    model.fit(rows, target, batch_size=16, epochs=5, shuffle=False, verbose=0)
    return strategy.num_replicas_in_sync, np.ravel(model.get_weights()[0]).tolist()
try:
    tfopt.devices.strategy(["cpu:7"])
except ValueError as error:
    told = str(error)
print(json.dumps([train(None), train(["cpu:1"]), train(["CPU:0", "CPU:1"]), told]))
""")
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    (plain, alone), (single, elsewhere), (both, together), told = seen
    assert (plain, single, both) == (1, 1, 2)
    assert elsewhere == pytest.approx(alone, abs=1e-6)
    assert together == pytest.approx(alone, abs=1e-5)
    assert alone == pytest.approx([1.0, -2.0, 0.5], abs=0.3)  # it has learned something
    assert told == "no device CPU:7. TensorFlow has: CPU:0, CPU:1."


def test_missing_cuda_libraries_are_named_with_what_brings_them(tmp_path, monkeypatch):
    """As on a machine with a card: of what TensorFlow loads, some libraries are pip's and some the system's."""
    import tensorflow as tf

    package = tmp_path / "site-packages"
    for library in ("cudnn/lib/libcudnn.so.9", "cublas/lib/libcublas.so.12"):
        (package / "nvidia" / library).parent.mkdir(parents=True)
        (package / "nvidia" / library).touch()
    build = {"is_cuda_build": True, "cuda_version": "12.5.1", "cudnn_version": "9"}
    monkeypatch.setattr(tf, "__file__", str(package / "tensorflow" / "__init__.py"))
    monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda: build)
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: True)
    monkeypatch.setattr(_cuda, "_loads", lambda name: name in ("libcufft.so.11", "libcublasLt.so.12"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert _cuda.missing_libraries() == ["libcuda.so.1", "libcudart.so.12", "libcusolver.so.11", "libcusparse.so.12"]
    assert _cuda.unused_card(tmp_path) is None
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidia0").touch()
    assert _cuda.unused_card(tmp_path) == (
        "it cannot load libcuda.so.1, libcudart.so.12, libcusolver.so.11, libcusparse.so.12. "
        "Install NVIDIA's driver and tfopt[gpu]"
    )
    monkeypatch.setattr(_cuda, "_loads", lambda name: name == "libcuda.so.1")
    assert _cuda.unused_card(tmp_path).endswith("libcusparse.so.12. Install tfopt[gpu]")
    monkeypatch.setattr(_cuda, "_loads", lambda name: True)
    assert _cuda.unused_card(tmp_path).startswith("all libraries are there")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert _cuda.unused_card(tmp_path) == "CUDA_VISIBLE_DEVICES is ''"


def test_a_library_that_is_there_loads():
    assert _cuda._loads(ctypes.util.find_library("c"))
    assert not _cuda._loads("libnot-there.so.1")


# Logical devices can only be made in a fresh process.
ON_TWO_DEVICES = """
import json, tempfile
import keras, numpy as np, pandas as pd, tensorflow as tf
from tfopt import devices, search

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
rows = np.random.default_rng(0).normal(size=(80, 3))
table = pd.DataFrame({"a": rows[:, 0], "b": rows[:, 1], "y": rows[:, 0] - 2 * rows[:, 1] + 0.1 * rows[:, 2]})

def build(hp, problem):
    layers = [keras.Input((problem.num_features,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(hp.Choice("rate", [0.1])), "mse")
    return model

two = devices.strategy(["CPU:0", "CPU:1"])
devices.strategy = lambda: two
answers = {}
for shared in (False, True):
    devices.shares_batches = lambda: shared
    with tempfile.TemporaryDirectory() as folder:
        result = search.run(table, "y", space=build, max_trials=1, epochs=4, inner_folds=2, holdout=0.25, seeds=1,
                            engine="plain", baselines=["dummy"], workers=1, seed=0, out=f"{folder}/run", progress=False)
        answers[shared] = float(result.leaderboard.set_index("model").score["network"])
    answers["replicas"] = two.num_replicas_in_sync
print(json.dumps(answers))
"""


@pytest.mark.long  # in the default run: one model on two devices
def test_a_search_on_two_devices_gives_what_one_gives():
    """Each batch of a model is divided between them."""
    answers = in_fresh_process(ON_TWO_DEVICES)
    assert answers["replicas"] == 2
    assert answers["true"] == pytest.approx(answers["false"], abs=1e-5)
    assert answers["true"] > 0.3
