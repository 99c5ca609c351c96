"""The proximal optimizer inside `fit`: exact zeros, schedules, accumulation, scaling, saving, what it leaves alone."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn import datasets, linear_model, preprocessing

from tfopt.regularizers import L1, L2, MCP, GroupLasso, Hoyer, Nuclear, ProximalOptimizer, TotalVariation

X, Y = datasets.load_diabetes(return_X_y=True)
X, Y = preprocessing.StandardScaler().fit_transform(X).astype("float32"), (Y[:, None] / 50 - 3).astype("float32")
LASSO = linear_model.Lasso(0.1, tol=1e-12, max_iter=100_000).fit(X.astype("float64"), Y[:, 0].astype("float64"))


def linear(regularizer, units=1, **arguments):
    layer = keras.layers.Dense(units, kernel_regularizer=regularizer, kernel_initializer="zeros", **arguments)
    return keras.Sequential([keras.Input((10,)), layer])


def fit(model, optimizer, steps=300, loss="mse", steps_per_execution=50, **options):
    """`steps` steps on the full batch; many to an execution, since an epoch of one step is all overhead."""
    model.compile(optimizer, loss, steps_per_execution=steps_per_execution, **options)
    return model.fit(tf.data.Dataset.from_tensors((X, Y)).repeat(steps), shuffle=False, verbose=0)


EAGERLY = {"steps_per_execution": 1, "run_eagerly": True}  # a few steps are not worth a graph


def kernel(model):
    return model.layers[0].get_weights()[0][:, 0]


@pytest.mark.long("eager", "single_steps")
@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{}, {"jit_compile": True}, {"steps_per_execution": 1}, {"run_eagerly": True, "steps_per_execution": 1}],
    ids=["graph", "jit", "single_steps", "eager"],
)
def test_fit_reaches_lasso_with_its_very_zeros(options):
    model = linear(L1(0.2))
    steps = 100 if options.get("run_eagerly") else 400
    fit(model, ProximalOptimizer(keras.optimizers.SGD(0.1, momentum=0.5)), steps, **options)
    np.testing.assert_array_equal(kernel(model) == 0, LASSO.coef_ == 0)
    assert np.sum(LASSO.coef_ == 0) >= 3
    np.testing.assert_allclose(kernel(model), LASSO.coef_, atol=2e-2 if steps == 100 else 1e-4)
    # The loss that Keras reports is still the penalised one.
    rest = np.mean((X @ kernel(model) + model.layers[0].get_weights()[1] - Y[:, 0]) ** 2)
    penalised = rest + 0.2 * np.abs(kernel(model)).sum()
    assert model.evaluate(X, Y, batch_size=442, verbose=0) == pytest.approx(penalised, rel=1e-4)


def test_keras_alone_has_no_zero():
    model = linear(L1(0.2))
    fit(model, keras.optimizers.SGD(0.1, momentum=0.5))
    assert np.sum(kernel(model) == 0) == 0


@pytest.mark.slow
def test_keras_own_penalties_too():
    for regularizer in (keras.regularizers.L1(0.2), keras.regularizers.L1L2(0.2, 0.0)):
        model = linear(regularizer)
        fit(model, ProximalOptimizer("sgd"), 1000)
        np.testing.assert_array_equal(kernel(model) == 0, LASSO.coef_ == 0)


@pytest.mark.slow
def test_the_step_is_that_of_the_schedule():
    """One weight, no data gradient: every step must take off exactly its own rate times the strength."""
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0, 1, 2], [0.5, 0.25, 0.125, 0.0625])
    for jit_compile in (False, True):
        layer = keras.layers.Dense(1, use_bias=False, kernel_regularizer=L1(1.0), kernel_initializer="ones")
        model = keras.Sequential([keras.Input((1,)), layer])
        model.compile(ProximalOptimizer(keras.optimizers.SGD(schedule)), "mse", jit_compile=jit_compile)
        seen = []
        for _ in range(4):
            model.train_on_batch(np.zeros((2, 1)), np.zeros((2, 1)))
            seen.append(float(layer.kernel.numpy()[0, 0]))
        assert seen == [0.5, 0.25, 0.125, 0.0625]
        assert int(model.optimizer.iterations) == 4
        assert float(model.optimizer.learning_rate) == 0.0625


def test_gradient_accumulation_takes_one_step_per_update():
    layer = keras.layers.Dense(1, use_bias=False, kernel_regularizer=L1(1.0), kernel_initializer="ones")
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(ProximalOptimizer(keras.optimizers.SGD(0.125, gradient_accumulation_steps=3)), "mse")
    seen = []
    for _ in range(6):
        model.train_on_batch(np.zeros((2, 1)), np.zeros((2, 1)))
        seen.append(float(layer.kernel.numpy()[0, 0]))
    assert seen == [1.0, 1.0, 0.875, 0.875, 0.875, 0.75]


@pytest.mark.parametrize("nesterov", [False, True])
def test_accumulating_one_gradient_three_times_is_a_step_with_it(nesterov):
    def weights(steps, accumulated):
        model = linear(L1(0.2))
        momentum = {"momentum": 0.5, "nesterov": nesterov, "gradient_accumulation_steps": accumulated}
        model.compile(ProximalOptimizer(keras.optimizers.SGD(0.1, **momentum)), "mse", run_eagerly=True)
        for _ in range(steps):
            model.train_on_batch(X, Y)
            yield kernel(model)

    seen = np.stack(list(weights(12, 3))).reshape(4, 3, 10)
    np.testing.assert_array_equal(seen[:, 0], seen[:, 1])
    np.testing.assert_allclose(seen[:, 2], list(weights(4, None)), atol=1e-6)


@pytest.mark.slow
def test_loss_scaling_does_not_scale_the_penalty():
    plain, scaled, wrapped = linear(L1(0.2)), linear(L1(0.2)), linear(L1(0.2))
    fit(plain, ProximalOptimizer(keras.optimizers.SGD(0.1)), 20, **EAGERLY)
    fit(scaled, ProximalOptimizer(keras.optimizers.SGD(0.1, loss_scale_factor=1024.0)), 20, **EAGERLY)
    inner = ProximalOptimizer(keras.optimizers.SGD(0.1))
    fit(wrapped, keras.optimizers.LossScaleOptimizer(inner), 20, **EAGERLY)
    np.testing.assert_allclose(kernel(scaled), kernel(plain), atol=1e-6)
    np.testing.assert_allclose(kernel(wrapped), kernel(plain), atol=1e-6)


@pytest.mark.slow
def test_mixed_precision():
    model = linear(L1(0.2), dtype="mixed_float16")
    fit(model, ProximalOptimizer(keras.optimizers.SGD(0.1)), 300)
    assert isinstance(model.optimizer, ProximalOptimizer)
    np.testing.assert_array_equal(kernel(model) == 0, LASSO.coef_ == 0)
    np.testing.assert_allclose(kernel(model), LASSO.coef_, atol=5e-3)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "lion", "adagrad", "nadam"])
def test_adaptive_optimizers_give_zeros_but_not_lasso(optimizer):
    # Decoupled: every step takes rate · strength off a weight on which there is no other pull.
    free = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_regularizer=L1(0.25), use_bias=False)])
    free.set_weights([np.ones((1, 1))])
    again = keras.optimizers.get(optimizer)
    again.learning_rate, again.weight_decay = 0.5, None
    free.compile(ProximalOptimizer(again), "mse", run_eagerly=True)
    free.train_on_batch(np.zeros((2, 1)), np.zeros((2, 1)))
    assert free.get_weights()[0][0, 0] == pytest.approx(1 - 0.5 * 0.25, abs=1e-6)
    strong = linear(L1(50.0))
    fit(strong, ProximalOptimizer(keras.optimizers.get(optimizer)), 3, **EAGERLY)
    assert np.all(kernel(strong) == 0)


@pytest.mark.long
def test_adam_is_not_lasso():
    """What the documentation says of the adaptive ones, measured."""
    model = linear(L1(0.2))
    fit(model, ProximalOptimizer(keras.optimizers.Adam(0.01)), 1000)
    assert np.max(np.abs(kernel(model) - LASSO.coef_)) > 0.01
    assert np.sum(kernel(model) == 0) < np.sum(LASSO.coef_ == 0)  # steps of the size of the rate leave zero again
    strong = linear(L1(2.0))
    fit(strong, ProximalOptimizer(keras.optimizers.Adam(0.01)), 300)
    assert np.any(kernel(strong) == 0)


@pytest.mark.slow
def test_other_weights_and_penalties_train_as_before():
    """Without a penalty that has a corner, the wrapped and the plain optimizer give the same bits."""

    for regularizer in (None, L2(0.1), Hoyer(0.01), keras.regularizers.L2(0.1)):
        for make in (
            lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
            lambda: keras.optimizers.Adam(0.01),
        ):
            plain, wrapped = linear(regularizer), linear(regularizer)
            start = [np.full((10, 1), 0.1, "float32"), np.zeros(1, "float32")]
            plain.set_weights(start)
            wrapped.set_weights(start)
            fit(plain, make(), 5, **EAGERLY)
            fit(wrapped, ProximalOptimizer(make()), 5, **EAGERLY)
            for ours, theirs in zip(wrapped.get_weights(), plain.get_weights(), strict=True):
                np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_structured_penalties():
    targets = tf.concat([Y, X[:, :1] - X[:, 1:2]], axis=1)
    for penalty, holds in (
        (GroupLasso(0.3), lambda w: np.any(np.all(w == 0, axis=1)) and np.all(np.all(w == 0, 1) | np.all(w != 0, 1))),
        (TotalVariation(0.5), lambda w: np.sum(np.diff(w, axis=0) == 0) >= 5),
        (MCP(0.3), lambda w: np.sum(w == 0) >= 3),
        (Nuclear(1.4), lambda w: np.linalg.svd(w)[1][1] < 1e-6 < np.linalg.svd(w)[1][0]),
    ):
        model = linear(penalty, units=2)
        optimizer = ProximalOptimizer(keras.optimizers.SGD(0.1, momentum=0.5))
        model.compile(optimizer, "mse", steps_per_execution=50)
        model.fit(tf.data.Dataset.from_tensors((X, targets)).repeat(150), shuffle=False, verbose=0)
        assert holds(model.get_weights()[0]), penalty


@pytest.mark.slow
def test_constraint_comes_last():
    positive = linear_model.Lasso(0.1, positive=True, tol=1e-12, max_iter=100_000)
    positive.fit(X.astype("float64"), Y[:, 0].astype("float64"))
    for momentum, nesterov in ((0.0, False), (0.8, False), (0.8, True)):
        model = linear(L1(0.2), kernel_constraint="non_neg")
        fit(model, ProximalOptimizer(keras.optimizers.SGD(0.05, momentum=momentum, nesterov=nesterov)), 600)
        np.testing.assert_array_equal(kernel(model) == 0, positive.coef_ == 0)
        np.testing.assert_allclose(kernel(model), positive.coef_, atol=1e-4)


@pytest.mark.slow
def test_weight_decay_stays_with_the_wrapped_optimizer():
    for momentum, nesterov in ((0.0, False), (0.8, False), (0.8, True)):
        weights = []
        for strength in (0.0, 1e-12):  # a proximal step of nothing
            model = linear(L1(strength) if strength else None)
            optimizer = keras.optimizers.SGD(0.05, momentum=momentum, nesterov=nesterov, weight_decay=0.1)
            fit(model, ProximalOptimizer(optimizer), 6, **EAGERLY)
            weights.append(kernel(model))
        np.testing.assert_allclose(weights[1], weights[0], atol=1e-5)


@pytest.mark.slow
def test_saved_and_loaded_it_goes_on_as_if_nothing_had_happened(tmp_path):
    def compiled():
        schedule = keras.optimizers.schedules.InverseTimeDecay(0.1, 10, 0.5)
        model = linear(L1(0.2))
        model.compile(ProximalOptimizer(keras.optimizers.SGD(schedule, momentum=0.7, nesterov=True), name="p"), "mse")
        return model

    whole, halved = compiled(), compiled()
    whole.fit(X[:384], Y[:384], batch_size=96, epochs=6, shuffle=False, verbose=0)
    halved.fit(X[:384], Y[:384], batch_size=96, epochs=3, shuffle=False, verbose=0)
    halved.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, ProximalOptimizer)
    assert loaded.optimizer.name == "p"
    assert int(loaded.optimizer.iterations) == 12
    loaded.fit(X[:384], Y[:384], batch_size=96, epochs=3, shuffle=False, verbose=0)
    np.testing.assert_array_equal(kernel(loaded), kernel(whole))
    np.testing.assert_array_equal(loaded.get_weights()[1], whole.get_weights()[1])


@pytest.mark.slow
def test_a_learning_rate_set_by_a_callback_is_used():
    model = linear(L1(0.2))
    callback = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (1 + epoch))
    model.compile(ProximalOptimizer("sgd"), "mse")
    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=[callback])
    assert history.history["learning_rate"] == pytest.approx([0.1, 0.05, 0.1 / 3])
    assert float(model.optimizer.inner_optimizer.learning_rate) == pytest.approx(0.1 / 3)


@pytest.mark.slow
def test_strength_may_change_while_training():
    strength = keras.Variable(0.0)
    model = linear(L1(strength))
    model.compile(ProximalOptimizer(keras.optimizers.SGD(0.1)), "mse")
    data = tf.data.Dataset.from_tensors((X, Y)).repeat(300)
    model.fit(data, shuffle=False, verbose=0)
    assert np.sum(kernel(model) == 0) == 0
    strength.assign(0.2)
    model.fit(data, shuffle=False, verbose=0)
    np.testing.assert_array_equal(kernel(model) == 0, LASSO.coef_ == 0)


def test_custom_loop():
    model = linear(L1(0.2))
    optimizer = ProximalOptimizer(keras.optimizers.SGD(0.1))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(X) - Y) ** 2) + sum(model.losses)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )

    for _ in range(300):
        step()
    np.testing.assert_array_equal(kernel(model) == 0, LASSO.coef_ == 0)


@pytest.mark.slow
def test_inside_a_strategy():
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = linear(L1(0.2))
        model.compile(ProximalOptimizer(keras.optimizers.SGD(0.1, momentum=0.5)), "mse", steps_per_execution=50)
    model.fit(tf.data.Dataset.from_tensors((X, Y)).repeat(300), shuffle=False, verbose=0)
    np.testing.assert_array_equal(kernel(model) == 0, LASSO.coef_ == 0)
    np.testing.assert_allclose(kernel(model), LASSO.coef_, atol=1e-4)


@pytest.mark.slow
def test_it_says_so_when_there_is_nothing_to_do(caplog):
    with caplog.at_level(logging.WARNING, logger="tfopt"):
        fit(linear(L2(0.1)), ProximalOptimizer("adam"), 1)
    assert "no weight has a penalty with a proximal step; it trains as Adam alone" in caplog.text


def test_bad_arguments():
    with pytest.raises(TypeError, match="must be a Keras optimizer"):
        ProximalOptimizer(lambda: 3)
    with pytest.raises(ValueError, match="LossScaleOptimizer\\(ProximalOptimizer"):
        ProximalOptimizer(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()))
    with pytest.raises(ValueError, match="use_ema=False"):
        ProximalOptimizer(keras.optimizers.SGD(use_ema=True))
