"""Text columns: scikit-learn's numbers in the encoder, and the same ones in the exported graph, raw text or words."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from tfopt.data import Column, TableEncoder, TableModel, TablePreprocessing, to_inputs
from tfopt.data.text import TopicCoder, words_of

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

WORDS = [
    "red",
    "wine",
    "of",
    "good",
    "taste",
    "a",
    "bitter",
    "Straße",
    "ΣΊΣΥΦΟΣ",
    "3.5",
    "l",
    "don't",
    "x_1",
    "上海",
    "süß",
    "dry,",
    "oak",
    "(old)",
    "young!",
    "fruit",
    "cherry",
]
COLUMNS = (Column("note", "text", has_missing=True), Column("price", "numeric"), Column("shop", "text"))


def rows(seed, num_rows=80):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"price": random.normal(size=num_rows)})
    for name in ("note", "shop"):
        frame[name] = [" ".join(random.choice(WORDS, random.integers(1, 9))) for _ in range(num_rows)]
    frame.loc[[3, 8], "note"] = None
    frame.loc[9, "note"] = "? a"
    frame.loc[10, "note"] = "words never seen"
    return frame


def test_topics_are_those_of_scikit_learn():
    texts = rows(0)["shop"]
    coder = TopicCoder.fit(list(map(words_of, texts)))
    vectorizer = TfidfVectorizer(min_df=2)
    weighted = vectorizer.fit_transform(texts)
    assert list(coder.vocabulary) == vectorizer.get_feature_names_out().tolist()
    expected = TruncatedSVD(16, random_state=0).fit(weighted)
    new = rows(1)["shop"]
    given, wanted = coder.transform(list(map(words_of, new))), expected.transform(vectorizer.transform(new))
    np.testing.assert_allclose(given * np.sign(given[0] * wanted[0]), wanted, atol=1e-10)  # a direction has two ends


@pytest.mark.parametrize(
    "texts",
    [
        ["", "", ""],
        ["one two", "three four", "five six"],
        ["same words", "same words", "same words"],
        ["a b", "", "ab ab"],
    ],
)
def test_the_width_does_not_depend_on_the_words(texts):
    frame = pd.DataFrame({"note": texts, "price": [1.0, 2.0, 3.0], "shop": texts})
    encoder = TableEncoder(COLUMNS).fit(frame)
    matrix = encoder.transform(rows(0))
    assert matrix.shape == (80, encoder.width) == (80, 1 + 16 + 16 + 1)
    assert np.isfinite(matrix).all()
    assert encoder.get_feature_names_out()[[0, 1, 17, -1]].tolist() == [
        "price",
        "note, topic 1",
        "shop, topic 1",
        "note is missing",
    ]


@pytest.mark.parametrize("scaling", ["standard", "robust", "common", "none"])
def test_layer_equals_encoder_on_words_and_on_raw_text(scaling):
    encoder = TableEncoder(COLUMNS, scaling=scaling).fit(rows(0))
    layer = TablePreprocessing.from_encoder(encoder)
    assert layer.width == encoder.width
    new = rows(1)
    expected = encoder.transform(new)
    assert expected[[3, 8, 9, 10], -1].tolist() == [1, 1, 1, 0]  # `? a` holds no word
    inputs = to_inputs(new, COLUMNS)
    np.testing.assert_allclose(layer({k: tf.constant(v) for k, v in inputs.items()}), expected, atol=1e-6)
    raw = {name: tf.constant(new[name].fillna("").tolist()) for name in ("note", "shop")}
    np.testing.assert_allclose(layer({**raw, "price": tf.constant(inputs["price"])}), expected, atol=1e-6)


@pytest.mark.slow
def test_it_is_in_the_saved_model_and_in_the_served_one(tmp_path):
    encoder = TableEncoder(COLUMNS).fit(rows(0))
    network = keras.Sequential([keras.Input((encoder.width,)), keras.layers.Dense(1)])
    layer = TablePreprocessing.from_encoder(encoder)
    model = TableModel(layer, network, "regression", "values", target_mean=[0.0], target_scale=[1.0])
    new = rows(1)
    expected = model.predict(new, verbose=0)
    model.save(tmp_path / "best.keras")
    model.export(tmp_path / "served")
    given = keras.models.load_model(tmp_path / "best.keras").predict(new, verbose=0)
    np.testing.assert_allclose(given, expected, atol=1e-6)
    raw = {name: tf.constant(new[name].fillna("").tolist()) for name in ("note", "shop")}
    raw["price"] = tf.constant(new["price"].to_numpy())
    served = tf.saved_model.load(tmp_path / "served").signatures["serving_default"](**raw)["output_0"]
    np.testing.assert_allclose(served, expected, atol=1e-6)
