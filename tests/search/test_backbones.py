"""Frozen networks for images from a local file: what they get, that they stay as they are, and what is refused."""

import hashlib
import os
from dataclasses import replace

import keras
import keras_tuner
import numpy as np
import pytest

from tfopt._files import write_json
from tfopt.data.examples import InputPart
from tfopt.errors import UserError
from tfopt.search import run_folder
from tfopt.search.array_spaces import cnn
from tfopt.search.backbones import _architecture, _preprocessed, features_of
from tfopt.search.config import SearchConfig
from tfopt.search.plan import prepare
from tfopt.search.problem import Problem

RANDOM = np.random.default_rng(0)
IMAGES, LABELS = RANDOM.integers(0, 256, (30, 8, 8, 1), dtype=np.uint8), np.arange(30) % 2
PROBLEM = Problem("classification", 1, 2, 20, 1, 30, kind="image", parts=InputPart("", (8, 8, 1), "uint8", "image"))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A tiny network with random weights, normalisation that would change in training, and two channels of answers."""
    network = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3, activation="relu"), keras.layers.BatchNormalization()]
    )
    path = tmp_path_factory.mktemp("backbone") / "own.keras"
    network.save(path)
    return path


def test_the_network_is_given_pixels_and_says_means(file):
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, features_of(str(file), PROBLEM, inputs, inputs))
    assert model.trainable_variables == []
    pixels = np.repeat(IMAGES, 3, axis=-1).astype("float32")
    expected = keras.models.load_model(file, compile=False)(pixels).numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(model(IMAGES / np.float32(255)), expected, rtol=1e-3)


def test_pixels_are_preprocessed_as_the_named_network_was(tmp_path):
    pixels = RANDOM.uniform(0, 255, (2, 4, 4, 3)).astype("float32")
    for name, module in (("resnet50", "resnet"), ("mobilenetv2_1.00_96", "mobilenet_v2")):
        inputs = keras.Input((4, 4, 3))
        keras.Model(inputs, _preprocessed(name, inputs)).save(tmp_path / "own.keras")
        expected = getattr(keras.applications, module).preprocess_input(pixels.copy())
        found = keras.models.load_model(tmp_path / "own.keras")(pixels)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    assert _preprocessed("mine", inputs) is inputs
    assert _architecture("mobilenet_v2_weights_tf_dim_ordering_1.0_96_no_top.weights.h5") == "MobileNetV2"
    assert _architecture("ResNet50V2.weights.h5") == "ResNet50V2"
    with pytest.raises(UserError, match="are the weights mine"):
        _architecture("mine.weights.h5")


@pytest.mark.slow
def test_space_cnn_trains_what_follows_it_alone(file, tmp_path):
    hp = keras_tuner.HyperParameters()
    model = cnn(hp, replace(PROBLEM, backbone=str(file)))
    assert set(hp.values) == {"augmentation", "dropout", "learning_rate", "weight_decay", "batch_size"}
    model.run_eagerly = True  # tracing takes longer than one step
    x = IMAGES / np.float32(255)
    first = model.get_weights()[-2].copy()
    model.fit(x, LABELS, epochs=1, verbose=0)
    assert (model.get_weights()[-2] != first).any()
    [found] = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    for mine, own in zip(found.get_weights(), keras.models.load_model(file).get_weights(), strict=True):
        np.testing.assert_array_equal(mine, own)
    model.save(tmp_path / "best.keras")
    loaded = keras.models.load_model(tmp_path / "best.keras")
    np.testing.assert_allclose(loaded(x, training=False), model(x, training=False), rtol=1e-5)


def test_images_take_space_cnn(file):
    plan = prepare(SearchConfig(data="digits", as_image=True, baselines="none", backbone=os.path.relpath(file)))
    assert (plan.config.space, plan.config.backbone) == ("cnn", str(file))


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("absent.keras", {}, "no file .*absent.keras for --backbone"),
        ("own.h5", {}, "--backbone must be a .keras or a .weights.h5 file"),
        ("own.keras", {"data": "iris"}, "--backbone is for images in space cnn"),
        ("own.keras", {"space": "mlp"}, "--backbone is for images in space cnn"),
    ],
)
def test_what_cannot_be_one_is_named_before_anything_is_trained(name, options, told, file):
    config = SearchConfig(**{"data": "digits", "as_image": "data" not in options, "baselines": "none", **options})
    with pytest.raises(UserError, match=told):
        prepare(SearchConfig(**{**vars(config), "backbone": str(file.parent / name)}))


def test_a_damaged_file_is_named(tmp_path):
    inputs = keras.Input((8, 8, 1))
    (tmp_path / "own.keras").write_text("no archive")
    with pytest.raises(UserError, match=r"own.keras cannot be loaded"):
        features_of(str(tmp_path / "own.keras"), PROBLEM, inputs, inputs)
    keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)]).save(tmp_path / "flat.keras")
    with pytest.raises(UserError, match=r"flat.keras takes inputs of shape \(None, 5\), and it must take images"):
        features_of(str(tmp_path / "flat.keras"), PROBLEM, inputs, inputs)


def test_another_file_in_its_place_is_not_resumed(tmp_path):
    backbone = tmp_path / "own.keras"
    backbone.write_bytes(b"one")
    config = SearchConfig(data="digits", as_image=True, backbone=str(backbone))
    write_json(tmp_path / "environment.json", {"sources": {str(backbone): hashlib.sha256(b"one").hexdigest()}})
    run_folder.check_same_sources(tmp_path, config)
    backbone.write_bytes(b"two")
    with pytest.raises(UserError, match=r"own\.keras has changed since .* Restore the file"):
        run_folder.check_same_sources(tmp_path, config)
