"""The exported graph gives the encoder's numbers, and survives saving, other names, other policies and text arrays."""

import json
import zipfile

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tfopt.data import Column, TableEncoder, TableModel, TablePreprocessing, to_inputs
from tfopt.data.graph_dates import parse_dates, year_of
from tfopt.errors import UserError

# Keras 3.15 converts variables with NumPy 1 manners when it saves them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def network(width, outputs):
    return keras.Sequential([keras.Input((width,)), keras.layers.Dense(5, "relu"), keras.layers.Dense(outputs)])


@pytest.mark.parametrize("scaling", ["none", "standard", "robust", "common"])
@pytest.mark.parametrize("max_levels", [0, 3, 32])
def test_layer_equals_encoder(columns, make_rows, scaling, max_levels):
    encoder = TableEncoder(columns, scaling=scaling, max_levels=max_levels).fit(make_rows(0))
    layer = TablePreprocessing.from_encoder(encoder)
    new = make_rows(1, num_rows=300, new_levels=True)
    new.loc[10:13, "a/b.c"] = [1e308, -1e200, 1e-300, 1e40]
    new.loc[:4, "closed"] = np.nan  # missing where training had none
    new.loc[3:6, "length (cm)"] = np.nan
    new.loc[3:6, "since"] = pd.NaT
    new.loc[3:6, "颜色"] = None
    expected = encoder.transform(new)
    given = layer({name: tf.constant(values) for name, values in to_inputs(new, columns).items()}).numpy()
    assert given.dtype == np.float32
    assert given.shape == (300, layer.width) == (300, encoder.width)
    # Days since 1970 and the far column are as large as they are only without scaling: one unit in the last place.
    np.testing.assert_allclose(given, expected, rtol=1e-7 if scaling == "none" else 0, atol=1e-5)


def test_layer_takes_columns_with_a_second_axis_and_dates_without_time(columns, make_rows):
    encoder = TableEncoder(columns).fit(make_rows(0))
    layer = TablePreprocessing.from_encoder(encoder)
    new = make_rows(1)
    new["since"] = new["since"].dt.normalize()
    inputs = to_inputs(new, columns)
    inputs["since"] = np.array([text[:10] for text in inputs["since"]])
    given = layer({name: tf.constant(values)[:, None] for name, values in inputs.items()}).numpy()
    np.testing.assert_allclose(given, encoder.transform(new), atol=1e-5)


@given(st.datetimes(min_value=pd.Timestamp("1678-01-01"), max_value=pd.Timestamp("2261-12-31")))
def test_dates_are_parsed_as_numpy_does(moment):
    text = moment.strftime("%Y-%m-%d %H:%M:%S")
    seconds, missing = parse_dates([text])
    assert seconds.numpy()[0] == np.datetime64(text, "s").astype("int64")
    assert not missing.numpy()[0]


def test_the_year_of_every_day_of_eight_centuries():
    days = np.arange(np.datetime64("1600-01-01"), np.datetime64("2400-01-02"))
    expected = days.astype("datetime64[Y]").astype("int64") + 1970
    np.testing.assert_array_equal(year_of(tf.constant(days.astype("int64"))).numpy(), expected)


def test_config_is_plain_json_and_survives_it(columns, make_rows):
    layer = TablePreprocessing.from_encoder(TableEncoder(columns, scaling="robust").fit(make_rows(0)))
    config = json.loads(json.dumps(layer.get_config()))
    again = TablePreprocessing.from_config(config)
    assert again.get_config() == layer.get_config()
    assert again.columns == columns


def test_a_missing_column_is_named(columns, make_rows):
    layer = TablePreprocessing.from_encoder(TableEncoder(columns).fit(make_rows(0)))
    inputs = to_inputs(make_rows(1), columns)
    del inputs["颜色"]
    with pytest.raises(ValueError, match="'颜色'"):
        layer(inputs)
    model = TableModel(layer, network(layer.width, 1), "regression", "values", target_mean=[0.0], target_scale=[1.0])
    with pytest.raises(ValueError, match="'颜色'"):
        model.predict(inputs, verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [object, str])
def test_predict_takes_text_arrays_of_both_kinds(columns, make_rows, dtype):
    encoder = TableEncoder(columns).fit(make_rows(0))
    inner = network(encoder.width, 2)
    model = TableModel(
        TablePreprocessing.from_encoder(encoder),
        inner,
        "regression",
        "values",
        target_mean=[10.0, -1.0],
        target_scale=[2.0, 0.5],
    )
    new = make_rows(1, num_rows=37, new_levels=True)
    inputs = {
        name: values.astype(dtype) if values.dtype == object else values
        for name, values in to_inputs(new, columns).items()
    }
    expected = inner.predict(encoder.transform(new), verbose=0) * [2.0, 0.5] + [10.0, -1.0]
    given = model.predict(inputs, verbose=0, batch_size=10)
    assert given.shape == (37, 2)
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_predict_takes_a_frame_and_values_as_they_come(columns, make_rows):
    encoder = TableEncoder(columns).fit(make_rows(0))
    inner = network(encoder.width, 1)
    model = TableModel(
        TablePreprocessing.from_encoder(encoder), inner, "regression", "values", target_mean=[0.0], target_scale=[1.0]
    )
    new = make_rows(1, new_levels=True)
    expected = model.predict(to_inputs(new, columns), verbose=0)
    np.testing.assert_array_equal(model.predict(new, verbose=0), expected)
    np.testing.assert_array_equal(model.predict(dict(new), verbose=0), expected)
    new["place"] = new["place"].astype(object).map(lambda value: {"1": 1.0, "rare": "?"}.get(value, value))
    expected = model.predict(to_inputs(new, columns), verbose=0)
    lists = {name: list(values) for name, values in new.items() if values.dtype.kind != "M"}
    dates = {name: new[name].to_numpy() for name in new if name not in lists}
    np.testing.assert_array_equal(model.predict({**lists, **dates}, verbose=0), expected)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def sigmoid(logits):
    return 1.0 / (1.0 + np.exp(-logits))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("output", "width", "transform"),
    [
        ("logits", 3, softmax),
        ("probabilities", 3, lambda emitted: emitted),
        ("binary_logit", 1, lambda logit: np.hstack([1 - sigmoid(logit), sigmoid(logit)])),
        ("binary_probability", 1, lambda share: np.hstack([1 - share, share])),
    ],
)
def test_what_the_network_emits_becomes_probabilities(columns, make_rows, output, width, transform):
    encoder = TableEncoder(columns).fit(make_rows(0))
    inner = network(encoder.width, width)
    classes = ("no", "yes", "maybe")[: max(2, width)]
    model = TableModel(TablePreprocessing.from_encoder(encoder), inner, "classification", output, classes=classes)
    new = make_rows(1)
    given = model.predict(to_inputs(new, columns), verbose=0)
    assert model.classes == classes
    np.testing.assert_allclose(given, transform(inner.predict(encoder.transform(new), verbose=0)), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "ranking", "output": "values"}, "`task` must be one of"),
        ({"task": "classification", "output": "logit"}, "`output` must be one of"),
        ({"task": "regression", "output": "logits"}, "`output` must be one of"),
        ({"task": "classification", "output": "logits"}, "two labels or more"),
        ({"task": "classification", "output": "binary_logit", "classes": ["a", "b", "c"]}, "two labels for"),
        ({"task": "classification", "output": "logits", "classes": ["a", "b"], "target_mean": [1.0]}, "must be None"),
        ({"task": "regression", "output": "values", "classes": ["a", "b"]}, "must be empty"),
        ({"task": "regression", "output": "values"}, "a finite number for each target"),
        (
            {"task": "regression", "output": "values", "target_mean": [0.0, 1.0], "target_scale": [1.0]},
            "for each target",
        ),
        ({"task": "regression", "output": "values", "target_mean": [np.nan], "target_scale": [1.0]}, "a finite number"),
    ],
)
def test_arguments_that_do_not_fit(columns, make_rows, arguments, message):
    layer = TablePreprocessing.from_encoder(TableEncoder(columns).fit(make_rows(0)))
    with pytest.raises(ValueError, match=message):
        TableModel(layer, network(layer.width, 1), **arguments)


def test_saved_model_predicts_the_same_in_a_fresh_process(columns, make_rows, tmp_path, fresh_keras):
    encoder = TableEncoder(columns, scaling="robust").fit(make_rows(0))
    model = TableModel(
        TablePreprocessing.from_encoder(encoder),
        network(encoder.width, 3),
        "classification",
        "logits",
        classes=("甲", "b c", "1"),
        target_names=("what is it?",),
    )
    inputs = to_inputs(make_rows(1, new_levels=True), columns)
    expected = model.predict(inputs, verbose=0)
    model.save(tmp_path / "best.keras")
    np.savez(
        tmp_path / "inputs.npz",
        *[values.astype(str) if values.dtype == object else values for values in inputs.values()],
    )
    (tmp_path / "names.json").write_text(json.dumps(list(inputs)), encoding="utf-8")
    script = """
import json, sys
import keras, numpy as np
import tfopt
model = keras.models.load_model("best.keras")
names = json.load(open("names.json", encoding="utf-8"))
held = np.load("inputs.npz")
print(model.classes, model.target_names, [column.kind for column in model.columns])
np.save("given.npy", model.predict({name: held[f"arr_{k}"] for k, name in enumerate(names)}, verbose=0))
"""
    done = fresh_keras(script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "('甲', 'b c', '1') ('what is it?',)" in done.stdout
    np.testing.assert_array_equal(np.load(tmp_path / "given.npy"), expected)
    with zipfile.ZipFile(tmp_path / "best.keras") as archive:
        assert set(archive.namelist()) >= {"config.json", "model.weights.h5"}


@pytest.mark.slow
def test_preprocessing_stays_float32_in_mixed_precision(columns, make_rows):
    encoder = TableEncoder(columns).fit(make_rows(0))
    new = make_rows(1)
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        layer = TablePreprocessing.from_encoder(encoder)
        model = TableModel(layer, network(encoder.width, 2), "classification", "logits", classes=("a", "b"))
        inputs = to_inputs(new, columns)
        matrix = layer({name: tf.constant(values) for name, values in inputs.items()})
        given = model.predict(inputs, verbose=0)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    assert matrix.dtype == tf.float32
    np.testing.assert_allclose(matrix.numpy(), encoder.transform(new), atol=1e-5)
    assert given.dtype == np.float64
    np.testing.assert_allclose(given.sum(axis=1), 1.0, atol=1e-12)


def test_a_network_with_a_functional_input_and_a_trained_optimizer_can_be_exported(tmp_path):
    column = Column("x", "numeric")
    frame = pd.DataFrame({"x": np.linspace(0.0, 1.0, 64)})
    encoder = TableEncoder([column]).fit(frame)
    inner = network(1, 1)
    inner.compile("sgd", "mse")
    inner.fit(encoder.transform(frame), 3.0 * frame["x"].to_numpy(), epochs=2, verbose=0)
    model = TableModel(
        TablePreprocessing.from_encoder(encoder), inner, "regression", "values", target_mean=[0.5], target_scale=[2.0]
    )
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(
        again.predict({"x": frame["x"]}, verbose=0), model.predict({"x": frame["x"]}, verbose=0)
    )


def test_cells_as_people_write_them_are_taken():
    columns = [
        Column("open", "boolean", has_missing=True),
        Column("size", "numeric", missing_text=("unknown",)),
        Column("when", "date", date_format="%d.%m.%Y"),
    ]
    frame = pd.DataFrame({"open": [1.0, 0.0, np.nan], "size": [1.0, 2.0, 3.0]})
    frame["when"] = pd.to_datetime(["2020-01-01", "2021-02-03", "2022-01-01"])
    encoder = TableEncoder(columns).fit(frame)
    model = TableModel(
        TablePreprocessing.from_encoder(encoder),
        network(encoder.width, 1),
        "regression",
        "values",
        target_mean=[0.0],
        target_scale=[1.0],
    )
    expected = model.predict(frame.assign(size=[1.0, np.nan, 3.0]), verbose=0)
    written = {
        "open": ["yes", "No", None],
        "size": ["1", "unknown", "3.0"],
        "when": ["1.1.2020", "3.2.2021", "01.01.2022"],
    }
    np.testing.assert_array_equal(model.predict(written, verbose=0), expected)
    with pytest.raises(UserError, match="column 'open' holds 'perhaps'"):
        model.predict({**written, "open": ["yes", "perhaps", "no"]}, verbose=0)
    with pytest.raises(UserError, match="column 'when' is missing"):
        model.predict({name: written[name] for name in ("open", "size")}, verbose=0)


def test_saved_model_serves_raw_columns_without_keras(columns, make_rows, tmp_path, fresh_python):
    encoder = TableEncoder(columns).fit(make_rows(0))
    model = TableModel(
        TablePreprocessing.from_encoder(encoder),
        network(encoder.width, 2),
        "regression",
        "values",
        target_mean=[1.7e9, 0.0],
        target_scale=[1e3, 1e-9],
    )
    inputs = to_inputs(make_rows(1, new_levels=True), columns)
    model.export(tmp_path / "served")
    names = model.served_names
    assert names["length (cm)"] == "length__cm_"
    assert names["颜色"] == "column_4"
    served = {names[name]: values.astype(str) if values.dtype == object else values for name, values in inputs.items()}
    np.savez(tmp_path / "inputs.npz", **served)
    script = """
import sys
sys.modules.update(keras=None, tfopt=None)  # whoever imports them fails
import numpy as np, tensorflow as tf
served = tf.saved_model.load("served").signatures["serving_default"]
held = np.load("inputs.npz")
given = served(**{name: tf.constant(held[name].tolist(), tf.string if held[name].dtype.kind == "U" else tf.float64)
                  for name in held.files})
np.save("given.npy", given["output_0"].numpy())
"""
    done = fresh_python("-c", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    expected = model.predict(inputs, verbose=0)
    np.testing.assert_allclose((np.load(tmp_path / "given.npy") - expected) / [1e3, 1e-9], 0 * expected, atol=1e-6)


def test_served_names_are_distinct():
    names = ["a b", "a.b", "A", "a", "column_1", "2x", "c"]
    columns = [Column(name, "numeric") for name in names]
    encoder = TableEncoder(columns).fit(pd.DataFrame({name: [0.0, 1.0] for name in names}))
    model = TableModel(
        TablePreprocessing.from_encoder(encoder),
        network(7, 1),
        "regression",
        "values",
        target_mean=[0],
        target_scale=[1],
    )
    assert list(model.served_names.values()) == [*(f"column_{place}" for place in range(1, 7)), "c"]
