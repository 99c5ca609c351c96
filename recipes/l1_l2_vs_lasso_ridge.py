"""Is L1 in a network the Lasso, and L2 Ridge?

The tutorials write "L1 (Lasso, alpha=0.1)" and "L2 (Ridge, alpha=0.1)" beside a penalty of a network, as if the same
number meant the same thing. Here one-layer Keras models are trained to convergence next to scikit-learn's solvers: with
the tutorial's number as it stands, and with the strength that `tfopt.regularizers.from_sklearn` says. Also: Lasso's
exact zeros (no Keras optimizer gives any: wrap it in `ProximalOptimizer`), the paths of the coefficients, a search for
the strength on both sides, and what the penalties do to the errors on training rows and on new ones.

    python recipes/l1_l2_vs_lasso_ridge.py            # about a minute on two cores
    python recipes/l1_l2_vs_lasso_ridge.py --smoke    # a few seconds, to see that it runs
    python recipes/l1_l2_vs_lasso_ridge.py --data houses.csv --target price   # its numeric columns

说明：把 Keras 的 L1/L2 强度换算成 scikit-learn 的 alpha/C，并验证两者的解一致。
"""

import argparse
import json
import logging
import pathlib
import shutil
import tempfile
import time

import keras
import keras_tuner
import numpy as np
import scipy.stats
import tensorflow as tf
from matplotlib import pyplot as plt
from sklearn import datasets, linear_model, model_selection, preprocessing

import tfopt
from tfopt.report import house_style

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default="diabetes", help="regression table for all but the map: embedded set or file")
parser.add_argument("--target", default=None, help="its column to predict (default: the last)")
parser.add_argument("--out", default="runs/l1_l2_vs_lasso_ridge", help="folder for the picture and the JSON result")
parser.add_argument("--seed", type=int, default=0, help="splits and the correlated design")
parser.add_argument("--smoke", action="store_true", help="few strengths and splits, to see that it runs")
parser.add_argument("--full", action="store_true", help="more splits")
arguments = parser.parse_args()

STEPS = 3000  # of Nesterov's method on the full batch; converged to about 1e-12
NUM_STRENGTHS = 4 if arguments.smoke else 15  # points on a path
NUM_SPLITS = 4 if arguments.smoke else 100 if arguments.full else 40  # random splits for the errors
EXACT = {"tol": 1e-12, "max_iter": 100_000}

started = time.perf_counter()
logging.getLogger("tfopt").setLevel("ERROR")  # Ridge needs no proximal step, as it would say
tf.get_logger().setLevel("ERROR")  # many models, one graph each
keras.utils.set_random_seed(arguments.seed)
keras.config.set_floatx("float64")  # so that differences are those of the methods
rng = np.random.default_rng(arguments.seed)
out = pathlib.Path(arguments.out)
out.mkdir(parents=True, exist_ok=True)


class OneLayer:
    """A one-layer Keras model, trained on the full batch by `ProximalOptimizer`; the strength is a variable."""

    def __init__(self, p, num_features, curvature, penalty=None):
        self.curvature = curvature  # of the loss per unit of the data's: 2 for mse, 1/4 for the logistic loss
        self.p = p
        self.penalty = penalty or p.kernel_regularizer
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

    def fit(self, x, y, count=STEPS):
        design = np.column_stack([x, np.ones(len(x))])
        largest = np.linalg.eigvalsh(design.T @ design / len(x))[-1]
        self.optimizer.learning_rate = 1 / (self.curvature * largest + 2 * self.penalty.get_config().get("l2", 0.0))
        self.steps(tf.constant(x), tf.constant(np.reshape(y, (len(x), -1)).astype("float64")), tf.constant(count))
        return self.layer.kernel.numpy().copy(), self.layer.bias.numpy().copy()


def standardized(load):
    x, y = load(return_X_y=True)
    return preprocessing.StandardScaler().fit_transform(x), y.astype("float64")


diabetes, cancer, wine = (
    standardized(load) for load in (datasets.load_diabetes, datasets.load_breast_cancer, datasets.load_wine)
)
table = tfopt.data.load_table(arguments.data, target=arguments.target)
numbers = table.features.select_dtypes("number").dropna(axis="columns")
if table.task != "regression" or numbers.shape[1] < 2 or table.num_outputs > 1:
    parser.error(f"--data {arguments.data} must have one numeric target and two numeric columns without gaps or more")
own = (preprocessing.StandardScaler().fit_transform(numbers), table.target.ravel())
own_top = 0.9 * float(np.max(np.abs(own[0].T @ (own[1] - own[1].mean()))) / len(numbers))  # near where Lasso is empty
# Ten features in three groups that are nearly copies of each other; the first two groups matter.
factors = rng.normal(size=(200, 3))
correlated_x = np.repeat(factors, [4, 3, 3], axis=1) + 0.2 * rng.normal(size=(200, 10))
correlated_x = preprocessing.StandardScaler().fit_transform(correlated_x)
correlated = (correlated_x, factors @ [3.0, -2.0, 0.0] + 0.5 * rng.normal(size=200))
several = (diabetes[0][:, :7], np.column_stack([diabetes[1] / 50, diabetes[0][:, 8:]]))

# 1. The map: each estimator beside its Keras model.
logistic = linear_model.LogisticRegression
saga = {"solver": "saga", "random_state": 0, **EXACT}
newton = {"solver": "newton-cholesky", **EXACT}
rows = [
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
    (linear_model.PoissonRegressor(alpha=0.5, solver="newton-cholesky", tol=1e-12),
     (diabetes[0], np.round(diabetes[1] / 25)), 1, 30.0),
]  # fmt: skip
if arguments.smoke:
    rows = rows[:4]

solved = []
for estimator, (x, y), outputs, curvature in rows:
    estimator.fit(x, y)
    p = tfopt.regularizers.from_sklearn(estimator, n_samples=len(x), n_outputs=outputs)
    kernel, _ = OneLayer(p, x.shape[1], curvature).fit(x, y)
    expected = np.atleast_2d(estimator.coef_).T
    name = type(estimator).__name__
    shown = {key: value for key, value in estimator.get_params().items() if key in {"alpha", "C", "l1_ratio"} and value}
    solved.append(
        {
            "scikit-learn": f"{name}({', '.join(f'{key}={value:g}' for key, value in shown.items())})",
            "keras": repr(p.kernel_regularizer),
            "difference": float(np.max(np.abs(kernel - expected)) / np.max(np.abs(expected))),
            "zeros_sklearn": int(np.sum(expected == 0)),
            "zeros_keras": int(np.sum(kernel == 0)),
            "same_zeros": bool(np.array_equal(expected == 0, kernel == 0)),
        }
    )
print(f"{'scikit-learn':42} {'Keras':52} {'difference':>10}  zeros")
for row in solved:
    zeros = f"{row['zeros_sklearn']}/{row['zeros_keras']}{'' if row['same_zeros'] else ' !'}"
    print(f"{row['scikit-learn']:42} {row['keras']:52.52} {row['difference']:10.1e}  {zeros}")

# 2. The tutorial's number as it stands, and without the proximal step.
x, y = own
ridge = linear_model.Ridge(10.0).fit(x, y)
lasso = linear_model.Lasso(0.022 * own_top, **EXACT).fit(x, y)
plain = tfopt.regularizers.from_sklearn(ridge, len(x))
literal, _ = OneLayer(plain, x.shape[1], 2.0, tfopt.regularizers.L2(10.0)).fit(x, y)
literal_ratio = float(np.linalg.norm(literal) / np.linalg.norm(ridge.coef_))

subgradient = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L1(2 * lasso.alpha))
hovering = keras.Sequential([keras.Input((x.shape[1],)), subgradient])
hovering.compile(keras.optimizers.SGD(0.02, momentum=0.9), "mse", steps_per_execution=100)
batches = tf.data.Dataset.from_tensors((x, y[:, None])).repeat(300 if arguments.smoke else 3000)
hovering.fit(batches, shuffle=False, verbose=0)
zeros_without = int(np.sum(hovering.layers[0].kernel.numpy() == 0))
zeros_ridge = int(np.sum(ridge.coef_ == 0))
zeros_lasso = int(np.sum(lasso.coef_ == 0))
print(f"\nL2(10) in place of Ridge(alpha=10): the weights come out at {literal_ratio:.0%} of Ridge's.")
counts = f"Lasso {zeros_lasso}, Ridge {zeros_ridge}, Keras L1 under plain SGD {zeros_without}"
print(f"Exact zeros at alpha={lasso.alpha:.3g}: {counts}.")

# 3. Paths: one graph for a whole path, the strength a variable in it.
paths = {}
jobs = []
for data_name, table_of, top in ((table.name, own, own_top), ("correlated design", correlated, 3.0)):
    sparse_grid = np.geomspace(1e-3, 1, NUM_STRENGTHS) * top
    jobs += [
        (data_name, "Lasso", table_of, lambda a: linear_model.Lasso(a, **EXACT), sparse_grid),
        (data_name, "Ridge", table_of, lambda a: linear_model.Ridge(a), np.geomspace(0.1, 1e4, NUM_STRENGTHS)),
        (data_name, "Elastic net", table_of, lambda a: linear_model.ElasticNet(a, **EXACT), sparse_grid),
    ]
inverse = np.geomspace(5, 1000, max(NUM_STRENGTHS // 2, 2))  # 1/C
quick = {**saga, "tol": 1e-9}
jobs += [
    ("breast cancer", "Logistic L1", cancer, lambda a: logistic(C=1 / a, l1_ratio=1.0, **quick), inverse),
    ("breast cancer", "Logistic L2", cancer, lambda a: logistic(C=1 / a, **newton), inverse),
]
for data_name, model_name, (x, y), make, grid in jobs:
    l1, l2 = keras.Variable(0.0, trainable=False), keras.Variable(0.0, trainable=False)
    penalty = tfopt.regularizers.L1L2(l1, l2)
    curvature = 0.25 if data_name == "breast cancer" else 2.0
    one = OneLayer(tfopt.regularizers.from_sklearn(make(1.0), len(x)), x.shape[1], curvature, penalty)
    solver, network = [], []
    for alpha in grid[::-1]:  # the strongest first: each solution is the next one's start
        estimator = make(alpha).fit(x, y)
        strengths = tfopt.regularizers.from_sklearn(estimator, len(x)).kernel_regularizer.get_config()
        l1.assign(strengths.get("l1", 0.0))
        l2.assign(strengths.get("l2", 0.0))
        solver.append(np.ravel(estimator.coef_))
        network.append(one.fit(x, y)[0][:, 0])
    paths[data_name, model_name] = (grid[::-1], np.array(solver), np.array(network))
path_difference = max(np.max(np.abs(a - b)) / np.max(np.abs(a)) for _, a, b in paths.values())
print(
    f"\nOn {len(paths)} paths of {NUM_STRENGTHS} strengths they differ by {path_difference:.1e} of the largest weight"
)

# 4. The strength chosen by GridSearchCV and by KerasTuner on the same folds.
x, y = own
folds = list(model_selection.KFold(5, shuffle=True, random_state=arguments.seed).split(x))
alphas = own_top * np.geomspace(0.01, 0.5, 4 if arguments.smoke else 12)
search = model_selection.GridSearchCV(
    linear_model.Lasso(**EXACT), {"alpha": alphas.tolist()}, cv=folds, scoring="neg_mean_squared_error"
).fit(x, y)
rows_in_fold = min(len(train) for train, _ in folds)  # equal sizes: one graph for all folds
strength = keras.Variable(0.0, trainable=False)
shared = OneLayer(
    tfopt.regularizers.from_sklearn(linear_model.Lasso(), len(x)), x.shape[1], 2.0, tfopt.regularizers.L1(strength)
)


class OnTheSameFolds(keras_tuner.GridSearch):
    """Scores a strength by its mean squared error on the folds, without the penalty."""

    def run_trial(self, trial, *args, **kwargs):
        strength.assign(trial.hyperparameters.Choice("l1", (2 * alphas).tolist()))
        errors = []
        for train, test in folds:
            kernel, bias = shared.fit(x[train], y[train], STEPS)
            errors.append(np.mean((x[test] @ kernel[:, 0] + bias - y[test]) ** 2))
        return {"val_mse": float(np.mean(errors))}


folder = tempfile.mkdtemp()
tuner = OnTheSameFolds(
    lambda hp: hp.Choice("l1", (2 * alphas).tolist()) and keras.Sequential(),
    objective=keras_tuner.Objective("val_mse", "min"), max_trials=len(alphas), directory=folder,
)  # fmt: skip
tuner.search(verbose=0)
best = tuner.oracle.get_best_trials(1)[0]
chosen = tfopt.regularizers.to_sklearn(tfopt.regularizers.L1(best.hyperparameters.get("l1")), n_samples=rows_in_fold)
shutil.rmtree(folder)
same_choice = bool(np.isclose(chosen.alpha, search.best_params_["alpha"]))
print(f"\nGridSearchCV chose alpha = {search.best_params_['alpha']:.3f} (mse {-search.best_score_:.2f}); ", end="")
print(f"KerasTuner chose l1 = {2 * chosen.alpha:.3f}, which is alpha = {chosen.alpha:.3f} (mse {best.score:.2f})")

# 5. Errors on training rows and on new ones, by strength.
wide = preprocessing.PolynomialFeatures(2, include_bias=False).fit_transform(own[0])
relative = np.geomspace(1e-4, 10, NUM_STRENGTHS)  # l2, per row
strength = keras.Variable(0.0, trainable=False)
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
        for part, chosen_rows in enumerate((train, test)):
            predicted = scaler.transform(wide[chosen_rows]) @ kernel[:, 0] + bias
            errors[split, index, part] = np.mean((predicted - own[1][chosen_rows]) ** 2)
best_index = int(np.argmin(errors[: NUM_SPLITS // 2, :, 1].mean(axis=0)))  # chosen on half of the splits,
gains = np.log(errors[NUM_SPLITS // 2 :, 0] / errors[NUM_SPLITS // 2 :, best_index])  # judged on the others
intervals = {}
for part, name in enumerate(("training rows", "new rows")):
    mean, count = gains[:, part].mean(), len(gains)
    # The splits share rows: variance × (1/k + test/train), Nadeau and Bengio 2003.
    half_width = scipy.stats.t.ppf(0.975, count - 1) * np.sqrt(gains[:, part].var(ddof=1) * (1 / count + share))
    low, middle, high = (float(1 - np.exp(-value)) for value in (mean - half_width, mean, mean + half_width))
    intervals[name] = [middle, low, high]
    print(f"L2 = {relative[best_index]:.2g} instead of {relative[0]:.0e}: squared error on {name} lower by "
          f"{middle:.0%} [{low:.0%}, {high:.0%}]")  # fmt: skip

# Verdicts.
smooth = max(row["difference"] for row in solved)
verdicts = {
    "the same number means the same penalty": "holds" if 0.9 < literal_ratio < 1.1 else "does not hold",
    "after conversion L1 is the Lasso and L2 is Ridge": "holds"
    if smooth <= 1e-6 and all(row["same_zeros"] for row in solved) and path_difference < 1e-5
    else "does not hold",
    "Lasso sets weights to zero, Ridge does not": "holds" if zeros_lasso > 0 == zeros_ridge else "does not hold",
    "Keras's L1 sets weights to zero": "holds" if zeros_without else "does not hold",
    "grid search and tuner agree after conversion": "holds" if same_choice else "does not hold",
    "a penalty lowers the error on new rows": "holds" if intervals["new rows"][1] > 0 else "can't be told here",
    "a penalty lowers the error on training rows": "holds" if intervals["training rows"][1] > 0 else "does not hold",
}
print()
for claim, verdict in verdicts.items():
    print(f"{claim}: {verdict}")

# The picture: solvers as lines, Keras as dots.
with house_style():
    figure, axes = plt.subplots(2, 5, figsize=(18, 7.2), layout="constrained")
    places = [*axes[:, :3].ravel(), *axes[:, 3]]
    for axis, (name, (grid, solver, network)) in zip(places, paths.items(), strict=True):
        colors = plt.cm.viridis(np.linspace(0, 0.9, solver.shape[1]))
        for feature, color in enumerate(colors):
            axis.plot(grid, solver[:, feature], color=color, linewidth=1.2)
            axis.plot(grid, network[:, feature], "o", color=color, markersize=3)
        axis.set(
            xscale="log",
            xlabel="1/C" if "cancer" in name[0] else "α of scikit-learn",
            ylabel="coefficient",
            title=", ".join(reversed(name)),
        )
    for part, (name, color) in enumerate((("training rows", "#767676"), ("new rows", "#0072b2"))):
        mean, spread = errors[:, :, part].mean(axis=0), errors[:, :, part].std(axis=0) / np.sqrt(NUM_SPLITS)
        axes[0, 4].plot(relative, mean, color=color)
        axes[0, 4].fill_between(relative, mean - 2 * spread, mean + 2 * spread, color=color, alpha=0.2, linewidth=0)
        axes[0, 4].text(relative[0], mean[0], name, color=color, va="bottom" if part else "top")
    axes[0, 4].set(xscale="log", xlabel="L2 strength", ylabel="mean squared error", title=f"{table.name}, degree 2")
    names = [row["scikit-learn"] for row in solved][::-1]
    differences = [max(row["difference"], 1e-16) for row in solved][::-1]
    axes[1, 4].plot(differences, range(len(names)), "o", color="#0072b2")
    axes[1, 4].set_xscale("log")
    axes[1, 4].axvline(1e-6, color="#d55e00", linewidth=1)
    axes[1, 4].set(yticks=range(len(names)), yticklabels=[name.split("(")[0] for name in names],
                   xlabel="largest difference, relative", title="Keras against the solver")  # fmt: skip
    figure.suptitle("Coefficients by strength: lines scikit-learn, dots Keras", fontsize=11)
    figure.savefig(out / "l1_l2_vs_lasso_ridge.png", dpi=100)

result = {
    "recipe": "l1_l2_vs_lasso_ridge",
    "verdicts": verdicts,
    "table": solved,
    "literal_ratio": literal_ratio,
    "path_difference": float(path_difference),
    "zeros": {"lasso": zeros_lasso, "ridge": zeros_ridge, "keras_sgd": zeros_without},
    "alpha": {"grid_search": float(search.best_params_["alpha"]), "keras_tuner": float(chosen.alpha)},
    "error_lowered_by": intervals,
    "smoke": arguments.smoke,
    "seed": arguments.seed,
    "seconds": round(time.perf_counter() - started, 1),
}
(out / "l1_l2_vs_lasso_ridge.json").write_text(json.dumps(result, indent=1) + "\n")
print(f"{result['seconds']:.0f} s; picture and result in {out}")
