"""What the recipe does to images is what SciPy does; a member of its stack is the network that Keras trains alone."""

import keras
import numpy as np
import pytest
from scipy import ndimage

import tfopt


@pytest.fixture(scope="module")
def names(recipe_names):
    return recipe_names("data_augmentation")


def test_shifts(names):
    rows = names["images"][:5]
    views = names["shifted"](rows)
    for view, (down, right) in zip(views, names["SHIFTS"], strict=True):
        expected = ndimage.shift(rows.reshape(-1, 8, 8), (0, down, right), order=0)
        np.testing.assert_array_equal(view.reshape(-1, 8, 8), expected)


def test_without_a_plan_nothing_changes(names):
    order = np.array([3, 1, 1, 0])
    rows, labels = names["images"][:4], names["digits"][:4]
    x, y = names["augmented"](rows, labels, ("none", 0.0, 0.0, 0.0), order, np.random.default_rng(0))
    np.testing.assert_array_equal(x, rows[order])
    np.testing.assert_array_equal(y.argmax(axis=1), labels[order])


def test_mixup_mixes_images_as_it_mixes_labels(names):
    """With one image of each digit, the shares of the labels say which images an image is made of."""
    first = [int(np.flatnonzero(names["digits"] == digit)[0]) for digit in range(10)]
    rows, order = names["images"][first], np.arange(1000) % 10
    x, y = names["augmented"](rows, np.arange(10), ("mixup", 0.0, 0.0, 0.5), order, np.random.default_rng(0))
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(x, y @ rows, atol=1e-6)
    assert np.mean(y.max(axis=1) < 0.99) > 0.5


def test_noise_has_the_deviation_that_it_says(names):
    order = np.zeros(4000, int)
    x, _ = names["augmented"](
        names["images"][:1], names["digits"][:1], ("noise", 0, 0.3, 0), order, np.random.default_rng(0)
    )
    np.testing.assert_allclose((x - names["images"][0]).std(), 0.3, rtol=0.02)


def test_no_row_is_in_two_parts(names):
    for parts in names["splits"]:
        assert sorted(np.concatenate(parts)) == list(range(1797))
        assert [len(part) for part in parts] == [800, 300, 697]


@pytest.mark.slow
def test_a_member_is_the_network_alone(names):
    """The plan "none" of the second seed, trained by Keras on the same batches."""
    errors = names["train"](50, 4e-3)
    pool, valid, test = names["splits"][1]
    generator, steps, parts = np.random.default_rng(1), names["STEPS"], names["CHUNKS"]
    needed = steps // parts * 32
    orders = []
    for _ in range(parts):
        orders.append(np.concatenate([generator.permutation(50) for _ in range(-(-needed // 50))])[:needed])
    rows = pool[np.concatenate(orders)]
    hidden, output = keras.layers.Dense(128, "relu"), keras.layers.Dense(10)
    model = keras.Sequential([keras.Input((64,)), hidden, output])
    for layer in (hidden, output):
        layer.kernel.assign(tfopt.initializers.He(seed=1)(layer.kernel.shape))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(tfopt.schedules.LinearDecay(4e-3, steps)), loss)
    model.fit(names["images"][rows], names["digits"][rows], batch_size=32, shuffle=False, verbose=0)
    for part, measured in zip((valid, test), errors[:, 1, 0], strict=True):
        predicted = np.asarray(model(names["images"][part])).argmax(axis=1)
        expected = 100 * np.mean(predicted != names["digits"][part])
        assert measured == pytest.approx(expected, abs=0.5)  # of rows at the border, one or two may fall either way
