"""What does a tuned network use, and do three ways of asking agree?

The claims: "importances show what a network has learned", "Lasso's coefficients say the same, and can be read off", "a
feature that Lasso sets to zero is not needed". On the same folds a network (its L2 strength chosen on a fifth of the
training rows) is saved with its scaling and loaded again, as whoever explains it would have it, and asked by
scikit-learn's permutation importance on the test rows and by integrated gradients (Sundararajan et al. 2017, written
out below, from the mean of the training rows); Lasso has its own search (`LassoCV`). Agreement is Spearman's rank
correlation. What is right is known for Friedman's function: y = 10 sin(π x1 x2) + 20 (x3 - ½)² + 10 x4 + 5 x5 + noise,
and five more columns that do nothing. The usual snippet, one gradient at the row itself ("saliency"), does not add up
to the prediction; integrated gradients do.

    python recipes/explanation.py                                       # about a minute on two cores
    python recipes/explanation.py --full                                # more repeats of the folds
    python recipes/explanation.py --data houses.csv --target price      # a regression table of your own
"""

import itertools

import keras
import numpy as np
import tensorflow as tf
from matplotlib import pyplot as plt
from scipy import stats
from sklearn import inspection, linear_model, metrics, model_selection, preprocessing

import tfopt
from tfopt.report import house_style, recipe

arguments = recipe.arguments(__doc__, __file__, data="diabetes")

FOLDS = recipe.by_mode(arguments, smoke=2, default=5, full=5)
REPEATS = recipe.by_mode(arguments, smoke=1, default=4, full=15)
STEPS, BATCH = recipe.by_mode(arguments, smoke=20, default=600, full=600), 32
STRENGTHS = [1e-2] if arguments.smoke else [1e-3, 1e-2, 1e-1]  # of L2 on the hidden kernels
SHUFFLES = 10  # of each column, for its permutation importance
POINTS = 128  # between a row and the mean row, for integrated gradients
MOST_ROWS = 1000  # a sample of larger tables
AGREEMENT = 0.5  # rank correlation above which two rankings are said to agree

keras.utils.set_random_seed(arguments.seed)
tf.get_logger().setLevel("ERROR")  # a model is loaded for each fold
TEST_TO_TRAIN = 1 / (FOLDS - 1)  # folds share training rows: the intervals are widened for it
strength = keras.Variable(0.0, trainable=False)  # changes without a new graph


def network(width):
    penalty = tfopt.regularizers.L2(strength)
    layers = [keras.layers.Dense(64, "relu", kernel_regularizer=penalty), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((width,)), *layers])
    adam = keras.optimizers.Adam(tfopt.schedules.LinearDecay(1e-2, STEPS))
    model.compile(adam, "mse", steps_per_execution=STEPS, jit_compile=False)  # a whole fit in one call of its graph
    return model


def fit(model, x, y, l2, seed):
    """Train from the seed's own weights."""
    for variable in model.optimizer.variables:
        variable.assign(keras.ops.zeros_like(variable))
    for place, layer in enumerate(model.layers):
        own = 1000 * seed + place  # with one seed for all, the kernels would be copies in part
        layer.kernel.assign(keras.initializers.HeNormal(seed=own)(layer.kernel.shape))
        layer.bias.assign(keras.ops.zeros_like(layer.bias))
    strength.assign(l2)
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=seed).repeat().batch(BATCH).take(STEPS)
    model.fit(data, shuffle=False, verbose=0)


def exported(model, scaler, middle, spread):
    """Save the network with its scaling inside, and load it: raw columns to raw target."""
    scaled = keras.layers.Normalization(mean=scaler.mean_, variance=scaler.var_)
    back = keras.layers.Rescaling(spread, middle)
    file = arguments.out / "network.keras"
    keras.Sequential([keras.Input((len(scaler.mean_),)), scaled, *model.layers, back]).save(file)
    loaded = keras.models.load_model(file, compile=False)
    file.unlink()
    return loaded


def gradients(model, rows):
    """The derivative of each row's prediction by each of its columns."""
    rows = tf.constant(rows)
    with tf.GradientTape() as tape:
        tape.watch(rows)
        predictions = model(rows)
    return tape.gradient(predictions, rows).numpy()


def integrated_gradients(model, rows, start):
    """(row - start) times the mean gradient on the straight way from start to row: adds up to f(row) - f(start)."""
    mean = np.zeros_like(rows)
    for share in (np.arange(POINTS, dtype="float32") + 0.5) / POINTS:  # the midpoint rule
        mean += gradients(model, start + share * (rows - start)) / POINTS
    return (rows - start) * mean


def r2(model, rows, truth):
    return metrics.r2_score(truth, model(rows).numpy()[:, 0])


def explain(x, y):
    """Fit network and Lasso in every fold, and ask both what they use; a dict of lists over folds."""
    found = {}
    model = network(x.shape[1])
    folds = model_selection.RepeatedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=arguments.seed)
    for seed, (train, test) in enumerate(folds.split(x)):
        train = np.random.default_rng(seed).permutation(train)
        scaler = preprocessing.StandardScaler().fit(x[train])
        middle, spread = y[train].mean(), y[train].std()
        x_train, y_train = (
            scaler.transform(x[train]).astype("float32"),
            ((y[train] - middle) / spread).astype("float32"),
        )
        cut, costs = len(train) // 5, []
        for l2 in STRENGTHS if len(STRENGTHS) > 1 else []:
            fit(model, x_train[cut:], y_train[cut:], l2, seed)
            costs.append(np.mean((model(x_train[:cut]).numpy()[:, 0] - y_train[:cut]) ** 2))
        fit(model, x_train, y_train, STRENGTHS[int(np.argmin(costs))] if costs else STRENGTHS[0], seed)
        tuned = exported(model, scaler, middle, spread)
        start = x[train].mean(axis=0, keepdims=True)
        shuffled = inspection.permutation_importance(
            tuned, x[test], y[test], scoring=r2, n_repeats=SHUFFLES, random_state=seed
        )
        parts = integrated_gradients(tuned, x[test], start)
        slopes = (x[test] - start) * gradients(tuned, x[test])
        change = tuned(x[test]).numpy()[:, 0] - tuned(start).numpy()[:, 0]
        lasso = linear_model.LassoCV(cv=5, random_state=seed).fit(x_train, y_train)
        centred = (x[test] - start) / scaler.scale_
        for key, value in {
            "permutation": shuffled.importances_mean,
            "integrated gradients": np.abs(parts).mean(axis=0) / spread,
            "Lasso": np.abs(lasso.coef_),
            "direction": np.array([np.sign(np.dot(a, b)) for a, b in zip(parts.T, centred.T, strict=True)]),
            "Lasso's sign": np.sign(lasso.coef_),
            "left over": np.max(np.abs(parts.sum(axis=1) - change)) / np.std(change),
            "left over by one gradient": np.max(np.abs(slopes.sum(axis=1) - change)) / np.std(change),
            "r2 of the network": r2(tuned, x[test], y[test]),
            "r2 of Lasso": metrics.r2_score(y[test], middle + spread * lasso.predict(scaler.transform(x[test]))),
        }.items():
            found.setdefault(key, []).append(value)
    return {key: np.array(values) for key, values in found.items()}


def agreement(found, first, second):
    """Spearman's rank correlation of two rankings of the columns, by fold."""
    return [stats.spearmanr(a, b).statistic for a, b in zip(found[first], found[second], strict=True)]


x, y = recipe.table(arguments, task="regression")
if len(x) > MOST_ROWS:
    kept = np.random.default_rng(arguments.seed).permutation(len(x))[:MOST_ROWS]
    x, y = x[kept], y[kept]
loaded = tfopt.data.load_table(arguments.data, target=arguments.target)
plain = all(column.kind == "numeric" for column in loaded.columns) and len(loaded.columns) == x.shape[1]
names = list(loaded.features) if plain else [f"column {place + 1}" for place in range(x.shape[1])]
friedman = tfopt.data.load_table("friedman1")
own = explain(x, y)
known = explain(friedman.features.to_numpy("float32"), friedman.target)
WAYS = ["permutation", "integrated gradients", "Lasso"]

for title, found, labels in ((loaded.name, own, names), ("friedman1", known, list(friedman.features))):
    scores = [recipe.plus_minus(found[f"r2 of {who}"], ".2f", TEST_TO_TRAIN) for who in ("the network", "Lasso")]
    print(f"\n{title}: R² of the network {scores[0]}, of Lasso {scores[1]}, {FOLDS * REPEATS} folds")
    print(f"{'':18}" + "".join(f"{way:>24}" for way in WAYS))
    for place in np.argsort(-found["integrated gradients"].mean(axis=0))[:12]:
        cells = [recipe.plus_minus(found[way][:, place], ".3f", TEST_TO_TRAIN) for way in WAYS]
        print(f"{labels[place]:18.18}" + "".join(f"{cell:>24}" for cell in cells))
    for first, second in itertools.combinations(WAYS, 2):
        text = recipe.plus_minus(agreement(found, first, second), ".2f", TEST_TO_TRAIN)
        print(f"rank correlation of {first} and {second}: {text}")


def judged(values, floor=0.0):
    return recipe.judge(np.subtract(values, floor), test_to_train=TEST_TO_TRAIN)


def shown(values, what):
    return f"{what} {recipe.plus_minus(values, '.2f', TEST_TO_TRAIN)}, {FOLDS * REPEATS} folds"


def correlated(first, second):
    values = agreement(own, first, second)
    return judged(values, AGREEMENT), shown(values, "rank correlation")


def finds(way):
    least, best = (
        known[way][:, :5].min(axis=1),
        known[way][:, 5:].max(axis=1),
    )  # of those that matter, of those that do not
    texts = [recipe.plus_minus(values, ".3f", TEST_TO_TRAIN) for values in (least, best)]
    return judged(
        least - best
    ), f"the least of the five {texts[0]}, the best of the rest {texts[1]}, {FOLDS * REPEATS} folds"


keeps = own["Lasso"] > 0
used = {True: [], False: []}  # mean importance of the columns that Lasso keeps and drops, in folds where it does both
same_way = []
for importances, keep, a, b in zip(
    own["integrated gradients"], keeps, own["direction"], own["Lasso's sign"], strict=True
):
    if 0 < keep.sum() < len(keep):
        for side in used:
            used[side].append(importances[keep == side].mean())
    if keep.any():
        same_way.append(np.mean(a[keep] == b[keep]))
if used[True]:
    lasso_zeros = (
        f"mean importance {np.mean(used[False]):.3f} against {np.mean(used[True]):.3f}, {len(used[True])} folds"
    )
else:
    lasso_zeros = f"Lasso keeps some and drops some in 0 of {FOLDS * REPEATS} folds"
claims = {
    "explain-integrated-gradients-add-up": (
        "Integrated gradients add up to the change of the prediction, within 2 % of its spread",
        recipe.fact(max(own["left over"].max(), known["left over"].max()) < 0.02),
        f"at most {max(own['left over'].max(), known['left over'].max()):.2%} is left over, over all rows and folds",
    ),
    "explain-one-gradient-adds-up": (
        "One gradient at the row itself adds up to the change of the prediction, within 2 % of its spread",
        recipe.fact(max(own["left over by one gradient"].max(), known["left over by one gradient"].max()) < 0.02),
        f"{own['left over by one gradient'].max():.0%} is left over on {loaded.name} at the worst row, "
        f"{known['left over by one gradient'].max():.0%} on friedman1",
    ),
    "explain-two-ways-agree": (
        f"Permutation importance and integrated gradients rank the columns alike (correlation above {AGREEMENT:g})",
        *correlated("permutation", "integrated gradients"),
    ),
    "explain-network-and-lasso-agree": (
        f"Integrated gradients and Lasso's coefficients rank the columns alike (correlation above {AGREEMENT:g})",
        *correlated("integrated gradients", "Lasso"),
    ),
    "explain-same-direction-as-lasso": (
        "The network and Lasso agree on the direction of more than nine in ten of the columns that Lasso keeps",
        judged(same_way, 0.9),
        shown(same_way, "share"),
    ),
    "explain-lasso-zero-is-used-less": (
        "The network uses the columns that Lasso sets to zero less than the others",
        judged(np.subtract(used[True], used[False])) if len(used[True]) > 1 else recipe.CANNOT_TELL,
        lasso_zeros,
    ),
    "explain-integrated-gradients-find-the-used": (
        "Integrated gradients put the five columns that Friedman's function uses above the other five",
        *finds("integrated gradients"),
    ),
    "explain-permutation-finds-the-used": (
        "Permutation importance puts the five columns that Friedman's function uses above the other five",
        *finds("permutation"),
    ),
    "explain-lasso-finds-the-used": (
        "Lasso's coefficients put the five columns that Friedman's function uses above the other five",
        *finds("Lasso"),
    ),
}

COLOURS = dict(zip(WAYS, ["#0072b2", "#009e73", "#d55e00"], strict=True))
with house_style():
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.8), layout="constrained")
    for ax, found, labels, title in (
        (axes[0], own, names, loaded.name),
        (axes[1], known, list(friedman.features), "friedman1: only x1 to x5 matter"),
    ):
        order = np.argsort(-found["integrated gradients"].mean(axis=0))[:12]
        for place, way in enumerate(WAYS):
            share = found[way] / found[way].sum(axis=1, keepdims=True)
            mean, half = recipe.interval(share, 1, TEST_TO_TRAIN)
            where = np.arange(len(order)) + 0.22 * (place - 1)
            ax.errorbar(mean[order], where, xerr=half[order], color=COLOURS[way], fmt="o", ms=4, label=way)
        ax.set(
            yticks=range(len(order)), yticklabels=[labels[column] for column in order], xlabel="share of the importance"
        )
        ax.invert_yaxis()
        ax.set_title(title)
    axes[0].legend(frameon=False, loc="lower right")

recipe.finish(arguments, claims=claims, results={loaded.name: own, "friedman1": known}, figure=figure)
