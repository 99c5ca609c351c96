"""Seconds a trial: tfopt's searches beside KerasTuner, Optuna and scikit-learn, each at its best.

    python tests/benchmarks/bench_search.py run headline --rounds 5    # 20 trials of a 64-64-10 MLP on digits
    python tests/benchmarks/bench_search.py run all --rounds 3         # every case; about 40 minutes on two cores
    python tests/benchmarks/bench_search.py table                      # the Markdown tables, from the results kept

Each contestant of each round is a process of its own; rounds interleave them, and each round starts with another one.
Imports are not counted, nor the start of scikit-learn's worker processes; tracing and compiling are. Every search is
run whole: no time is extrapolated from fewer trials, and slow contestants run fewer trials, at least five. What was
measured goes to `results/search.json`, with the machine and the versions. Optuna's lines need `pip install optuna`.

"At its best" means for KerasTuner and Optuna: a whole epoch in one call (`steps_per_execution`), no checkpoints; for
scikit-learn: all cores. Scores are the best epoch's and the last epoch's, so that like can be set beside like.
"""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import keras_tuner
import numpy as np
from results import RESULTS, describe, environment, keep, markdown
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import train_test_split

import tfopt.search

layers = keras.layers
EPOCHS, BATCH = 20, 32
CORES = os.cpu_count() or 1


def digits():
    """Return the arguments of `fit` for digits, three quarters to train on."""
    x, y = load_digits(return_X_y=True)
    x, held, y, held_y = train_test_split(
        (x / 16).astype("float32"), y.astype("int32"), test_size=0.25, random_state=0, stratify=y
    )
    return {"x": x, "y": y, "validation_data": (held, held_y), "epochs": EPOCHS, "batch_size": BATCH, "verbose": 0}


def diabetes():
    """Return standardised inputs and targets."""
    x, y = load_diabetes(return_X_y=True)
    return (x / x.std(0)).astype("float32"), ((y - y.mean()) / y.std()).astype("float32")[:, None]


def classifier(body, rate):
    model = keras.Sequential([keras.Input((64,)), *body])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


def rate_of(hp):
    return hp.Float("lr", 1e-4, 3e-2, sampling="log")


def mlp(hp):
    rate, l2 = rate_of(hp), hp.Float("l2", 1e-7, 1e-2, sampling="log")
    dropout = hp.Float("dropout", 0.0, 0.5)
    hidden = []
    for _ in range(2):
        hidden += [layers.Dense(64, "relu", kernel_regularizer=keras.regularizers.L2(l2)), layers.Dropout(dropout)]
    return classifier([*hidden, layers.Dense(10)], rate)


def convolution(hp):
    image = [layers.Reshape((8, 8, 1)), *(layers.Conv2D(16, 3, activation="relu") for _ in range(2))]
    head = [layers.GlobalAveragePooling2D(), layers.Dropout(hp.Float("dropout", 0.0, 0.5)), layers.Dense(10)]
    return classifier([*image, *head], rate_of(hp))


def recurrent(hp):
    body = [layers.Reshape((8, 8)), layers.LSTM(16, dropout=hp.Float("dropout", 0.0, 0.5)), layers.Dense(10)]
    return classifier(body, rate_of(hp))


def regression(hp):
    penalty = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-1, sampling="log"))
    hidden = [layers.Dense(64, "relu", kernel_regularizer=penalty), layers.Dropout(hp.Float("dropout", 0.0, 0.5))]
    model = keras.Sequential([keras.Input((10,)), *hidden, layers.Dense(1)])
    model.compile(keras.optimizers.Adam(rate_of(hp)), "mse", metrics=["r2_score"])
    return model


# Contestants: each returns the number of trials and, for each, its curve of the objective (an entry an epoch).


def tfopt_search(kind, build, trials, turn, engine="auto", workers=1, **options):
    tuner_class = getattr(tfopt.search, kind)  # which is imported here

    def run(folder):
        tuner = tuner_class(
            build, "val_accuracy", seed=turn, engine=engine, directory=folder, project_name="p",
            **({} if trials is None else {"max_trials": trials}), **options,
        )  # fmt: skip
        tuner.search(**digits() if trials is not None else without_epochs(digits()), workers=workers)
        return [trial.members[0].history["val_accuracy"] for trial in tuner.oracle.trials.values()]

    return run


def without_epochs(arguments):
    return {name: value for name, value in arguments.items() if name != "epochs"}


def plain_keras_tuner(build, trials, turn):
    def run(folder):
        tuner = keras_tuner.RandomSearch(
            build, "val_accuracy", max_trials=trials, seed=100 + turn, directory=folder, project_name="p"
        )
        tuner.search(**digits())
        return [[trial.score] for trial in tuner.oracle.trials.values()]

    return run


def whole_epochs(model, rows):
    """Compile again so that a call of the graph is an epoch."""
    model.compile(model.optimizer, model.loss, metrics=["accuracy"], steps_per_execution=-(-rows // BATCH))
    return model


def best_keras_tuner(kind, build, trials, turn, **options):
    """Return a search that makes no checkpoints and calls the graph once an epoch."""

    def run(folder):
        data, curves = digits(), {}

        class Tuner(getattr(keras_tuner, kind)):
            def run_trial(self, trial, *args, **kwargs):
                values = trial.hyperparameters.values
                own = {"epochs": values["tuner/epochs"]} if "tuner/epochs" in values else {}
                model = whole_epochs(self.hypermodel.build(trial.hyperparameters), len(data["x"]))
                history = model.fit(*args, **(kwargs | own)).history["val_accuracy"]
                curves[trial.trial_id] = history
                keras.backend.clear_session(free_memory=False)
                return {"val_accuracy": max(history)}

        tuner = Tuner(
            build, keras_tuner.Objective("val_accuracy", "max"), seed=100 + turn, directory=folder, project_name="p",
            **({} if trials is None else {"max_trials": trials}), **options,
        )  # fmt: skip
        tuner.search(**data)
        return list(curves.values())

    return run


def optuna_search(build, trials, turn, sampler="RandomSampler"):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def run(folder):
        data, curves = digits(), []

        class Suggest:
            """Gives KerasTuner's `hp.Float` from Optuna's trial."""

            def __init__(self, trial):
                self.trial = trial

            def Float(self, name, low, high, sampling=None):
                return self.trial.suggest_float(name, low, high, log=sampling == "log")

        def objective(trial):
            model = whole_epochs(build(Suggest(trial)), len(data["x"]))
            curves.append(model.fit(**data).history["val_accuracy"])
            keras.backend.clear_session(free_memory=False)
            return max(curves[-1])

        study = optuna.create_study(direction="maximize", sampler=getattr(optuna.samplers, sampler)(seed=turn))
        study.optimize(objective, n_trials=trials)
        return curves

    return run


def scikit_learn(estimator, trials, turn, data, folds):
    from joblib import Parallel, delayed
    from sklearn.model_selection import RandomizedSearchCV

    x, y, rows = data
    # Its penalty is alpha/2 times the squares over the batch's rows: Keras's l2 is alpha/64.
    space = {"learning_rate_init": np.geomspace(1e-4, 3e-2, 1000), "alpha": np.geomspace(1e-7, 1e-2, 1000) * 2 * BATCH}
    # The start of its processes is not counted.
    Parallel(CORES)(delayed(__import__)("sklearn.neural_network") for _ in range(4 * CORES))

    def run(folder):
        model = estimator(batch_size=BATCH, n_iter_no_change=10**6, random_state=turn)
        search = RandomizedSearchCV(
            model, space, n_iter=trials, cv=folds(rows), n_jobs=CORES, refit=False, random_state=turn
        )
        search.fit(x, y)
        return [[score] for score in search.cv_results_["mean_test_score"]]

    return run


def scikit_learn_digits(trials, turn):
    from sklearn.model_selection import PredefinedSplit
    from sklearn.neural_network import MLPClassifier

    data = digits()
    held, held_y = data["validation_data"]
    x, y = np.concatenate([data["x"], held]), np.concatenate([data["y"], held_y])
    split = PredefinedSplit(np.r_[np.full(len(data["x"]), -1), np.zeros(len(held))])
    model = lambda **o: MLPClassifier(hidden_layer_sizes=(64, 64), max_iter=EPOCHS, **o)  # noqa: E731
    return scikit_learn(model, trials, turn, (x, y, len(x)), lambda rows: split)


def scikit_learn_folds(trials, turn):
    from sklearn.model_selection import KFold
    from sklearn.neural_network import MLPRegressor

    x, y = diabetes()
    model = lambda **o: MLPRegressor(hidden_layer_sizes=(64,), max_iter=40, **o)  # noqa: E731
    return scikit_learn(model, trials, turn, (x, y[:, 0], len(x)), lambda rows: KFold(5))


def tfopt_folds(trials, turn, workers=1):
    tuner_class = tfopt.search.RandomSearch  # which is imported here

    def run(folder):
        x, y = diabetes()
        objective = keras_tuner.Objective("val_r2_score", "max")
        tuner = tuner_class(regression, objective, max_trials=trials, seed=turn, directory=folder, project_name="p")
        tuner.search(x, y, folds=5, epochs=40, batch_size=BATCH, verbose=0, workers=workers)
        trials_of = tuner.oracle.trials.values()
        return [np.mean([m.history["val_r2_score"] for m in trial.members], axis=0).tolist() for trial in trials_of]

    return run


def keras_tuner_folds(trials, turn):
    """Return a search that fits each trial on five folds, as KerasTuner's users write it."""

    def run(folder):
        x, y = diabetes()
        curves = []

        class Tuner(keras_tuner.RandomSearch):
            def run_trial(self, trial, *args, **kwargs):
                folds = []
                for fold in range(5):
                    held = np.arange(len(x)) % 5 == fold
                    model = self.hypermodel.build(trial.hyperparameters)
                    rows = int((~held).sum())
                    model.compile(model.optimizer, "mse", metrics=["r2_score"], steps_per_execution=-(-rows // BATCH))
                    fit = {"validation_data": (x[held], y[held]), "epochs": 40, "batch_size": BATCH, "verbose": 0}
                    folds.append(model.fit(x[~held], y[~held], **fit).history["val_r2_score"])
                    keras.backend.clear_session(free_memory=False)
                curves.append(np.mean(folds, axis=0).tolist())
                return -max(curves[-1])

        objective = keras_tuner.Objective("default_objective", "min")
        tuner = Tuner(regression, objective, max_trials=trials, seed=turn, directory=folder, project_name="p")
        tuner.search(verbose=0)
        return curves

    return run


def both_cores(*arguments, **options):
    return tfopt_search(*arguments, workers=CORES, **options)


CASES = {
    "headline": {
        "KerasTuner": lambda turn: plain_keras_tuner(mlp, 5, turn),
        "KerasTuner at its best": lambda turn: best_keras_tuner("RandomSearch", mlp, 5, turn),
        "Optuna at its best": lambda turn: optuna_search(mlp, 5, turn),
        "scikit-learn's MLP, all cores": lambda turn: scikit_learn_digits(20, turn),
        "tfopt": lambda turn: tfopt_search("RandomSearch", mlp, 20, turn),
        "tfopt, all cores": lambda turn: both_cores("RandomSearch", mlp, 20, turn),
        "tfopt population": lambda turn: tfopt_search("RandomSearch", mlp, 20, turn, "population"),
        "tfopt shared": lambda turn: tfopt_search("RandomSearch", mlp, 20, turn, "shared"),
    },
    "folds": {
        "KerasTuner at its best": lambda turn: keras_tuner_folds(5, turn),
        "scikit-learn's MLP, all cores": lambda turn: scikit_learn_folds(20, turn),
        "tfopt": lambda turn: tfopt_folds(20, turn),
        "tfopt, all cores": lambda turn: tfopt_folds(20, turn, CORES),
    },
    "bayesian": {
        "KerasTuner at its best": lambda turn: best_keras_tuner(
            "BayesianOptimization", mlp, 50, turn, num_initial_points=10
        ),
        "Optuna at its best (TPE)": lambda turn: optuna_search(mlp, 50, turn, "TPESampler"),
        "tfopt": lambda turn: tfopt_search("BayesianOptimization", mlp, 50, turn, num_initial_points=10),
    },
    "hyperband": {
        "KerasTuner at its best": lambda turn: best_keras_tuner("Hyperband", mlp, None, turn, max_epochs=27),
        "tfopt": lambda turn: tfopt_search("Hyperband", mlp, None, turn, max_epochs=27),
    },
    "convolution": {
        "KerasTuner at its best": lambda turn: best_keras_tuner("RandomSearch", convolution, 5, turn),
        "Optuna at its best": lambda turn: optuna_search(convolution, 5, turn),
        "tfopt": lambda turn: tfopt_search("RandomSearch", convolution, 20, turn),
    },
    "lstm": {
        "KerasTuner at its best": lambda turn: best_keras_tuner("RandomSearch", recurrent, 5, turn),
        "Optuna at its best": lambda turn: optuna_search(recurrent, 5, turn),
        "tfopt": lambda turn: tfopt_search("RandomSearch", recurrent, 20, turn),
    },
}
TITLES = {
    "headline": "20 trials of a 64-64-10 network on digits, 20 epochs",
    "folds": "20 trials × 5 folds of a 64-1 network on diabetes, 40 epochs",
    "bayesian": "50 Bayesian trials of the 64-64-10 network",
    "hyperband": "Hyperband to 27 epochs, the 64-64-10 network",
    "convolution": "two convolutions on 8 × 8 digits, 20 epochs",
    "lstm": "LSTM on 8 × 8 digits, 20 epochs",
}


def resident_mb() -> float:
    """Return the process's resident memory."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


def one(case: str, contestant: str, turn: int) -> dict:
    """Run one contestant once, in this process."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        keras.ops.add(keras.ops.ones(2), 1)  # TensorFlow's own start is nobody's
        run = CASES[case][contestant](turn)
        before, started = resident_mb(), time.perf_counter()
        curves = run(folder)
        seconds = time.perf_counter() - started
    return {
        "case": case,
        "contestant": contestant,
        "turn": turn,
        "trials": len(curves),
        "seconds": round(seconds, 3),
        "memory_mb": round(resident_mb() - before, 1),
        "best_epoch": [round(max(curve), 5) for curve in curves],
        "last_epoch": [round(curve[-1], 5) for curve in curves] if any(len(curve) > 1 for curve in curves) else None,
    }


def run(cases: list[str], rounds: int, only: list[str]) -> None:
    """Run every contestant of these cases, a process each, in turn."""
    for case in cases:
        names = [name for name in CASES[case] if not only or name in only]
        kept = []
        for turn in range(1, rounds + 1):
            first = turn % len(names)
            for name in names[first:] + names[:first]:  # nobody always follows the same one
                command = [sys.executable, __file__, "one", case, name, "--turn", str(turn)]
                done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
                if done.returncode:
                    print(f"{case} {name}: failed\n{done.stderr[-2000:]}", file=sys.stderr, flush=True)
                    continue
                record = json.loads(done.stdout.splitlines()[-1])
                kept.append(record)
                print(f"{case} turn {turn} {name}: {record['seconds'] / record['trials']:.3f} s a trial", flush=True)
        keep("search", case, {"environment": environment(), "rounds": rounds, "runs": kept})


def table() -> str:
    """Return the tables of what was kept."""
    parts = []
    kept = json.loads((RESULTS / "search.json").read_text(encoding="utf-8"))
    for case, title in TITLES.items():
        if case not in kept:
            continue
        runs = kept[case]["runs"]
        seconds = {
            name: [r["seconds"] / r["trials"] for r in runs if r["contestant"] == name]
            for name in CASES[case]
            if any(r["contestant"] == name for r in runs)
        }
        base = np.median(seconds[next(name for name in seconds if "KerasTuner" in name)])
        rows = []
        for name, values in seconds.items():
            own = [r for r in runs if r["contestant"] == name]
            best = np.concatenate([r["best_epoch"] for r in own])
            last = np.concatenate([r["last_epoch"] or [np.nan] for r in own])
            rows.append(
                [
                    name,
                    f"{own[0]['trials']} × {len(own)}",
                    f"{np.median(values):.3f} ({min(values):.3f}–{max(values):.3f})",
                    f"{base / np.median(values):.1f}",
                    f"{best.mean():.3f}",
                    "" if np.isnan(last).any() else f"{last.mean():.3f}",
                ]
            )
        heading = ["", "trials × rounds", "seconds a trial (range)", "ratio", "score, best epoch", "last epoch"]
        parts.append(f"### {title}\n\n{markdown(heading, rows)}\n\n{describe(kept[case]['environment'])}\n")
    return "\n".join(parts)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    running = parts.add_parser("run")
    running.add_argument("case", choices=[*CASES, "all"])
    running.add_argument("--rounds", type=int, default=3)
    running.add_argument("--only", action="append", default=[], help="a contestant's name; may be given again")
    single = parts.add_parser("one")
    single.add_argument("case")
    single.add_argument("contestant")
    single.add_argument("--turn", type=int, default=1)
    parts.add_parser("table")
    arguments = parser.parse_args()
    if arguments.part == "one":
        print(json.dumps(one(arguments.case, arguments.contestant, arguments.turn)))
    elif arguments.part == "run":
        run(list(CASES) if arguments.case == "all" else [arguments.case], arguments.rounds, arguments.only)
    else:
        print(table())


if __name__ == "__main__":
    main()
