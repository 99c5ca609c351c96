"""Samples that share no row; a member of the population is the network that Keras trains alone."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits
from sklearn.metrics import log_loss

import tfopt
from tfopt.errors import UserError
from tfopt.report import recipe_fits
from tfopt.report.recipe_fits import PARTS, chosen, samples, train

X, Y = load_digits(return_X_y=True)


def test_samples_are_divided_alike_and_scaled_by_their_training_rows():
    found = samples(X, Y, range(6), train=0.5, valid=0.25)
    assert [[len(one.y[part]) for part in PARTS] for one in found] == [[149, 74, 76]] * 6
    for one in found:
        np.testing.assert_allclose(one.x["train"].mean(axis=0), 0, atol=1e-5)
        assert set(np.round(one.x["train"].std(axis=0), 4)) == {0, 1}
        assert np.bincount(np.concatenate([one.y[part] for part in PARTS])).min() >= 28


def test_no_row_is_used_twice(monkeypatch):
    used = []
    monkeypatch.setattr(recipe_fits, "_sample", lambda seed, x, y, rows, *others: used.append(rows))
    samples(X, Y, range(6), most=200)
    rows = np.concatenate([part for one in used for part in one])
    assert len(rows) == 1200 == len(set(rows.tolist()))


def test_everything_is_drawn_anew_for_each_block():
    first, again, other = (samples(X, Y, range(start, start + 4), wrong=0.3) for start in (0, 0, 100_000))
    np.testing.assert_array_equal(first[1].x["train"], again[1].x["train"])
    assert not np.array_equal(first[1].y["train"], other[1].y["train"])


def test_wrong_labels_are_wrong_and_only_in_training():
    clean, spoilt = (samples(X, Y, range(2), wrong=wrong) for wrong in (0.0, 0.25))
    changed = [np.mean(a.y["train"] != b.y["train"]) for a, b in zip(clean, spoilt, strict=True)]
    assert changed == pytest.approx([0.25, 0.25], abs=0.06)
    assert changed[0] != changed[1]
    for part in ("valid", "test"):
        np.testing.assert_array_equal(clean[0].y[part], spoilt[0].y[part])


def test_too_few_rows():
    with pytest.raises(UserError, match=r"60 rows are too few for 6 seeds"):
        samples(X[:60], Y[:60], range(6))


@pytest.mark.long("values")
@pytest.mark.slow
@pytest.mark.parametrize("task", ["classes", "values"])
def test_a_member_is_the_network_alone(task):
    x, y = (X, Y) if task == "classes" else load_diabetes(return_X_y=True)
    found = samples(x, y, [3, 4], train=0.1 if task == "classes" else 0.4, most=900)
    outputs = 10 if task == "classes" else 1
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if task == "classes" else "mse"

    def build(hp):
        penalty = tfopt.regularizers.L2(hp["l2"])
        layers = [keras.layers.Dense(8, "relu", kernel_regularizer=penalty), keras.layers.Dense(outputs)]
        model = keras.Sequential([keras.Input((x.shape[1],)), *layers])
        model.compile(keras.optimizers.Adam(0.01), loss)
        return model

    scores = train(build, [{"l2": 0.0}, {"l2": 0.01}], found, epochs=1)
    assert scores["test loss"].shape == (2, 2)
    keras.utils.set_random_seed(4)
    alone = build({"l2": 0.01})
    order = np.random.default_rng((4, 0)).permutation(len(found[1].y["train"]))  # of a population's first epoch
    alone.fit(found[1].x["train"][order], found[1].y["train"][order], shuffle=False, verbose=0)
    for part in PARTS:
        predicted, truth = np.asarray(alone(found[1].x[part]), "float64"), found[1].y[part]
        if task == "classes":
            shares = np.exp(predicted) / np.exp(predicted).sum(axis=1, keepdims=True)
            expected, error = log_loss(truth, shares, labels=range(10)), 100 * np.mean(predicted.argmax(1) != truth)
        else:
            expected = np.mean((predicted[:, 0] - truth) ** 2)
            error = np.sqrt(expected)
        assert scores[f"{part} loss"][1, 1] == pytest.approx(expected, rel=1e-3)
        assert scores[f"{part} error"][1, 1] == pytest.approx(error, abs=0.5)


def test_each_sample_chooses_by_its_own_validation_rows():
    scores = {
        "valid loss": np.array([[3.0, 1.0], [2.0, np.nan], [1.0, 0.5]]),
        "test loss": np.arange(6.0).reshape(3, 2),
    }
    best = chosen(scores, [0, 1])
    assert best["chosen"].tolist() == [1, 0]
    assert best["test loss"].tolist() == [2.0, 1.0]


@pytest.mark.slow
def test_a_search_on_given_folds_chooses_what_plain_fits_choose():
    """A penalty that is far too strong loses, and the folds are those that are given."""
    x, y = load_diabetes(return_X_y=True)
    x, y = ((part - part.mean(axis=0)) / part.std(axis=0) for part in (x, y))
    folds = [(np.arange(0, 442, 2), np.arange(1, 442, 2)), (np.arange(1, 442, 2), np.arange(0, 442, 2))]

    def build(hp):
        dense = keras.layers.Dense(1, kernel_regularizer=tfopt.regularizers.L2(hp["l2"]))
        model = keras.Sequential([keras.Input((10,)), dense])
        model.compile(keras.optimizers.Adam(0.02), "mse", metrics=["mae"])
        return model

    best = recipe_fits.tuned(build, {"l2": [1e-3, 10.0]}, x, y, folds, objective="val_mae", epochs=5, seed=3)
    assert best["l2"] == 1e-3
    model = recipe_fits.tuned_model(build, {"l2": [1e-3]}, x, y, folds, objective="val_mae", epochs=5, seed=3)
    keras.utils.set_random_seed(3)
    alone = build({"l2": 1e-3})
    alone.fit(x, y, epochs=5, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], alone.get_weights()[0])


def test_each_arm_gets_the_scores_of_its_own_configurations(monkeypatch):
    """With a training that scores a configuration by what it says, the least of each arm is found."""

    def instead(build, configurations, samples, **settings):
        found = np.array([[hp["score"] + sample for sample in samples] for hp in configurations])
        return {"valid loss": found, "test loss": 10 * found}

    monkeypatch.setattr(recipe_fits, "train", instead)
    arms = {"one": [{"score": 5.0}, {"score": 3.0}], "two": [{"score": 4.0}], "three": [{"score": 1.0}, {"score": 2.0}]}
    best = recipe_fits.best_of(None, arms, [0.0, 0.5])
    assert {arm: scores["test loss"].tolist() for arm, scores in best.items()} == {
        "one": [30.0, 35.0],
        "two": [40.0, 45.0],
        "three": [10.0, 15.0],
    }


def test_a_setting_is_chosen_without_the_seed_it_is_judged_on():
    scores = np.random.default_rng(0).random((5, 7))
    for seed, place in enumerate(recipe_fits.by_the_others(scores)):
        without = np.delete(scores, seed, axis=1).sum(axis=1)
        assert without[place] == without.min()


@pytest.mark.slow
def test_a_fit_after_a_restart_is_the_first_again():
    layers = [keras.layers.Dense(3, "relu"), keras.layers.ReLU(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(keras.optimizers.Adam(0.1), "mse")
    x, y = np.random.default_rng(0).normal(size=(8, 4)), np.ones((8, 1))
    ends = []
    for seed in (1, 1, 2):
        recipe_fits.restart(model, seed)
        assert float(model.optimizer.learning_rate) == pytest.approx(0.1)
        model.fit(x, y, shuffle=False, verbose=0)
        ends.append(model.get_weights()[0])
    np.testing.assert_array_equal(ends[0], ends[1])
    assert not np.allclose(ends[0], ends[2], atol=0.1)


def test_rows_to_search_on_are_those_that_do_not_judge():
    sample = samples(X, Y, [0], most=200)[0]
    rows, labels = sample.searched
    np.testing.assert_array_equal(rows, np.concatenate([sample.x["train"], sample.x["valid"]]))
    np.testing.assert_array_equal(labels, np.concatenate([sample.y["train"], sample.y["valid"]]))
