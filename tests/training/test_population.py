"""Populations as a user trains them."""

import keras
import numpy as np
import pytest

import tfopt.search

layers = keras.layers


def build(hp):
    hidden = [layers.Dense(6, "tanh", kernel_regularizer=keras.regularizers.L2(hp["l2"])), layers.Dropout(0.2)]
    model = keras.Sequential([keras.Input((4,)), *hidden, layers.Dense(3, "softmax")])
    model.compile(keras.optimizers.Adam(hp["lr"]), "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
    return model


CONFIGURATIONS = [{"lr": 0.01, "l2": 1e-3}, {"lr": 0.03, "l2": 1e-2}]


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    x = random.normal(size=(53, 4)).astype("float32")
    return x, np.argmax(x[:, :3], axis=1)


@pytest.mark.slow
def test_folds_and_seeds_are_members(rows):
    x, y = rows
    result = tfopt.search.Population(build, CONFIGURATIONS, grad_norm=True).fit(
        x, y, folds=3, seeds=(0, 1), epochs=4, batch_size=16, monitor="val_loss"
    )
    assert len(result) == 2 * 2 * 3
    assert [(m.configuration, m.seed, m.fold) for m in result.members[:4]] == [
        (0, 0, 0),
        (0, 0, 1),
        (0, 0, 2),
        (0, 1, 0),
    ]
    assert all(member.result.engine == "population" for member in result.members)
    scores, best = result.scores("val_loss"), result.scores("val_loss", best=True)
    assert scores.shape == (2, 2, 3)
    assert (best <= scores).all()
    assert len(result[0].history["grad_norm"]) == 4
    predictions = result.predictions()
    assert predictions.shape == (2, 2, 53, 3)
    np.testing.assert_allclose(predictions.sum(axis=-1), 1.0, rtol=1e-5)
    member = result[5]
    held = member.request.validation
    model = result.model(member)
    np.testing.assert_allclose(model.predict(x[held], verbose=0), predictions[0, 1, held], rtol=1e-4, atol=1e-6)
    evaluated = model.evaluate(x[held], y[held], batch_size=16, verbose=0, return_dict=True)
    assert evaluated["loss"] == pytest.approx(member.history["val_loss"][-1], rel=1e-5)


@pytest.mark.slow
def test_class_weights_and_example_weights_of_folds(rows):
    """Validation rows have the example weights alone, as `evaluate` gives them."""
    x, y = rows
    own = np.linspace(0.5, 2.0, len(y))
    folds = [(np.arange(9, 53), np.arange(9))]
    result = tfopt.search.Population(build, CONFIGURATIONS[:1]).fit(
        x, y, folds=folds, class_weight={0: 9.0}, sample_weight=own, batch_size=16
    )
    model, (train, held) = result.model(result[0]), folds[0]
    evaluated = model.evaluate(x[held], y[held], sample_weight=own[held], verbose=0, return_dict=True)
    assert evaluated["loss"] == pytest.approx(result[0].history["val_loss"][0], rel=1e-5)
    by_hand = np.where(y == 0, 9.0, 1.0) * own
    multiplied = tfopt.search.Population(build, CONFIGURATIONS[:1]).fit(
        x[train], y[train], sample_weight=by_hand[train], batch_size=16
    )
    assert multiplied[0].history["loss"] == pytest.approx(result[0].history["loss"], rel=1e-5)


@pytest.mark.long
def test_class_weights_are_those_of_fit(rows):
    x, y = (part[:48] for part in rows)
    weights = {0: 2.0, 1: 0.5, 2: 1.0}
    result = tfopt.search.Population(build, CONFIGURATIONS[:1]).fit(
        x, y, class_weight=weights, epochs=2, batch_size=16, shuffle=False, validation_data=(x[:9], y[:9])
    )
    keras.utils.set_random_seed(0)
    model = build(CONFIGURATIONS[0])
    history = model.fit(
        x, y, class_weight=weights, epochs=2, batch_size=16, shuffle=False, validation_data=(x[:9], y[:9]), verbose=0
    ).history
    assert result[0].history.keys() == history.keys()
    for name, values in history.items():
        np.testing.assert_allclose(result[0].history[name], values, rtol=1e-5)
    with pytest.raises(ValueError, match="no rows were held out"):
        result.predictions()
    with pytest.raises(ValueError, match="no best weights"):
        result.model(0, best=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folds": 1}, "`folds` must be 2 to"),
        ({"folds": []}, "`folds` must give at least one"),
        ({"seeds": ()}, "`seeds` must hold at least one"),
        ({"patience": 2}, "`patience` needs a `monitor`"),
        ({"class_weight": {}, "y": {"a": np.zeros(53), "b": np.zeros(53)}}, "needs one target"),
    ],
)
def test_bad_arguments(rows, arguments, message):
    x, y = rows
    with pytest.raises(ValueError, match=message):
        tfopt.search.Population(build, CONFIGURATIONS).fit(x, **({"y": y} | arguments))
    with pytest.raises(ValueError, match="at least one configuration"):
        tfopt.search.Population(build, [])
    with pytest.raises(TypeError, match="Put it into a list"):
        tfopt.search.Population(build, {"lr": 0.1})
