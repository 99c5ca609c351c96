"""Which search needs fewer trials: exhaustive, grid, random, Bayesian or Hyperband?

The claim: "exhaustive search needs the most trials, then grid search, then random search; Bayesian search needs the
fewest". A trial is a training of a small network on digits; learning rate, dropout and L2 are searched. All 128
configurations are trained three times with different first weights, and every epoch of every curve is kept. Then each
strategy of `tfopt.search` is replayed on that table with many seeds: a seed draws the strategy's random numbers, the
order in which the hyperparameters are declared (a grid changes the last one fastest) and the training that is seen.
Counted are the trials until the best so far is within 1 % of the lowest validation loss in the table; a strategy that
never gets there counts as the whole table. Hyperband's short trainings count by their epochs.

What goes wrong with the usual snippets: `sklearn.model_selection.BayesianOptimization` does not exist; GridSearchCV
or RandomizedSearchCV over penalty in {l1, l2} with `LogisticRegression()` loses the l1 half to NaN, as the default
solver knows no l1, and only a warning tells; on unscaled data that solver does not converge in its 100 iterations.
Beside the network: a support vector machine tuned by GridSearchCV, RandomizedSearchCV and HalvingGridSearchCV on the
same rows.

    python recipes/search_strategies.py            # a minute on two cores
    python recipes/search_strategies.py --full     # more seeds
"""

import tempfile
import time
import warnings

import keras
import keras_tuner
import matplotlib.pyplot as plt
import numpy as np
import sklearn
import sklearn.model_selection
from keras import ops
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    PredefinedSplit,
    RandomizedSearchCV,
    train_test_split,
)
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import tfopt
from tfopt.report import house_style, recipe

arguments = recipe.arguments(__doc__, __file__)
SPACE = {
    "learning_rate": [float(f"{10 ** (place / 2 - 4):.1g}") for place in range(8)],  # half decades from 1e-4
    "dropout": [0.0, 0.2, 0.4, 0.6],
    "l2": [0.0, 1e-4, 1e-3, 1e-2],
}
SIZES = [len(values) for values in SPACE.values()]
COUNT = int(np.prod(SIZES))
EPOCHS = 27
TRAININGS = recipe.by_mode(arguments, smoke=1, default=3, full=3)  # of each configuration
SEEDS = range(arguments.seed, arguments.seed + recipe.by_mode(arguments, smoke=2, default=12, full=36))
RANDOM_TRIALS = recipe.by_mode(arguments, smoke=12, default=COUNT, full=COUNT)
ITERATIONS = recipe.by_mode(arguments, smoke=1, default=6, full=6)  # of Hyperband, some 15 full trainings' worth each
BAYESIAN_TRIALS = recipe.by_mode(arguments, smoke=12, default=64, full=64)
ROWS, UNITS, BATCH = recipe.by_mode(arguments, smoke=96, default=400, full=400), 32, 32
NEAR = 1.01  # times the lowest loss

pixels, digits = load_digits(return_X_y=True)


def split(seed):
    """Training, validation and test rows: so many, 400, and the others."""
    train, rest = train_test_split(np.arange(len(digits)), train_size=ROWS, random_state=seed, stratify=digits)
    return train, *train_test_split(rest, train_size=400, random_state=seed, stratify=digits[rest])


# 1. The table: all configurations are members of one stack, which Keras trains as one model. Its kernels are
# (members, inputs, units), so that a column of learning rates, dropout rates or strengths broadcasts against them.

train, valid, test = split(arguments.seed)
x = (pixels / 16).astype("float32")
grid = np.stack(np.meshgrid(*SPACE.values(), indexing="ij"), axis=-1).reshape(COUNT, 3)
rates, drops, strengths = np.tile(grid, (TRAININGS, 1)).T  # (members,)


class MemberL2(keras.regularizers.Regularizer):
    def __call__(self, kernel):
        return ops.sum(ops.convert_to_tensor(strengths[:, None, None], "float32") * ops.square(kernel))


members = len(rates)
steps = EPOCHS * -(-ROWS // BATCH)
hidden = keras.layers.EinsumDense("bi,mio->bmo", (members, UNITS), "relu", kernel_regularizer=MemberL2())
output = keras.layers.EinsumDense("bmi,mio->bmo", (members, 10), kernel_regularizer=MemberL2())
stack = keras.Sequential([keras.Input((64,)), hidden, tfopt.layers.Dropout(drops[None], seed=1), output])
for layer in (hidden, output):  # the same start for all configurations of a training
    starts = [
        tfopt.initializers.He(seed=arguments.seed + number)(layer.kernel.shape[1:]) for number in range(TRAININGS)
    ]
    layer.kernel.assign(np.repeat(np.stack(starts), COUNT, axis=0))
stack.compile(
    keras.optimizers.Adam(tfopt.schedules.LinearDecay(rates[:, None, None], steps)),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    loss_weights=float(members),  # the sum over members: each has the gradient that it would have alone
    steps_per_execution=steps // EPOCHS,
)


def logits_and_losses(rows):
    """Outputs (rows, members, 10) and mean cross-entropy (members,)."""
    logits = stack(x[rows])
    each = keras.losses.sparse_categorical_crossentropy(
        np.repeat(digits[rows, None], members, 1), logits, from_logits=True
    )
    return np.asarray(logits), np.asarray(each).mean(axis=0)


curves = []
keras.utils.set_random_seed(arguments.seed)  # the order of the batches
note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: curves.append(logits_and_losses(valid)[1]))
started = time.perf_counter()
labels = np.repeat(digits[train, None], members, axis=1)
stack.fit(x[train], labels, batch_size=BATCH, epochs=EPOCHS, verbose=0, callbacks=[note])
stack_seconds = time.perf_counter() - started
table = np.stack(curves, axis=-1).reshape(TRAININGS, *SIZES, EPOCHS)
table = np.nan_to_num(table, nan=1e6, posinf=1e6)
test_errors = 100 * np.mean(logits_and_losses(test)[0].argmax(-1) != digits[test, None], axis=0).reshape(
    TRAININGS, COUNT
)
lowest = table[..., -1].reshape(TRAININGS, -1).min(axis=1)

# How long one training takes alone, as a trial of a search does: built, traced, trained.
started = time.perf_counter()
single = keras.Sequential([keras.Input((64,)), keras.layers.Dense(UNITS, "relu"), keras.layers.Dropout(0.2),
                           keras.layers.Dense(10)])  # fmt: skip
single.compile(keras.optimizers.Adam(), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
single.fit(
    x[train], digits[train], batch_size=BATCH, epochs=EPOCHS, verbose=0, validation_data=(x[valid], digits[valid])
)
trial_seconds = time.perf_counter() - started

# 2. Each strategy, replayed on the table.


def replayed(tuner, training):
    """The tuner, with trials that look their loss up; `seen` gets (epochs trained, loss) of each."""

    class Replayed(tuner):
        def run_trial(self, trial, *args, **kwargs):
            values = trial.hyperparameters.values
            place = tuple(SPACE[name].index(values[name]) for name in SPACE)
            epochs = values.get("tuner/epochs", EPOCHS)
            loss = float(table[training][place][epochs - 1])
            self.seen.append((epochs - values.get("tuner/initial_epoch", 0), loss))
            return {"val_loss": loss}

    Replayed.seen = []
    return Replayed


def every_other(rng):
    return {name: values[rng.integers(2) :: 2] for name, values in SPACE.items()}


STRATEGIES = {  # tuner, its arguments, what it may choose from
    "exhaustive": (tfopt.search.GridSearch, {}, lambda rng: SPACE),
    "grid": (tfopt.search.GridSearch, {}, every_other),
    "random": (tfopt.search.RandomSearch, {"max_trials": RANDOM_TRIALS}, lambda rng: SPACE),
    "Bayesian": (tfopt.search.BayesianOptimization, {"max_trials": BAYESIAN_TRIALS}, lambda rng: SPACE),
    "Hyperband": (
        tfopt.search.Hyperband,
        {"max_epochs": EPOCHS, "factor": 3, "hyperband_iterations": ITERATIONS},
        lambda rng: SPACE,
    ),
}
needed = {name: [] for name in STRATEGIES}  # trainings until near the lowest loss, a number a seed
best_so_far = {name: [] for name in STRATEGIES}  # lowest loss so far over the table's lowest, after 1, 2, ... trainings
own_seconds = {name: [] for name in STRATEGIES}  # of the strategy itself, for a trial
reached = dict.fromkeys(STRATEGIES, 0)
for seed in SEEDS:
    training = seed % TRAININGS
    for name, (tuner, settings, choices) in STRATEGIES.items():
        rng = np.random.default_rng(seed)
        declared = list(choices(rng).items())
        hp = keras_tuner.HyperParameters()
        for place in rng.permutation(len(declared)):
            hp.Choice(declared[place][0], declared[place][1])
        with tempfile.TemporaryDirectory() as folder:
            search = replayed(tuner, training)(
                None, objective=keras_tuner.Objective("val_loss", "min"), hyperparameters=hp, seed=seed,
                directory=folder, project_name="replay", **settings,
            )  # fmt: skip
            started = time.perf_counter()
            search.search(verbose=0)
            own_seconds[name].append((time.perf_counter() - started) / len(search.seen))
        cost = np.cumsum([epochs for epochs, _ in search.seen]) / EPOCHS
        ratio = np.minimum.accumulate([loss for _, loss in search.seen]) / lowest[training]
        near = np.flatnonzero(ratio <= NEAR)
        needed[name].append(cost[near[0]] if len(near) else COUNT)
        reached[name] += bool(len(near))
        place = np.searchsorted(cost, np.arange(1, COUNT + 1), side="right") - 1
        best_so_far[name].append(np.where(place >= 0, ratio[np.maximum(place, 0)], np.nan))

print(f"{COUNT} configurations x {TRAININGS} trainings in {stack_seconds:.0f} s; one alone takes {trial_seconds:.1f} s")
print(f"Trainings until within {NEAR - 1:.0%} of the lowest validation loss, {len(SEEDS)} seeds, 95 % intervals")
print("{:12}{:>16}{:>8}{:>9}{:>15}{:>16}{:>20}".format(
    "", "trainings", "median", "reached", "own s a trial", "seconds in all", "loss/lowest at 16"))  # fmt: skip
seconds = {}
for name in STRATEGIES:
    count, own = np.array(needed[name]), np.array(own_seconds[name])
    seconds[name] = count * trial_seconds + count * own
    at_16 = np.array(best_so_far[name])[:, 15]
    cells = [recipe.plus_minus(count, ".1f"), f"{np.median(count):.0f}", f"{reached[name]}/{len(SEEDS)}"]
    cells += [f"{own.mean():.3f}", recipe.plus_minus(seconds[name], ".0f"), recipe.plus_minus(at_16, ".3f")]
    print("{:12}{:>16}{:>8}{:>9}{:>15}{:>16}{:>20}".format(name, *cells))

# 3. scikit-learn's searches of a support vector machine, on the same rows; and the usual snippets.

SVC_GRID = {"C": list(np.logspace(-1, 3, 8)), "gamma": list(np.logspace(-3, 1, 8))}
SEARCHES = {
    "GridSearchCV": lambda cv, seed: GridSearchCV(SVC(), SVC_GRID, cv=cv),
    "RandomizedSearchCV": lambda cv, seed: RandomizedSearchCV(SVC(), SVC_GRID, n_iter=16, cv=cv, random_state=seed),
    "HalvingGridSearchCV": lambda cv, seed: HalvingGridSearchCV(SVC(), SVC_GRID, cv=cv, random_state=seed, factor=3),
}
machines = {name: [] for name in SEARCHES}  # (test error, seconds, fits), a row a split
for seed in range(arguments.seed, arguments.seed + recipe.by_mode(arguments, smoke=2, default=8, full=20)):
    rows = split(seed)
    both = np.concatenate(rows[:2])
    fold = PredefinedSplit(np.repeat([-1, 0], [len(rows[0]), len(rows[1])]))
    for name, search in SEARCHES.items():
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            found = search(fold, seed).fit(x[both], digits[both])
        error = 100 * (1 - found.score(x[rows[2]], digits[rows[2]]))
        machines[name].append((error, time.perf_counter() - started, len(found.cv_results_["params"])))
machines = {name: np.array(rows) for name, rows in machines.items()}
print(f"\nA support vector machine, {len(machines['GridSearchCV'])} splits, refitted with the validation rows")
for name, rows in machines.items():
    print(f"{name:22}{rows[0, 2]:4.0f} fits, {recipe.plus_minus(rows[:, 1], '.2f')} s, "
          f"test error {recipe.plus_minus(rows[:, 0], '.2f')} %")  # fmt: skip
winners = test_errors[np.arange(TRAININGS), table[..., -1].reshape(TRAININGS, -1).argmin(axis=1)]
print(
    f"the network's best by validation, on the first of these splits: test error {recipe.plus_minus(winners, '.2f')} %"
)

raw, cancer = load_breast_cancer(return_X_y=True)
lost = {}
for search, settings in ((GridSearchCV, {}), (RandomizedSearchCV, {"n_iter": 8, "random_state": 0})):
    penalties = {"C": [0.01, 0.1, 1, 10], "penalty": ["l1", "l2"]}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scores = search(LogisticRegression(), penalties, **settings).fit(StandardScaler().fit_transform(raw), cancer)
    lost[search.__name__] = np.isnan(scores.cv_results_["mean_test_score"]), scores.cv_results_["params"]
halves = [sum(bad) for bad, _ in lost.values()]
l1_lost = all(
    bad == (how["penalty"] == "l1") for bads, tried in lost.values() for bad, how in zip(bads, tried, strict=True)
)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    unscaled = LogisticRegression().fit(raw, cancer)
converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)

# 4. Verdicts and picture.


def compared(fewer, more):
    """Verdict and numbers on "the first needs fewer trainings"."""
    one, other = np.array(needed[fewer]), np.array(needed[more])
    numbers = f"{recipe.plus_minus(one, '.1f')} trainings against {recipe.plus_minus(other, '.1f')}, reached in "
    return recipe.judge(other - one), numbers + f"{reached[fewer]} and {reached[more]} of {len(SEEDS)} seeds"


def no_worse(name, margin=0.5):
    """Verdict and numbers on "it makes at most `margin` points more errors than GridSearchCV"."""
    one, other = machines[name], machines["GridSearchCV"]
    numbers = f"{recipe.plus_minus(one[:, 0], '.2f')} % errors in {one[:, 1].mean():.2f} s against "
    return recipe.judge(other[:, 0] - one[:, 0] + margin), numbers + (
        f"{recipe.plus_minus(other[:, 0], '.2f')} % in {other[:, 1].mean():.2f} s, {len(one)} splits"
    )


claims = {
    "search-grid-under-exhaustive": (
        "A grid of every other value needs fewer trials than exhaustive search", *compared("grid", "exhaustive")),
    "search-random-under-grid": (
        "Random search needs fewer trials than a grid of every other value", *compared("random", "grid")),
    "search-random-under-exhaustive": (
        "Random search needs fewer trials than exhaustive search", *compared("random", "exhaustive")),
    "search-bayesian-under-random": (
        "Bayesian search needs fewer trials than random search", *compared("Bayesian", "random")),
    "search-hyperband-under-random": (
        "Hyperband needs fewer epochs than random search", *compared("Hyperband", "random")),
    "search-hyperband-under-bayesian": (
        "Hyperband needs fewer epochs than Bayesian search", *compared("Hyperband", "Bayesian")),
    "search-randomized-svc": (
        "RandomizedSearchCV with a quarter of the grid is at most 0.5 points worse than GridSearchCV",
        *no_worse("RandomizedSearchCV")),
    "search-halving-svc": (
        "HalvingGridSearchCV is at most 0.5 points worse than GridSearchCV", *no_worse("HalvingGridSearchCV")),
    "search-sklearn-bayesian": (
        "scikit-learn has `sklearn.model_selection.BayesianOptimization`",
        recipe.fact(hasattr(sklearn.model_selection, "BayesianOptimization")),
        f"not among the {len(sklearn.model_selection.__all__)} names of scikit-learn {sklearn.__version__}"),
    "search-l1-l2-grid": (
        "A search over penalty in {l1, l2} with `LogisticRegression()` tries both",
        recipe.fact(not l1_lost),
        f"scores that are NaN, all of l1: {halves[0]} of 8 in GridSearchCV, {halves[1]} of 8 in RandomizedSearchCV"),
    "search-unscaled-converges": (
        "`LogisticRegression()` converges on unscaled data",
        recipe.fact(converged),
        f"stopped after {unscaled.n_iter_[0]} iterations on the 30 raw features of breast_cancer"),
}  # fmt: skip

chain = [
    claims[f"search-{pair}"][1] for pair in ("grid-under-exhaustive", "random-under-grid", "bayesian-under-random")
]
claims["search-order"] = (
    "Exhaustive search needs more trials than a grid, that more than random search, that more than Bayesian search",
    "does not hold" if "does not hold" in chain else "holds" if set(chain) == {"holds"} else "can't be told here",
    "; ".join(f"{name} {recipe.plus_minus(needed[name], '.1f')}" for name in list(STRATEGIES)[:4]),
)

COLOURS = dict(zip(STRATEGIES, ["#000000", "#767676", "#0072B2", "#D55E00", "#009E73"], strict=True))
with house_style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.2), layout="constrained", width_ratios=[1.6, 1])
    for name, colour in COLOURS.items():
        excess = np.maximum(100 * (np.array(best_so_far[name]) - 1), 0.1)
        drawn = ~np.isnan(excess).any(axis=0) & (np.arange(COUNT) < (16 if name == "grid" else COUNT))
        low, middle, high = np.quantile(excess[:, drawn], [0.25, 0.5, 0.75], axis=0)
        spent = np.arange(1, COUNT + 1)[drawn]
        left.step(spent, middle, color=colour, label=name, where="post")
        left.fill_between(spent, low, high, color=colour, alpha=0.12, lw=0, step="post")
    left.axhline(100 * (NEAR - 1), color="#000000", lw=0.8, ls=":")
    left.set(xscale="log", yscale="log", title="best so far: median and middle half of the seeds")
    left.set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
    left.set_yticks([0.1, 1, 10, 100, 1000], ["≤ 0.1", "1", "10", "100", "1000"])
    left.minorticks_off()
    left.set(xlabel="full trainings' worth of epochs", ylabel="validation loss above the lowest (%)")
    left.legend(frameon=False)
    for row, (name, colour) in enumerate(COLOURS.items()):
        shift = np.linspace(-0.2, 0.2, len(SEEDS))
        right.plot(needed[name], row + shift, "o", color=colour, ms=3, alpha=0.5)
        mean, half = recipe.interval(needed[name])
        right.errorbar(mean, row, xerr=half, fmt="D", color=colour, capsize=4)
    right.set_yticks(range(len(STRATEGIES)), STRATEGIES)
    right.invert_yaxis()
    right.set(xlabel=f"trainings until within {NEAR - 1:.0%} ({COUNT}: never)", title="what is needed")

recipe.finish(
    arguments,
    claims=claims,
    results={
        "trainings_needed": needed,
        "reached": reached,
        "seconds_needed": seconds,
        "own_seconds_a_trial": own_seconds,
        "seconds_of_a_training": trial_seconds,
        "seconds_of_the_table": stack_seconds,
        "lowest_validation_loss": lowest,
        "network_test_error": winners,
        "svc": {
            name: dict(zip(("test_error", "seconds", "fits"), rows.T, strict=True)) for name, rows in machines.items()
        },
    },
    figure=figure,
)
