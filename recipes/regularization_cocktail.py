"""Is a cocktail of regularisers, searched jointly, better than the best single one, and than boosted trees?

The claim, of Kadra et al. (2021, https://arxiv.org/abs/2106.11189) on 40 tables: a plain network whose regularisers are
chosen jointly for each table beats the same network with any single one, and gradient-boosted trees. Here: L1, L2,
decoupled weight decay, dropout, layer normalisation, early stopping, averaged weights (EMA), mixup and input noise.

Every arm (no regulariser, each single one, the cocktail, the trees) has the same number of random configurations,
trained on the same rows, chosen by the loss on the same validation rows, judged once on the test rows. Trial t has the
same learning rate, first weights and order of rows in every arm. In the cocktail each ingredient is in with one chance
in two. "The best single one" is the arm whose chosen configuration has the lowest validation loss on the split: its
budget is that of all nine single arms together. Wilcoxon's signed-rank test compares two arms over the data sets; nine
sets are few: an exact p below 0.05 needs nearly all of them to point the same way, so that no verdict is no proof of
no effect. The budget is far below that of Kadra et al., too.

All arms, trials and splits of a set are members of one stack, trained together: weights have a member axis, and each
strength is a column of numbers. The learning rates too: `tfopt.schedules` take a stack.

    python recipes/regularization_cocktail.py            # under two minutes on two cores
    python recipes/regularization_cocktail.py --full     # more splits and trials
"""

import argparse

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import tfopt
from tfopt.report import house_style, recipe

arguments = recipe.arguments(__doc__, __file__)
SETS = ["iris", "wine", "breast_cancer", "digits", "moons", "diabetes", "friedman1", "friedman2", "friedman3"]
SETS = recipe.by_mode(arguments, smoke=["iris", "diabetes"], default=SETS, full=SETS)
SPLITS = recipe.by_mode(arguments, smoke=1, default=3, full=8)
TRIALS = recipe.by_mode(arguments, smoke=2, default=12, full=24)  # of each arm
EPOCHS = recipe.by_mode(arguments, smoke=2, default=40, full=40)
ROWS = 500  # of a set, at most: half to train on, a fifth to choose by, the rest to judge
BATCH, UNITS = 32, 48  # two hidden layers


def log_uniform(low, high):
    return lambda rng: float(np.exp(rng.uniform(np.log(low), np.log(high))))


INGREDIENTS = {  # name: how its strength is drawn; 0 is without it
    "L1": log_uniform(1e-5, 3e-3),
    "L2": log_uniform(1e-4, 3e-2),
    "decoupled decay": log_uniform(1e-2, 1.0),
    "dropout": lambda rng: rng.uniform(0.05, 0.6),
    "layer normalisation": lambda rng: 1.0,
    "early stopping": lambda rng: 1.0,
    "averaged weights": lambda rng: 1 - log_uniform(3e-3, 1e-1)(rng),
    "mixup": log_uniform(0.05, 1.0),  # alpha
    "input noise": log_uniform(0.03, 0.5),  # of standardised features
}
ARMS = ["none", *INGREDIENTS, "cocktail"]
TREES = "boosted trees"
LEARNING_RATE = log_uniform(1e-3, 2e-2)


def configurations(rng):
    """Learning rates (members,) and a dict of strengths (members,): all trials of the first arm, then of the next."""
    rates = [LEARNING_RATE(rng) for _ in range(TRIALS)]
    strengths = {name: np.zeros((len(ARMS), TRIALS)) for name in INGREDIENTS}
    for trial in range(TRIALS):
        for name, draw in INGREDIENTS.items():
            strengths[name][ARMS.index(name), trial] = draw(rng)
            strengths[name][ARMS.index("cocktail"), trial] = draw(rng) * (rng.random() < 0.5)
    return np.tile(rates, len(ARMS)), {name: table.ravel() for name, table in strengths.items()}


def split(x, y, classes, seed):
    """Standardised features and targets of three parts; classes as shares, values with mean 0 and deviation 1."""
    stratify = y if classes else None
    rows = np.arange(len(y))
    if len(rows) > ROWS:
        rows = train_test_split(rows, train_size=ROWS, random_state=seed, stratify=stratify)[0]
    train, rest = train_test_split(rows, train_size=0.5, random_state=seed, stratify=y[rows] if classes else None)
    valid, test = train_test_split(rest, train_size=0.4, random_state=seed, stratify=y[rest] if classes else None)
    scaler = StandardScaler().fit(x[train])
    values = np.eye(classes)[y] if classes else ((y - y[train].mean()) / y[train].std())[:, None]
    return [
        (scaler.transform(x[rows]).astype("float32"), values[rows].astype("float32")) for rows in (train, valid, test)
    ]


def stacked(parts, copies):
    """The parts of all splits as (members, rows, ...) arrays: all configurations of the first split, then the next."""
    return [
        tuple(np.repeat(np.stack(arrays), copies, axis=0) for arrays in zip(*part, strict=True))
        for part in zip(*parts, strict=True)
    ]


def train(parts, rates, strengths, classes, seed):
    """Train every configuration on every split; returns validation losses and test scores, (splits, configurations)."""
    copies, splits = len(rates), len(parts)
    (x, y), valid, test = ([tf.constant(array) for array in part] for part in stacked(parts, copies))
    members, rows, features = x.shape
    batches = rows // BATCH
    # Strengths, rates and biases are (members, 1, 1) or (members, 1, units): they broadcast against every weight.
    on = {name: tf.constant(np.tile(values, splits)[:, None, None], "float32") for name, values in strengths.items()}
    steps = EPOCHS * batches
    schedule = tfopt.schedules.LinearDecay(np.tile(rates, splits)[:, None, None], steps)
    sizes = [(features, UNITS), (UNITS, UNITS), (UNITS, y.shape[2])]
    starts = []
    for place, size in enumerate(sizes):  # the same in every arm
        draws = [tfopt.initializers.He(seed=1000 * seed + 10 * trial + place)(size) for trial in range(TRIALS)]
        starts += [np.tile(np.stack(draws), (members // TRIALS, 1, 1)), np.zeros((members, 1, size[1]))]
    starts += [np.ones((members, 1, UNITS)), np.zeros((members, 1, UNITS))] * 2  # gain and offset of normalisation
    weights = [keras.Variable(start, dtype="float32") for start in starts]
    averages, kept = ([keras.Variable(start, dtype="float32", trainable=False) for start in starts] for _ in range(2))
    best = keras.Variable(np.full((members, 1, 1), np.inf), dtype="float32", trainable=False)
    optimizer = keras.optimizers.Adam(schedule)
    optimizer.build(weights)

    def outputs(weights, x, drops=None):
        for place in (0, 1):
            x = x @ weights[2 * place] + weights[2 * place + 1]
            mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
            normal = (x - mean) * tf.math.rsqrt(variance + 1e-5) * weights[6 + 2 * place] + weights[7 + 2 * place]
            x = tf.nn.relu(tf.where(on["layer normalisation"] > 0, normal, x))
            if drops is not None:
                x = tf.where(drops[place] >= on["dropout"], x / (1 - on["dropout"]), 0.0)
        return x @ weights[4] + weights[5]

    def losses(y, y_pred):
        each = tf.nn.softmax_cross_entropy_with_logits(y, y_pred) if classes else tf.square(y - y_pred)[..., 0]
        return tf.reduce_mean(each, axis=1)  # (members,)

    @tf.function
    def epoch(x, y, order, weight, partner):
        """One epoch; `order` (rows,), `weight` and `partner` are those of mixup, (batches, members, BATCH)."""
        for step in tf.range(batches):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            bx, by = tf.gather(x, chosen, axis=1), tf.gather(y, chosen, axis=1)
            share, other = weight[step][..., None], partner[step]
            bx = share * bx + (1 - share) * tf.gather(bx, other, axis=1)
            by = share * by + (1 - share) * tf.gather(by, other, axis=1)
            # Random numbers are shared by all members: arms differ by their strengths and not by their luck.
            bx += on["input noise"] * tf.random.normal((1, BATCH, features))
            drops = tf.random.uniform((2, 1, BATCH, UNITS))
            with tf.GradientTape() as tape:
                cost = tf.reduce_sum(losses(by, outputs(weights, bx, drops)))
                for kernel in weights[0:6:2]:
                    cost += tf.reduce_sum(on["L1"] * tf.abs(kernel) + on["L2"] * tf.square(kernel))
            gradients = tape.gradient(cost, weights)
            for kernel in weights[0:6:2]:
                kernel.assign(kernel - schedule(optimizer.iterations) * on["decoupled decay"] * kernel)
            optimizer.apply_gradients(zip(gradients, weights, strict=True))
            passed = tf.cast(optimizer.iterations, "float32")
            memory = tf.minimum(on["averaged weights"], passed / (passed + 10))
            for average, value in zip(averages, weights, strict=True):
                average.assign(memory * average + (1 - memory) * value)
        loss = losses(valid[1], outputs(averages, valid[0]))[:, None, None]
        better = (loss < best) | (on["early stopping"] == 0)  # without it the last weights count
        for keep, average in zip(kept, averages, strict=True):
            keep.assign(tf.where(better, average, keep))
        best.assign(tf.where(better, loss, best))

    keras.utils.set_random_seed(seed)
    rng, mixing = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    alphas = np.maximum(np.tile(strengths["mixup"], splits), 1e-9)[:, None]
    mixed = np.tile(strengths["mixup"], splits)[:, None] > 0
    for _ in range(EPOCHS):
        order = rng.permutation(rows)[: batches * BATCH]
        weight = np.where(mixed, mixing.beta(alphas, alphas, (batches, members, 1)), 1.0).astype("float32")
        partner = np.stack([rng.permutation(BATCH) for _ in range(batches)])
        epoch(x, y, tf.constant(order), tf.constant(weight), tf.constant(partner))
    predicted, truth = np.asarray(outputs(kept, test[0])), test[1].numpy()
    chosen_by = np.nan_to_num(np.asarray(losses(valid[1], outputs(kept, valid[0]))), nan=np.inf)
    if classes:
        scores = np.mean(predicted.argmax(axis=2) != truth.argmax(axis=2), axis=1)
    else:
        scores = np.mean((predicted - truth)[..., 0] ** 2, axis=1) / truth[..., 0].var(axis=1)
    return chosen_by.reshape(splits, copies), scores.reshape(splits, copies)


def trees(parts, classes, seed):
    """The same for boosted trees, (splits, trials)."""
    rng = np.random.default_rng(seed)
    settings = [
        {
            "learning_rate": log_uniform(0.02, 0.3)(rng),
            "max_iter": int(rng.choice([50, 100])),
            "max_leaf_nodes": int(rng.choice([4, 8, 16, 31])),
            "min_samples_leaf": int(rng.choice([5, 10, 20])),
            "l2_regularization": log_uniform(1e-3, 10)(rng),
        }
        for _ in range(TRIALS)
    ]
    table = np.empty((2, len(parts), TRIALS))
    for place, ((x, y), (x_valid, y_valid), (x_test, y_test)) in enumerate(parts):
        for trial, setting in enumerate(settings):
            if classes:
                model = HistGradientBoostingClassifier(random_state=seed, **setting).fit(x, y.argmax(axis=1))
                loss = log_loss(y_valid.argmax(axis=1), model.predict_proba(x_valid), labels=range(classes))
                score = np.mean(model.predict(x_test) != y_test.argmax(axis=1))
            else:
                model = HistGradientBoostingRegressor(random_state=seed, **setting).fit(x, y[:, 0])
                loss = np.mean((model.predict(x_valid) - y_valid[:, 0]) ** 2)
                score = np.mean((model.predict(x_test) - y_test[:, 0]) ** 2) / y_test[:, 0].var()
            table[:, place, trial] = loss, score
    return table


def chosen(table):
    """Test score and validation loss of each split's trial with the lowest validation loss."""
    losses, scores = table
    place = losses.argmin(axis=1)[:, None]
    return np.take_along_axis(scores, place, axis=1)[:, 0], losses.min(axis=1)


scores = {}  # (set, arm): test scores, one a split: share of errors, or of the variance that is not explained
tf.get_logger().setLevel("ERROR")  # each set is a graph of its own, and TensorFlow would warn of so many
for number, name in enumerate(SETS):
    x, y = recipe.table(argparse.Namespace(data=name, target=None))
    classes = int(y.max()) + 1 if y.dtype.kind in "iu" else 0
    seed = arguments.seed + 1000 * number
    parts = [split(x, y, classes, seed + place) for place in range(SPLITS)]
    rates, strengths = configurations(np.random.default_rng(seed))
    table = np.stack(train(parts, rates, strengths, classes, seed)).reshape(2, SPLITS, len(ARMS), TRIALS)
    found = {arm: chosen(table[:, :, place]) for place, arm in enumerate(ARMS)}
    with threadpool_limits(1):  # so few rows: threads would wait for one another
        found[TREES] = chosen(trees(parts, classes, seed))
    singles = list(INGREDIENTS)
    best = np.argmin([found[arm][1] for arm in singles], axis=0)  # by validation, for each split
    found["best single one"] = (np.array([found[singles[arm]][0][place] for place, arm in enumerate(best)]), None)
    scores |= {(name, arm): score for arm, (score, _) in found.items()}

arms = [*ARMS, "best single one", TREES]
means = np.array([[scores[name, arm].mean() for arm in arms] for name in SETS])
ranked = [*ARMS, TREES]  # the best single one is one of the others
ranks = stats.rankdata(means[:, [arms.index(arm) for arm in ranked]].round(9), axis=1)

print(f"\nTest error (classes) or variance not explained, in %: {SPLITS} splits, {TRIALS} trials of each arm")
print(f"{'':22}" + "".join(f"{name:>15}" for name in SETS) + f"{'mean rank':>14}")
for arm in arms:
    cells = [recipe.plus_minus(100 * scores[name, arm], ".1f") for name in SETS]
    rank = recipe.plus_minus(ranks[:, ranked.index(arm)], ".1f") if arm in ranked else ""
    print(f"{arm:22}" + "".join(f"{cell:>15}" for cell in cells) + f"{rank:>14}")


def compared(better, worse, comparisons=1):
    """Verdict and numbers on "the first has the lower scores", by Wilcoxon's signed-rank test over the data sets."""
    one, other = means[:, arms.index(better)], means[:, arms.index(worse)]
    difference = (np.log(np.maximum(other, 1e-3)) - np.log(np.maximum(one, 1e-3))).round(
        9
    )  # positive: the first is better
    p = float(stats.wilcoxon(difference).pvalue) if np.any(difference) else 1.0
    verdict = "can't be told here" if p * comparisons >= 0.05 else recipe.fact(np.median(difference) > 0)
    wins, losses = int(np.sum(difference > 0)), int(np.sum(difference < 0))
    ratio = np.exp(-difference.mean())
    return (
        verdict,
        f"better on {wins} sets, worse on {losses} of {len(SETS)}, Wilcoxon p = {p:.3f}, scores x {ratio:.2f}",
    )


claims = {
    "cocktail-beats-none": ("The cocktail is better than no regulariser", *compared("cocktail", "none")),
    "cocktail-beats-best-single": (
        "The cocktail is better than the best single regulariser, chosen on validation rows from all of them",
        *compared("cocktail", "best single one"),
    ),
    "cocktail-beats-trees": ("The cocktail is better than tuned boosted trees", *compared("cocktail", TREES)),
    "cocktail-none-beats-trees": (
        "A network without regulariser is better than tuned boosted trees",
        *compared("none", TREES),
    ),
}
against = {arm: compared("cocktail", arm) for arm in INGREDIENTS}
beaten = [arm for arm, (verdict, _) in against.items() if verdict == "holds"]
# One that is better refutes the claim; as any of nine might be so by chance, its p must be nine times as small.
lost = [arm for arm in INGREDIENTS if compared("cocktail", arm, comparisons=len(INGREDIENTS))[0] == "does not hold"]
claims["cocktail-beats-each-single"] = (
    "With as many trials as any single regulariser, the cocktail is better than each",
    recipe.fact(not lost) if len(beaten) == len(against) or lost else "can't be told here",
    f"of {len(against)} it beats {len(beaten)} at p < 0.05, and loses to {len(lost)} at p < 0.05 for all together",
)
print()
for arm, (_, numbers) in against.items():
    print(f"cocktail against {arm:22} {numbers}")

with house_style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained", width_ratios=[1, 1.2])
    order = ranks.mean(axis=0).argsort()
    for row, place in enumerate(order):
        colour = {"cocktail": "#D55E00", TREES: "#009E73"}.get(ranked[place], "#0072B2")
        left.plot(ranks[:, place], np.full(len(SETS), row), "|", color=colour, ms=9, alpha=0.5)
        left.plot(ranks[:, place].mean(), row, "o", color=colour)
    left.set_yticks(range(len(ranked)), [ranked[place] for place in order])
    left.invert_yaxis()
    left.set(xlabel=f"rank on each of {len(SETS)} sets, and mean rank (1 is best)", title="ranks")
    shown = {"best single one": "#0072B2", "cocktail": "#D55E00", TREES: "#009E73"}
    for shift, (arm, colour) in enumerate(shown.items()):
        ratio = means[:, arms.index(arm)] / np.maximum(means[:, arms.index("none")], 1e-3)
        right.plot(np.maximum(ratio, 0.1), np.arange(len(SETS)) + 0.2 * (shift - 1), "o", color=colour, label=arm)
    right.axvline(1, color="#000000", lw=0.8)
    right.set_xscale("log")
    right.set_xticks([0.5, 0.7, 1, 1.4, 2], ["0.5", "0.7", "1", "1.4", "2"])
    right.minorticks_off()
    right.set(xlabel="test score over that of the network without regulariser (left is better)",
              title="what it is worth")  # fmt: skip
    right.set_yticks(range(len(SETS)), SETS)
    right.invert_yaxis()
    right.legend(frameon=False, loc="best")

recipe.finish(
    arguments,
    claims=claims,
    results={
        "scores": scores,
        "mean_rank": dict(zip(ranked, ranks.mean(axis=0), strict=True)),
        "cocktail_against": {arm: numbers for arm, (_, numbers) in against.items()},
        "splits": SPLITS,
        "trials": TRIALS,
    },
    figure=figure,
)
