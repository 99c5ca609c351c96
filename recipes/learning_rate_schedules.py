"""Does decaying the learning rate help, and is the straight line to zero the decay to use?

Defazio et al. (2023, https://arxiv.org/abs/2310.07831) say that linear decay is as good as or better than every other.
Three parts: the tutorials' own programs; a convex suite after Defazio's (multinomial logistic regression, schedules x
rates x seeds); and the tutorials' four schedules on a network. A schedule's rate is always chosen on other seeds, or
other rows, than those that judge it.

What goes wrong in the usual programs: `keras.optimizers.schedules.LinearDecay` does not exist; step decay written as
`ExponentialDecay(decay_steps=<all steps>, staircase=True)` never steps; `optimizer.lr = schedule` changes nothing.

So: decay the learning rate to zero, linearly or by a cosine, and tune its peak; the shape matters less than that it
decays and than the peak does.

Claims:
    schedules-linear-beats-fixed: On convex problems linear decay ends nearer to the optimum than a fixed rate
    schedules-linear-beats-all: On convex problems linear decay ends nearer to the optimum than every other schedule
    schedules-keras-has-linear-decay: Keras has `schedules.LinearDecay`
    schedules-staircase-of-all-steps: `ExponentialDecay(decay_steps=total_steps, staircase=True)` is a step decay
    schedules-optimizer-lr: `optimizer.lr = schedule` sets the schedule
    schedules-network-exponential: On a network with wrong labels exponential decay makes fewer errors than a fixed
        rate
    schedules-network-linear: On a network with wrong labels linear decay makes fewer errors than a fixed rate
    schedules-network-step: On a network with wrong labels step decay makes fewer errors than a fixed rate

    python recipes/learning_rate_schedules.py                                     # two minutes on two cores
    python recipes/learning_rate_schedules.py --data table.csv --target label     # the network's table
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the matrices are small: threads make them eleven times slower

import keras
import numpy as np
import tensorflow as tf
from sklearn import datasets
from sklearn.linear_model import LogisticRegression

import tfopt
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__, data="digits")
SETS = recipe.by_mode(arguments, smoke=["iris"], default=["iris", "wine", "breast_cancer", "digits"])
NOISE = 0.15  # share of labels replaced at random, so that no set is separable
EPOCHS = recipe.by_mode(arguments, smoke=3, default=20)
BATCH = 16
SEEDS = recipe.seeds(arguments, smoke=4, default=10)
RATES = np.logspace(-3, 2, 11)  # half decades
SCHEDULES = ["linear", "cosine", "rex", "warmup_stable_decay", "one_cycle", "exponential", "step"]
SCHEDULES += ["inverse_square_root", "inverse_time", "constant"]
NETWORK = ["constant", "exponential", "linear", "step"]  # the tutorials' four
NETWORK_RATES = recipe.by_mode(arguments, smoke=[0.3], default=[0.03, 0.1, 0.3, 1.0])
NETWORK_SEEDS = recipe.seeds(arguments, smoke=2, default=12)  # their splits share rows
NETWORK_EPOCHS, NETWORK_BATCH = recipe.by_mode(arguments, smoke=2, default=20), 32

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
    """Standardised features, and targets for each seed with wrong labels of its own."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)
    targets = []
    for seed in SEEDS:
        rng = np.random.default_rng([seed, 1])
        noisy = np.where(rng.random(len(y)) < NOISE, rng.integers(0, y.max() + 1, len(y)), y)
        targets.append(np.eye(y.max() + 1, dtype="float32")[noisy])
    return np.hstack([x, np.ones((len(x), 1))]).astype("float32"), np.stack(targets)


def optimum(x, targets):
    """The lowest loss that exists."""
    solver = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-8, max_iter=20_000)
    found = solver.fit(x.astype("float64"), targets.argmax(axis=1))
    return recipe.loss_and_error(found.predict_log_proba(x), targets)[0]


def suboptimality(name):
    """Loss above the optimum at the end of training: (seeds, schedules, rates)."""
    x, targets = noisy_set(name)
    count, features = x.shape
    classes = targets.shape[2]
    steps_per_epoch = -(-count // BATCH)
    total = EPOCHS * steps_per_epoch
    shapes = {"warmup_stable_decay": {"cooldown_shape": "1-sqrt"}}
    curves = np.stack([tfopt.schedules.from_name(s, 1.0, total, **shapes.get(s, {})).curve(total) for s in SCHEDULES])
    rates = (curves[:, None, :] * RATES[:, None]).astype("float32")  # schedules, rates, steps
    models = rates.shape[0] * rates.shape[1]
    per_step = np.tile(rates.reshape(models, total).T, classes)  # steps, classes x models
    orders = [np.random.default_rng(seed) for seed in SEEDS]
    weights = np.zeros((len(SEEDS), features, classes * models), "float32")
    step = 0
    for _ in range(EPOCHS):
        shuffled = np.stack([order.permutation(count) for order in orders])
        for start in range(0, count, BATCH):
            rows = shuffled[:, start : start + BATCH]
            bx, by = x[rows], np.take_along_axis(targets, rows[..., None], axis=1)
            # Classes before models in memory, so that sums over classes run along whole rows of models.
            error = (bx @ weights).reshape(len(SEEDS), rows.shape[1], classes, models)
            np.exp(np.clip(error, -60, 60, out=error), out=error)
            error /= error.sum(axis=2, keepdims=True)
            error -= by[..., None]
            error *= 1 / rows.shape[1]
            gradient = bx.transpose(0, 2, 1) @ error.reshape(len(SEEDS), rows.shape[1], classes * models)
            gradient *= per_step[step]
            weights -= gradient
            step += 1
    kernels = np.moveaxis(weights.reshape(len(SEEDS), features, classes, models), -1, 1)
    ends = [[recipe.loss_and_error(x @ one, own)[0] for one in row] for row, own in zip(kernels, targets, strict=True)]
    lowest = np.array([optimum(x, own) for own in targets])
    return np.reshape(ends, (len(SEEDS), *rates.shape[:2])) - lowest[:, None, None]


def judged_on_other_seeds(distances):
    """Each seed at the rate that is best for the others: (seeds, schedules)."""
    distances = np.nan_to_num(distances, nan=1e3).clip(max=1e3).T  # rates, schedules, seeds
    chosen = [recipe.by_the_others(own) for own in distances.swapaxes(0, 1)]
    return np.take_along_axis(distances, np.array(chosen)[None], axis=0)[0].T


convex = {name: judged_on_other_seeds(suboptimality(name)) for name in recipe.steps(SETS, "convex sets")}
ranks = np.stack([table.argsort(axis=1).argsort(axis=1) + 1 for table in convex.values()])  # sets, seeds, schedules
rank_mean, rank_half = recipe.interval(ranks.mean(axis=0))
# How many times the linear decay's distance from the optimum: geometric mean over the sets, paired by seed.
ratio_log = np.stack([np.log(table / table[:, :1]) for table in convex.values()]).mean(axis=0)
ratio_mean, ratio_half = recipe.interval(ratio_log)

# 3. The tutorials' four on a network, as members of one population; the rate is chosen on validation rows.
x, y = table
classes = int(y.max()) + 1
samples = recipe.samples(x, y, NETWORK_SEEDS, train=0.64, valid=0.16, wrong=NOISE, shared=True)
shared = samples[0].test_to_train
total = NETWORK_EPOCHS * -(-len(samples[0].y["train"]) // NETWORK_BATCH)


def network(hp):
    hidden = keras.layers.Dense(64, "relu")
    model = keras.Sequential([keras.Input((x.shape[1],)), hidden, keras.layers.Dense(classes)])
    schedule = tfopt.schedules.from_name(hp["schedule"], hp["learning_rate"], total)
    model.compile(keras.optimizers.SGD(schedule), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


arms = {name: [{"schedule": name, "learning_rate": rate} for rate in NETWORK_RATES] for name in NETWORK}
scores = recipe.best_of(network, arms, samples, epochs=NETWORK_EPOCHS, batch_size=NETWORK_BATCH)
errors = {name: own["test error"] for name, own in scores.items()}

# 4. Table, verdicts, picture.

order = rank_mean.argsort()
low, middle, high = np.exp([ratio_mean - ratio_half, ratio_mean, ratio_mean + ratio_half])
rows = {}
for i in order:
    ratio = f"{middle[i]:.2f} [{low[i]:.2f}, {high[i]:.2f}]" if i else "1"
    rows[SCHEDULES[i]] = [ranks.mean(axis=0)[:, i], ratio, *(f"{convex[name][:, i].mean():.5f}" for name in SETS)]
title = f"Convex suite: {len(SETS)} sets, {len(SEEDS)} seeds, {len(RATES)} rates: distance from the optimum"
recipe.show(title, ["mean rank|.2f", "over linear's", *SETS], rows)
title = f"Network with {NOISE:.0%} wrong labels, {len(NETWORK_SEEDS)} seeds"
recipe.show(title, ["test error %|.2f"], {name: [values] for name, values in errors.items()}, shared)


def nearer(i):
    """Evidence that linear decay ends nearer to the optimum than schedule i."""
    form = "log of the distance over linear's: {}, {} seeds"
    return recipe.above(ratio_log[:, i], 0.0, form, spec=".2f")


def fewer(name):
    """Evidence that decay makes fewer errors than a fixed rate."""
    return recipe.less(errors[name], errors["constant"], "test error (%)", ".2f", test_to_train=shared)


closest = min(range(1, len(SCHEDULES)), key=lambda i: ratio_mean[i])
each = recipe.all_of(*(nearer(i) for i in range(1, len(SCHEDULES))))
form = "nearest to it comes {}, log of its distance over linear's {}; {} seeds"
shown = [SCHEDULES[closest], f"{ratio_mean[closest]:.2f} ± {ratio_half[closest]:.2f}", str(len(SEEDS))]
claims = {
    "schedules-linear-beats-fixed": nearer(SCHEDULES.index("constant")),
    "schedules-linear-beats-all": recipe.ClaimTest([(form, shown)], each.not_so, each.so),
    "schedules-network-exponential": fewer("exponential"),
    "schedules-network-linear": fewer("linear"),
    "schedules-network-step": fewer("step"),
    "schedules-keras-has-linear-decay": recipe.fact(
        exists,
        "AttributeError in Keras {}; `PolynomialDecay(power=1)` is the line, within {}",
        keras.__version__,
        f"{away:.0e}",
    ),
    "schedules-staircase-of-all-steps": recipe.fact(
        stairs > 1, "{} rate in {} steps; `tfopt.schedules.StepDecay` has as many as it is told", stairs, TUTORIAL_STEPS
    ),
    "schedules-optimizer-lr": recipe.fact(
        np.isclose(went, expected),
        "10 steps add up to {} and not to the schedule's {}",
        f"{went:.2f}",
        f"{expected:.2f}",
    ),
}

with recipe.panels(2, width=5.5) as (figure, (left, right)):
    rows = {SCHEDULES[i]: ranks.mean(axis=0)[:, i] for i in order}
    recipe.dots(left, rows, "Schedules on convex problems", "mean rank of the final training loss (1 is best)")
    recipe.dots(right, errors, "Schedules of a network", "test error (%)", recipe.COLOURS[1], test_to_train=shared)

results = {
    "mean_rank": dict(zip(SCHEDULES, rank_mean, strict=True)),
    "log_distance_over_linear": dict(zip(SCHEDULES, ratio_log.T, strict=True)),
    "distance": {name: table.mean(axis=0) for name, table in convex.items()},
    "network_test_error": errors,
}
recipe.finish(arguments, claims, results, figure)
