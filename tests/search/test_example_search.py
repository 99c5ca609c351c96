"""Examples of any shape through the folds: what is learned where, what is trained, exported and predicted."""

import re
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pandas as pd
import pytest

import tfopt
from tfopt.cli.main import main
from tfopt.data import ExampleModel, examples_of
from tfopt.data.example_encoder import ExampleEncoder
from tfopt.data.example_sources import given_examples, load_examples
from tfopt.search.coding import output_kind, target_form
from tfopt.search.example_coding import ENCODED, RAW, ExampleCoder
from tfopt.search.problem import Problem
from tfopt.training.own_layers import adapt, layers_to_adapt, restored

RANDOM = np.random.default_rng(0)
TRAIN, TEST = np.arange(20), np.arange(20, 30)
TEXTS = [f"same word{row} {'up' if row % 2 else 'down'}" for row in range(30)]
SERIES = RANDOM.normal(3, 2, (30, 6, 2)) + np.where(np.arange(30) >= 20, 50.0, 0.0)[:, None, None]
LABELS = np.arange(30) % 2


def test_texts_and_sequences_learn_from_the_training_part_only():
    texts = ExampleEncoder(examples_of(TEXTS, LABELS, source="s").parts).fit(np.array(TEXTS, object)[TRAIN])
    words = texts.learned[""]["words"]
    assert "word19" in words
    assert not any(f"word{row}" in words for row in TEST)
    examples = examples_of(SERIES, LABELS, source="s")
    train, test = ExampleCoder(examples, "standard").features(TRAIN, TEST, ENCODED)
    np.testing.assert_allclose(train.mean((0, 1)), 0.0, atol=1e-5)
    np.testing.assert_allclose(train.std((0, 1)), 1.0, rtol=1e-5)
    expected = (SERIES[TEST] - SERIES[TRAIN].mean((0, 1))) / SERIES[TRAIN].std((0, 1))
    np.testing.assert_allclose(test, expected, rtol=1e-4)


def test_images_are_bytes_over_255_and_others_stay():
    x = {"picture": RANDOM.integers(0, 256, (30, 4, 4, 1), dtype=np.uint8), "code": RANDOM.integers(0, 9, (30, 3))}
    coder = ExampleCoder(examples_of(x, LABELS, source="s"), "standard")
    train, _ = coder.features(TRAIN, TEST, ENCODED)
    np.testing.assert_allclose(train["picture"], x["picture"][TRAIN] / 255.0, rtol=1e-6)
    np.testing.assert_array_equal(train["code"], x["code"][TRAIN])
    assert coder.is_fixed(ENCODED)  # so that all splits share one copy


@pytest.mark.slow
@pytest.mark.parametrize("x", [TEXTS, SERIES, {"a": SERIES, "b": TEXTS}], ids=["texts", "sequences", "both"])
def test_the_exported_model_says_what_the_network_says(x, tmp_path):
    examples = examples_of(x, LABELS, source="s")
    coder = ExampleCoder(examples, "standard")
    problem = Problem("classification", 1, 2, 20, 1, 30, kind=examples.kind, parts=examples.parts)
    inputs = problem.inputs()
    flat = [keras.layers.Flatten()(keras.ops.cast(each, "float32")) for each in keras.tree.flatten(inputs)]
    joined = keras.layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
    network = keras.Model(inputs, keras.layers.Dense(2)(joined))
    network.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    expected = keras.ops.softmax(network.predict(coder.features(TRAIN, TEST, ENCODED)[1], verbose=0))
    coder.exported([network, network], TRAIN, ENCODED).save(tmp_path / "best.keras")
    model = keras.models.load_model(tmp_path / "best.keras", compile=False)
    assert isinstance(model, ExampleModel)
    assert model.classes == ("0", "1")
    found = model.predict(examples.take(TEST)[0], verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_layers_of_ones_own_learn_from_the_training_part_only():
    """A leak probe: test rows are 50 higher, and say words that no training row says."""
    inputs = {"a": keras.Input((6, 2), name="a"), "b": keras.Input((), dtype="string", name="b")}
    normalized = keras.layers.Normalization(name="own")(inputs["a"])
    words = keras.layers.TextVectorization(max_tokens=99, output_mode="multi_hot", pad_to_max_tokens=True)(inputs["b"])
    joined = keras.layers.Concatenate()([keras.layers.Flatten()(normalized), words])
    network = keras.Model(inputs, keras.layers.Dense(1)(joined))
    assert [type(layer).__name__ for layer in layers_to_adapt(network)] == ["Normalization", "TextVectorization"]
    examples = examples_of({"a": SERIES, "b": TEXTS}, LABELS, source="s")
    adapt(network, ExampleCoder(examples, "standard").features(TRAIN, TEST, RAW)[0])
    assert not layers_to_adapt(network)
    layer = network.get_layer("own")
    # A part of a dict is not standardised by tfopt, so that the layer learns the series' own numbers.
    np.testing.assert_allclose(np.ravel(layer.mean), SERIES[TRAIN].mean((0, 1)), rtol=1e-4)
    held = network.layers[[type(each).__name__ for each in network.layers].index("TextVectorization")].get_vocabulary()
    assert "word19" in held
    assert "word20" not in held
    layer.adapt_mean.assign([7.0, 8.0])
    restored(network)
    np.testing.assert_allclose(np.ravel(layer.mean), [7.0, 8.0])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A search from Python on two inputs and two targets, one of which is compared."""
    x = {"picture": RANDOM.integers(0, 256, (40, 4, 4, 1), dtype=np.uint8), "fact": RANDOM.normal(size=(40, 3))}
    y = {"price": x["picture"].mean(axis=(1, 2, 3)) / 20 + x["fact"][:, 0], "size": x["fact"][:, 1:]}
    settings = {"max_trials": 2, "epochs": 2, "holdout": 0.3, "inner_folds": 2, "seeds": 1, "workers": 1}
    settings |= {"baselines": "dummy,ridge", "target": "price", "progress": False}
    out = str(tmp_path_factory.mktemp("runs") / "run")
    return x, y, tfopt.search.run((x, y), space=two_inputs, out=out, **settings)


def two_inputs(hp, problem):
    """Return a functional model of two inputs and two outputs, in the names of the data."""
    inputs = problem.inputs()
    flat = keras.layers.Flatten()(inputs["picture"])
    joined = keras.layers.Concatenate()([flat, inputs["fact"]])
    outputs = {name: keras.layers.Dense(width, name=name)(joined) for name, width in (("price", 1), ("size", 2))}
    model = keras.Model(inputs, outputs)
    rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log", default=1e-2)
    model.compile(
        keras.optimizers.Adam(rate), {"price": "mse", "size": "mse"}, loss_weights={"price": 1.0, "size": 0.5}
    )
    return model


@pytest.mark.slow
def test_a_search_on_two_inputs_and_two_targets_ends_in_models_that_predict(found):
    x, _, result = found
    assert {"network", "dummy", "ridge"} <= set(result.leaderboard["model"])
    for name in ("network", "trials", "ridge"):
        assert result.predict(x, model=name).shape == (40,)
    model = keras.models.load_model(result.folder / "best.keras", compile=False)
    np.testing.assert_allclose(model.predict(x, verbose=0)[:, 0], result.predict(x, model="network"))
    one = {name: array[:, :2] for name, array in x.items()}
    with pytest.raises(tfopt.errors.UserError, match=r"'picture' have shape \(2, 4, 1\).* trained on \(4, 4, 1\)"):
        result.predict(one)


@pytest.mark.slow
def test_it_goes_on_from_its_journal_with_the_same_data_only(found):
    x, y, result = found
    before = (Path(result.folder) / "trials.jsonl").read_bytes()
    again = tfopt.search.run((x, y), space=two_inputs, resume=str(result.folder), progress=False)
    assert (Path(result.folder) / "trials.jsonl").read_bytes() == before
    assert again.verdict == result.verdict
    other = {**x, "fact": x["fact"] + 1}
    with pytest.raises(tfopt.errors.UserError, match="made from other data"):
        tfopt.search.run((other, y), space=two_inputs, resume=str(result.folder), progress=False)


def dense(hp, problem):
    """Return the smallest network for windows."""
    inputs = problem.inputs()
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(inputs)))
    model.compile(keras.optimizers.Adam(hp.Float("learning_rate", 1e-3, 1e-1, default=1e-2)), "mse")
    return model


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`:UserWarning")
def test_a_series_is_forecast_by_what_was_trained_on_its_windows(tmp_path, capsys, eagerly):
    sold = np.round(np.sin(np.arange(40)) * 9, 2)
    frame = pd.DataFrame({"day": pd.date_range("2026-01-01", periods=40), "sold": sold})
    settings = {"max_trials": 1, "epochs": 1, "holdout": 0.3, "inner_folds": 2, "seeds": 1, "ensemble": 0}
    settings |= {"baselines": "naive", "engine": "plain", "workers": 1, "progress": False, "out": tmp_path / "run"}
    result = tfopt.search.run(frame, window=4, horizon=2, space=dense, **settings)
    assert "The hold-out is the latest part" in result.verdict
    np.testing.assert_allclose(result.predict(frame, model="naive"), sold[3:], rtol=1e-6)
    assert result.predict(frame, model="network").shape == (37,)
    frame[-5:].to_csv(tmp_path / "latest.csv", index=False)
    np.testing.assert_allclose(result.predict(tmp_path / "latest.csv", model="naive"), sold[-2:], rtol=1e-6)
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "latest.csv"), "--model", "naive"]) == 0
    out, told = capsys.readouterr()
    assert [line[:10] for line in out.splitlines()] == ["day,sold", "2026-02-10", "2026-02-11"]
    assert "forecasts of 'day' 2026-02-10 to 2026-02-11, each 2 rows after the last row of its window" in told


@pytest.mark.slow
def test_the_networks_of_the_docs_page_take_the_examples_of_the_docs_page():
    page = (Path(__file__).parents[2] / "docs" / "any-data.md").read_text(encoding="utf-8")
    programs = [each for each in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "(hp, problem)" in each]
    assert len(programs) == 4
    for program in programs:
        names: dict = {}
        exec(program, names)
        build = next(value for name, value in names.items() if name in ("cnn", "bag", "two_inputs", "recurrent"))
        load = names.get("load")
        examples = load_examples("digits", as_image=True) if load is None else given_examples(load(), {})
        problem = Problem(examples.task, 1, examples.num_outputs, 8, 1, 8, kind=examples.kind, parts=examples.parts)
        model = build(keras_tuner.HyperParameters(), problem)
        model.run_eagerly = True  # one step
        coder = ExampleCoder(examples, "standard")
        x, _ = coder.features(TRAIN, TEST, ENCODED)
        output = coder.compared(model(x))
        kind = output_kind(model, output.shape[-1], examples, coder.place)
        form = target_form(model, kind, coder.place)
        assert np.isfinite(model.train_on_batch(x, coder.targets(TRAIN, form, coder.scaler(TRAIN)))).all()
