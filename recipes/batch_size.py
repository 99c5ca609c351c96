"""Full batch, single samples or mini-batches: which is fastest, which is steadiest, which generalises best?

One network is trained on digits with batches of 1, 8, 32, 128 and all rows by plain gradient descent, until the loss
on all its training rows is at 0.05; every batch size tries the same learning rates, a factor 2 apart.

Fair: a seed (weights, rows, order) is reported at the rate that was best (fewest epochs) for the other seeds; a rate
that does not get there counts with the most epochs allowed. Generalisation is compared at the same training loss, not
after the same epochs, in which a large batch has simply done less. What goes wrong with the usual comparison is just
that: one rate and one number of epochs for all batch sizes; its numbers are printed too. Seconds are given twice: in
`model.fit`, where every update also costs Python's time, and with the whole epoch compiled into one XLA loop.

So: take batches of 32 or so, and more where the machine has many cores; whenever the batch changes, tune the learning
rate again.

Claims:
    batch-mini-fastest: Mini-batches reach the loss in fewer seconds of model.fit than single samples and than the
        full batch
    batch-mini-fastest-compiled: They do so too when the whole epoch is one compiled loop
    batch-larger-epoch-faster: The larger the batch, the faster an epoch of model.fit: single samples, mini-batches,
        full batch
    batch-single-fewest-epochs: Single samples need the fewest epochs
    batch-full-steadiest: The full batch is the steadiest: the fewest updates raise the training loss (%)
    batch-single-noisiest: Single samples have the noisiest gradients: variance over the square of the gradient
    batch-single-unsteadiest: Single samples are the least steady: the most updates raise the training loss (%)
    batch-larger-generalises-worse: Larger batches generalise worse: test error (%) at the same training loss
    batch-usual-comparison: Larger batches have the higher test error (%) at one rate and after the same number of
        epochs
    batch-rate-grows: The best learning rate grows with the batch size
    batch-rate-linear: It grows by the linear rule: a power from 0.75 to 1.25
    batch-rate-square-root: It grows by the square root: a power from 0.25 to 0.75

    python recipes/batch_size.py                                      # about a minute on two cores
    python recipes/batch_size.py --data table.csv --target label      # a classification table of your own
"""

import time

import keras
import numpy as np
import tensorflow as tf

from tfopt import initializers
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__, data="digits")
SEEDS = recipe.seeds(arguments, smoke=2, default=7)
RATES = 2.0 ** np.arange(*recipe.by_mode(arguments, smoke=(-6, 1, 2), default=(-10, 3)))
TARGET = recipe.by_mode(arguments, smoke=1.0, default=0.05)  # training loss, nats
UPDATES = recipe.by_mode(arguments, smoke=64, default=400)  # at most, for the full batch
EPOCHS = recipe.by_mode(arguments, smoke=1, default=10)  # at most, for single samples; between: between
WATCHED = recipe.by_mode(arguments, smoke=4, default=64)  # updates after each of which the loss is looked at
ROUNDS = 6  # of timing an epoch with each batch size in turn; the first traces
USUAL_RATE, USUAL_EPOCHS = 2.0**-4, EPOCHS  # of the usual comparison

x, y = recipe.table(arguments, task="classification")
ROWS = 2 ** int(np.log2(recipe.by_mode(arguments, smoke=0.15, default=0.75) * len(x)))  # of training
samples = recipe.samples(x, y, SEEDS, train=(ROWS + 0.5) / len(x), valid=0.05, shared=True)
BATCHES = sorted({1, min(8, ROWS), min(32, ROWS), min(128, ROWS), ROWS})
SINGLE, MINI, FULL = BATCHES[0], BATCHES[len(BATCHES) // 2], BATCHES[-1]
NAMES = {SINGLE: "single samples", MINI: "mini-batches", FULL: "the full batch"}
SHARED = samples[0].test_to_train  # the seeds share rows: the intervals are widened
LIMIT = {b: int(EPOCHS * (UPDATES / EPOCHS) ** (np.log(b) / np.log(ROWS))) for b in BATCHES}

hidden, output = keras.layers.Dense(32, "relu"), keras.layers.Dense(int(y.max()) + 1)
model = keras.Sequential([keras.Input((x.shape[1],)), hidden, output])
descent = recipe.Descent(model, initializers.He)

# Every batch size, rate and seed. The rate of a seed is the best of the other seeds.
needed = np.empty((len(BATCHES), len(RATES), len(SEEDS)))
errors, curves = np.empty_like(needed), {}
for i, batch in enumerate(BATCHES):
    for k, sample in enumerate(recipe.steps(samples, f"seeds, batches of {batch}")):
        for j, rate in enumerate(RATES):
            curves[i, j, k], _, errors[i, j, k] = descent.train(sample, batch, rate, LIMIT[batch], TARGET)
            needed[i, j, k] = recipe.epochs_needed(curves[i, j, k], TARGET, LIMIT[batch])
chosen, every = np.array([recipe.by_the_others(own) for own in needed]), np.arange(len(SEEDS))
epochs = {b: needed[i, chosen[i], every] for i, b in enumerate(BATCHES)}
error = {b: 100 * errors[i, chosen[i], every] for i, b in enumerate(BATCHES)}
own = np.log2(RATES[needed.argmin(axis=1)])  # each seed's own best: how rate and batch size go together
slopes = np.array([np.polyfit(np.log2(BATCHES), own[:, k], 1)[0] for k in every])
usual = {b: [100 * descent.train(sample, b, USUAL_RATE, USUAL_EPOCHS)[2] for sample in samples] for b in BATCHES}


# Gradient noise after a little training: ‖g_B − g‖² / ‖g‖² over the batches of an epoch; and how many of the first
# updates raise the loss of all training rows.
@tf.function
def gradients_by_row(rows, labels):
    with tf.GradientTape() as tape:
        losses = keras.losses.sparse_categorical_crossentropy(labels, model(rows), from_logits=True)
    parts = tape.jacobian(losses, model.trainable_variables)
    return tf.concat([tf.reshape(part, (len(rows), -1)) for part in parts], axis=1)


noise, uphill = {b: [] for b in BATCHES}, {b: [] for b in BATCHES}
for k, sample in enumerate(samples):
    rows, labels = sample.x["train"], sample.y["train"]
    rng = np.random.default_rng([sample.seed, 0])
    descent.begin(sample.seed)
    descent.steps(rows, labels, rng.permutation(ROWS).reshape(-1, MINI), USUAL_RATE)
    by_row = gradients_by_row(rows, labels).numpy()
    gradient = by_row.mean(axis=0)
    for i, batch in enumerate(BATCHES):
        means = by_row[rng.permutation(ROWS)].reshape(-1, batch, by_row.shape[1]).mean(axis=1)
        noise[batch].append(float(((means - gradient) ** 2).sum(axis=1).mean() / (gradient**2).sum()))
        descent.begin(sample.seed)
        losses = [descent.look(rows, labels)[0]]
        order = np.concatenate([rng.permutation(ROWS) for _ in range(-(-WATCHED * batch // ROWS))])
        for few in order[: WATCHED * batch].reshape(WATCHED, 1, batch):
            descent.steps(rows, labels, few, RATES[chosen[i, k]])
            losses.append(descent.look(rows, labels)[0])
        uphill[batch].append(100 * float(np.mean(np.diff(losses) > 0)))

# Seconds of an epoch, in `model.fit` and in one compiled loop.
in_fit, in_xla = {b: [] for b in BATCHES}, {b: [] for b in BATCHES}
model.compile(keras.optimizers.SGD(0.0), descent.loss)
keras.utils.set_random_seed(arguments.seed)
for repeat in range(ROUNDS):
    for batch in BATCHES:
        for kept, epoch in (
            (in_fit, lambda b: model.fit(rows, labels, batch_size=b, epochs=1, verbose=0)),
            (in_xla, lambda b: descent.steps(rows, labels, np.arange(ROWS).reshape(-1, b), 0.0)),
        ):
            start = time.perf_counter()
            epoch(batch)
            kept[batch] += [time.perf_counter() - start] * (repeat > 0)
fit_seconds, xla_seconds = ({b: epochs[b] * np.median(kept[b]) for b in BATCHES} for kept in (in_fit, in_xla))

measured = {  # head of the column: values by batch size
    "epochs|.1f": epochs, "seconds in fit|.2f": fit_seconds, "in XLA|.4f": xla_seconds, "test error %|.1f": error,
    "gradient noise|.2g": noise, "updates uphill %|.0f": uphill, "usual error %|.1f": usual,
}  # fmt: skip
rows = {
    f"batches of {b}": [np.median(RATES[chosen[i]]), *(by[b] for by in measured.values())]
    for i, b in enumerate(BATCHES)
}
title = (
    f"{len(SEEDS)} seeds, {ROWS} training rows; until the training loss is {TARGET}, at the best rate of other seeds"
)
recipe.show(title, ["rate|.3g", *measured], rows, SHARED)
print(
    f"Best rate ∝ batch size to the power {recipe.plus_minus(slopes, '.2f', SHARED)} (linear rule 1, square root 0.5)"
)


def against(measure, low, high, what, spec):
    """Evidence for the measure being lower with the first batch size than with the second."""
    settings = {"of": "rounds"} if measure is in_fit else {"test_to_train": SHARED}
    return recipe.less(measure[low], measure[high], f"{what}, {NAMES[low]} and {NAMES[high]}", spec, **settings)


def power(judge, limit):
    return judge(slopes, limit, "power {}, {} seeds", spec=".2f", test_to_train=SHARED)


def between(low, high):
    return recipe.all_of(power(recipe.above, low), power(recipe.below, high))


claims = {
    "batch-mini-fastest": recipe.all_of(
        *(against(fit_seconds, MINI, other, "seconds", ".2f") for other in (SINGLE, FULL))
    ),
    "batch-mini-fastest-compiled": recipe.all_of(
        *(against(xla_seconds, MINI, other, "seconds", ".4f") for other in (SINGLE, FULL))
    ),
    "batch-larger-epoch-faster": recipe.all_of(
        *(against(in_fit, *pair, "seconds", ".3f") for pair in ((MINI, SINGLE), (FULL, MINI)))
    ),
    "batch-single-fewest-epochs": against(epochs, SINGLE, MINI, "epochs", ".1f"),
    "batch-full-steadiest": against(uphill, FULL, MINI, "updates uphill (%)", ".0f"),
    "batch-single-noisiest": against(noise, MINI, SINGLE, "gradient noise", ".3g"),
    "batch-single-unsteadiest": against(uphill, MINI, SINGLE, "updates uphill (%)", ".0f"),
    "batch-larger-generalises-worse": against(error, MINI, FULL, "test error (%)", ".1f"),
    "batch-usual-comparison": against(usual, MINI, FULL, "test error (%)", ".1f"),
    "batch-rate-grows": power(recipe.above, 0.0),
    "batch-rate-linear": between(0.75, 1.25),
    "batch-rate-square-root": between(0.25, 0.75),
}

with recipe.panels(3) as (figure, (by_epoch, by_second, by_rate)):
    for i, (b, colour) in enumerate(zip(BATCHES, recipe.COLOURS, strict=False)):
        for k in every:
            losses = curves[i, chosen[i, k], k]
            label = None if k else NAMES.get(b, f"batches of {b}")
            style = {"color": colour, "lw": 0.9, "alpha": 0.7, "label": label}
            by_epoch.semilogy(np.arange(len(losses)), losses, **style)
            by_second.semilogy(np.arange(len(losses)) * np.median(in_fit[b]), losses, **style)
        by_rate.loglog(RATES, needed[i].mean(axis=1), color=colour, marker="o", ms=3)
    for axis, title, unit, linear in (
        (by_epoch, "Loss by epochs", "epochs", 1.0), (by_second, "Loss by time", "seconds of model.fit", 0.1)
    ):  # fmt: skip
        axis.set_xscale("symlog", linthresh=linear)  # from 0
        axis.axhline(TARGET, color="#999999", lw=0.8)
        axis.set(xlabel=f"{unit}, at the chosen rate", ylabel="loss on all training rows (nats)", title=title)
    by_epoch.legend(frameon=False, fontsize=8, loc="lower left")
    by_rate.set(xlabel="learning rate", ylabel="epochs until there", title="Epochs to the grey line, by rate")

results = {head.partition("|")[0]: by for head, by in measured.items()}
results |= {"rates": RATES, "chosen_rate": dict(zip(BATCHES, RATES[chosen], strict=True)), "power": slopes}
recipe.finish(arguments, claims, results, figure)
