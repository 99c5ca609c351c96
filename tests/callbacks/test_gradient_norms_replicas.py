"""Two replicas on two logical CPUs. They can only be made in a fresh process, so one process measures every case."""

import json

import numpy as np
import pytest

SCRIPT = """
import json
import keras, numpy as np, tensorflow as tf
import tfopt

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
generator = np.random.default_rng(7)
x, y = generator.normal(size=(64, 5)).astype("float32"), generator.integers(0, 3, 64)

def build(optimizer, policy, **arguments):
    keras.utils.set_random_seed(3)
    first, last = keras.layers.Dense(6, "tanh", dtype=policy, name="a"), keras.layers.Dense(3, dtype=policy, name="b")
    model = keras.Sequential([keras.Input((5,)), first, last])
    model.compile(optimizer(), keras.losses.SparseCategoricalCrossentropy(from_logits=True), **arguments)
    return model

def fit(scope, optimizer, policy, callbacks, **arguments):
    with scope():
        model = build(optimizer, policy, **arguments)
    history = model.fit(x, y, batch_size=32, epochs=2, shuffle=False, verbose=0, callbacks=callbacks).history
    return history, [w.tolist() for w in model.get_weights()]

def single():
    return tf.distribute.get_strategy().scope()

CASES = {
    "plain": (lambda: keras.optimizers.SGD(0.5), "float32"),
    "clipped": (lambda: keras.optimizers.SGD(0.5, global_clipnorm=0.05), "float32"),
    "float16": (lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.5), initial_scale=2.0**20),
                "mixed_float16"),
}
answers = {}
for name, (optimizer, policy) in CASES.items():
    norms, alone = tfopt.callbacks.GradientNorms(), tfopt.callbacks.GradientNorms()
    history, weights = fit(strategy.scope, optimizer, policy, [norms])
    plain_history, plain_weights = fit(strategy.scope, optimizer, policy, [])
    lone_history, _ = fit(single, optimizer, policy, [alone], run_eagerly=True)
    answers[name] = {
        "identical": weights == plain_weights and all(history[k] == v for k, v in plain_history.items()),
        "norms": {k: v.tolist() for k, v in norms.history.items()},
        "alone": {k: v.tolist() for k, v in alone.history.items()},
        "logs": history, "lone_logs": lone_history,
    }
halves = []
model = build(*CASES["plain"])
with single():
    for start in (0, 16):
        part = slice(start, start + 16)
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x[part], y[part], model(x[part]))
        halves.append(float(tf.linalg.global_norm(tape.gradient(loss, model.trainable_variables))))
answers["halves"] = halves
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(fresh_keras):
    done = fresh_keras(SCRIPT)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["plain", "clipped", "float16"])
def test_weights_and_logs_are_identical(answers, case):
    assert answers[case]["identical"]


@pytest.mark.slow
def test_the_norm_is_that_of_the_whole_batch(answers):
    norms, alone = answers["plain"]["norms"], answers["plain"]["alone"]
    for key in alone:
        if key != "learning_rate":
            np.testing.assert_allclose(norms[key], alone[key], rtol=1e-4)
    assert norms["grad_norm_micro"][0] == pytest.approx(answers["halves"][0], rel=1e-4)
    assert answers["plain"]["logs"]["grad_norm"] == pytest.approx(answers["plain"]["lone_logs"]["grad_norm"], rel=1e-4)
    assert "grad_noise_scale" in answers["plain"]["logs"]


@pytest.mark.slow
def test_keras_clips_each_replica_before_the_sum(answers):
    """So two replicas may apply more than `global_clipnorm`, never more than the sum of their shares."""
    norms = answers["clipped"]["norms"]
    np.testing.assert_allclose(norms["grad_norm"][0], answers["clipped"]["alone"]["grad_norm"][0], rtol=1e-4)
    applied = np.array(norms["grad_norm_applied"])
    assert (applied > 0.05).any()
    assert (applied <= 0.1 + 1e-6).all()
    np.testing.assert_allclose(answers["clipped"]["alone"]["grad_norm_applied"], 0.05, rtol=1e-5)


@pytest.mark.slow
def test_float16_skips_are_seen_on_replicas(answers):
    norms, alone = answers["float16"]["norms"], answers["float16"]["alone"]
    bad = np.array(norms["grad_norm_nonfinite"]) > 0
    assert bad.any()
    assert not bad.all()
    good = ~bad & (np.array(alone["grad_norm_nonfinite"]) == 0)
    first = int(np.argmax(good))
    np.testing.assert_allclose(norms["grad_norm"][first], alone["grad_norm"][first], rtol=2e-2)
