"""The recipe on gradients by layer, and the usual program that measures another gradient."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfopt


def test_what_vanishes(smoke):
    done = smoke("gradient_norms")
    found = done.result["results"]["log10_and_accuracy"]
    # Each sigmoid layer passes on at most ¼·‖W‖ of the gradient, and 32 x 32 weights of N(0, 0.05²) have a norm of
    # about 0.05·2·√32 = 0.57: twelve layers leave less than 0.14¹¹ = 10^-9 of it.
    assert max(found["sigmoid, small weights"]["share"]) < -9 < -3 < min(found["He, ReLU, normed"]["share"])
    assert "2 seeds; base-10 logarithms" in done.printed


@pytest.mark.long  # in the default run: test_learning_rate_schedules.py
def test_a_table_of_ones_own(run_recipe, tmp_path):
    rows = "\n".join(f"{i % 7},{i % 3},{i % 5},{'ab'[i % 2]}" for i in range(400))
    (tmp_path / "table.csv").write_text(f"first,second,third,kind\n{rows}\n")
    done = run_recipe("gradient_norms", "--data", tmp_path / "table.csv", "--target", "kind")
    assert done.verdict("gradient-vanishes-in-sigmoid") == "holds"
    assert "table: 400 rows, 3 features, 2 classes" in done.printed


@pytest.mark.slow
def test_the_usual_snippet_for_gradients_sees_another_gradient():
    """A second tape after the step has other weights: the norm it shows is not that of the step that was taken."""

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
