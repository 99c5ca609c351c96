"""The order of rows, which is that of `model.fit`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt.training.rows import row_order


@pytest.mark.slow
def test_a_seeded_fit_takes_the_same_order_in_every_epoch_and_which():
    """Keras 3.15: the shuffle sits in a tf.data function whose stream starts anew with each epoch's iterator."""
    seen = []

    class Recorder(keras.Model):
        def call(self, x):
            return x

        def train_step(self, data):
            tf.py_function(lambda rows: seen.append(rows.numpy().ravel().tolist()), [data[0]], [])
            return {"loss": tf.constant(0.0)}

    for seed, num_rows in ((5, 20), (0, 33), (2**31 + 6, 20)):
        seen.clear()
        keras.utils.set_random_seed(seed)
        model = Recorder()
        model.compile("sgd", "mse")
        model.fit(np.arange(num_rows, dtype="int32"), np.zeros(num_rows), batch_size=num_rows, epochs=3, verbose=0)
        epochs = [rows for rows in seen if len(rows) == num_rows][-3:]
        assert epochs[0] == epochs[1] == epochs[2]
        assert [row_order("once", seed, num_rows, epoch).tolist() for epoch in range(3)] == epochs


def test_orders_depend_on_seed_and_epoch_alone():
    first = [row_order(True, 1, 10, epoch) for epoch in range(4)]
    assert len({tuple(order) for order in first}) == 4
    np.testing.assert_array_equal(row_order(True, 1, 10, 3), first[3])
    assert not np.array_equal(row_order(True, 2, 10, 0), first[0])
    np.testing.assert_array_equal(row_order(False, 1, 10, 5), np.arange(10))
