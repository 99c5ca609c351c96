"""Does decaying the learning rate help, and is the straight line to zero the decay to use?

    python recipes/learning_rate_schedules.py            two minutes on two cores
    python recipes/learning_rate_schedules.py --smoke    fifteen seconds, for the tests

The claims: textbooks say that decay helps convergence, and show a fixed rate, exponential, linear and step decay;
Defazio et al. (2023, https://arxiv.org/abs/2310.07831) that linear decay is as good as or better than every other.
Two tests: a convex suite after theirs (multinomial logistic regression, schedules x rates x seeds) and the textbooks'
four on a network. A schedule's rate is always chosen on other seeds, or other rows, than those that judge it.

What goes wrong with the usual program: `keras.optimizers.schedules.LinearDecay` does not exist; step decay written as
`ExponentialDecay(decay_steps=<all steps>, staircase=True)` never steps; `optimizer.lr = schedule` changes nothing.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the matrices are small: threads make them eleven times slower

import keras
import matplotlib
import numpy as np
from scipy.optimize import minimize
from scipy.stats import t as student
from sklearn import datasets
from sklearn.model_selection import train_test_split

import tfopt

matplotlib.use("Agg")
from matplotlib import pyplot as plt

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--smoke", action="store_true", help="a few steps only, for the tests")
parser.add_argument("--full", action="store_true", help="three times the seeds")
parser.add_argument("--out", type=Path, default=Path("runs/learning_rate_schedules"), help="folder of the results")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

SETS = ["iris", "wine", "breast_cancer", "digits"] if not options.smoke else ["iris"]
NOISE = 0.15  # share of labels replaced at random, so that no set is separable
EPOCHS = 20 if not options.smoke else 3
BATCH = 16
SEEDS = 16 if not options.full else 48
if options.smoke:
    SEEDS = 4
RATES = np.logspace(-3, 2, 11)  # half decades
SCHEDULES = {  # name: arguments of tfopt.schedules.from_name
    "linear": {},
    "cosine": {},
    "rex": {},
    "warmup_stable_decay": {"cooldown_shape": "1-sqrt"},
    "one_cycle": {},
    "exponential": {},
    "step": {},
    "inverse_square_root": {},
    "inverse_time": {},
    "constant": {},
}
NETWORK = ["constant", "exponential", "linear", "step"]  # the textbooks' four
NETWORK_RATES = [0.03, 0.1, 0.3, 1.0] if not options.smoke else [0.3]
NETWORK_SEEDS = SEEDS // 2
NETWORK_EPOCHS = 20 if not options.smoke else 2

started = time.perf_counter()
keras.utils.set_random_seed(options.seed)
rng = np.random.default_rng(options.seed)


def interval(values, comparisons=1):
    """Mean and half of its 95 % interval over the first axis (Student's t; Bonferroni for several comparisons)."""
    values = np.asarray(values, dtype=float)
    half = student.ppf(1 - 0.025 / comparisons, len(values) - 1) * values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return values.mean(axis=0), half


# 1. The convex suite: all schedules x rates are columns of one weight matrix a seed, trained together.


def noisy_set(name):
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)
    wrong = rng.random(len(y)) < NOISE
    y = np.where(wrong, rng.integers(0, y.max() + 1, len(y)), y)
    return np.hstack([x, np.ones((len(x), 1))]).astype("float32"), np.eye(y.max() + 1, dtype="float32")[y]


def losses(x, targets, weights):
    """Mean cross-entropy of each of many models; `weights` is (models, features, classes)."""
    logits = x @ weights
    highest = logits.max(-1, keepdims=True)
    normaliser = highest[..., 0] + np.log(np.exp(logits - highest).sum(-1))
    return (normaliser - (logits * targets).sum(-1)).mean(-1)


def optimum(x, targets):
    """The lowest loss that exists, by L-BFGS in float64."""
    x, targets = x.astype("float64"), targets.astype("float64")
    shape = (x.shape[1], targets.shape[1])

    def loss_and_gradient(flat):
        logits = x @ flat.reshape(shape)
        logits = logits - logits.max(1, keepdims=True)
        normaliser = np.log(np.exp(logits).sum(1))
        error = np.exp(logits - normaliser[:, None]) - targets
        return (normaliser - (logits * targets).sum(1)).mean(), (x.T @ error / len(x)).ravel()

    found = minimize(loss_and_gradient, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B",
                     options={"maxiter": 20000, "maxfun": 40000, "ftol": 1e-14, "gtol": 1e-8})  # fmt: skip
    return found.fun


def suboptimality(name):
    """Loss above the optimum at the end of training: (seeds, schedules, rates)."""
    x, targets = noisy_set(name)
    count, features = x.shape
    classes = targets.shape[1]
    steps_per_epoch = -(-count // BATCH)
    total = EPOCHS * steps_per_epoch
    curves = np.stack([tfopt.schedules.from_name(s, 1.0, total, **a).curve(total) for s, a in SCHEDULES.items()])
    rates = (curves[:, None, :] * RATES[:, None]).astype("float32")  # schedules, rates, steps
    models = rates.shape[0] * rates.shape[1]
    per_step = np.tile(rates.reshape(models, total).T, classes)  # steps, classes x models
    orders = [np.random.default_rng(1000 + seed) for seed in range(SEEDS)]
    weights = np.zeros((SEEDS, features, classes * models), "float32")
    step = 0
    for _ in range(EPOCHS):
        shuffled = np.stack([order.permutation(count) for order in orders])
        for start in range(0, count, BATCH):
            rows = shuffled[:, start : start + BATCH]
            bx, by = x[rows], targets[rows]
            # Classes before models in memory, so that sums over classes run along whole rows of models.
            error = (bx @ weights).reshape(SEEDS, rows.shape[1], classes, models)
            np.exp(np.clip(error, -60, 60, out=error), out=error)
            error /= error.sum(axis=2, keepdims=True)
            error -= by[..., None]
            error *= 1 / rows.shape[1]
            gradient = bx.transpose(0, 2, 1) @ error.reshape(SEEDS, rows.shape[1], classes * models)
            gradient *= per_step[step]
            weights -= gradient
            step += 1
    ends = np.empty((SEEDS, models))
    for seed in range(SEEDS):
        per_model = weights[seed].reshape(features, classes, models).transpose(2, 0, 1)
        for first in range(0, models, 10):
            ends[seed, first : first + 10] = losses(x, targets, per_model[first : first + 10])
    return ends.reshape(SEEDS, *rates.shape[:2]) - optimum(x, targets)


def judged_on_other_seeds(table):
    """Judge each half of the seeds at the rate that is best on the other half: (seeds, schedules), and the rates."""
    table = np.nan_to_num(table, nan=np.inf)
    halves = np.arange(SEEDS) % 2
    judged, chosen = np.empty(table.shape[:2]), []
    for half in (0, 1):
        best = table[halves != half].mean(axis=0).argmin(axis=-1)
        chosen.append(best)
        for schedule, rate in enumerate(best):
            judged[halves == half, schedule] = table[halves == half, schedule, rate]
    return judged, np.array(chosen)


convex, at_edge = {}, []
for name in SETS:
    convex[name], chosen = judged_on_other_seeds(suboptimality(name))
    edges = np.isin(chosen, (0, len(RATES) - 1)).any(axis=0)
    at_edge += [f"{schedule} on {name}" for schedule, edge in zip(SCHEDULES, edges, strict=True) if edge]
    print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
names = list(SCHEDULES)
ranks = np.stack([table.argsort(axis=1).argsort(axis=1) + 1 for table in convex.values()])  # sets, seeds, schedules
rank_mean, rank_half = interval(ranks.mean(axis=0))
# How many times the linear decay's distance from the optimum: geometric mean over the sets, paired by seed.
ratio_log = np.stack([np.log(table / table[:, :1]) for table in convex.values()]).mean(axis=0)
ratio_mean, ratio_half = interval(ratio_log, comparisons=len(SCHEDULES) - 1)

# 2. The textbooks' four on a network. The peak is a variable in the schedule: one graph a schedule, whatever the rate.

x, y = datasets.load_digits(return_X_y=True)
x = (x / 16).astype("float32")
wrong = rng.random(len(y)) < NOISE
errors = np.empty((NETWORK_SEEDS, len(NETWORK)))
steps_per_epoch = 25  # 800 rows in batches of 32
for place, name in enumerate(NETWORK):
    peak = keras.Variable(0.1, trainable=False)
    schedule = tfopt.schedules.from_name(name, peak, NETWORK_EPOCHS * steps_per_epoch)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)])
    model.compile(
        keras.optimizers.SGD(schedule),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=steps_per_epoch,
    )
    for seed in range(NETWORK_SEEDS):
        noisy = np.where(wrong, np.random.default_rng(seed).integers(0, 10, len(y)), y)
        train, rest = train_test_split(np.arange(len(y)), train_size=800, random_state=seed, stratify=y)
        valid, test = rest[:400], rest[400:]
        starts = [
            keras.initializers.GlorotUniform(seed)(w.shape) if w.ndim == 2 else 0 * w for w in model.get_weights()
        ]
        scores = []
        for rate in NETWORK_RATES:
            peak.assign(rate)
            model.set_weights(starts)
            model.optimizer.iterations.assign(0)
            keras.utils.set_random_seed(seed)  # the order of the batches
            model.fit(x[train], noisy[train], batch_size=32, epochs=NETWORK_EPOCHS, verbose=0)
            predicted = np.asarray(model(x)).argmax(1)
            scores.append([np.mean(predicted[rows] != y[rows]) for rows in (valid, test)])
        errors[seed, place] = min(scores)[1]  # chosen on the validation rows, judged on the test rows
    print(f"network, {name}: {time.perf_counter() - started:.0f} s", flush=True)
error_mean, error_half = interval(100 * errors)
gain_mean, gain_half = interval(
    100 * (errors[:, :1] - errors), comparisons=len(NETWORK) - 1
)  # over the fixed rate, paired by seed

# 3. Table, picture, verdict.

seconds = time.perf_counter() - started
print(
    f"\nConvex suite: {len(SETS)} sets, {SEEDS} seeds, {len(RATES)} rates, {EPOCHS} epochs; 95 % intervals over seeds,"
)
print("those against linear for all comparisons together")
print(f"{'schedule':<22}{'mean rank':>16}{'distance / linear':>24}   " + "  ".join(f"{name:>13}" for name in SETS))
order = rank_mean.argsort()
for i in order:
    low, middle, high = np.exp([ratio_mean[i] - ratio_half[i], ratio_mean[i], ratio_mean[i] + ratio_half[i]])
    cells = "  ".join(f"{convex[name][:, i].mean():13.5f}" for name in SETS)
    ratio = f"{middle:.2f} [{low:.2f}, {high:.2f}]" if i else "1"
    print(f"{names[i]:<22}{rank_mean[i]:>9.2f} ± {rank_half[i]:.2f}{ratio:>24}   {cells}")
if at_edge:
    print(f"best rate at an end of the grid: {', '.join(at_edge)}")
print(f"\nNetwork on digits with {NOISE:.0%} wrong labels: test error in %, gain over fixed, {NETWORK_SEEDS} seeds")
for i, name in enumerate(NETWORK):
    gain = f"{gain_mean[i]:+.2f} ± {gain_half[i]:.2f}" if i else ""
    print(f"{name:<22}{error_mean[i]:>9.2f} ± {error_half[i]:.2f}{gain:>24}")

worse = [ratio_mean[i] - ratio_half[i] > 0 for i in range(1, len(names))]
better = [ratio_mean[i] + ratio_half[i] < 0 for i in range(1, len(names))]


def answer(holds, fails):
    return "holds" if holds else "does not hold" if fails else "can't be told here"


fixed = names.index("constant") - 1
verdicts = {
    "on the convex suite linear decay is better than a fixed rate": answer(worse[fixed], better[fixed]),
    "on the convex suite linear decay is better than every other schedule": answer(all(worse), any(better)),
}
for i, name in enumerate(NETWORK[1:], start=1):
    verdicts[f"on a network {name} decay makes fewer errors than a fixed rate"] = answer(
        gain_mean[i] - gain_half[i] > 0, gain_mean[i] + gain_half[i] < 0
    )
print()
for claim, verdict in verdicts.items():
    print(f"{verdict}: {claim}")
not_separated = [name for name, one, other in zip(names[1:], worse, better, strict=True) if not one and not other]
if not_separated:
    print(f"(not to be told from linear here: {', '.join(not_separated)})")

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", width_ratios=[3, 2])
rows = np.arange(len(names))
axes[0].errorbar(rank_mean[order], rows, xerr=rank_half[order], fmt="o", color="#0072B2", capsize=3)
axes[0].set_yticks(rows, [names[i] for i in order])
axes[0].set(xlabel="mean rank of the final training loss (1 is best)", title=f"convex suite, {len(SETS)} sets")
axes[1].errorbar(error_mean, np.arange(4), xerr=error_half, fmt="o", color="#D55E00", capsize=3)
axes[1].set_yticks(np.arange(4), NETWORK)
axes[1].set(xlabel="test error in %", title="network on digits")
for ax in axes:
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="x", alpha=0.3)
options.out.mkdir(parents=True, exist_ok=True)
with matplotlib.rc_context({"svg.hashsalt": "tfopt"}):
    figure.savefig(options.out / "learning_rate_schedules.svg", metadata={"Date": None})
result = {
    "seconds": round(seconds, 1),
    "seeds": SEEDS,
    "schedules": names,
    "mean_rank": rank_mean.round(3).tolist(),
    "mean_rank_half_interval": rank_half.round(3).tolist(),
    "distance_over_linear": np.exp(ratio_mean).round(4).tolist(),
    "distance_over_linear_low": np.exp(ratio_mean - ratio_half).round(4).tolist(),
    "distance_over_linear_high": np.exp(ratio_mean + ratio_half).round(4).tolist(),
    "distance": {name: table.mean(axis=0).round(6).tolist() for name, table in convex.items()},
    "best_rate_at_edge": at_edge,
    "network": {
        name: {"test_error": round(float(error_mean[i]), 3), "half_interval": round(float(error_half[i]), 3)}
        for i, name in enumerate(NETWORK)
    },
    "verdicts": verdicts,
}
(options.out / "learning_rate_schedules.json").write_text(json.dumps(result, indent=2) + "\n")
print(f"\n{seconds:.0f} s; results in {options.out}")
