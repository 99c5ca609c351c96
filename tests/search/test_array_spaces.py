"""The networks for images, sequences and texts: each configuration builds, trains and says something finite."""

import keras
import numpy as np
import pytest

import tfopt
from tfopt.data.examples import InputPart
from tfopt.data.given_examples import examples_of
from tfopt.errors import UserError
from tfopt.search.array_spaces import FIRST
from tfopt.search.config import SearchConfig
from tfopt.search.oracles import discover
from tfopt.search.plan import prepare
from tfopt.search.problem import Problem
from tfopt.search.spaces import SPACES, Space
from tfopt.search.tuners import space as spaces

PARTS = {
    "cnn": InputPart("", (9, 8, 3), "float32", "image"),
    "sequence": InputPart("", (7, 2), "float32", "sequence"),
    "text": InputPart("", (), "string", "text", vocabulary_size=30, length=6),
}
CONFIGURATIONS = [
    *((name, values) for name, first in FIRST.items() for values in ({}, *first)),
    ("cnn", {"augmentation": "shift_flip"}),
    ("sequence", {"network": "recurrent", "cell": "lstm"}),
]


def problem(name, **changes):
    given = {"num_rows": 24, "epochs": 2, "table_rows": 24, "parts": PARTS[name], "kind": PARTS[name].kind}
    return Problem("classification", 1, 3, **given | changes)


def built(name, values, of):
    hp = discover(Space(name, SPACES[name]), of)
    hp.values = dict(values)
    spaces.complete(hp)
    return SPACES[name](hp, of), hp.values


@pytest.mark.long(
    "cnn-{'filters': 32}",
    "cnn-{'augmentation': 'none', 'num_blocks': 2}",
    "text-{'network': 'transformer'}",
    "sequence-{'network': 'recurrent', 'cell': 'lstm'}",
    "cnn-{}",
)
@pytest.mark.slow
@pytest.mark.parametrize(("name", "values"), CONFIGURATIONS, ids=str)
def test_each_network_trains_and_is_finite_for_an_empty_example(name, values):
    of = problem(name)
    model, complete = built(name, values, of)
    assert values.items() <= complete.items(), "every hyperparameter that is named is one of the space's"
    assert model(of.blank()).shape == (1, 3)
    model.run_eagerly = True  # tracing takes longer than these few steps
    random = np.random.default_rng(0)
    shape = (24, *of.input_shape)
    x = random.integers(0, 30, shape).astype("int32") if name == "text" else random.normal(size=shape)
    losses = model.fit(x, np.arange(24) % 3, batch_size=8, epochs=2, verbose=0).history["loss"]
    assert np.isfinite([*losses, *np.asarray(model(of.blank()))[0]]).all()
    assert float(model.optimizer.learning_rate) < 1e-3, "the one cycle ends with the training"


@pytest.mark.slow
def test_large_images_are_halved_first_and_small_ones_are_not_worn_away():
    sizes = {}
    for side in (4, 28, 200):
        model, _ = built("cnn", {}, problem("cnn", parts=InputPart("", (side, side, 1), "uint8", "image")))
        convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
        sizes[side] = convolutions[0].input.shape[1], convolutions[-1].output.shape[1]
    assert sizes == {4: (4, 4), 28: (28, 7), 200: (50, 13)}


def test_a_bag_of_words_is_blind_to_what_fills_up_a_short_text():
    model, _ = built("text", {}, problem("text"))
    words = np.array([[4, 7, 0, 0, 0, 0]], "int32")
    [embedding] = [layer for layer in model.layers if isinstance(layer, keras.layers.Embedding)]
    table = embedding.get_weights()[0]
    kernel, bias = model.layers[-1].get_weights()
    expected = table[[4, 7]].mean(axis=0) @ kernel + bias
    np.testing.assert_allclose(np.asarray(model(words))[0], expected, rtol=1e-5, atol=1e-6)


IMAGES = np.random.default_rng(0).random((40, 6, 6, 1)).astype("float32"), np.arange(40) % 2
TEXTS = np.array([["a good day", "a bad day"][row % 2] for row in range(40)], object), np.arange(40) % 2


@pytest.mark.parametrize(("space", "told"), [("text", "--space text takes texts"), ("cnn", None), ("default", None)])
def test_the_space_fits_the_examples(space, told):
    examples = examples_of(*IMAGES, source="squares")
    config = SearchConfig(data="<table>", space=space, baselines="none")
    if told:
        with pytest.raises(UserError, match=told):
            prepare(config, frame=examples)
    else:
        assert prepare(config, frame=examples).config.space == "cnn"


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`:UserWarning")
@pytest.mark.parametrize(("data", "space"), [(IMAGES, "cnn"), (TEXTS, "text")])
def test_a_search_of_examples_takes_the_space_of_their_kind(data, space, tmp_path, eagerly):
    result = tfopt.search.run(
        data, max_trials=1, epochs=1, holdout=0.3, inner_folds=2, seeds=1, ensemble=0, baselines="none",
        engine="plain", workers=1, out=tmp_path / "run", progress=False,
    )  # fmt: skip
    assert result.config["space"] == space
    assert "network" in result.leaderboard["model"].tolist()
