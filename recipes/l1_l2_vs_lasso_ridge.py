"""Is L1 in a network the Lasso, and L2 Ridge?

The tutorials say "L1 = λΣ|w| is the Lasso with alpha = 0.1, and L2 = λΣw² is Ridge with alpha = 0.1", as if the same
number meant the same penalty. One-layer Keras models are trained to convergence next to scikit-learn's solvers, with
the tutorials' numbers as they stand and with those that `tfopt.regularizers.from_sklearn` says; then zeros, a path, and
what L2 does to the errors. The strength is chosen on some of the splits and judged on the others.

What goes wrong in the usual programs: GridSearchCV over penalty l1 and l2 of `LogisticRegression()` loses half of its
fits to NaN, because the default solver takes no l1. `λ·norm(net.parameters())` cannot be run (`torch.norm` takes no
generator, and there is no `torch.nn.L2Loss`), and a norm is not the sum of squares that L2 means.

So: convert a strength with `tfopt.regularizers.from_sklearn` before comparing; take `ProximalOptimizer` where weights
are to become zero; choose the strength on folds, by error on new rows.

Claims:
    penalty-same-number: The same number means the same penalty: L2(10) is Ridge(alpha=10)
    penalty-textbook-cost-is-ridge: The cost 1/2m Σ(h − y)² + λ/2m Σθ² is Ridge with alpha = λ
    penalty-conversion-is-exact: After conversion L1 is the Lasso, and L2 is Ridge
    penalty-lasso-zeros: Lasso sets weights to zero, Ridge does not
    penalty-keras-l1-zeros: Keras's L1 sets weights to zero
    penalty-search-agrees: After conversion GridSearchCV and a tuner choose the same strength on the same folds
    penalty-grid-of-l1-and-l2: GridSearchCV over penalty l1 and l2 of `LogisticRegression()` compares the two
    penalty-norm-is-l2: λ·norm(w) is the L2 penalty
    penalty-lowers-new-error: L2 lowers the squared error on new rows
    penalty-lowers-training-error: L2 lowers the squared error on training rows

    python recipes/l1_l2_vs_lasso_ridge.py                                    # a minute and a half on two cores
    python recipes/l1_l2_vs_lasso_ridge.py --data houses.csv --target price   # all but the map of the estimators
"""

import logging
import tempfile
import warnings

import keras
import keras_tuner
import numpy as np
import scipy.linalg
import tensorflow as tf
from sklearn import datasets, linear_model, model_selection, preprocessing

import tfopt
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__, data="diabetes")
STEPS = 3000  # of Nesterov's method on the full batch; converged to about 1e-12
NUM_STRENGTHS = recipe.by_mode(arguments, smoke=4, default=15)  # points on a path
NUM_SPLITS = recipe.by_mode(arguments, smoke=4, default=40)  # random splits for the errors
EXACT = {"tol": 1e-12, "max_iter": 100_000}

logging.getLogger("tfopt").setLevel("ERROR")  # Ridge needs no proximal step, as it would say
tf.get_logger().setLevel("ERROR")  # many models, one graph each
keras.utils.set_random_seed(arguments.seed)
keras.config.set_floatx("float64")  # so that differences are those of the methods
rng = np.random.default_rng(arguments.seed)
x, y = recipe.table(arguments, task="regression")
x = preprocessing.StandardScaler().fit_transform(x.astype("float64"))
_, triangle, order = scipy.linalg.qr(x, mode="economic", pivoting=True)
kept = sorted(order[np.abs(np.diag(triangle)) > 1e-5 * abs(triangle[0, 0])])
if len(kept) < x.shape[1]:  # as the levels of a category are; then the Lasso has more than one solution
    print(f"{x.shape[1] - len(kept)} features are left out: the others determine them")
own = (x[:, kept], y)
own_top = 0.9 * float(np.max(np.abs(own[0].T @ (own[1] - own[1].mean()))) / len(own[1]))  # near where Lasso is empty


class OneLayer:
    """A one-layer Keras model, trained on the full batch by `ProximalOptimizer`; the strength is a variable."""

    def __init__(self, p, num_features, curvature, penalty=None):
        self.curvature = curvature  # of the loss per unit of the data's: 2 for mse, 1/4 for the logistic loss
        self.p, self.penalty = p, penalty or p.kernel_regularizer
        self.layer = p.dense(kernel_initializer="zeros", kernel_regularizer=self.penalty)
        self.model = keras.Sequential([keras.Input((num_features,)), self.layer])
        sgd = keras.optimizers.SGD(0.1, momentum=0.97, nesterov=True)
        self.optimizer = tfopt.regularizers.ProximalOptimizer(sgd)
        self.optimizer.build(self.model.trainable_variables)

    @tf.function(jit_compile=True)
    def steps(self, x, y, count):
        weights = self.model.trainable_variables
        for _ in tf.range(count):
            with tf.GradientTape() as tape:
                loss = self.p.loss(y, self.model(x)) + sum(self.model.losses)
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    def fit(self, x, y):
        design = np.column_stack([x, np.ones(len(x))])
        largest = np.linalg.eigvalsh(design.T @ design / len(x))[-1]
        self.optimizer.learning_rate = 1 / (self.curvature * largest + 2 * self.penalty.get_config().get("l2", 0.0))
        self.steps(tf.constant(x), tf.constant(np.reshape(y, (len(x), -1)).astype("float64")), tf.constant(STEPS))
        return self.layer.kernel.numpy().copy(), self.layer.bias.numpy().copy()


def standardized(load):
    x, y = load(return_X_y=True)
    return preprocessing.StandardScaler().fit_transform(x), y.astype("float64")


def apart(kernel, expected):
    """The largest difference, of the largest weight."""
    return float(np.max(np.abs(kernel - expected)) / np.max(np.abs(expected)))


# 1. The map: each estimator beside its Keras model.
diabetes, cancer, wine = map(standardized, (datasets.load_diabetes, datasets.load_breast_cancer, datasets.load_wine))
several = (diabetes[0][:, :7], np.column_stack([diabetes[1] / 50, diabetes[0][:, 8:]]))
counts = (diabetes[0], np.round(diabetes[1] / 25))
logistic, newton = linear_model.LogisticRegression, {"solver": "newton-cholesky", **EXACT}
saga = {"solver": "saga", "random_state": arguments.seed, **EXACT}
pairs = [  # estimator, data, outputs, curvature of the loss
    (linear_model.Ridge(10.0), diabetes, 1, 2.0),
    (linear_model.Lasso(1.0, **EXACT), diabetes, 1, 2.0),
    (linear_model.Lasso(5.0, **EXACT), diabetes, 1, 2.0),
    (linear_model.ElasticNet(1.0, l1_ratio=0.5, **EXACT), diabetes, 1, 2.0),
    (linear_model.Ridge(30.0), several, 3, 2.0),
    (linear_model.MultiTaskLasso(0.3, **EXACT), several, 3, 2.0),
    (linear_model.MultiTaskElasticNet(0.5, l1_ratio=0.6, **EXACT), several, 3, 2.0),
    (logistic(C=0.1, **newton), cancer, 1, 0.25),
    (logistic(C=0.1, l1_ratio=1.0, **saga), cancer, 1, 0.25),
    (logistic(C=0.1, l1_ratio=0.5, **saga), cancer, 1, 0.25),
    (logistic(C=0.05, solver="liblinear", **EXACT), cancer, 1, 0.25),
    (logistic(C=0.5, **newton), wine, 3, 0.5),
    (linear_model.PoissonRegressor(alpha=0.5, solver="newton-cholesky", tol=1e-12), counts, 1, 30.0),
]
solved = []
for estimator, (x, y), outputs, curvature in pairs[:4] if arguments.smoke else pairs:
    expected = np.atleast_2d(estimator.fit(x, y).coef_).T
    p = tfopt.regularizers.from_sklearn(estimator, n_samples=len(x), n_outputs=outputs)
    kernel, _ = OneLayer(p, x.shape[1], curvature).fit(x, y)
    settings = {
        key: value for key, value in estimator.get_params().items() if key in ("alpha", "C", "l1_ratio") and value
    }
    shown = ", ".join(f"{key}={value:g}" for key, value in settings.items())
    solved.append(
        {
            "scikit-learn": f"{type(estimator).__name__}({shown})",
            "difference": apart(kernel, expected),
            "zeros": f"{np.sum(expected == 0)}/{np.sum(kernel == 0)}",
            "same_zeros": bool(np.array_equal(expected == 0, kernel == 0)),
        }
    )
rows = {row["scikit-learn"]: [f"{row['difference']:.1e}", row["zeros"]] for row in solved}
recipe.show("Each estimator and its Keras model", ["difference", "zeros"], rows)

# 2. The tutorial's number as it stands, the textbook's cost, a norm, and Keras's L1 without the proximal step.
x, y = own
ridge, lasso = linear_model.Ridge(10.0).fit(x, y), linear_model.Lasso(0.022 * own_top, **EXACT).fit(x, y)
plain = tfopt.regularizers.from_sklearn(ridge, len(x))
literal, _ = OneLayer(plain, x.shape[1], 2.0, tfopt.regularizers.L2(10.0)).fit(x, y)
literal_ratio = float(np.linalg.norm(literal) / np.linalg.norm(ridge.coef_))
textbook, _ = OneLayer(plain, x.shape[1], 2.0, tfopt.regularizers.TextbookL2(10.0, num_samples=len(x))).fit(x, y)
textbook_difference = apart(textbook[:, 0], ridge.coef_)
times_norm = float(np.linalg.norm(2 * ridge.coef_) / np.linalg.norm(ridge.coef_))  # of weights twice as large
times_l2 = float(np.sum((2 * ridge.coef_) ** 2) / np.sum(ridge.coef_**2))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # a warning is all that tells
    penalties = {"C": [0.1, 1, 10], "penalty": ["l1", "l2"]}
    tutorial = model_selection.GridSearchCV(logistic(), penalties, cv=5).fit(*cancer)
lost = float(np.mean(np.isnan(tutorial.cv_results_["mean_test_score"])))
subgradient = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L1(2 * lasso.alpha))
hovering = keras.Sequential([keras.Input((x.shape[1],)), subgradient])
hovering.compile(keras.optimizers.SGD(0.02, momentum=0.9), "mse", steps_per_execution=100)
batches = tf.data.Dataset.from_tensors((x, y[:, None])).repeat(300 if arguments.smoke else 3000)
hovering.fit(batches, shuffle=False, verbose=0)
zeros_without = int(np.sum(subgradient.kernel.numpy() == 0))
zeros_ridge, zeros_lasso = (int(np.sum(estimator.coef_ == 0)) for estimator in (ridge, lasso))

# 3. The Lasso's path, and its strength by GridSearchCV and by KerasTuner on the same folds, in one graph.
strength = keras.Variable(0.0, trainable=False)
shared = OneLayer(tfopt.regularizers.from_sklearn(lasso, len(x)), x.shape[1], 2.0, tfopt.regularizers.L1(strength))
grid, solver, network = np.geomspace(1, 1e-3, NUM_STRENGTHS) * own_top, [], []
for alpha in grid:  # the strongest first: each solution is the next one's start
    strength.assign(2 * alpha)
    solver.append(linear_model.Lasso(alpha, **EXACT).fit(x, y).coef_)
    network.append(shared.fit(x, y)[0][:, 0])
path_difference = apart(np.array(network), np.array(solver))

folds = list(model_selection.KFold(5, shuffle=True, random_state=arguments.seed).split(x))
alphas = own_top * np.geomspace(0.01, 0.5, 4 if arguments.smoke else 12)
search = model_selection.GridSearchCV(
    linear_model.Lasso(**EXACT), {"alpha": alphas.tolist()}, cv=folds, scoring="neg_mean_squared_error"
).fit(x, y)


class OnTheSameFolds(keras_tuner.GridSearch):
    """Scores a strength by its mean squared error on the folds, without the penalty."""

    def run_trial(self, trial, *args, **kwargs):
        strength.assign(trial.hyperparameters.get("l1"))
        errors = []
        for train, test in folds:
            kernel, bias = shared.fit(x[train], y[train])
            errors.append(np.mean((x[test] @ kernel[:, 0] + bias - y[test]) ** 2))
        return {"val_mse": float(np.mean(errors))}


space = keras_tuner.HyperParameters()
space.Choice("l1", (2 * alphas).tolist())
objective = keras_tuner.Objective("val_mse", "min")
with tempfile.TemporaryDirectory() as folder:
    tuner = OnTheSameFolds(None, objective=objective, hyperparameters=space, max_trials=len(alphas), directory=folder)
    tuner.search(verbose=0)
    best = tuner.get_best_hyperparameters()[0].get("l1")
chosen = tfopt.regularizers.to_sklearn(tfopt.regularizers.L1(best), n_samples=min(len(train) for train, _ in folds))

# 4. Errors on training rows and on new ones, by strength, with all products of two columns.
wide = preprocessing.PolynomialFeatures(2, include_bias=False).fit_transform(own[0])
relative = np.geomspace(1e-4, 10, NUM_STRENGTHS)  # l2, per row
num_train, num_test = 3 * len(wide) // 5, len(wide) // 5  # three rows to learn from for each one to judge by
share = num_test / num_train
one = OneLayer(plain, wide.shape[1], 2.0, tfopt.regularizers.L2(strength))
errors = np.zeros((NUM_SPLITS, len(relative), 2))
for split in range(NUM_SPLITS):
    order = rng.permutation(len(wide))
    train, test = order[:num_train], order[num_train : num_train + num_test]
    scaler = preprocessing.StandardScaler().fit(wide[train])
    for index in reversed(range(len(relative))):
        strength.assign(relative[index])
        kernel, bias = one.fit(scaler.transform(wide[train]), own[1][train])
        for part, rows in enumerate((train, test)):
            predicted = scaler.transform(wide[rows]) @ kernel[:, 0] + bias
            errors[split, index, part] = np.mean((predicted - own[1][rows]) ** 2)
best_index = int(np.argmin(errors[: NUM_SPLITS // 2, :, 1].mean(axis=0)))  # chosen on half of the splits,
gains = np.log(errors[NUM_SPLITS // 2 :, 0] / errors[NUM_SPLITS // 2 :, best_index])  # judged on the others
smooth = max(row["difference"] for row in solved)
same_zeros = sum(row["same_zeros"] for row in solved)


def lowers(part):
    """Evidence that the chosen strength lowers the error on training rows (0) or on new ones (1)."""
    form = "log of the squared error without it over that with it: {}, {} splits"
    return recipe.above(gains[:, part], 0.0, form, test_to_train=share)


claims = {
    "penalty-same-number": recipe.fact(
        0.9 < literal_ratio < 1.1, "the weights come out at {} of Ridge's", f"{literal_ratio:.1%}"
    ),
    "penalty-textbook-cost-is-ridge": recipe.fact(
        textbook_difference < 1e-6, "weights differ by {} of the largest at λ = 10", f"{textbook_difference:.0e}"
    ),
    "penalty-conversion-is-exact": recipe.fact(
        smooth <= 1e-6 and same_zeros == len(solved) and path_difference < 1e-5,
        "{} estimators differ by at most {} of the largest weight, {} have the same zeros; {} paths differ by {}",
        *(len(solved), f"{smooth:.0e}", same_zeros, 1, f"{path_difference:.0e}"),
    ),
    "penalty-lasso-zeros": recipe.fact(
        zeros_lasso > 0 == zeros_ridge, "{} and {} zeros of {} weights", zeros_lasso, zeros_ridge, x.shape[1]
    ),
    "penalty-keras-l1-zeros": recipe.fact(
        zeros_without,
        "{} zeros under plain SGD, where Lasso has {}; `ProximalOptimizer` gives those",
        zeros_without,
        zeros_lasso,
    ),
    "penalty-search-agrees": recipe.fact(
        np.isclose(chosen.alpha, search.best_params_["alpha"]),
        "alpha {} and {} of {}",
        f"{search.best_params_['alpha']:.3g}",
        f"{chosen.alpha:.3g}",
        len(alphas),
    ),
    "penalty-lowers-new-error": lowers(1),
    "penalty-lowers-training-error": lowers(0),
    "penalty-grid-of-l1-and-l2": recipe.fact(not lost, "{} of its settings score NaN", f"{lost:.0%}"),
    "penalty-norm-is-l2": recipe.fact(
        np.isclose(times_norm, times_l2),
        "weights twice as large have {} times the norm and {} times the sum of squares",
        f"{times_norm:.0f}",
        f"{times_l2:.0f}",
    ),
}

with recipe.panels(3, width=5) as (figure, (left, middle, right)):
    solver, network = np.array(solver), np.array(network)
    largest = np.argsort(-np.max(np.abs(solver), axis=0))[:8]
    for feature, colour in zip(largest, recipe.COLOURS, strict=False):
        left.semilogx(grid, solver[:, feature], color=colour, linewidth=1.2)
        left.semilogx(grid, network[:, feature], "o", color=colour, markersize=3)
    left.set(xlabel="α of scikit-learn", ylabel="coefficient", title="Lasso's path: scikit-learn (lines), Keras (dots)")
    series = {"training rows": errors[:, :, 0], "new rows": errors[:, :, 1]}
    title = "Error by L2 strength"
    recipe.curves(middle, relative, series, title, "L2 strength", "mean squared error", share)
    middle.set_xscale("log")
    for place, row in enumerate(solved[::-1]):
        right.semilogx(max(row["difference"], 1e-16), place, "o", color="#0072b2")
    right.axvline(1e-6, color="#d55e00", linewidth=1)
    right.set_yticks(range(len(solved)), [row["scikit-learn"] for row in solved[::-1]], fontsize=8)
    right.set(xlabel="largest difference, relative", title="Coefficients of Keras and the solver")

results = {
    "table": solved,
    "literal_ratio": literal_ratio,
    "path_difference": path_difference,
    "zeros": {"lasso": zeros_lasso, "ridge": zeros_ridge, "keras_sgd": zeros_without},
    "alpha": {"grid_search": float(search.best_params_["alpha"]), "keras_tuner": float(chosen.alpha)},
    "log_gains": gains,
}
recipe.finish(arguments, claims, results, figure)
