"""What the gradient tap stands on, and the tap by itself."""

import keras
import numpy as np
import tensorflow as tf

from tfopt.callbacks._gradient_tap import MISSING, OptimizerTap, TapOptions, _half_square_sum


def test_train_function_is_looked_up_at_every_step():
    """What lets a callback stand in for it in the middle of `fit`."""
    calls = []

    class Replace(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            original = self.model.train_function
            self.model.train_function = lambda iterator: (calls.append(batch), original(iterator))[1]

        def on_train_batch_end(self, batch, logs=None):
            self.model.make_train_function(force=True)

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(np.ones((4, 1)), np.ones((4, 1)), batch_size=2, verbose=0, callbacks=[Replace()])
    assert calls == [0, 1]


def test_a_sum_of_squares_in_half_precision_does_not_overflow():
    assert float(_half_square_sum(tf.fill([1000], tf.constant(20.0, tf.float16)))) == 200_000
    assert float(_half_square_sum(tf.fill([512], tf.constant(1.0, tf.bfloat16)))) == 256


def test_a_tap_outside_of_any_model():
    """Rows are sums of squares halved, in the columns of the variables, with −1 for what has no gradient."""
    variables = [keras.Variable([1.0, 2.0]), keras.Variable([3.0])]
    optimizer = keras.optimizers.SGD(0.1)
    tap = OptimizerTap("optimizer", optimizer, tf.distribute.get_strategy(), 4, TapOptions())
    tap.install()
    for scale in range(1, 7):
        optimizer.apply([scale * tf.constant([3.0, 4.0]), tf.constant([0.0])], variables)
    tap.uninstall()
    assert "apply" not in vars(optimizer)
    assert tap.count() == 6
    rows = tap.read(3, 6)
    np.testing.assert_allclose(rows["gradient"], [[12.5 * s**2, 0.0] for s in (4, 5, 6)])
    np.testing.assert_allclose(rows["learning_rate"], 0.1, rtol=1e-6)
    assert MISSING < 0
