"""Which kernels compute in 16 bits, what int8 is, and what the usual snippets do."""

import keras
import numpy as np
import pytest


@pytest.fixture(scope="module")
def ran(recipe_names):
    return recipe_names("mixed_precision_and_quantization")


def test_the_old_way_to_set_a_policy_is_gone():
    import tensorflow as tf

    with pytest.raises(AttributeError, match="experimental"):
        tf.keras.mixed_precision.experimental.set_policy("mixed_float16")


def test_weights_stay_float32_and_hidden_layers_compute_in_16_bits(ran):
    rows = np.linspace(-1, 1, 4 * ran["x"].shape[1], dtype="float32").reshape(4, -1)
    exact = ran["network"]("float32")
    for policy, step in (("mixed_bfloat16", 2.0**-8), ("mixed_float16", 2.0**-11)):
        model = ran["network"](policy)
        model.set_weights(exact.get_weights())
        assert {weight.dtype for weight in model.weights} == {"float32"}
        assert model.layers[0](rows).dtype == policy.removeprefix("mixed_")
        assert model(rows).dtype == "float32"
        hidden, expected = (np.asarray(part.layers[0](rows), "float32") for part in (model, exact))
        error = np.abs(hidden - expected).max()
        assert step / 20 < error / np.abs(expected).max() < 4 * step  # rounded, and no worse


def test_compile_scales_the_loss_for_the_global_policy_alone(ran):
    def compiled():
        model = ran["network"]("mixed_float16")
        model.compile("adam", "mse")
        return type(model.optimizer).__name__

    assert compiled() == "Adam"  # only the layers are told
    keras.config.set_dtype_policy("mixed_float16")
    try:
        assert compiled() == "LossScaleOptimizer"
    finally:
        keras.config.set_dtype_policy("float32")


def test_int8_is_a_table_of_whole_numbers_times_a_scale_per_unit(ran):
    exact = ran["network"]("float32")
    model = ran["quantised"](exact.get_weights(), "int8")
    kernel, layer = np.asarray(exact.layers[0].kernel), model.layers[0]
    names = {weight.path.split("/")[-1]: np.asarray(weight) for weight in layer.weights}
    assert names["kernel"].dtype == np.int8
    # The scale is what takes the largest weight of a unit to 127, or its inverse.
    scale = 127 / np.abs(kernel).max(axis=0)
    np.testing.assert_allclose(names["kernel_scale"].ravel(), scale, rtol=1e-3)
    assert np.abs(names["kernel"] / scale - kernel).max() <= 0.51 / scale.min()


def test_a_model_saved_after_fit_is_three_times_its_size(ran, tmp_path):
    model = keras.Sequential([keras.Input((300,)), keras.layers.Dense(300)])
    sizes = {}
    for name, options in (("before", {}), ("after", {}), ("without", {"include_optimizer": False})):
        if name == "after":
            model.compile("adam", "mse")
            model.fit(np.ones((2, 300)), np.ones((2, 300)), verbose=0)
        model.save(tmp_path / f"{name}.keras", **options)
        sizes[name] = (tmp_path / f"{name}.keras").stat().st_size
    assert sizes["after"] / sizes["before"] == pytest.approx(3, abs=0.1)
    assert sizes["without"] == pytest.approx(sizes["after"], rel=0.01)  # the option changes nothing
    assert ran["cpu"]["size"]["float32, after fit"] > 2 * ran["cpu"]["size"]["float32"]


def test_convolutions_stay_float32(ran):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, name="conv")])
    with pytest.warns(UserWarning, match="Conv2D does not have a `quantize`"):
        model.quantize("int8", filters="conv")
    assert model.layers[0].kernel.dtype == "float32"
    assert ran["claims"]["precision-convolutions-quantised"].settled == "does not hold"


def test_every_number_is_finite_and_the_precisions_differ(ran):
    losses = ran["cpu"]["loss"]
    assert np.isfinite(list(losses.values())).all()
    assert losses["mixed_bfloat16"] != losses["float32"]
    assert losses["int8"] != losses["float32"]
