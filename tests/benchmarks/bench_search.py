"""Seconds a trial: tfopt's searches beside plain KerasTuner, Optuna over `model.fit`, and scikit-learn's MLPClassifier.

    python tests/benchmarks/bench_search.py headline       # 20 trials of a 64-64-10 MLP on digits, about 10 minutes
    python tests/benchmarks/bench_search.py proposals      # CPU-seconds of a Bayesian proposal, a minute
    python tests/benchmarks/bench_search.py cases          # folds, Bayesian, Hyperband, convolution, LSTM; about 15

All in one process, interleaved, medians over `--repeats`. The slow contestants run `--plain-trials` trials a repeat,
each counted whole. Needs `pip install optuna` for Optuna's line, which is left out without it. Peak memory is that of
the process after each contestant's first turn less that before it.
"""

import argparse
import contextlib
import gc
import io
import os
import tempfile
import time
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import keras_tuner
import numpy as np
from scipy.stats import mannwhitneyu, spearmanr
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import PredefinedSplit, RandomizedSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier

import tfopt.search
from tfopt.training.choose import engine_for
from tfopt.training.fits import FitRequest, Monitor

layers = keras.layers
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("part", choices=["headline", "proposals", "cases"])
parser.add_argument("--repeats", type=int, default=3)
parser.add_argument("--trials", type=int, default=20)
parser.add_argument("--plain-trials", type=int, default=4, help="trials a repeat of the slow contestants")
parser.add_argument("--only", default="", help="names of contestants or cases, comma-separated")
arguments = parser.parse_args()
warnings.simplefilter("ignore")

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(
    (x / 16).astype("float32"), y.astype("int32"), test_size=0.25, random_state=0, stratify=y
)
EPOCHS = 20


def mlp(hp):
    rate = hp.Float("lr", 1e-4, 3e-2, sampling="log")
    l2 = hp.Float("l2", 1e-7, 1e-2, sampling="log")
    dropout = hp.Float("dropout", 0.0, 0.5)
    hidden = []
    for _ in range(2):
        hidden += [layers.Dense(64, "relu", kernel_regularizer=keras.regularizers.L2(l2)), layers.Dropout(dropout)]
    return compiled(keras.Sequential([keras.Input((64,)), *hidden, layers.Dense(10)]), keras.optimizers.Adam(rate))


def compiled(model, optimizer, **options):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], **options)
    return model


def memory() -> float:
    """Return the process's resident memory, MB."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


@contextlib.contextmanager
def quiet():
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def best_by_values(tuner) -> dict[str, float]:
    """Return the score of each trial by its values."""
    trials = tuner.oracle.trials.values()
    return {repr(sorted(t.hyperparameters.values.items())): t.score for t in trials if t.score is not None}


def tuned(make, trials, fit_arguments, **options):
    """Run one search; return seconds a trial and the scores."""
    with tempfile.TemporaryDirectory() as folder, quiet():
        started = time.perf_counter()
        tuner = make(directory=folder, project_name="search", overwrite=True, **options)
        tuner.search(**fit_arguments)
        seconds = time.perf_counter() - started
        scores = best_by_values(tuner)
    return seconds / max(trials, len(scores)), scores


DATA = {"x": x_train, "y": y_train, "validation_data": (x_test, y_test), "epochs": EPOCHS, "verbose": 0}


def tfopt_random(trials, turn, engine="auto"):
    options = {"objective": "val_accuracy", "max_trials": trials, "seed": turn, "engine": engine}
    return tuned(lambda **o: tfopt.search.RandomSearch(mlp, **o), trials, DATA | {"batch_size": 32}, **options)


def plain_keras_tuner(trials, turn):
    options = {"objective": "val_accuracy", "max_trials": trials, "seed": 100 + turn}
    return tuned(lambda **o: keras_tuner.RandomSearch(mlp, **o), trials, DATA | {"batch_size": 32}, **options)


def best_keras_tuner(trials, turn):
    """A whole epoch in one call, and no checkpoint at every improvement."""

    class WithoutCheckpoints(keras_tuner.RandomSearch):
        def run_trial(self, trial, *args, **kwargs):
            return self.hypermodel.build(trial.hyperparameters).fit(*args, **kwargs).history["val_accuracy"][-1] * -1.0

    def build(hp):
        model = mlp(hp)
        return compiled(model, model.optimizer, steps_per_execution=-(-len(x_train) // 32))

    options = {"objective": keras_tuner.Objective("default_objective", "min"), "max_trials": trials, "seed": 100 + turn}
    return tuned(lambda **o: WithoutCheckpoints(build, **o), trials, DATA | {"batch_size": 32}, **options)


def optuna_fit(trials, turn):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial):
        hp = keras_tuner.HyperParameters()
        hp.values = {
            "lr": trial.suggest_float("lr", 1e-4, 3e-2, log=True),
            "l2": trial.suggest_float("l2", 1e-7, 1e-2, log=True),
            "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        }
        return max(mlp(hp).fit(**DATA, batch_size=32).history["val_accuracy"])

    started = time.perf_counter()
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=turn))
    study.optimize(objective, n_trials=trials)
    return (time.perf_counter() - started) / trials, {str(t.number): t.value for t in study.trials}


def scikit_learn(trials, turn):
    both = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])
    split = PredefinedSplit(np.r_[np.full(len(x_train), -1), np.zeros(len(x_test))])
    model = MLPClassifier((64, 64), batch_size=32, max_iter=EPOCHS, n_iter_no_change=EPOCHS, random_state=turn)
    # Its penalty is alpha/2 times the squares over the batch's rows: Keras's l2 is alpha/64.
    space = {"learning_rate_init": np.geomspace(1e-4, 3e-2, 1000), "alpha": np.geomspace(1e-7, 1e-2, 1000) * 64}
    started = time.perf_counter()
    search = RandomizedSearchCV(model, space, n_iter=trials, cv=split, n_jobs=2, refit=False, random_state=turn)
    search.fit(*both)
    seconds = (time.perf_counter() - started) / trials
    return seconds, dict(enumerate(search.cv_results_["mean_test_score"]))


def headline():
    contestants = {
        "plain KerasTuner": (plain_keras_tuner, arguments.plain_trials),
        "KerasTuner at its best": (best_keras_tuner, arguments.plain_trials),
        "Optuna over model.fit": (optuna_fit, arguments.plain_trials),
        "scikit-learn on two cores": (scikit_learn, arguments.trials),
        "tfopt auto": (tfopt_random, arguments.trials),
        "tfopt population": (lambda n, t: tfopt_random(n, t, "population"), arguments.trials),
        "tfopt shared": (lambda n, t: tfopt_random(n, t, "shared"), arguments.trials),
    }
    results = measure(contestants)
    plain = np.median(results["plain KerasTuner"][0]) if "plain KerasTuner" in results else np.nan
    print(f"\n{'':26} {'s/trial':>8} {'range':>15} {'ratio':>7} {'memory MB':>10}   scores: mean ± sd, best")
    for name, (seconds, scores, grown) in results.items():
        values = np.array([v for turn in scores for v in turn.values()]) * (-1 if name.endswith("best") else 1)
        print(
            f"{name:26} {np.median(seconds):8.3f} {min(seconds):7.3f}-{max(seconds):7.3f} "
            f"{plain / np.median(seconds):7.1f} {grown:10.0f}   "
            f"{values.mean():.4f} ± {values.std(ddof=1):.4f}, {values.max():.4f} ({len(values)})"
        )
    agreement(results)


def agreement(results):
    """Compare tfopt's score of each configuration with plain fits of the same ones."""
    if "plain KerasTuner" not in results:
        return
    plain = {}
    for turn in results["plain KerasTuner"][1]:
        plain |= turn
    hps = []
    for text in plain:
        hp = keras_tuner.HyperParameters()
        hp.values = dict(eval(text))  # written by repr above
        hps.append(hp)
    engine = engine_for("auto", mlp, x_train, y_train, validation=(x_test, y_test))
    monitor = Monitor("val_accuracy", "max")
    fits = engine.fit([FitRequest(hp, 1000 + i, EPOCHS, monitor=monitor) for i, hp in enumerate(hps)])
    mine = [max(fit.history["val_accuracy"]) for fit in fits]
    theirs = list(plain.values())
    print(
        f"\nThe same {len(mine)} configurations: plain {np.mean(theirs):.4f}, tfopt {np.mean(mine):.4f}, Spearman "
        f"{spearmanr(mine, theirs)[0]:.3f}, Mann-Whitney p = {mannwhitneyu(mine, theirs)[1]:.2f}"
    )


def measure(contestants):
    """Run each contestant in turn, `--repeats` times; return seconds a trial, scores and MB of memory grown by."""
    only = [name.strip() for name in arguments.only.split(",") if name.strip()]
    results = {name: ([], [], 0.0) for name in contestants if not only or name in only}
    for turn in range(1, arguments.repeats + 1):
        names = list(results)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:  # nobody always follows the same one
            run, trials = contestants[name]
            gc.collect()  # of what the one before left
            before = memory()
            try:
                seconds, scores = run(trials, turn)
            except ImportError as error:
                print(f"{name}: left out ({error})", flush=True)
                continue
            results[name][0].append(seconds)
            results[name][1].append(scores)
            grown = memory() - before if turn == 1 else results[name][2]
            results[name] = (*results[name][:2], grown)
            print(f"turn {turn} {name}: {seconds:.3f} s a trial", flush=True)
    return {name: result for name, result in results.items() if result[0]}


def proposals():
    """Time the proposals of Bayesian search in four dimensions, after a first dozen of random ones."""

    def distance(hp):
        return sum((hp.Float(f"x{i}", 0, 1) - 0.3) ** 2 for i in range(4))

    def run(kind, turn):
        class BlackBox(kind):
            def run_trial(self, trial, **kwargs):
                return distance(trial.hyperparameters)

        space = keras_tuner.HyperParameters()
        distance(space)
        taken = []
        with tempfile.TemporaryDirectory() as folder, quiet():
            tuner = BlackBox(
                hypermodel=None, hyperparameters=space, objective=keras_tuner.Objective("default_objective", "min"),
                max_trials=24, num_initial_points=12, seed=turn, directory=folder, project_name="search",
            )  # fmt: skip
            populate = tuner.oracle.populate_space

            def timed(*args, **kwargs):
                started = time.process_time()
                proposal = populate(*args, **kwargs)
                taken.append(time.process_time() - started)
                return proposal

            tuner.oracle.populate_space = timed
            tuner.search()
        return float(np.mean(taken[12:24]))

    kinds = {"KerasTuner": keras_tuner.BayesianOptimization, "tfopt": tfopt.search.BayesianOptimization}
    seconds = {name: [] for name in kinds}
    for turn in range(1, arguments.repeats + 1):
        for name, kind in kinds.items():
            seconds[name].append(run(kind, turn))
    for name, values in seconds.items():
        print(f"{name:12} {np.median(values):.3f} CPU-seconds a proposal ({min(values):.3f}-{max(values):.3f})")


# Cases ------------------------------------------------------------------------------------------------------------


def regression(hp):
    penalty = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-1, sampling="log"))
    hidden = [layers.Dense(64, "relu", kernel_regularizer=penalty), layers.Dropout(hp.Float("dropout", 0.0, 0.5))]
    model = keras.Sequential([keras.Input((10,)), *hidden, layers.Dense(1)])
    model.compile(keras.optimizers.Adam(hp.Float("lr", 1e-4, 3e-2, sampling="log")), "mse", metrics=["r2_score"])
    return model


def convolution(hp):
    image = [layers.Reshape((8, 8, 1)), *(layers.Conv2D(16, 3, activation="relu") for _ in range(2))]
    head = [layers.GlobalAveragePooling2D(), layers.Dropout(hp.Float("dropout", 0.0, 0.5)), layers.Dense(10)]
    rate = hp.Float("lr", 1e-4, 3e-2, sampling="log")
    return compiled(keras.Sequential([keras.Input((64,)), *image, *head]), keras.optimizers.Adam(rate))


def recurrent(hp):
    body = [layers.Reshape((8, 8)), layers.LSTM(16, dropout=hp.Float("dropout", 0.0, 0.5)), layers.Dense(10)]
    rate = hp.Float("lr", 1e-4, 3e-2, sampling="log")
    return compiled(keras.Sequential([keras.Input((64,)), *body]), keras.optimizers.Adam(rate))


def folds_case():
    features, target = load_diabetes(return_X_y=True)
    features = (features / features.std(0)).astype("float32")
    target = ((target - target.mean()) / target.std()).astype("float32")[:, None]
    data = {"x": features, "y": target, "epochs": 40, "batch_size": 32, "verbose": 0}

    def mine(trials, turn):
        options = {"objective": keras_tuner.Objective("val_r2_score", "max"), "max_trials": 20, "seed": turn}
        return tuned(lambda **o: tfopt.search.RandomSearch(regression, **o), 20, data | {"folds": 5}, **options)

    def plain(trials, turn):
        """KerasTuner has no folds: the fits of one trial on each of the five, as its users write them."""

        trials = max(1, trials // 4)
        objective = keras_tuner.Objective("default_objective", "min")
        options = {"objective": objective, "max_trials": trials, "seed": turn}

        class Plain(keras_tuner.RandomSearch):
            def run_trial(self, trial, *args, **kwargs):
                scores = []
                for fold in range(5):
                    held = np.arange(len(features)) % 5 == fold
                    fit = {"x": features[~held], "y": target[~held], "validation_data": (features[held], target[held])}
                    model = self.hypermodel.build(trial.hyperparameters)
                    scores.append(model.fit(**(data | fit)).history["val_r2_score"][-1])
                    keras.backend.clear_session()
                return -float(np.mean(scores))

        return tuned(lambda **o: Plain(regression, **o), trials, {}, **options)

    return mine, plain


def bayesian_case():
    def mine(trials, turn):
        options = {"objective": "val_accuracy", "max_trials": 50, "seed": turn}
        return tuned(lambda **o: tfopt.search.BayesianOptimization(mlp, **o), 50, DATA | {"batch_size": 32}, **options)

    def plain(trials, turn):
        # Ten points without and `plain-trials` with its Gaussian process: 50 trials hold 10 and 40.
        first = {"objective": "val_accuracy", "max_trials": 2, "num_initial_points": 10, "seed": turn}
        later = first | {"max_trials": 2 + trials, "num_initial_points": 2}
        make = lambda **o: keras_tuner.BayesianOptimization(mlp, **o)  # noqa: E731
        initial, _ = tuned(make, 2, DATA | {"batch_size": 32}, **first)
        both, scores = tuned(make, 2 + trials, DATA | {"batch_size": 32}, **later)
        modelled = (both * (2 + trials) - 2 * initial) / trials
        return (10 * initial + 40 * modelled) / 50, scores

    return mine, plain


def hyperband_case():
    options = {"objective": "val_accuracy", "max_epochs": 27, "factor": 3}

    def run(make, turn):
        with tempfile.TemporaryDirectory() as folder, quiet():
            started = time.perf_counter()
            tuner = make(mlp, directory=folder, project_name="search", overwrite=True, seed=turn, **options)
            tuner.search(x_train, y_train, validation_data=(x_test, y_test), batch_size=32, verbose=0)
            seconds = time.perf_counter() - started
            trials = list(tuner.oracle.trials.values())
        return seconds / len(trials), best_by_values(tuner)

    finished = []

    def plain(trials, turn):
        if not finished:  # 290 s: once is enough
            finished.append(run(keras_tuner.Hyperband, turn))
        return finished[0]

    return (lambda trials, turn: run(tfopt.search.Hyperband, turn)), plain


def model_case(build):
    def run(make, trials, turn):
        options = {"objective": "val_accuracy", "max_trials": trials, "seed": turn}
        return tuned(lambda **o: make(build, **o), trials, DATA | {"batch_size": 32}, **options)

    return (
        lambda trials, turn: run(tfopt.search.RandomSearch, arguments.trials, turn),
        lambda trials, turn: run(keras_tuner.RandomSearch, trials, turn),
    )


def cases():
    named = {
        "5 folds x 20 trials, diabetes": folds_case(),
        "50 Bayesian trials": bayesian_case(),
        "Hyperband to 27 epochs": hyperband_case(),
        "convolutions on 8x8 digits": model_case(convolution),
        "LSTM on 8x8 digits": model_case(recurrent),
    }
    contestants = {}
    for name, (mine, plain) in named.items():
        contestants[f"{name}: tfopt"] = (mine, arguments.trials)
        contestants[f"{name}: KerasTuner"] = (plain, arguments.plain_trials)
    results = measure(contestants)
    print(f"\n{'':32} {'KerasTuner':>11} {'tfopt':>8} {'ratio':>7}   seconds a trial, medians of {arguments.repeats}")
    for name in named:
        if f"{name}: tfopt" in results and f"{name}: KerasTuner" in results:
            mine, plain = (np.median(results[f"{name}: {who}"][0]) for who in ("tfopt", "KerasTuner"))
            print(f"{name:32} {plain:11.2f} {mine:8.3f} {plain / mine:7.1f}")


{"headline": headline, "proposals": proposals, "cases": cases}[arguments.part]()
