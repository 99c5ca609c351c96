"""The networks for tables in a user's hands: fit, labels of any form, weights, saving, mistakes."""

import inspect
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import tfopt
from tfopt import initializers, models

RNG = np.random.default_rng(0)
N = 120
X = np.column_stack(
    [RNG.normal(size=(N, 2)) * [1, 50], RNG.integers(0, 2, N), RNG.integers(-1, 40, N), RNG.integers(0, 2, N)]
).astype("float32")
COLUMNS = ["number", "number", 2, 40, "flag"]
Y = X[:, 0] * 30 + X[:, 2] * 20 + 400
LABELS = np.digitize(Y, np.quantile(Y, [0.33, 0.66]))
SMALL = {"units": 8}
MAKE = {
    "mlp": lambda *task: models.mlp(COLUMNS, task[0], 60, *task[1:], learning_rate=0.05, weight_decay=0.1, **SMALL),
    "realmlp": lambda *task: models.realmlp(COLUMNS, task[0], 60, *task[1:], **SMALL),
    "realmlp_s": lambda *task: models.realmlp_s(COLUMNS, task[0], 60, *task[1:], **SMALL),
    "tabm": lambda *task: models.tabm(COLUMNS, *task, num_members=3, num_bins=8, learning_rate=0.02, **SMALL),
}


@pytest.mark.long("realmlp", "tabm", "mlp")
@pytest.mark.slow
@pytest.mark.parametrize("name", MAKE)
def test_regression_on_raw_targets(name):
    keras.utils.set_random_seed(0)
    model = MAKE[name]("regression")
    initializers.from_data(model, X, Y)
    model.fit(X, Y, batch_size=20, epochs=10, verbose=0)
    predicted = np.asarray(model(X))
    assert predicted.shape == (N, 1)
    assert predicted.min() >= Y.min() - 1e-3
    assert predicted.max() <= Y.max() + 1e-3
    assert 1 - np.mean((predicted[:, 0] - Y) ** 2) / Y.var() > 0.6
    error = np.mean((predicted[:, 0] - Y) ** 2)
    assert model.evaluate(X, Y, batch_size=20, verbose=0) == pytest.approx(error, rel=1e-3)


@pytest.mark.long("names1")
@pytest.mark.parametrize("names", [("mlp",), ("realmlp", "tabm", "realmlp_s")])
def test_classes_and_what_a_fresh_process_makes_of_saved_models(names, tmp_path, fresh_keras):
    keras.utils.set_random_seed(0)
    for name in names:
        model = MAKE[name]("classification", 3)
        initializers.from_data(model, X)
        history = model.fit(
            X, LABELS, batch_size=20, epochs=6, verbose=0, validation_data=(X, LABELS), validation_freq=6
        ).history
        assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
        assert history["val_accuracy"][-1] > 0.5
        logits = np.asarray(model(X))
        assert np.mean(logits.argmax(1) == LABELS) == pytest.approx(history["val_accuracy"][-1])
        assert history["val_loss"][-1] == pytest.approx(float(model.loss(np.eye(3)[LABELS], logits)), rel=1e-4)
        model.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", x=X, y=LABELS, logits=logits)
    code = """
import sys, numpy, keras, tfopt
for name in sys.argv[2:]:
    model, data = keras.models.load_model(f"{sys.argv[1]}/{name}.keras"), numpy.load(f"{sys.argv[1]}/{name}.npz")
    model.run_eagerly = True  # a single step
    numpy.testing.assert_allclose(model(data["x"]), data["logits"], rtol=1e-4, atol=1e-5)
    model.train_on_batch(data["x"], data["y"])
    print(int(model.optimizer.iterations))
"""
    done = fresh_keras(code, tmp_path, *names)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["37"] * len(names)  # 6 epochs of 6 steps, and then one


def test_the_loss_of_labels_is_keras_own():
    logits = RNG.normal(size=(6, 3)).astype("float32")
    labels = np.array([0, 1, 2, 2, 1, 0])
    for smoothing in (0.0, 0.1):
        ours = models.LabelCrossentropy(from_logits=True, label_smoothing=smoothing)
        theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
        expected = float(theirs(np.eye(3)[labels], logits))
        for form in (labels, labels[:, None], labels.astype("float32"), np.eye(3)[labels]):
            assert float(ours(form, logits)) == pytest.approx(expected, rel=1e-6)
        again = keras.losses.deserialize(keras.losses.serialize(ours))
        assert type(again) is models.LabelCrossentropy
        assert float(again(labels, logits)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_each_member_is_trained_on_its_own_loss_with_the_weights_of_rows():
    inputs = keras.Input((2,))
    members = tfopt.layers.SeparateDense(1, num_members=4)(inputs)
    model = models.EnsembleModel(inputs, models.MeanOfMembers()(members))
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=["mse"])
    x, y, weight = X[:30, :2] / 50, Y[:30] / 400, RNG.random(30)
    outputs = np.asarray(model(x, training=True))[:, :, 0]
    each = np.mean(np.mean((outputs - y[:, None]) ** 2, axis=1) * weight)
    history = model.fit(x, y, sample_weight=weight, batch_size=30, verbose=0).history
    together = np.mean((outputs.mean(1) - y) ** 2)
    assert history["loss"][0] == pytest.approx(each, rel=1e-4)
    assert history["mse"][0] == pytest.approx(together, rel=1e-4)
    assert model.evaluate(x, y, verbose=0)[0] == pytest.approx(together, rel=1e-4)


def test_members_of_classes_average_probabilities():
    logits = RNG.normal(size=(5, 4, 3)) * 3
    powers = np.exp(logits)
    probabilities = (powers / powers.sum(-1, keepdims=True)).mean(1)
    np.testing.assert_allclose(models.MeanOfMembers(True)(logits), np.log(probabilities), rtol=1e-5, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("name", ["realmlp", "tabm"])
def test_mixed_precision(name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = MAKE[name]("regression")
        initializers.from_data(model, X, Y)
        assert np.isfinite(model.fit(X, Y, batch_size=40, verbose=0).history["loss"][0])
        assert model.output.dtype == "float32"
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("columns", [["number"], [3], [40], ["flag", "flag"], [2, "number"]])
@pytest.mark.parametrize("name", ["mlp", "realmlp", "realmlp_s", "tabm"])
def test_any_kind_of_columns_alone(name, columns):
    more = (60,) if name != "tabm" else ()
    make = getattr(models, name)
    model = make(columns, "classification", *more, num_outputs=2, units=4, num_layers=1)
    assert model(np.zeros((3, len(columns)), "float32")).shape == (3, 2)


@pytest.mark.parametrize("name", ["mlp", "realmlp", "tabm"])
def test_one_hots_of_many_levels_are_a_category_and_of_few_are_flags(name):
    numbers, codes, few = RNG.normal(size=(9, 2)), RNG.integers(-1, 12, 9), np.eye(3)[RNG.integers(0, 3, 9)]
    make, steps = getattr(models, name), () if name == "tabm" else (60,)
    settings = {"units": 4, "max_one_hot": 8, "category_units": 3}
    of_codes = make(["number", 12, "number", *["flag"] * 3], "regression", *steps, **settings)
    columns = ["number", *["flag"] * 12, "number", *["flag"] * 3]
    of_one_hots = make(columns, "regression", *steps, one_hots=[range(1, 13), range(14, 17)], **settings)
    assert of_one_hots.get_layer("category_vectors").levels == [12]
    of_one_hots.set_weights(of_codes.get_weights())
    one_hots = (codes[:, None] == np.arange(12)).astype("float32")
    outputs = np.asarray(of_one_hots(np.column_stack([numbers[:, 0], one_hots, numbers[:, 1], few])))
    expected = of_codes(np.column_stack([numbers[:, 0], codes, numbers[:, 1], few]))
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`:UserWarning")
def test_the_programs_of_the_docs_run(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "tabular-networks.md").read_text(encoding="utf-8")
    x = np.column_stack([RNG.normal(size=(64, 8)), *(RNG.integers(-1, levels, 64) for levels in (2, 5, 300))])
    names = {"x": x, "y": RNG.integers(0, 3, 64), "x_new": x[:5]}
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(blocks) == 2
    for block in blocks:
        exec(block.replace("epochs=256", "epochs=1, verbose=0").replace("(x_new)", "(x_new, verbose=0)"), names)
    assert keras.models.load_model("model.keras").output_shape == (None, 3)
    np.testing.assert_allclose(names["dense"].decay.curve(3)[1:], [0.02 * rate for rate in names["rate"].curve(3)[1:]])


def test_every_setting_is_described():
    for name in ("mlp", "realmlp", "realmlp_s", "tabm"):
        function = getattr(models, name)
        text = inspect.getdoc(function)
        for argument in inspect.signature(function).parameters:
            assert re.search(rf"^    \**{argument}: ", text, re.M), (name, argument)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: models.mlp([], "regression", 10), "`columns` must say of each column"),
        (lambda: models.mlp(["numeric"], "regression", 10), "'number', 'flag' or the number of a category's levels"),
        (lambda: models.mlp([True], "regression", 10), "`columns` must say"),
        (
            lambda: models.mlp(["number"], "regression", 10, num_layers=10**400),
            r"`num_layers` of mlp must be < 2\*\*63",
        ),
        (lambda: models.realmlp(["number"], "regression", 10, dropout=np.nan), "`dropout` of realmlp must be finite"),
        (
            lambda: models.mlp(["flag", "number"], "regression", 10, one_hots=[[0, 1]]),
            "columns that `columns` calls 'flag'",
        ),
        (lambda: models.tabm(["flag"], "regression", one_hots=[[0], [0]]), "each in one list"),
        (lambda: models.tabm(["number"], "regression", weight_decay=-1), "`weight_decay` of tabm must be >= 0"),
        (lambda: models.realmlp(["number"], "classification", 10), "must be the number of classes"),
        (lambda: models.realmlp(["number"], "classify", 10), "`task` of realmlp must be one of"),
        (lambda: models.realmlp(["number"], "regression", 0), "`total_steps` must be >= 1"),
        (lambda: models.realmlp(["number"], "regression", 10, start="zeros"), "`start` of realmlp"),
        (lambda: models.tabm(["number"], "classification", 1), "`num_outputs` of tabm must be >= 2"),
        (lambda: models.tabm(["number"], "regression", variant="small"), "`variant` of tabm must be one of"),
    ],
)
def test_mistakes_are_named(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize("networks", [None, [], ["mlp"], keras.Sequential()])
def test_the_mean_is_of_networks(networks):
    with pytest.raises(TypeError, match="`networks` of MeanOfNetworks must be a list of Keras models"):
        models.MeanOfNetworks(networks)


def test_the_mean_of_networks_is_the_same_after_a_reload(tmp_path):
    networks = [keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="one") for _ in range(2)]
    model = models.MeanOfNetworks(networks, "softmax")
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    logits = [rows @ np.array(network.layers[0].kernel) for network in networks]
    expected = np.mean([np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in logits], axis=0)
    model.save(tmp_path / "mean.keras")
    loaded = keras.models.load_model(tmp_path / "mean.keras")
    for each in (model, loaded):
        np.testing.assert_allclose(each.predict(rows, verbose=0), expected, rtol=1e-5)
