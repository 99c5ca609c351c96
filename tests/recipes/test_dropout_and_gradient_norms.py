"""Two recipes run as their headers say, and leave a table, verdicts, a picture and numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "recipes"
VERDICTS = {"holds", "does not hold", "can't be told here"}


def run(name, folder, *arguments):
    command = [sys.executable, str(RECIPES / f"{name}.py"), "--smoke", "--out", str(folder), *arguments]
    environment = os.environ | {"PYTHONPATH": str(RECIPES.parent)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((folder / f"{name}.json").read_text())
    assert (folder / f"{name}.svg").read_text().startswith("<?xml")
    assert set(result["verdicts"].values()) <= VERDICTS
    for claim, verdict in result["verdicts"].items():
        assert f"{verdict}: {claim}" in done.stdout
    return result, done.stdout


@pytest.mark.slow
def test_gradient_norms(tmp_path):
    result, printed = run("gradient_norms", tmp_path)
    shares = result["log10"]
    assert max(shares["sigmoid, small weights"]["share"]) < -3 < min(shares["He, ReLU, normed"]["share"])
    assert "2 seeds, 1 epochs" in printed


@pytest.mark.slow
def test_dropout(tmp_path):
    result, printed = run("dropout", tmp_path)
    assert len(result["verdicts"]) == 6
    assert len(result["results"]["dropout 0.5"]) == 2
    assert result["results"]["neither"][0]["gap"] == 0.0
    assert "dropout 0.984" in printed


@pytest.mark.slow
def test_dropout_on_a_table_of_ones_own(tmp_path):
    rows = "\n".join(f"{i % 7},{i % 3},{'ab'[i % 2]}" for i in range(80))
    (tmp_path / "table.csv").write_text(f"first,second,kind\n{rows}\n")
    result, _ = run("dropout", tmp_path, "--data", str(tmp_path / "table.csv"), "--target", "kind")
    assert len(result["results"]) == 7


def test_the_usual_snippet_for_gradients_sees_another_gradient():
    """A second tape after the step has other weights: the norm it shows is not that of the step that was taken."""
    import keras
    import numpy as np
    import tensorflow as tf

    import tfopt

    class Tape(keras.callbacks.Callback):
        norms: list[float] = []  # noqa: RUF012

        def on_train_batch_end(self, batch, logs=None):
            with tf.GradientTape() as tape:
                loss = self.model.compute_loss(x, y, self.model(x, training=True))
            self.norms.append(float(tf.linalg.global_norm(tape.gradient(loss, self.model.trainable_variables))))

    keras.utils.set_random_seed(0)
    x, y = np.ones((8, 4), "float32"), np.ones((8, 1), "float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    tape, norms = Tape(), tfopt.callbacks.GradientNorms()
    model.fit(x, y, epochs=3, verbose=0, callbacks=[tape, norms])
    true = norms.history["grad_norm"]
    np.testing.assert_allclose(tape.norms[:-1], true[1:], rtol=1e-4)  # one step late
    assert not np.allclose(tape.norms, true, rtol=0.1)
