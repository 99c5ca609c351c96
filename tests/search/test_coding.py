"""Targets in, predictions out: every form of loss and last layer."""

import keras
import numpy as np
import pytest

from tfopt.comparison.objective import get_objective
from tfopt.data import load_table
from tfopt.search.coding import (
    SplitCoder,
    TargetScaler,
    code_target,
    decode,
    for_objective,
    output_kind,
    target_form,
)

LOSSES = keras.losses


@pytest.fixture(scope="module")
def iris():
    return load_table("iris")


@pytest.fixture(scope="module")
def cancer():
    return load_table("breast_cancer")


@pytest.fixture(scope="module")
def linnerud():
    return load_table("linnerud", target=["Weight", "Waist", "Pulse"])


def network(width: int, loss) -> keras.Model:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(width)])
    model.compile("sgd", loss)
    return model


@pytest.mark.parametrize(
    ("width", "loss", "output", "form"),
    [
        (3, "sparse_categorical_crossentropy", "probabilities", "codes"),
        (3, LOSSES.SparseCategoricalCrossentropy(from_logits=True), "logits", "codes"),
        (3, LOSSES.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), "logits", "one_hot"),
        (3, "categorical_crossentropy", "probabilities", "one_hot"),
        (3, "kl_divergence", "probabilities", "one_hot"),
    ],
)
def test_a_classifiers_last_layer_is_read_off_its_loss(iris, width, loss, output, form):
    model = network(width, loss)
    assert output_kind(model, width, iris) == output
    assert target_form(model, output) == form


@pytest.mark.parametrize(
    ("loss", "output"),
    [
        ("binary_crossentropy", "binary_probability"),
        (LOSSES.BinaryCrossentropy(from_logits=True), "binary_logit"),
    ],
)
def test_one_output_for_two_classes(cancer, loss, output):
    model = network(1, loss)
    assert output_kind(model, 1, cancer) == output
    assert target_form(model, output) == "binary"
    assert code_target(np.array([0, 1]), "binary", 2, None).tolist() == [[0.0], [1.0]]


def test_a_wrong_width_is_refused(iris, linnerud):
    with pytest.raises(ValueError, match="1 outputs for 3 classes"):
        output_kind(network(1, "binary_crossentropy"), 1, iris)
    with pytest.raises(ValueError, match=r"1 outputs for 3 target\(s\)"):
        output_kind(network(1, "mse"), 1, linnerud)


def test_decoding_gives_probabilities_that_sum_to_one():
    outputs = np.array([[1000.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(decode(outputs, "logits", None), [[1, 0], [0.5, 0.5]], atol=1e-12)
    np.testing.assert_allclose(decode(np.array([[0.0], [2.0]]), "binary_logit", None)[:, 1], [0.5, 0.880797], atol=1e-6)
    np.testing.assert_allclose(decode(np.array([[0.2]]), "binary_probability", None), [[0.8, 0.2]])


def test_regression_targets_are_scaled_by_the_training_rows_and_back(linnerud):
    coder = SplitCoder(linnerud, "standard")
    train = np.arange(12)
    scaler = coder.scaler(train)
    np.testing.assert_allclose(scaler.mean, linnerud.target[:12].mean(axis=0))
    coded = code_target(linnerud.target, "values", 3, scaler)
    np.testing.assert_allclose(coded[:12].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(coded[:12].std(axis=0), 1, atol=1e-6)
    np.testing.assert_allclose(decode(coded, "values", scaler), linnerud.target, rtol=1e-5)


def test_a_constant_training_target_does_not_divide_by_zero():
    scaler = TargetScaler.fit(np.full((4, 1), 7.0), "standard")
    assert code_target(np.array([7.0, 8.0]), "values", 1, scaler).tolist() == [[0.0], [1.0]]


def test_unscaled_targets_stay_as_they_are(linnerud):
    scaler = SplitCoder(linnerud, "none").scaler(np.arange(12))
    np.testing.assert_array_equal(code_target(linnerud.target, "values", 3, scaler), linnerud.target)


def test_predictions_take_the_form_of_the_objective(iris):
    probabilities = np.array([[0.2, 0.5, 0.3], [0.8, 0.1, 0.1]])
    assert for_objective(probabilities, iris, get_objective("accuracy", "classification")).tolist() == [1, 0]
    assert for_objective(probabilities, iris, get_objective("log_loss", "classification")) is probabilities


def test_encoding_sees_the_training_rows_alone(iris):
    coder = SplitCoder(iris, "standard")
    train, test = np.arange(0, 100), np.arange(100, 150)
    x_train, x_test = coder.features(train, test, "standard")
    np.testing.assert_allclose(x_train.mean(axis=0), 0, atol=1e-5)
    raw = iris.features.to_numpy()
    np.testing.assert_allclose(x_test, (raw[test] - raw[train].mean(0)) / raw[train].std(0), rtol=1e-4, atol=1e-5)
    assert coder.described()["num_features"] == 4


def test_kept_encodings_stay_within_their_budget(iris):
    coder = SplitCoder(iris, "standard", max_bytes=5000)
    rows = np.arange(150)
    for start in range(5):
        coder.features(np.delete(rows, start), rows[start : start + 1], "standard")
    assert sum(a.nbytes + b.nbytes for a, b in coder._kept.values()) <= 5000


def test_weights_average_one(iris):
    iris_weighted = load_table("iris")
    iris_weighted.weights = np.linspace(1, 3, 150)
    weights = SplitCoder(iris_weighted, "standard").weights(np.arange(10))
    assert weights.mean() == pytest.approx(1)
    assert weights[9] > weights[0]
