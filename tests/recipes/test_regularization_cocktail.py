"""A member of the cocktail's stack is the network that Keras trains alone; the choice looks at validation rows only."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris

import tfopt


@pytest.fixture(scope="module")
def names(recipe_names):
    return recipe_names("regularization_cocktail")


def strengths(names, **changes):
    """Two configurations; the second has the ingredients that are named."""
    assert set(changes) <= set(names["INGREDIENTS"])
    return {name: np.array([0.0, changes.get(name, 0.0)]) for name in names["INGREDIENTS"]}


def alone(names, parts, rate, classes, seed, l1, l2, decay):
    """The second configuration as a plain Keras network: its validation loss and test score."""
    (x, y), (x_valid, y_valid), (x_test, y_test) = parts
    penalty = tfopt.regularizers.L1L2(l1, l2)
    widths = [(48, "relu"), (48, "relu"), (y.shape[1], None)]
    dense = [keras.layers.Dense(width, activation, kernel_regularizer=penalty) for width, activation in widths]
    model = keras.Sequential([keras.Input((x.shape[1],)), *dense])
    for place, layer in enumerate(dense):
        layer.kernel.assign(tfopt.initializers.He(seed=1000 * seed + 10 + place)(layer.kernel.shape))  # trial 1
    batches, epochs = len(x) // 32, names["EPOCHS"]
    optimizer = keras.optimizers.AdamW(tfopt.schedules.LinearDecay(rate, epochs * batches), weight_decay=decay)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True) if classes else keras.losses.MeanSquaredError()
    model.compile(optimizer, loss)
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(x))[: batches * 32]
        for _ in range(batches):
            rng.permutation(32)  # mixup's partners
        model.fit(x[order], y[order], batch_size=32, shuffle=False, verbose=0)
    predicted = np.asarray(model(x_test))
    if classes:
        score = np.mean(predicted.argmax(axis=1) != y_test.argmax(axis=1))
    else:
        score = np.mean((predicted - y_test) ** 2) / y_test.var()
    return float(loss(y_valid, model(x_valid))), float(score)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classes", "values"])
def test_a_member_is_the_network_alone(names, task):
    x, y = (load_iris if task == "classes" else load_diabetes)(return_X_y=True)
    classes = 3 if task == "classes" else 0
    parts = names["split"](x, y, classes, 5)
    chosen = {"L1": 3e-3, "L2": 1e-2, "decoupled decay": 0.5}
    losses, scores = names["train"]([parts], np.array([1e-2, 1e-2]), strengths(names, **chosen), classes, 5)
    loss, score = alone(names, parts, 1e-2, classes, 5, *chosen.values())
    assert losses[0, 1] == pytest.approx(loss, rel=1e-3)
    assert scores[0, 1] == pytest.approx(score, rel=1e-3)
    assert abs(losses[0, 0] - losses[0, 1]) > 1e-3  # the ingredients are felt


@pytest.mark.slow
def test_every_ingredient_changes_its_own_member_only(names):
    x, y = load_iris(return_X_y=True)
    parts = names["split"](x, y, 3, 5)
    without, _ = names["train"]([parts], np.array([1e-2, 1e-2]), strengths(names), 3, 5)
    for name in ("dropout", "mixup", "input noise", "averaged weights", "layer normalisation"):
        changed, _ = names["train"]([parts], np.array([1e-2, 1e-2]), strengths(names, **{name: 0.6}), 3, 5)
        np.testing.assert_allclose(changed[0, 0], without[0, 0], rtol=1e-4, err_msg=name)
        assert abs(changed[0, 1] - without[0, 1]) > 1e-3, name


def test_the_choice_is_by_validation_loss(names):
    losses = np.array([[3.0, 1.0, 2.0], [np.inf, 5.0, 4.0]])
    scores = np.array([[0.1, 0.9, 0.2], [0.3, 0.4, 0.5]])
    score, loss = names["chosen"](np.stack([losses, scores]))
    assert score.tolist() == [0.9, 0.5]
    assert loss.tolist() == [1.0, 4.0]


def test_arms_have_one_ingredient_each_and_the_same_rates(names):
    rates, table = names["configurations"](np.random.default_rng(0))
    trials, arms = names["TRIALS"], names["ARMS"]
    np.testing.assert_array_equal(rates.reshape(len(arms), trials), np.tile(rates[:trials], (len(arms), 1)))
    for row, arm in enumerate(arms[:-1]):
        used = [name for name, values in table.items() if values.reshape(len(arms), trials)[row].any()]
        assert used == ([] if arm == "none" else [arm])


def test_no_row_is_in_two_parts(names):
    x = np.arange(900.0)[:, None]
    for classes in (0, 3):
        parts = names["split"](x, x[:, 0].astype(int) % 3, classes, 0)
        assert [len(features) for features, _ in parts] == [250, 100, 150]
        rows = np.concatenate([features for features, _ in parts])
        assert len(np.unique(rows)) == 500
