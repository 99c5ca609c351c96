"""Baselines of images, sequences and texts: their features against values known by hand, and each on a fold."""

import numpy as np
import pytest

import tfopt
from tfopt.baselines.example_features import GradientHistogram, SequenceSummary
from tfopt.baselines.forecasts import EarlierValue
from tfopt.baselines.table_baseline import TableBaseline
from tfopt.comparison.objective import get_objective
from tfopt.data.given_examples import examples_of
from tfopt.errors import UserError

ACCURACY, R2 = get_objective("accuracy", "classification"), get_objective("r2", "regression")


def histogram(image):
    return GradientHistogram((*image.shape, 1)).transform(image.reshape(1, -1)).reshape(4, 4, 9)


def test_a_ramp_counts_for_its_direction_alone_in_every_cell():
    across = np.tile(np.arange(8.0), (8, 1))
    np.testing.assert_allclose(histogram(across), np.tile(np.eye(9)[0], (4, 4, 1)), atol=1e-5)
    # 90 degrees lie between the fourth and the fifth direction, each 20 degrees wide.
    half = np.zeros(9)
    half[[4, 5]] = np.sqrt(0.5)
    np.testing.assert_allclose(histogram(across.T), np.tile(half, (4, 4, 1)), atol=1e-5)
    np.testing.assert_allclose(histogram(-across), histogram(across), atol=1e-5)


def test_turned_by_a_direction_and_of_any_contrast_or_size():
    down, across = np.mgrid[:12, :16].astype(float)
    turned = across * np.cos(np.deg2rad(40)) + down * np.sin(np.deg2rad(40))
    np.testing.assert_allclose(histogram(3 * turned + 5), np.tile(np.eye(9)[2], (4, 4, 1)), atol=1e-5)
    np.testing.assert_array_equal(histogram(np.ones((5, 7))), 0)


def test_a_summary_of_each_channel():
    values = np.stack([2.0 * np.arange(10), np.full(10, 7.0)], axis=-1)[None]
    found = SequenceSummary((10, 2)).transform(values.reshape(1, -1))[0]
    mean, spread, low, high, slope, change = found[:12].reshape(6, 2)
    np.testing.assert_allclose([mean, spread, low, high], [[9, 7], [2 * np.arange(10).std(), 0], [0, 7], [18, 7]])
    np.testing.assert_allclose([slope, change], [[2, 0], [2, 0]])
    np.testing.assert_allclose(found[12:].reshape(8, 2), values[0, 2:])
    assert SequenceSummary((1, 1)).transform(np.ones((3, 1))).shape == (3, 7)


RANDOM = np.random.default_rng(0)
CLASSES = np.arange(60) % 2
# Stripes one way or the other, slow or fast waves, texts with a telling word: what a dummy cannot tell apart.
IMAGES = np.where(CLASSES[:, None, None], *(np.indices((8, 8)) % 2)) + RANDOM.normal(0, 0.3, (60, 8, 8))
WAVES = np.sin(np.arange(20) * np.where(CLASSES, 0.3, 2.5)[:, None]) + RANDOM.normal(0, 0.1, (60, 20))
WORDS = np.array([f"the {'good' if c else 'bad'} day {i % 7}" for i, c in enumerate(CLASSES)], object)
DATA = {
    "pca_linear": IMAGES[..., None],
    "hog_linear": IMAGES[..., None],
    "summary_linear": WAVES[..., None],
    "summary_forest": WAVES[..., None],
    "tfidf_linear": WORDS,
    "tfidf_naive_bayes": WORDS,
}


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("name", DATA)
def test_each_is_tuned_saved_and_loaded(name, task, tmp_path):
    if (name, task) == ("tfidf_naive_bayes", "regression"):
        return
    target = CLASSES if task == "classification" else CLASSES * 2.5 + RANDOM.normal(0, 0.01, 60)
    x = DATA[name] if DATA[name].dtype == object else DATA[name].astype("float32")
    examples = examples_of(x, target, source="made", task=task)
    objective = ACCURACY if task == "classification" else R2
    _, family = tfopt.baselines.select_families(name, task, objective, 60, examples.kind)
    (outer,) = tfopt.comparison.outer_splits(examples, folds=5, repeats=1, seed=0, holdout=0.3)
    inner = tfopt.comparison.inner_splits(examples, outer.train, folds=2, seed=0)
    result = tfopt.baselines.tune(family, examples, 0, outer, inner, objective)
    assert result.score > 0.8
    model = tfopt.baselines.train_for_use(examples, family, [result.chosen], inner, objective, seed=0)
    model.save(tmp_path / "model.skops")
    loaded = TableBaseline.load(tmp_path / "model.skops")
    np.testing.assert_array_equal(loaded.outputs(examples.features), model.outputs(examples.features))


def test_they_are_chosen_by_what_the_examples_are():
    def named(choice, kind):
        return {f.name for f in tfopt.baselines.select_families(choice, "classification", ACCURACY, 60, kind)}

    assert {"pca_linear", "hog_linear", "random_forest"} <= named("fast", "image")
    assert named("fast", "image") & {"tfidf_linear", "summary_linear"} == set()
    assert {"tfidf_linear", "tfidf_naive_bayes"} <= named("fast", "text")
    assert not named("all", "table") & DATA.keys()
    with pytest.raises(UserError, match="'hog_linear' is for images, which the data do not hold"):
        named("hog_linear", "table")


def test_naive_forecasts_take_the_last_value_and_the_one_of_a_season_before():
    season = np.tile([1.0, 5.0, 2.0, 9.0], 12) + RANDOM.normal(0, 0.01, 48)
    other = np.arange(48.0)[::-1]
    x = np.lib.stride_tricks.sliding_window_view(np.column_stack([season, other]), 6, axis=0).transpose(0, 2, 1)[:-1]
    flat, y = x.reshape(len(x), -1), season[6:]
    last = EarlierValue((6, 2)).fit(flat[:20], y[:20])
    np.testing.assert_array_equal(last.predict(flat), season[5:-1])
    before = EarlierValue((6, 2), seasonal=True).fit(flat[:20], y[:20])
    np.testing.assert_array_equal(before.predict(flat), season[2:-4])
    both = EarlierValue((6, 2), num_targets=2, seasonal=True).fit(flat[:20], np.column_stack([y, other[6:]])[:20])
    np.testing.assert_array_equal(both.predict(flat), np.column_stack([season[2:-4], other[5:-1]]))
    table = tfopt.baselines.select_families("fast", "regression", R2, 40)
    assert "naive" not in {family.name for family in table}
    families = tfopt.baselines.select_families("fast", "regression", R2, 40, "forecast")
    assert {"naive", "seasonal_naive", "ridge", "summary_linear"} <= {family.name for family in families}
