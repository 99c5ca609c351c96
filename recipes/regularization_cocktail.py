"""Is a cocktail of regularisers, searched jointly, better than the best single one, and than boosted trees?

The claim, of Kadra et al. (2021, https://arxiv.org/abs/2106.11189) on 40 tables: a plain network whose regularisers are
chosen jointly for each table beats the same network with any single one, and gradient-boosted trees. Here: L1, L2,
decoupled weight decay, dropout, Gaussian noise on the inputs, averaged weights (EMA).

Every arm (no regulariser, each single one, the cocktail, the trees) has the same number of random configurations,
trained on the same rows, chosen by the loss on the same validation rows, judged once on the test rows. Trial t has the
same learning rate, first weights and order of rows in every arm. In the cocktail each ingredient is in with one chance
in two. "The best single one" is the arm whose chosen configuration has the lowest validation loss: its budget is that
of all single arms together. Wilcoxon's signed-rank test compares two arms over the data sets; nine sets are few: an
exact p below 0.05 needs nearly all of them to point the same way, so that no verdict is no proof of no effect. The
budget is far below that of Kadra et al., too.

So: on small tables start from boosted trees or one regulariser that is tuned; search several jointly only with trials
to spare.

Claims:
    cocktail-beats-none: The cocktail is better than no regulariser
    cocktail-beats-best-single: The cocktail is better than the best single regulariser, chosen on validation rows
        from all of them
    cocktail-beats-trees: The cocktail is better than tuned boosted trees
    cocktail-none-beats-trees: A network without regulariser is better than tuned boosted trees
    cocktail-beats-each-single: With as many trials as any single regulariser, the cocktail is better than each

    python recipes/regularization_cocktail.py            # under two minutes on two cores
"""

import argparse

import keras
import numpy as np
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

import tfopt
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__)
SETS = ["iris", "wine", "breast_cancer", "digits", "moons", "diabetes", "friedman1", "friedman2", "friedman3"]
SETS = recipe.by_mode(arguments, smoke=["iris", "diabetes"], default=SETS)
SPLITS = recipe.seeds(arguments, smoke=1, default=3)  # of each set
TRIALS = recipe.by_mode(arguments, smoke=2, default=12)  # of each arm
EPOCHS = recipe.by_mode(arguments, smoke=2, default=40)
ROWS = 500  # of a set, at most: half to train on, a fifth to choose by, the rest to judge
BATCH, UNITS = 32, 48  # two hidden layers
TREES = "boosted trees"


def log_uniform(low, high):
    return lambda rng: float(np.exp(rng.uniform(np.log(low), np.log(high))))


INGREDIENTS = {  # name: how its strength is drawn; 0 is without it
    "L1": log_uniform(1e-5, 3e-3),
    "L2": log_uniform(1e-4, 3e-2),
    "decoupled decay": log_uniform(1e-2, 1.0),
    "dropout": lambda rng: rng.uniform(0.05, 0.6),
    "input noise": log_uniform(0.03, 0.5),  # of standardised features
    "averaged weights": lambda rng: 1 - log_uniform(3e-3, 1e-1)(rng),
}
ARMS = ["none", *INGREDIENTS, "cocktail"]


def configurations(rng):
    """The trials of each arm: an arm's name, a learning rate, and the strength of each ingredient."""
    found = {arm: [] for arm in ARMS}
    for _ in range(TRIALS):
        rate = log_uniform(1e-3, 2e-2)(rng)
        for arm in ARMS:
            inside = {name: name == arm or (arm == "cocktail" and rng.random() < 0.5) for name in INGREDIENTS}
            strengths = {name: draw(rng) * inside[name] for name, draw in INGREDIENTS.items()}
            found[arm].append({"arm": arm, "learning_rate": rate, **strengths})
    return [hp for arm in ARMS for hp in found[arm]]


def network_for(sample, classes):
    """Return what builds the network of a configuration."""
    inputs, steps = sample.x["train"].shape[1], EPOCHS * -(-len(sample.y["train"]) // BATCH)

    def network(hp):
        layers = [keras.Input((inputs,)), keras.layers.GaussianNoise(hp["input noise"])]
        for _ in range(2):
            penalty = tfopt.regularizers.L1L2(hp["L1"], hp["L2"])
            layers += [keras.layers.Dense(UNITS, "relu", kernel_initializer="he_normal", kernel_regularizer=penalty)]
            layers += [tfopt.layers.Dropout(hp["dropout"])]
        model = keras.Sequential([*layers, keras.layers.Dense(classes or 1)])
        averaged = {"use_ema": True, "ema_momentum": hp["averaged weights"]} if hp["averaged weights"] else {}
        rate = tfopt.schedules.LinearDecay(hp["learning_rate"], steps)
        optimizer = keras.optimizers.AdamW(rate, weight_decay=hp["decoupled decay"], **averaged)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True) if classes else "mse")
        return model

    return network


def trees(sample, classes):
    """Scores of random configurations of boosted trees, as `recipe.train` gives those of networks: (trials, 1)."""
    rng = np.random.default_rng([sample.seed, 5])
    found = {"valid loss": [], "test loss": [], "test error": []}
    for _ in range(TRIALS):
        setting = {
            "learning_rate": log_uniform(0.02, 0.3)(rng),
            "max_iter": int(rng.choice([50, 100])),
            "max_leaf_nodes": int(rng.choice([4, 8, 16, 31])),
            "min_samples_leaf": int(rng.choice([5, 10, 20])),
            "l2_regularization": log_uniform(1e-3, 10)(rng),
        }
        kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
        model = kind(random_state=sample.seed, **setting).fit(sample.x["train"], sample.y["train"])
        for part in ("valid", "test"):
            outputs = model.predict(sample.x[part])[:, None]
            if classes:
                shares = np.full((len(sample.x[part]), classes), 1e-15)
                shares[:, model.classes_] = model.predict_proba(sample.x[part])
                outputs = np.log(np.maximum(shares, 1e-15))
            loss, error = recipe.loss_and_error(outputs, sample.y[part])
            found[f"{part} loss"].append(loss)
        found["test error"].append(error)
    return {key: np.array(values)[:, None] for key, values in found.items()}


def score(best, sample, classes):
    """Share of errors, or of the variance that is not explained."""
    return best["test error"] / 100 if classes else best["test loss"] / np.var(sample.y["test"])


scores = {}  # (set, arm): test scores, one a split
for name in recipe.steps(SETS, "sets"):
    x, y = recipe.table(argparse.Namespace(data=name, target=None))
    classes = int(y.max()) + 1 if y.dtype.kind in "iu" else 0
    for sample in recipe.samples(x, y, SPLITS, most=ROWS, shared=True):
        tried = configurations(np.random.default_rng([sample.seed, 4]))
        found = {arm: {} for arm in ARMS}
        for use_ema in (False, True):  # two structures of the optimizer
            which = [i for i, hp in enumerate(tried) if bool(hp["averaged weights"]) == use_ema]
            own = recipe.train(network_for(sample, classes), [tried[i] for i in which], [sample], epochs=EPOCHS)
            for key, values in own.items():
                for i, value in zip(which, values, strict=True):
                    found[tried[i]["arm"]].setdefault(key, []).append(value)
        found = {arm: {key: np.array(values) for key, values in own.items()} for arm, own in found.items()}
        with threadpool_limits(1):  # so few rows: threads would wait for one another
            found[TREES] = trees(sample, classes)
        best = {arm: recipe.chosen(own, range(TRIALS)) for arm, own in found.items()}
        best["best single one"] = min((best[arm] for arm in INGREDIENTS), key=lambda one: one["valid loss"][0])
        for arm, one in best.items():
            scores.setdefault((name, arm), []).append(float(score(one, sample, classes)[0]))

arms = [*ARMS, "best single one", TREES]
means = np.array([[np.mean(scores[name, arm]) for arm in arms] for name in SETS])
ranked = [*ARMS, TREES]  # the best single one is one of the others
ranks = stats.rankdata(means[:, [arms.index(arm) for arm in ranked]].round(9), axis=1)
rows = {
    arm: [
        *(f"{100 * np.mean(scores[name, arm]):.1f}" for name in SETS),
        ranks[:, ranked.index(arm)] if arm in ranked else "",
    ]
    for arm in arms
}
title = f"Test error (classes) or variance not explained, in %: {len(SPLITS)} splits, {TRIALS} trials of each arm"
recipe.show(title, [*SETS, "mean rank|.1f"], rows)


def better(one, other):
    """Evidence for "the first has the lower scores", by Wilcoxon's signed-rank test over the data sets."""
    first, second = means[:, arms.index(one)], means[:, arms.index(other)]
    difference = (np.log(np.maximum(second, 1e-3)) - np.log(np.maximum(first, 1e-3))).round(9)
    sides = [1.0, 1.0]
    if np.any(difference):
        sides = [float(stats.wilcoxon(difference, alternative=side).pvalue) for side in ("greater", "less")]
    wins, losses = int(np.sum(difference > 0)), int(np.sum(difference < 0))
    form = "{}: better on {} sets, worse on {} of {}, scores × {}"
    ratio = f"{np.exp(-difference.mean()):.2f}"
    return recipe.ClaimTest([(form, [other, str(wins), str(losses), str(len(SETS)), ratio])], *sides)


claims = {
    "cocktail-beats-none": better("cocktail", "none"),
    "cocktail-beats-best-single": better("cocktail", "best single one"),
    "cocktail-beats-trees": better("cocktail", TREES),
    "cocktail-none-beats-trees": better("none", TREES),
    "cocktail-beats-each-single": recipe.all_of(*(better("cocktail", arm) for arm in INGREDIENTS)),
}

with recipe.panels(2, width=6, height=4.6) as (figure, (left, right)):
    order = ranks.mean(axis=0).argsort()
    shown = {ranked[place]: ranks[:, place] for place in order}
    recipe.dots(left, shown, "Ranks over the data sets", f"mean rank over {len(SETS)} sets (1 is best)")
    for arm, colour in zip(("best single one", "cocktail", TREES), recipe.COLOURS, strict=False):
        ratio = means[:, arms.index(arm)] / np.maximum(means[:, arms.index("none")], 1e-3)
        right.plot(np.maximum(ratio, 0.1), np.arange(len(SETS)), "o", color=colour, label=arm)
    right.axvline(1, color="#000000", lw=0.8)
    right.set(
        xscale="log",
        xlabel="test score over that without regulariser (left is better)",
        yticks=range(len(SETS)),
        yticklabels=SETS,
        title="What each is worth, set by set",
    )
    right.invert_yaxis()
    right.legend(frameon=False)

recipe.finish(
    arguments, claims, {"scores": scores, "mean_rank": dict(zip(ranked, ranks.mean(axis=0), strict=True))}, figure
)
