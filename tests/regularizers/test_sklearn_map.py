"""Every row of the map: a one-layer Keras model, trained on the full batch, reaches scikit-learn's coefficients."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn import datasets, linear_model, neural_network, preprocessing, svm

import tfopt
from tfopt.regularizers import L1, L1L2, L2, L21, ElasticNet, ProximalOptimizer, TextbookL2, from_sklearn, to_sklearn


@pytest.fixture(scope="module", autouse=True)
def float64():
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64")  # losses
    keras.config.set_dtype_policy("float64")  # layers
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


def standardized(load):
    x, y = load(return_X_y=True)
    return preprocessing.StandardScaler().fit_transform(x), y


DIABETES = standardized(datasets.load_diabetes)
CANCER = standardized(datasets.load_breast_cancer)
WINE = standardized(datasets.load_wine)
# Three targets that share features: the measurements themselves, some of them hidden.
PHYSIQUE = (DIABETES[0][:, :7], np.stack([DIABETES[1] / 50, DIABETES[0][:, 8], DIABETES[0][:, 9]], axis=1))
COUNTS = (DIABETES[0], np.round(DIABETES[1] / 25))
SCALED = (DIABETES[0], DIABETES[1] / 50)

EXACT = {"tol": 1e-12, "max_iter": 100_000}


def train(p, x, y, steps, curvature, weights=None, momentum=0.97):
    """Nesterov's method on the whole table, all steps in one compiled loop; the rate is one over the curvature."""
    layer = p.dense(kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((x.shape[1],)), layer])
    design = np.column_stack([x, np.ones(len(x))])
    largest = np.linalg.eigvalsh(design.T @ design / len(x))[-1]
    optimizer = ProximalOptimizer(keras.optimizers.SGD(1 / (curvature * largest), momentum=momentum, nesterov=True))
    optimizer.build(model.trainable_variables)
    x, y = tf.constant(x), tf.constant(y.reshape(len(y), -1))

    @tf.function(jit_compile=True)
    def loop(steps):
        for _ in tf.range(steps):
            with tf.GradientTape() as tape:
                loss = p.loss(y, model(x), sample_weight=weights) + tf.add_n([*model.losses, tf.zeros((), tf.float64)])
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    loop(tf.constant(steps))
    kernel, *bias = (np.asarray(weight) for weight in model.get_weights())
    return kernel, bias[0] if bias else np.zeros(p.units)


def check(estimator, table, tolerance=1e-6, outputs=1, steps=3000, curvature=2.0, weights=None, zeros=None):
    x, y = table
    p = from_sklearn(estimator, n_samples=len(x), n_outputs=outputs)
    kernel, bias = train(p, x, y, steps, curvature, weights)
    expected = np.atleast_2d(estimator.coef_).T
    scale = np.max(np.abs(expected))
    intercept = np.ravel(estimator.intercept_)
    if isinstance(p.loss, keras.losses.SparseCategoricalCrossentropy):
        bias, intercept = bias - bias.mean(), intercept - intercept.mean()  # free up to a constant
    difference = np.max(np.abs(kernel - expected)) / scale
    print(
        f"{estimator!s:60.60} {difference:9.1e} {np.max(np.abs(bias - intercept)):9.1e} {np.sum(kernel == 0):3d} zeros"
    )
    assert difference <= tolerance
    np.testing.assert_allclose(bias, intercept, atol=tolerance * max(scale, np.max(np.abs(intercept))))
    if zeros is not None:
        assert np.sum(expected == 0) >= zeros
        np.testing.assert_array_equal(kernel == 0, expected == 0)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.1, 10.0, 100.0])
def test_ridge(alpha):
    check(linear_model.Ridge(alpha).fit(*DIABETES), DIABETES)


def test_ridge_with_several_targets():
    check(linear_model.Ridge(30.0).fit(*PHYSIQUE), PHYSIQUE, outputs=3)


def test_ridge_without_intercept():
    estimator = linear_model.Ridge(10.0, fit_intercept=False).fit(*DIABETES)
    check(estimator, DIABETES)
    assert not from_sklearn(estimator, 442).use_bias


@pytest.mark.slow
@pytest.mark.long("0.1-0", "5.0-5")
@pytest.mark.parametrize(("alpha", "zeros"), [(0.1, 0), (1.0, 3), (5.0, 5), (20.0, 7)])
def test_lasso(alpha, zeros):
    check(linear_model.Lasso(alpha, **EXACT).fit(*DIABETES), DIABETES, zeros=zeros)


def test_lasso_with_several_targets():
    check(linear_model.Lasso(0.1, **EXACT).fit(*PHYSIQUE), PHYSIQUE, outputs=3, zeros=3)


def test_positive_lasso():
    check(linear_model.Lasso(1.0, positive=True, **EXACT).fit(*DIABETES), DIABETES, zeros=4)


@pytest.mark.long("0.5", "0.9")
@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.9])
def test_elastic_net(ratio):
    check(linear_model.ElasticNet(1.0, l1_ratio=ratio, **EXACT).fit(*DIABETES), DIABETES, zeros=0)


@pytest.mark.slow
def test_multi_task_lasso():
    check(linear_model.MultiTaskLasso(0.3, **EXACT).fit(*PHYSIQUE), PHYSIQUE, outputs=3, zeros=3)


@pytest.mark.slow
def test_multi_task_elastic_net():
    estimator = linear_model.MultiTaskElasticNet(0.5, l1_ratio=0.6, **EXACT).fit(*PHYSIQUE)
    check(estimator, PHYSIQUE, outputs=3, zeros=3)


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_logistic_regression(strength):
    check(
        linear_model.LogisticRegression(C=strength, solver="newton-cholesky", **EXACT).fit(*CANCER),
        CANCER,
        curvature=0.25,
    )


@pytest.mark.long("1.0-20")
@pytest.mark.slow
@pytest.mark.parametrize(("ratio", "zeros"), [(1.0, 20), (0.5, 10)])
def test_sparse_logistic_regression(ratio, zeros):
    estimator = linear_model.LogisticRegression(C=0.1, l1_ratio=ratio, solver="saga", random_state=0, **EXACT)
    check(estimator.fit(*CANCER), CANCER, curvature=0.25, zeros=zeros)


def test_multinomial_logistic_regression():
    estimator = linear_model.LogisticRegression(C=0.5, solver="newton-cholesky", **EXACT).fit(*WINE)
    check(estimator, WINE, outputs=3, curvature=0.5)


def test_class_weights_go_to_fit():
    estimator = linear_model.LogisticRegression(C=0.5, class_weight={0: 3.0, 1: 1.0}, solver="newton-cholesky", **EXACT)
    weights = tf.constant(np.where(CANCER[1] == 0, 3.0, 1.0))
    check(estimator.fit(*CANCER), CANCER, curvature=0.75, weights=weights)
    assert from_sklearn(estimator, 569).class_weight == {0: 3.0, 1: 1.0}


@pytest.mark.slow
def test_liblinear_penalizes_the_intercept():
    estimator = linear_model.LogisticRegression(C=0.05, solver="liblinear", intercept_scaling=2.0, **EXACT).fit(*CANCER)
    check(estimator, CANCER, curvature=0.25)
    p = from_sklearn(estimator, n_samples=569)
    assert p.bias_regularizer.get_config()["l2"] == pytest.approx(p.kernel_regularizer.get_config()["l2"] / 4)
    unpenalised = linear_model.LogisticRegression(C=0.05, solver="newton-cholesky", **EXACT).fit(*CANCER)
    assert abs(unpenalised.intercept_ - estimator.intercept_) > 0.01  # it matters
    sparse = linear_model.LogisticRegression(C=0.1, l1_ratio=1.0, solver="liblinear", random_state=0, **EXACT)
    check(sparse.fit(*CANCER), CANCER, curvature=0.25, zeros=20)


@pytest.mark.slow
def test_poisson_regression():
    estimator = linear_model.PoissonRegressor(alpha=0.5, solver="newton-cholesky", tol=1e-12).fit(*COUNTS)
    check(estimator, COUNTS, curvature=30.0, steps=4000)


@pytest.mark.long
def test_linear_support_vector_classifier():
    estimator = svm.LinearSVC(C=0.01, tol=1e-10, max_iter=100_000, random_state=0).fit(*CANCER)
    check(estimator, CANCER, curvature=2.0)
    several = svm.LinearSVC(C=0.05, tol=1e-10, max_iter=100_000, random_state=0).fit(*WINE)
    targets = np.eye(3)[WINE[1]]
    p = from_sklearn(several, n_samples=len(WINE[0]), n_outputs=3)
    kernel, bias = train(p, WINE[0], targets, 3000, 1.0)
    np.testing.assert_allclose(kernel, several.coef_.T, atol=1e-6)
    np.testing.assert_allclose(bias, several.intercept_, atol=1e-6)


@pytest.mark.slow
def test_sparse_linear_support_vector_classifier():
    estimator = svm.LinearSVC(C=0.01, penalty="l1", dual=False, tol=1e-10, max_iter=100_000, random_state=0).fit(
        *CANCER
    )
    check(estimator, CANCER, zeros=15)


@pytest.mark.slow
def test_linear_support_vector_regression():
    table = SCALED
    estimator = svm.LinearSVR(
        C=0.01, epsilon=0.3, loss="squared_epsilon_insensitive", dual=False, tol=1e-10, max_iter=100_000
    )
    check(estimator.fit(*table), table)


@pytest.mark.slow
def test_perceptrons_without_hidden_layers():
    options = {"hidden_layer_sizes": (), "solver": "lbfgs", "max_iter": 100_000, "max_fun": 200_000, "tol": 1e-16}

    def as_linear(fitted):
        fitted.coef_, fitted.intercept_ = fitted.coefs_[0].T, fitted.intercepts_[0]
        return fitted

    regressor = neural_network.MLPRegressor(alpha=50.0, random_state=0, **options)
    table = (DIABETES[0], (DIABETES[1] - 150) / 50)
    check(
        as_linear(regressor.fit(*table)), table, tolerance=1e-4
    )  # L-BFGS stops when the loss changes by 2e-9 of itself
    classifier = neural_network.MLPClassifier(alpha=5.0, random_state=0, **options)
    check(as_linear(classifier.fit(*CANCER)), CANCER, tolerance=1e-3, curvature=0.25)
    check(as_linear(classifier.fit(*WINE)), WINE, tolerance=1e-3, outputs=3, curvature=0.5)


def objective(p, x, y, kernel, bias):
    """The penalised loss as Keras computes it, at given weights."""
    model = keras.Sequential([keras.Input((x.shape[1],)), p.dense()])
    model.set_weights([kernel, bias] if p.use_bias else [kernel])
    return float(p.loss(tf.constant(y.reshape(len(y), -1)), model(tf.constant(x)))) + float(sum(model.losses))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "table"),
    [
        (svm.LinearSVC(C=0.05, loss="hinge", tol=1e-10, max_iter=10**6, random_state=0), CANCER),
        (
            svm.LinearSVR(C=0.05, epsilon=0.3, tol=1e-10, max_iter=10**6, random_state=0),
            SCALED,
        ),
    ],
    ids=["hinge", "epsilon_insensitive"],
)
def test_losses_with_corners_are_smallest_at_the_solution(estimator, table):
    """Gradient descent does not settle on a corner, but no step away from scikit-learn's solution may gain."""
    x, y = table
    estimator.fit(x, y)
    p = from_sklearn(estimator, len(x))
    kernel, bias = np.reshape(estimator.coef_, (-1, 1)), np.ravel(estimator.intercept_)
    least = objective(p, x, y, kernel, bias)
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-2, 0.1):
        for _ in range(20):
            step = size * rng.normal(size=kernel.shape) * np.max(np.abs(kernel))
            assert objective(p, x, y, kernel + step, bias + size * rng.normal()) > least - 1e-8
        # A strength that is off by a factor would gain here.
        assert objective(p, x, y, kernel * (1 + size), bias) > least - 1e-8
        assert objective(p, x, y, kernel * (1 - size), bias) > least - 1e-8


@pytest.mark.parametrize("loss", ["squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"])
@pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet", None])
def test_sgd_regressor_by_its_objective(loss, penalty):
    """scikit-learn's own SGD only comes near the minimum: compare with its objective, written out in NumPy."""
    x, y = DIABETES[0], DIABETES[1] / 50
    estimator = linear_model.SGDRegressor(loss=loss, penalty=penalty, alpha=0.1, l1_ratio=0.3, epsilon=0.2)
    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(size=(10, 1)), rng.normal(size=1)
    error = np.abs(y - (x @ kernel + bias).ravel())
    losses = {
        "squared_error": error**2 / 2,
        "huber": np.where(error <= 0.2, error**2 / 2, 0.2 * error - 0.02),
        "epsilon_insensitive": np.maximum(error - 0.2, 0),
        "squared_epsilon_insensitive": np.maximum(error - 0.2, 0) ** 2,
    }
    ratio = {"l2": 0.0, "l1": 1.0, "elasticnet": 0.3, None: 0.0}[penalty]
    cost = 0.1 * (ratio * np.abs(kernel).sum() + (1 - ratio) / 2 * (kernel**2).sum()) if penalty else 0.0
    expected = (np.mean(losses[loss]) + cost) * (2 if loss == "squared_error" else 1)
    assert objective(from_sklearn(estimator, 442), x, y, kernel, bias) == pytest.approx(expected, rel=1e-12)


@pytest.mark.long
def test_sgd_regressor_comes_near():
    estimator = linear_model.SGDRegressor(
        alpha=0.1, average=True, eta0=0.01, learning_rate="constant", max_iter=2000, tol=None, random_state=0
    )
    table = SCALED
    check(estimator.fit(*table), table, tolerance=0.02)  # averaged steps of a constant rate
    ridge = linear_model.Ridge(0.1 * 442).fit(*table)
    check(ridge, table)
    assert from_sklearn(ridge, 442).kernel_regularizer.get_config()["l2"] == pytest.approx(
        from_sklearn(estimator, 442).kernel_regularizer.get_config()["l2"]
    )


@pytest.mark.parametrize("loss", ["log_loss", "hinge", "squared_hinge"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_sgd_classifier_by_its_objective(loss, outputs):
    x, labels = WINE
    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(size=(13, outputs)) / 3, rng.normal(size=outputs)
    positive = np.eye(3)[labels][:, :outputs]
    margin = (2 * positive - 1) * (x @ kernel + bias)
    losses = {
        "log_loss": np.log1p(np.exp(-margin)),
        "hinge": np.maximum(1 - margin, 0),
        "squared_hinge": np.maximum(1 - margin, 0) ** 2,
    }
    estimator = linear_model.SGDClassifier(loss=loss, alpha=0.2, penalty="elasticnet", l1_ratio=0.4)
    each = np.mean(losses[loss], axis=0) + 0.2 * (0.4 * np.abs(kernel).sum(0) + 0.3 * (kernel**2).sum(0))
    p = from_sklearn(estimator, len(x), outputs)
    assert objective(p, x, positive, kernel, bias) == pytest.approx(np.mean(each), rel=1e-7)


@pytest.mark.parametrize(
    ("estimator", "table", "outputs", "factor"),
    [
        (neural_network.MLPRegressor(hidden_layer_sizes=(5,), alpha=3.0, random_state=0), SCALED, 1, 2.0),
        (neural_network.MLPRegressor(hidden_layer_sizes=(5,), alpha=3.0, random_state=0), PHYSIQUE, 3, 2.0),
        (
            neural_network.MLPRegressor(hidden_layer_sizes=(5,), alpha=3.0, random_state=0, loss="poisson"),
            COUNTS,
            1,
            1.0,
        ),
        (neural_network.MLPClassifier(hidden_layer_sizes=(5,), alpha=3.0, random_state=0), CANCER, 1, 1.0),
        (neural_network.MLPClassifier(hidden_layer_sizes=(5,), alpha=3.0, random_state=0), WINE, 3, 1.0),
    ],
    ids=["regressor", "three targets", "poisson", "classifier", "three classes"],
)
def test_perceptrons_with_a_hidden_layer(estimator, table, outputs, factor):
    """scikit-learn's `loss_` on one full batch is Keras's penalised loss at the same weights."""
    x, y = table[0][:200], table[1][:200]  # one batch of the default size
    estimator.set_params(solver="sgd", learning_rate_init=1e-300, max_iter=1, tol=0.0)
    with pytest.warns(Warning, match="Maximum iterations"):
        estimator.fit(x, y)  # takes no step: the weights are those whose loss it reports
    p = from_sklearn(estimator, len(x), outputs)
    assert p.batch_size == len(x)
    hidden = keras.layers.Dense(5, "relu", kernel_regularizer=p.kernel_regularizer)
    model = keras.Sequential([keras.Input((x.shape[1],)), hidden, p.dense()])
    model.set_weights([weight for pair in zip(estimator.coefs_, estimator.intercepts_, strict=True) for weight in pair])
    loss = float(p.loss(tf.constant(y.reshape(len(y), -1)), model(tf.constant(x)))) + float(sum(model.losses))
    constant = 0.0
    if estimator.get_params().get("loss") == "poisson":
        with np.errstate(divide="ignore", invalid="ignore"):
            constant = np.mean(np.where(y > 0, y * np.log(y), 0) - y)  # Keras leaves it out
    assert loss == pytest.approx(factor * (estimator.loss_ - constant), rel=1e-6)


def test_the_batch_size_of_a_perceptron_counts():
    def strength(**options):
        p = from_sklearn(neural_network.MLPRegressor(alpha=1.0, **options), n_samples=1000)
        return p.kernel_regularizer.get_config()["l2"]

    assert strength() == pytest.approx(1 / 200)
    assert strength(batch_size=32) == pytest.approx(1 / 32)
    assert strength(batch_size=5000) == pytest.approx(1 / 1000)
    assert strength(solver="lbfgs") == pytest.approx(1 / 1000)


def test_the_naive_strength_is_wrong():
    """What the map is for: L2(10) in place of Ridge(10) shrinks the weights to about a sixth."""
    ridge = linear_model.Ridge(10.0).fit(*DIABETES)
    naive = linear_model.Ridge(10.0 * 442).fit(*DIABETES)
    assert np.linalg.norm(naive.coef_) < 0.25 * np.linalg.norm(ridge.coef_)
    assert from_sklearn(ridge, 442).kernel_regularizer.get_config() == {"l2": 10 / 442}
    assert from_sklearn(naive, 442).kernel_regularizer.get_config() == {"l2": 10.0}


BACK = [
    (linear_model.Ridge(3.0), 1),
    (linear_model.Ridge(3.0), 4),
    (linear_model.Ridge(3.0, fit_intercept=False), 1),
    (linear_model.Lasso(0.3), 2),
    (linear_model.ElasticNet(0.3, l1_ratio=0.7), 2),
    (linear_model.MultiTaskLasso(0.3), 3),
    (linear_model.MultiTaskElasticNet(0.3, l1_ratio=0.2), 3),
    (linear_model.LogisticRegression(C=0.2), 1),
    (linear_model.LogisticRegression(C=0.2), 3),
    (linear_model.LogisticRegression(C=0.2, l1_ratio=1.0, solver="saga"), 1),
    (linear_model.LogisticRegression(C=0.2, l1_ratio=0.3, solver="saga"), 3),
    (linear_model.LogisticRegression(C=0.2, solver="liblinear", intercept_scaling=3.0), 1),
    (linear_model.LogisticRegression(C=0.2, l1_ratio=1.0, solver="liblinear"), 1),
    (linear_model.LogisticRegression(C=np.inf), 1),
    (linear_model.PoissonRegressor(alpha=0.3), 1),
    (svm.LinearSVC(C=0.2), 1),
    (svm.LinearSVC(C=0.2, intercept_scaling=2.0), 3),
    (svm.LinearSVC(C=0.2, loss="hinge"), 1),
    (svm.LinearSVC(C=0.2, penalty="l1"), 1),
    (svm.LinearSVR(C=0.2, epsilon=0.4), 1),
    (svm.LinearSVR(C=0.2, loss="squared_epsilon_insensitive", fit_intercept=False), 1),
    (linear_model.SGDClassifier(loss="hinge", alpha=0.2, penalty="elasticnet", l1_ratio=0.4), 3),
    (linear_model.SGDRegressor(loss="epsilon_insensitive", alpha=0.2, penalty="elasticnet", l1_ratio=0.4), 1),
]


@pytest.mark.parametrize(("estimator", "outputs"), BACK, ids=lambda value: str(value)[:50])
def test_there_and_back(estimator, outputs):
    back = from_sklearn(estimator, n_samples=150, n_outputs=outputs).to_sklearn()
    assert type(back) is type(estimator)
    before, after = estimator.get_params(), back.get_params()
    for name in ("alpha", "C", "l1_ratio", "fit_intercept", "intercept_scaling", "epsilon", "loss", "solver"):
        if name in before:
            assert after[name] == (pytest.approx(before[name]) if isinstance(before[name], float) else before[name])
    if "penalty" in before and before["penalty"] != "deprecated":
        assert after["penalty"] == before["penalty"]


def test_to_sklearn_takes_every_penalty_of_the_kind():
    assert to_sklearn(keras.regularizers.L2(0.1), 100).get_params()["alpha"] == pytest.approx(10)
    assert to_sklearn(keras.regularizers.L1(0.2), 100).get_params()["alpha"] == pytest.approx(0.1)
    assert to_sklearn(TextbookL2(7.0, 100), 100).get_params()["alpha"] == pytest.approx(7)
    assert to_sklearn(TextbookL2(7.0, 50, "crossentropy"), 50, "binary_crossentropy").get_params()[
        "C"
    ] == pytest.approx(1 / 7)
    mixed = to_sklearn(ElasticNet(0.4, 0.25), 100).get_params()
    assert (mixed["alpha"], mixed["l1_ratio"]) == (pytest.approx(0.2), pytest.approx(0.25))
    assert isinstance(to_sklearn(None, 10), linear_model.LinearRegression)
    assert to_sklearn(L2(keras.Variable(0.5)), 10).get_params()["alpha"] == pytest.approx(5)
    assert isinstance(to_sklearn(L2(0.1), 10, "squared_hinge", bias_regularizer=L2(0.1)), svm.LinearSVC)
    assert isinstance(to_sklearn(L2(0.1), 10, "squared_hinge"), linear_model.SGDClassifier)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((tfopt.regularizers.MCP(0.1), 10), "no counterpart for the penalty MCP"),
        ((L1(0.1), 10, "poisson"), "L1 penalty with the Poisson loss"),
        ((L2(0.1), 10, "mae"), "no estimator for the loss"),
        ((L2(0.1), 10, "mse", 1, L2(0.1)), "penalises the intercept under the loss"),
        ((L1(0.1), 10, "binary_crossentropy", 1, L2(0.1)), "L1 both, or L2 both"),
        ((L1L2(0.1, 0.1), 10, "squared_hinge", 1, L2(0.1)), "L1 alone"),
        ((L21(0.1), 10, "binary_crossentropy"), "L21 penalty"),
    ],
)
def test_what_has_no_estimator(arguments, text):
    with pytest.raises(ValueError, match=text):
        to_sklearn(*arguments)


def test_what_has_no_counterpart():
    from sklearn.ensemble import RandomForestRegressor

    with pytest.raises(
        TypeError, match=r"no counterpart for RandomForestRegressor.* It knows: ElasticNet, Lasso, Linear"
    ):
        from_sklearn(RandomForestRegressor(), 10)
    with pytest.raises(TypeError, match="Did you mean 'Ridge'"):
        from_sklearn(linear_model.RidgeCV(), 10)
    with pytest.raises(TypeError, match="no counterpart for int"):
        from_sklearn(3, 10)
    with pytest.raises(ValueError, match="one `alpha` for all targets"):
        from_sklearn(linear_model.Ridge([1.0, 2.0]), 10, 2)
    with pytest.raises(ValueError, match="two classes only"):
        from_sklearn(linear_model.LogisticRegression(solver="liblinear"), 10, 3)
    with pytest.raises(ValueError, match="crammer_singer"):
        from_sklearn(svm.LinearSVC(multi_class="crammer_singer"), 10, 3)
    with pytest.raises(ValueError, match="no Keras loss for loss='perceptron'"):
        from_sklearn(linear_model.SGDClassifier(loss="perceptron"), 10)
    for rows, error in ((0, ValueError), (2.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="`n_samples`"):
            from_sklearn(linear_model.Ridge(), rows)


def test_subclasses_count_as_their_parents():
    class Mine(linear_model.Lasso):
        pass

    assert isinstance(from_sklearn(Mine(0.5), 10).kernel_regularizer, L1)


def test_no_penalty():
    assert from_sklearn(linear_model.Ridge(0.0), 10).kernel_regularizer is None
    assert from_sklearn(linear_model.LogisticRegression(C=np.inf), 10).kernel_regularizer is None
    assert from_sklearn(linear_model.SGDRegressor(penalty=None), 10).kernel_regularizer is None


def test_importing_tfopt_does_not_import_sklearn(fresh_keras):
    """Keras imports scikit-learn's base by itself; the estimators are ours to leave alone."""
    script = (
        "import sys, tfopt.regularizers; print('sklearn.linear_model' in sys.modules, 'sklearn.svm' in sys.modules)"
    )
    run = fresh_keras(script)
    assert run.stdout == "False False\n", run.stderr
