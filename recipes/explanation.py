"""What does a tuned network use, and do three ways of asking agree?

On the same folds a network, its L2 strength chosen by KerasTuner, is asked by scikit-learn's permutation importance on
the test rows and by integrated gradients (Sundararajan et al. 2017, written out below, from the mean of the training
rows); Lasso has its own search (`LassoCV`) on the same inner folds. Agreement is Spearman's rank correlation. What is
right is known for Friedman's function: y = 10 sin(π x1 x2) + 20 (x3 - ½)² + 10 x4 + 5 x5 + noise, and five more columns
that do nothing. The usual snippet, one gradient at the row itself ("saliency"), does not add up to the prediction;
integrated gradients do.

So: ask a network by two ways, on rows that it has not seen, and trust what both say; a coefficient of zero says that
the linear model can do without the column, not that the column does nothing.

Claims:
    explain-integrated-gradients-add-up: Integrated gradients add up to the change of the prediction, within 2 % of
        its spread
    explain-one-gradient-adds-up: One gradient at the row itself adds up to the change of the prediction, within 2 %
        of its spread
    explain-two-ways-agree: Permutation importance and integrated gradients rank the columns alike (correlation
        above 0.5)
    explain-network-and-lasso-agree: Integrated gradients and Lasso's coefficients rank the columns alike
        (correlation above 0.5)
    explain-same-direction-as-lasso: The network and Lasso agree on the direction of more than nine in ten of the
        columns that Lasso keeps
    explain-lasso-zero-is-used-less: The network uses the columns that Lasso sets to zero less than the others
    explain-integrated-gradients-find-the-used: Integrated gradients put the five columns that Friedman's function
        uses above the other five
    explain-permutation-finds-the-used: Permutation importance puts the five columns that Friedman's function uses
        above the other five
    explain-lasso-finds-the-used: Lasso's coefficients put the five columns that Friedman's function uses above the
        other five

    python recipes/explanation.py                                       # about a minute on two cores
    python recipes/explanation.py --data houses.csv --target price      # a regression table of your own
"""

import keras
import numpy as np
import tensorflow as tf
from scipy import stats
from sklearn import inspection, linear_model, metrics, model_selection, preprocessing

import tfopt
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__, data="diabetes")

FOLDS = recipe.by_mode(arguments, smoke=2, default=5)
REPEATS = recipe.by_mode(arguments, smoke=1, default=2)
STEPS, BATCH = recipe.by_mode(arguments, smoke=20, default=600), 32
STRENGTHS = [1e-3, 1e-2, 1e-1]  # of L2 on the hidden kernels
SHUFFLES = 10  # of each column, for its permutation importance
POINTS = 128  # between a row and the mean row, for integrated gradients
MOST_ROWS = 1000  # a sample of larger tables
AGREEMENT = 0.5  # rank correlation above which two rankings are said to agree

TEST_TO_TRAIN = 1 / (FOLDS - 1)  # folds share training rows: the intervals are widened for it
WAYS = ["permutation", "integrated gradients", "Lasso"]
strength = keras.Variable(0.0, trainable=False)  # changes without a new graph


def network(width, l2=strength):
    penalty = tfopt.regularizers.L2(l2)
    layers = [keras.layers.Dense(64, "relu", kernel_regularizer=penalty), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((width,)), *layers])
    adam = keras.optimizers.Adam(tfopt.schedules.LinearDecay(1e-2, STEPS))
    model.compile(adam, "mse", metrics=["mse"], steps_per_execution=STEPS, jit_compile=False)  # a fit is one call
    return model


def gradients(model, rows):
    """The derivative of each row's prediction by each of its columns."""
    rows = tf.constant(rows)
    with tf.GradientTape() as tape:
        tape.watch(rows)
        predictions = model(rows)
    return tape.gradient(predictions, rows).numpy()


def integrated_gradients(model, rows):
    """A row times the mean gradient on the straight way from the mean row, 0, to it: adds up to f(row) - f(0)."""
    mean = np.zeros_like(rows)
    for share in (np.arange(POINTS, dtype="float32") + 0.5) / POINTS:  # the midpoint rule
        mean += gradients(model, share * rows) / POINTS
    return rows * mean


def r2(model, rows, truth):
    return metrics.r2_score(truth, model(rows).numpy()[:, 0])


def explain(x, y, title):
    """Fit network and Lasso in every fold, and ask both what they use; a dict of arrays over folds."""
    found, model = {}, network(x.shape[1])
    folds = model_selection.RepeatedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=arguments.seed)
    for seed, (train, test) in enumerate(recipe.steps(folds.split(x), f"folds of {title}"), arguments.seed):
        train = np.random.default_rng(seed).permutation(train)
        scaler = preprocessing.StandardScaler().fit(x[train])
        x_train, x_test = (scaler.transform(x[part]).astype("float32") for part in (train, test))
        y_train, y_test = (((y[part] - y[train].mean()) / y[train].std()).astype("float32") for part in (train, test))
        inner = list(model_selection.KFold(3, shuffle=True, random_state=seed).split(x_train))
        settings = {"objective": "val_mse", "epochs": -(-STEPS // (len(train) // BATCH)), "seed": seed}
        build, space = (lambda hp: network(x.shape[1], hp["l2"])), {"l2": STRENGTHS}
        strength.assign(recipe.tuned(build, space, x_train, y_train, inner, **settings)["l2"])
        recipe.restart(model, seed)
        data = tf.data.Dataset.from_tensor_slices((x_train, y_train)).shuffle(len(x_train), seed=seed).repeat()
        model.fit(data.batch(BATCH).take(STEPS), shuffle=False, verbose=0)
        shuffled = inspection.permutation_importance(
            model, x_test, y_test, scoring=r2, n_repeats=SHUFFLES, random_state=seed
        )
        parts, slopes = integrated_gradients(model, x_test), x_test * gradients(model, x_test)
        change = (model(x_test) - model(np.zeros_like(x_test[:1]))).numpy()[:, 0]
        lasso = linear_model.LassoCV(cv=inner, random_state=seed).fit(x_train, y_train)
        for key, value in {
            "permutation": shuffled.importances_mean,
            "integrated gradients": np.abs(parts).mean(axis=0),
            "Lasso": np.abs(lasso.coef_),
            "direction": np.sign(np.sum(parts * x_test, axis=0)),
            "Lasso's sign": np.sign(lasso.coef_),
            "left over": np.max(np.abs(parts.sum(axis=1) - change)) / np.std(change),
            "left over by one gradient": np.max(np.abs(slopes.sum(axis=1) - change)) / np.std(change),
            "r2 of the network": r2(model, x_test, y_test),
            "r2 of Lasso": metrics.r2_score(y_test, lasso.predict(x_test)),
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
own = explain(x, y, loaded.name)
known = explain(friedman.features.to_numpy("float32"), friedman.target, "friedman1")

for title, found, labels in ((loaded.name, own, names), ("friedman1", known, list(friedman.features))):
    scores = [recipe.plus_minus(found[f"r2 of {who}"], ".2f", TEST_TO_TRAIN) for who in ("the network", "Lasso")]
    order = np.argsort(-found["integrated gradients"].mean(axis=0))[:12]
    rows = {str(labels[place]): [found[way][:, place] for way in WAYS] for place in order}
    heading = f"{title}: R² of the network {scores[0]}, of Lasso {scores[1]}, {FOLDS * REPEATS} folds"
    recipe.show(heading, WAYS, rows, TEST_TO_TRAIN)


def above(values, limit, form):
    return recipe.above(values, limit, form, spec=".2f", test_to_train=TEST_TO_TRAIN)


def correlated(first, second):
    return above(agreement(own, first, second), AGREEMENT, "rank correlation {}, {} folds")


def finds(way):
    """Evidence that the least of the columns that matter is above the best of the others."""
    least, best = known[way][:, :5].min(axis=1), known[way][:, 5:].max(axis=1)
    what = "least of the five, and best of the rest"
    return recipe.more(least, best, what, test_to_train=TEST_TO_TRAIN, of="folds")


def left_over(way):
    """Evidence that what a way gives adds up to the change of the prediction, at the worst row."""
    worst = [found[way].max() for found in (own, known)]
    form = "at the worst row {} is left over on the table, {} on friedman1"
    return recipe.fact(max(worst) < 0.02, form, *(f"{value:.1%}" for value in worst))


kept, dropped, same_way = [], [], []  # mean importance of the columns that Lasso keeps and drops, where it does both
for importance, agree, keep in zip(
    own["integrated gradients"], own["direction"] == own["Lasso's sign"], own["Lasso"] > 0, strict=True
):
    if 0 < keep.sum() < len(keep):
        kept.append(importance[keep].mean())
        dropped.append(importance[~keep].mean())
    if keep.any():
        same_way.append(agree[keep].mean())
zeros = recipe.fact(None, "Lasso keeps some and drops some in {} folds", len(kept))
if len(kept) > 1:
    zeros = recipe.less(dropped, kept, "mean importance", test_to_train=TEST_TO_TRAIN, of="folds")
claims = {
    "explain-integrated-gradients-add-up": left_over("left over"),
    "explain-one-gradient-adds-up": left_over("left over by one gradient"),
    "explain-two-ways-agree": correlated("permutation", "integrated gradients"),
    "explain-network-and-lasso-agree": correlated("integrated gradients", "Lasso"),
    "explain-same-direction-as-lasso": above(same_way, 0.9, "share {}, {} folds"),
    "explain-lasso-zero-is-used-less": zeros,
    "explain-integrated-gradients-find-the-used": finds("integrated gradients"),
    "explain-permutation-finds-the-used": finds("permutation"),
    "explain-lasso-finds-the-used": finds("Lasso"),
}

with recipe.panels(2, width=6, height=4.8) as (figure, axes):
    for ax, found, labels, title in (
        (axes[0], own, names, f"What is used on {loaded.name}"),
        (axes[1], known, list(friedman.features), "What is used on friedman1 (x1 to x5 matter)"),
    ):
        order = np.argsort(-found["integrated gradients"].mean(axis=0))[:12]
        for way, colour in zip(WAYS, recipe.COLOURS, strict=False):
            share = found[way] / found[way].sum(axis=1, keepdims=True)
            rows = {str(labels[column]): share[:, column] for column in order}
            recipe.dots(ax, rows, title, "share of the importance", colour, way, TEST_TO_TRAIN)

recipe.finish(arguments, claims=claims, results={loaded.name: own, "friedman1": known}, figure=figure)
