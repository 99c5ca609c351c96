"""Does decaying the learning rate help, and is the straight line to zero the decay to use?

The claims: the tutorials say that decay helps convergence, and show a fixed rate, exponential, linear and step decay;
Defazio et al. (2023, https://arxiv.org/abs/2310.07831) that linear decay is as good as or better than every other.
Three parts: the tutorials' own programs; a convex suite after Defazio's (multinomial logistic regression, schedules x
rates x seeds); and the tutorials' four on a network. A schedule's rate is always chosen on other seeds, or other rows,
than those that judge it.

What goes wrong in the usual programs: `keras.optimizers.schedules.LinearDecay` does not exist; step decay written as
`ExponentialDecay(decay_steps=<all steps>, staircase=True)` never steps; `optimizer.lr = schedule` changes nothing.

    python recipes/learning_rate_schedules.py                                     # two minutes on two cores
    python recipes/learning_rate_schedules.py --full                              # three times the seeds
    python recipes/learning_rate_schedules.py --data table.csv --target label     # the network's table
"""

import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the matrices are small: threads make them eleven times slower

import keras
import numpy as np
import tensorflow as tf
from matplotlib import pyplot as plt
from scipy.optimize import minimize
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import tfopt
from tfopt.report import house_style, recipe

arguments = recipe.arguments(__doc__, __file__, data="digits")
SETS = recipe.by_mode(arguments, smoke=["iris"], default=["iris", "wine", "breast_cancer", "digits"],
                      full=["iris", "wine", "breast_cancer", "digits"])  # fmt: skip
NOISE = 0.15  # share of labels replaced at random, so that no set is separable
EPOCHS = recipe.by_mode(arguments, smoke=3, default=20, full=20)
BATCH = 16
SEEDS = recipe.by_mode(arguments, smoke=4, default=16, full=48)
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
NETWORK = ["constant", "exponential", "linear", "step"]  # the tutorials' four
NETWORK_RATES = recipe.by_mode(arguments, smoke=[0.3], default=[0.03, 0.1, 0.3, 1.0], full=[0.03, 0.1, 0.3, 1.0])
NETWORK_SEEDS = recipe.by_mode(arguments, smoke=2, default=40, full=100)
NETWORK_EPOCHS, NETWORK_BATCH = recipe.by_mode(arguments, smoke=2, default=20, full=20), 32

keras.utils.set_random_seed(arguments.seed)
rng = np.random.default_rng(arguments.seed)
table = recipe.table(arguments, task="classification")

# 1. The tutorials' programs.
TUTORIAL_STEPS, kept = 1000, 0.1
exists = hasattr(keras.optimizers.schedules, "LinearDecay")
line = keras.optimizers.schedules.PolynomialDecay(
    kept, TUTORIAL_STEPS, end_learning_rate=0.0, power=1.0
)  # it is this one
away = max(abs(float(line(step)) - kept * (1 - step / TUTORIAL_STEPS)) for step in range(0, TUTORIAL_STEPS + 1, 100))
staircase = keras.optimizers.schedules.ExponentialDecay(kept, TUTORIAL_STEPS, 0.5, staircase=True)
stairs = len({float(staircase(step)) for step in range(TUTORIAL_STEPS)})
sgd = keras.optimizers.SGD(kept)
sgd.lr = tfopt.schedules.LinearDecay(kept, 10)  # what the tutorials write: an attribute that nobody reads
weight = keras.Variable(0.0)
for _ in range(10):
    sgd.apply([tf.constant(-1.0)], [weight])  # with a gradient of −1 the weight becomes the sum of the rates
went, expected = float(weight), float(np.sum(tfopt.schedules.LinearDecay(kept, 10).curve(10)))

# 2. The convex suite: all schedules x rates are columns of one weight matrix a seed, trained together.


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
names = list(SCHEDULES)
ranks = np.stack([table.argsort(axis=1).argsort(axis=1) + 1 for table in convex.values()])  # sets, seeds, schedules
rank_mean, rank_half = recipe.interval(ranks.mean(axis=0))
# How many times the linear decay's distance from the optimum: geometric mean over the sets, paired by seed.
ratio_log = np.stack([np.log(table / table[:, :1]) for table in convex.values()]).mean(axis=0)
ratio_mean, ratio_half = recipe.interval(ratio_log, comparisons=len(SCHEDULES) - 1)

# 3. The tutorials' four on a network. The peak is a variable in the schedule: one graph a schedule, whatever the rate.

x, y = table
classes, num_train = int(y.max()) + 1, min(800, len(x) // 2)
steps_per_epoch = num_train // NETWORK_BATCH
total = NETWORK_EPOCHS * steps_per_epoch
wrong = rng.random(len(y)) < NOISE
errors = np.empty((NETWORK_SEEDS, len(NETWORK)))
for place, name in enumerate(NETWORK):
    peak = keras.Variable(0.1, trainable=False)
    schedule = tfopt.schedules.from_name(name, peak, total)
    model = keras.Sequential([keras.Input((x.shape[1],)), keras.layers.Dense(64, "relu"), keras.layers.Dense(classes)])
    model.compile(
        keras.optimizers.SGD(schedule),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=total,
        jit_compile=False,
    )
    for seed in range(arguments.seed, arguments.seed + NETWORK_SEEDS):
        noisy = np.where(wrong, np.random.default_rng(seed).integers(0, classes, len(y)), y)
        train, rest = train_test_split(np.arange(len(y)), train_size=num_train, random_state=seed, stratify=y)
        valid, test = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        scaled = StandardScaler().fit(x[train].astype("float64")).transform(x).astype("float32")
        rows = tf.data.Dataset.from_tensor_slices((scaled[train], noisy[train])).shuffle(num_train, seed=seed)
        batches = rows.batch(NETWORK_BATCH, drop_remainder=True).repeat(NETWORK_EPOCHS)
        starts = [
            keras.initializers.GlorotUniform(seed)(w.shape) if w.ndim == 2 else 0 * w for w in model.get_weights()
        ]
        scores = []
        for rate in NETWORK_RATES:
            peak.assign(rate)
            model.set_weights(starts)
            model.optimizer.iterations.assign(0)
            model.fit(batches, verbose=0, shuffle=False)
            predicted = np.asarray(model(scaled)).argmax(1)
            scores.append([np.mean(predicted[part] != y[part]) for part in (valid, test)])
        errors[seed - arguments.seed, place] = 100 * min(scores)[1]  # chosen on validation rows, judged on test rows
error_mean, error_half = recipe.interval(errors)
gains = errors[:, :1] - errors  # over the fixed rate, paired by seed
gain_mean, gain_half = recipe.interval(gains, comparisons=len(NETWORK) - 1)

# 4. Table, verdicts, picture.

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
print(f"\nNetwork on {arguments.data} with {NOISE:.0%} wrong labels: test error in %, gain, {NETWORK_SEEDS} seeds")
for i, name in enumerate(NETWORK):
    gain = f"{gain_mean[i]:+.2f} ± {gain_half[i]:.2f}" if i else ""
    print(f"{name:<22}{error_mean[i]:>9.2f} ± {error_half[i]:.2f}{gain:>24}")

fixed = names.index("constant")
separate = [recipe.judge(ratio_log[:, i], comparisons=len(names) - 1) for i in range(1, len(names))]
ratios = {name: np.exp([middle - half, middle, middle + half])
          for name, middle, half in zip(names, ratio_mean, ratio_half, strict=True)}  # fmt: skip
open_to = [name for name, verdict in zip(names[1:], separate, strict=True) if verdict != recipe.HOLDS]
low, middle, high = ratios["constant"]
seeds = f"{SEEDS} seeds, {len(SETS)} sets"


def on_network(name: str) -> tuple[str, str, str]:
    i = NETWORK.index(name)
    numbers = [f"{error_mean[place]:.1f} ± {error_half[place]:.1f} %" for place in (i, 0)]
    return (
        f"On a network with wrong labels {name} decay makes fewer errors than a fixed rate.",
        recipe.judge(gains[:, i], comparisons=len(NETWORK) - 1),
        f"{numbers[0]} against {numbers[1]}, gain {gain_mean[i]:+.2f} ± {gain_half[i]:.2f}, {NETWORK_SEEDS} seeds",
    )


claims = {
    "schedules-linear-beats-fixed": (
        "On convex problems linear decay ends nearer to the optimum than a fixed rate.",
        separate[fixed - 1],
        f"the fixed rate ends {middle:.2f} times [{low:.2f}, {high:.2f}] as far from it, {seeds}",
    ),
    "schedules-linear-beats-all": (
        "On convex problems linear decay ends nearer to the optimum than every other schedule.",
        recipe.all_of(*separate),
        f"nearer than {len(names) - 1 - len(open_to)} of {len(names) - 1}"
        + "".join(
            f", not than {name} ({ratios[name][1]:.2f} [{ratios[name][0]:.2f}, {ratios[name][2]:.2f}])"
            for name in open_to
        )
        + f", {seeds}",
    ),
    "schedules-network-exponential": on_network("exponential"),
    "schedules-network-linear": on_network("linear"),
    "schedules-network-step": on_network("step"),
    "schedules-keras-has-linear-decay": (
        "Keras has `schedules.LinearDecay`.",
        recipe.fact(exists),
        f"AttributeError in Keras {keras.__version__}; `PolynomialDecay(power=1)` is the line, within {away:.0e}",
    ),
    "schedules-staircase-of-all-steps": (
        "`ExponentialDecay(decay_steps=total_steps, staircase=True)` is a step decay.",
        recipe.fact(stairs > 1),
        f"{stairs} rate in {TUTORIAL_STEPS} steps; `tfopt.schedules.StepDecay` has as many as it is told",
    ),
    "schedules-optimizer-lr": (
        "`optimizer.lr = schedule` sets the schedule.",
        recipe.fact(np.isclose(went, expected)),
        f"10 steps add up to {went:.2f} and not to the schedule's {expected:.2f}",
    ),
}

with house_style():
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", width_ratios=[3, 2])
    rows = np.arange(len(names))
    axes[0].errorbar(rank_mean[order], rows, xerr=rank_half[order], fmt="o", color="#0072b2", capsize=3)
    axes[0].set_yticks(rows, [names[i] for i in order])
    axes[0].set(xlabel="mean rank of the final training loss (1 is best)", title=f"convex suite, {len(SETS)} sets")
    axes[1].errorbar(error_mean, np.arange(4), xerr=error_half, fmt="o", color="#d55e00", capsize=3)
    axes[1].set_yticks(np.arange(4), NETWORK)
    axes[1].set(xlabel="test error (%)", title=f"network on {Path(arguments.data).name}")
    for ax in axes:
        ax.invert_yaxis()
        ax.grid(axis="x", alpha=0.3)

results = {
    "schedules": names,
    "mean_rank": rank_mean,
    "mean_rank_half_interval": rank_half,
    "distance_over_linear": ratios,
    "distance": {name: table.mean(axis=0) for name, table in convex.items()},
    "best_rate_at_edge": at_edge,
    "network_test_error": {name: errors[:, i] for i, name in enumerate(NETWORK)},
}
recipe.finish(arguments, claims, results, figure)
