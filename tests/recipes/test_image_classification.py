"""Pictures of a downloaded set or a file, put together from columns; the schedules' lengths."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

import tfopt
from tfopt.errors import UserError

RECIPE = Path(__file__).parents[2] / "recipes" / "image_classification.py"


@pytest.fixture(scope="module")
def pictures():
    """The recipe's own function, without running the recipe."""
    text = RECIPE.read_text(encoding="utf-8")
    function = re.search(r"^def pictures.*?(?=^\S)", text, re.MULTILINE | re.DOTALL)[0]

    class Arguments:
        data = "DATA"

    names = {"re": re, "np": np, "UserError": UserError, "arguments": Arguments}
    exec(compile(function, str(RECIPE), "exec"), names)
    return names["pictures"]


def test_digits_come_back_as_they_were(pictures):
    from sklearn.datasets import load_digits

    np.testing.assert_array_equal(pictures(tfopt.data.load_table("digits"))[..., 0], load_digits().images)


@pytest.mark.parametrize(("name", "shape"), [("mnist", (28, 28)), ("cifar10", (8, 8, 3))])
def test_downloaded_sets_come_back_as_they_were(pictures, monkeypatch, name, shape):
    images = np.random.default_rng(0).integers(0, 256, (30, *shape), dtype=np.uint8)
    images[:, 0, 0] = 0  # a corner that never changes, and is no feature
    parts = (images[:20], np.arange(20) % 10), (images[20:], np.arange(10) % 10)
    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", lambda: parts)
    table = tfopt.data.load_table(f"keras:{name}")
    assert table.features.shape[1] < np.prod(shape)
    np.testing.assert_array_equal(pictures(table).reshape(images.shape), images)


def test_a_download_that_fails_ends_in_one_line(monkeypatch):
    def refuse():
        raise OSError("Name or service not known")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", refuse)
    with pytest.raises(UserError, match=r"^keras:mnist could not be downloaded \(Name or service not known\).*$"):
        tfopt.data.load_table("keras:mnist")


def test_a_file_of_pictures(pictures, tmp_path):
    images = np.random.default_rng(0).normal(size=(12, 5, 4)).astype("float32")
    np.savez(tmp_path / "own.npz", x=images, y=np.array(["cat", "dog", "cow"] * 4))
    np.testing.assert_array_equal(pictures(tfopt.data.load_table(tmp_path / "own.npz"))[..., 0], images)


@pytest.mark.parametrize("name", ["iris", "diabetes"])
def test_a_table_without_pictures_is_refused_in_one_line(pictures, name):
    with pytest.raises(UserError, match=r"^no pictures with classes \(--data DATA\)\. Give .*$"):
        pictures(tfopt.data.load_table(name))


def test_the_peak_is_a_variable_that_both_schedules_read():
    rate = keras.Variable(0.1, trainable=False)
    cycle, stairs = tfopt.schedules.OneCycle(rate, 90), tfopt.schedules.StepDecay(rate, 30)
    for peak in (0.1, 0.4):
        rate.assign(peak)
        assert max(cycle.curve(91)) == pytest.approx(peak)
        np.testing.assert_allclose(
            stairs.curve([0, 29, 30, 60, 89]), peak * np.array([1, 1, 0.1, 0.01, 0.01]), rtol=1e-6
        )
