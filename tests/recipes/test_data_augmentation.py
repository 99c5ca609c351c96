"""What the recipe does to images is what SciPy does."""

import numpy as np
import pytest
from scipy import ndimage


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


def test_the_plain_network_sees_as_many_images(names):
    sample = names["whole"][0].first(30)
    plain, shifted = (names["copies"](sample, plan) for plan in (names["PLANS"][0], names["PLANS"][2]))
    assert len(plain.x["train"]) == len(shifted.x["train"]) == 30 * names["COPIES"]
    np.testing.assert_array_equal(plain.x["train"][:30], sample.x["train"])
    np.testing.assert_array_equal(plain.x["test"], shifted.x["test"])
    assert np.mean(np.any(plain.x["train"] != shifted.x["train"], axis=1)) > 0.4
