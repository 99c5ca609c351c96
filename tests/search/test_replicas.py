"""One process with several devices: each batch of a model is divided among them, and the result is one device's."""

import json
import subprocess
import sys

import pytest

# Logical devices can only be made in a fresh process.
SCRIPT = """
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


@pytest.mark.slow
def test_a_search_on_two_devices_gives_what_one_gives():
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    answers = json.loads(ended.stdout.splitlines()[-1])
    assert answers["replicas"] == 2
    assert answers["true"] == pytest.approx(answers["false"], abs=1e-5)
    assert answers["true"] > 0.3
