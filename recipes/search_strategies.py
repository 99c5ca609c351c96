"""Which search needs fewer trials: exhaustive, grid, random, Bayesian or Hyperband?

The claim: "exhaustive search needs the most trials, then grid search, then random search; Bayesian search needs the
fewest". A trial is a training of a small network on digits; learning rate, dropout and L2 are searched. For each seed
all 128 configurations are trained as one population, on rows of the seed's own, and every epoch of every curve is kept.
Then each strategy of `tfopt.search` is replayed on the seed's table; the seed draws the strategy's random numbers and
the order in which the hyperparameters are declared (a grid changes the last one fastest). Counted are the trials until
the best so far is within 1 % of the lowest validation loss in the table; a strategy that never gets there counts as the
whole table. Hyperband's short trainings count by their epochs.

What goes wrong with the usual snippet: `sklearn.model_selection.BayesianOptimization` does not exist. Beside the
network stands a support vector machine tuned by GridSearchCV, RandomizedSearchCV and HalvingGridSearchCV.

So: search at random or with a model rather than on a grid, and spend what is saved on more configurations; for an SVC a
quarter of the grid at random, or halving, is usually enough.

Claims:
    search-grid-under-exhaustive: A grid of every other value needs fewer trials than exhaustive search
    search-random-under-grid: Random search needs fewer trials than a grid of every other value
    search-random-under-exhaustive: Random search needs fewer trials than exhaustive search
    search-bayesian-under-random: Bayesian search needs fewer trials than random search
    search-hyperband-under-random: Hyperband needs fewer epochs than random search
    search-hyperband-under-bayesian: Hyperband needs fewer epochs than Bayesian search
    search-randomized-svc: RandomizedSearchCV with a quarter of the grid is at most 0.5 points worse than
        GridSearchCV
    search-halving-svc: HalvingGridSearchCV is at most 0.5 points worse than GridSearchCV
    search-network-beats-svc: The network that a whole grid search chooses makes fewer errors than an SVC by
        GridSearchCV on the same rows
    search-sklearn-bayesian: scikit-learn has `sklearn.model_selection.BayesianOptimization`
    search-order: Exhaustive search needs more trials than a grid, that more than random search, that more than
        Bayesian search

    python recipes/search_strategies.py            # a minute on two cores
"""

import tempfile
import warnings

import keras
import keras_tuner
import numpy as np
import sklearn
from sklearn import datasets, model_selection
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.svm import SVC

import tfopt
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__)
warnings.filterwarnings("ignore", "The least populated class", UserWarning)  # of the few rows that halving begins with
EVERY = recipe.by_mode(arguments, smoke=2, default=1)  # which values stay of those that follow
SPACE = {
    "learning_rate": [float(f"{10 ** (place / 2 - 4):.1g}") for place in range(8)][::EVERY],  # half decades from 1e-4
    "dropout": [0.0, 0.2, 0.4, 0.6][::EVERY],
    "l2": [0.0, 1e-4, 1e-3, 1e-2][::EVERY],
}
SIZES = [len(values) for values in SPACE.values()]
COUNT = int(np.prod(SIZES))
EPOCHS, UNITS, BATCH = recipe.by_mode(arguments, smoke=9, default=27), 32, 32
SEEDS = recipe.seeds(arguments, smoke=2, default=8)  # each with rows and a table of its own
RANDOM_TRIALS = recipe.by_mode(arguments, smoke=8, default=COUNT)
ITERATIONS = recipe.by_mode(arguments, smoke=1, default=6)  # of Hyperband, some 15 full trainings' worth each
BAYESIAN_TRIALS = recipe.by_mode(arguments, smoke=8, default=64)
NEAR = 1.01  # times the lowest loss
FOLDS, REPEATS = recipe.by_mode(arguments, smoke=(2, 1), default=(5, 2))  # of the support vector machine
SVC_ROWS, MARGIN = 600, 0.5  # training rows of a fold; points of error that count as no worse

# 1. The tables: (hyperparameters, …, epochs) validation losses of each seed.
pixels, digits = datasets.load_digits(return_X_y=True)
samples = recipe.samples(pixels, digits, SEEDS, train=0.5, valid=0.25)
STEPS = EPOCHS * -(-len(samples[0].y["train"]) // BATCH)
grid = np.stack(np.meshgrid(*SPACE.values(), indexing="ij"), axis=-1).reshape(COUNT, 3)
configurations = [dict(zip(SPACE, map(float, row), strict=True)) for row in grid]


def network(hp):
    penalty = tfopt.regularizers.L2(hp["l2"])
    hidden = keras.layers.Dense(UNITS, "relu", kernel_initializer="he_normal", kernel_regularizer=penalty)
    output = keras.layers.Dense(10, kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((64,)), hidden, tfopt.layers.Dropout(hp["dropout"]), output])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    nats = keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nats")  # the loss without the penalty
    rate = tfopt.schedules.LinearDecay(hp["learning_rate"], STEPS)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=[nats])
    return model


def table_of(sample):
    """Validation losses of all configurations by epoch, and the test error of the best."""
    population = tfopt.training.Population(network, configurations)
    held, seeds = (sample.x["valid"], sample.y["valid"]), [sample.seed]
    settings = {"validation_data": held, "seeds": seeds, "epochs": EPOCHS, "batch_size": BATCH}
    fitted = population.fit(sample.x["train"], sample.y["train"], **settings)
    losses = np.nan_to_num([member.history["val_nats"] for member in fitted.members], nan=1e6, posinf=1e6)
    best = fitted.model(int(losses[:, -1].argmin()))
    return losses.reshape(*SIZES, EPOCHS), recipe.loss_and_error(best(sample.x["test"]), sample.y["test"])[1]


tables, winners = zip(*(table_of(sample) for sample in recipe.steps(samples, "tables")), strict=True)


# 2. Each strategy, replayed on the tables.
def replayed(tuner, table):
    """The tuner, with trials that look their loss up; `seen` gets (epochs trained, loss) of each."""

    class Replayed(tuner):
        def run_trial(self, trial, *args, **kwargs):
            values = trial.hyperparameters.values
            place = tuple(SPACE[name].index(values[name]) for name in SPACE)
            epochs = values.get("tuner/epochs", EPOCHS)
            loss = float(table[place][epochs - 1])
            self.seen.append((epochs - values.get("tuner/initial_epoch", 0), loss))
            return {"val_loss": loss}

    Replayed.seen = []
    return Replayed


def every_other(rng):
    return {name: values[rng.integers(2) :: 2] for name, values in SPACE.items()}


BANDS = {"max_epochs": EPOCHS, "factor": 3, "hyperband_iterations": ITERATIONS}
STRATEGIES = {  # tuner, its arguments, what it may choose from
    "exhaustive": (tfopt.search.GridSearch, {}, lambda rng: SPACE),
    "grid": (tfopt.search.GridSearch, {}, every_other),
    "random": (tfopt.search.RandomSearch, {"max_trials": RANDOM_TRIALS}, lambda rng: SPACE),
    "Bayesian": (tfopt.search.BayesianOptimization, {"max_trials": BAYESIAN_TRIALS}, lambda rng: SPACE),
    "Hyperband": (tfopt.search.Hyperband, BANDS, lambda rng: SPACE),
}
needed = {name: [] for name in STRATEGIES}  # trainings until near the lowest loss, a number a seed
best_so_far = {name: [] for name in STRATEGIES}  # lowest loss so far over the table's lowest, after 1, 2, ... trainings
reached = dict.fromkeys(STRATEGIES, 0)
for seed, table in recipe.steps(list(zip(SEEDS, tables, strict=True)), "seeds replayed"):
    for name, (tuner, settings, choices) in STRATEGIES.items():
        rng = np.random.default_rng(seed)
        declared = list(choices(rng).items())
        hp = keras_tuner.HyperParameters()
        for place in rng.permutation(len(declared)):
            hp.Choice(declared[place][0], declared[place][1])
        objective = keras_tuner.Objective("val_loss", "min")
        with tempfile.TemporaryDirectory() as folder:
            settings = settings | {"objective": objective, "hyperparameters": hp, "seed": seed, "directory": folder}
            search = replayed(tuner, table)(None, **settings)
            search.search(verbose=0)
        cost = np.cumsum([epochs for epochs, _ in search.seen]) / EPOCHS
        ratio = np.minimum.accumulate([loss for _, loss in search.seen]) / table[..., -1].min()
        near = np.flatnonzero(ratio <= NEAR)
        needed[name].append(cost[near[0]] if len(near) else COUNT)
        reached[name] += bool(len(near))
        place = np.searchsorted(cost, np.arange(1, COUNT + 1), side="right") - 1
        best_so_far[name].append(np.where(place >= 0, ratio[np.maximum(place, 0)], np.nan))

rows = {name: [needed[name], f"{np.median(needed[name]):.0f}", f"{reached[name]}/{len(SEEDS)}"] for name in STRATEGIES}
title = f"Trials until within {NEAR - 1:.0%} of the lowest loss, {len(SEEDS)} seeds"
recipe.show(title, ["trials|.1f", "median", "reached"], rows)
print(f"the networks chosen: test error {recipe.plus_minus(winners, '.1f')} %")

# 3. scikit-learn's searches of a support vector machine, on the same folds; and its grid on the networks' own rows.
SVC_GRID = {"C": list(np.logspace(-1, 3, 8))[::EVERY], "gamma": list(np.logspace(-3, 1, 8))[::EVERY]}
SEARCHES = {
    "GridSearchCV": lambda cv, seed: model_selection.GridSearchCV(SVC(), SVC_GRID, cv=cv),
    "RandomizedSearchCV": lambda cv, seed: model_selection.RandomizedSearchCV(
        SVC(), SVC_GRID, n_iter=16, cv=cv, random_state=seed
    ),
    "HalvingGridSearchCV": lambda cv, seed: model_selection.HalvingGridSearchCV(
        SVC(), SVC_GRID, cv=cv, random_state=seed, factor=3
    ),
}


def held_out(learn, count):
    """The last so many of the rows to learn from as the one fold to choose by."""
    return model_selection.PredefinedSplit(np.repeat([-1, 0], [learn - count, count]))


machines, shared = {name: [] for name in SEARCHES}, 0.0
folds = model_selection.RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=arguments.seed)
for fold, (train, test) in enumerate(recipe.steps(folds.split(pixels, digits), "folds of the SVC"), arguments.seed):
    train = np.random.default_rng(fold).permutation(train)[:SVC_ROWS]
    shared = len(test) / len(train)
    for name, search in SEARCHES.items():
        fitted = search(held_out(len(train), len(train) // 3), fold).fit(pixels[train] / 16, digits[train])
        machines[name].append(100 * (1 - fitted.score(pixels[test] / 16, digits[test])))
rows = {name: [errors] for name, errors in machines.items()}
recipe.show(f"A support vector machine, {FOLDS * REPEATS} folds", ["test error %|.2f"], rows, shared)

few, rivals = {"C": SVC_GRID["C"], "gamma": [0.001, 0.003, 0.01, 0.03]}, []
for sample in samples:
    rows, labels = sample.searched
    search = model_selection.GridSearchCV(SVC(), few, cv=held_out(len(labels), len(sample.y["valid"])))
    rivals.append(100 * (1 - search.fit(rows, labels).score(sample.x["test"], sample.y["test"])))


# 4. Verdicts and picture.
def fewer(one, other):
    """Evidence for "the first needs fewer trials"."""
    return recipe.less(needed[one], needed[other], "trials", ".1f")


def no_worse(name):
    """Evidence for "it makes at most `MARGIN` points more errors than GridSearchCV"."""
    one, other = machines[name], machines["GridSearchCV"]
    return recipe.less(one, other, "test error (%)", ".2f", margin=-MARGIN, test_to_train=shared, of="folds")


claims = {
    "search-grid-under-exhaustive": fewer("grid", "exhaustive"),
    "search-random-under-grid": fewer("random", "grid"),
    "search-random-under-exhaustive": fewer("random", "exhaustive"),
    "search-bayesian-under-random": fewer("Bayesian", "random"),
    "search-hyperband-under-random": fewer("Hyperband", "random"),
    "search-hyperband-under-bayesian": fewer("Hyperband", "Bayesian"),
    "search-randomized-svc": no_worse("RandomizedSearchCV"),
    "search-halving-svc": no_worse("HalvingGridSearchCV"),
    "search-network-beats-svc": recipe.less(winners, rivals, "test error (%)", ".1f"),
    "search-sklearn-bayesian": recipe.fact(
        hasattr(model_selection, "BayesianOptimization"),
        "not among the {} names of scikit-learn {}",
        len(model_selection.__all__),
        sklearn.__version__,
    ),
    "search-order": recipe.all_of(
        *(fewer(*pair) for pair in (("grid", "exhaustive"), ("random", "grid"), ("Bayesian", "random")))
    ),
}

with recipe.panels(2, width=5.5) as (figure, (left, right)):
    for name, colour in zip(STRATEGIES, recipe.COLOURS, strict=False):
        excess = np.maximum(100 * (np.array(best_so_far[name]) - 1), 0.1)
        drawn = ~np.isnan(excess).any(axis=0) & (np.arange(COUNT) < (16 if name == "grid" else COUNT))
        left.step(
            np.arange(1, COUNT + 1)[drawn], np.median(excess[:, drawn], axis=0), color=colour, label=name, where="post"
        )
    left.axhline(100 * (NEAR - 1), color="#000000", lw=0.8, ls=":")
    left.set(
        xscale="log",
        yscale="log",
        title="Best so far, median over seeds",
        xlabel="full trainings' worth of epochs",
        ylabel="validation loss above the lowest (%)",
    )
    left.legend(frameon=False)
    recipe.dots(right, needed, "What each strategy needs", f"trials until within {NEAR - 1:.0%} ({COUNT}: never)")

results = {"trials": needed, "reached": reached, "network_test_error": winners, "svc_test_error": machines}
recipe.finish(arguments, claims, results, figure)
