"""Full batch, single samples or mini-batches: which is fastest, which is steadiest, which generalises best?

The claims: "the full batch is smooth but slow, single samples are noisy, mini-batches are fastest", "larger batches are
faster and may generalise worse", "learning rate and batch size go together" (by the linear rule η ∝ B, or the square
root). One network is trained on digits with batches of 1, 8, 32, 128 and all rows by plain gradient descent, until the
loss on all its training rows is at 0.05; every batch size tries the same learning rates, a factor 2 apart.

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
from sklearn.preprocessing import StandardScaler

from tfopt import initializers
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__, data="digits")

SEEDS = recipe.by_mode(arguments, smoke=2, default=7)
RATES = (2.0 ** np.arange(*recipe.by_mode(arguments, smoke=(-6, 1, 2), default=(-10, 3)))).astype("float32")
TARGET = recipe.by_mode(arguments, smoke=1.0, default=0.05)  # training loss, nats
HIDDEN = 32
UPDATES = recipe.by_mode(arguments, smoke=64, default=400)  # at most, for the full batch
EPOCHS = recipe.by_mode(arguments, smoke=1, default=10)  # at most, for single samples; between: between
WATCHED = recipe.by_mode(arguments, smoke=4, default=64)  # updates after each of which the loss is looked at
USUAL_RATE, USUAL_EPOCHS = np.float32(2**-4), EPOCHS  # of the usual comparison

x, y = recipe.table(arguments, task="classification")
classes = int(y.max()) + 1
ROWS = 2 ** int(np.log2(recipe.by_mode(arguments, smoke=0.15, default=0.75) * len(x)))  # of training
BATCHES = sorted({1, min(8, ROWS), min(32, ROWS), min(128, ROWS), ROWS})
SINGLE, MINI, FULL = BATCHES[0], BATCHES[len(BATCHES) // 2], BATCHES[-1]
NAMES = {SINGLE: "single samples", MINI: "mini-batches", FULL: "the full batch"}
SHARED = (len(x) - ROWS) / ROWS  # splits drawn from one table share rows: test over training rows widens the intervals
LIMIT = {b: int(EPOCHS * (UPDATES / EPOCHS) ** (np.log(b) / np.log(ROWS))) for b in BATCHES}

model = keras.Sequential([keras.Input((x.shape[1],)), keras.layers.Dense(HIDDEN, "relu"), keras.layers.Dense(classes)])
cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def begin(seed):
    """New weights, and the seed's own training and test rows, standardised by the training rows."""
    for number, layer in enumerate(model.layers):
        layer.kernel.assign(initializers.He(seed=10 * (arguments.seed + seed) + number)(layer.kernel.shape))
        layer.bias.assign(np.zeros(layer.bias.shape))
    order = np.random.default_rng(arguments.seed + seed).permutation(len(x))
    train, test = order[:ROWS], order[ROWS:]
    scaler = StandardScaler().fit(x[train])  # a column that varies in the test rows alone keeps its size
    parts = scaler.transform(x[train]), y[train], scaler.transform(x[test]), y[test]
    return [tf.constant(part) for part in parts]


@tf.function(jit_compile=True)
def descend(rows, labels, order, rate):
    """One step of gradient descent for each line of `order`."""
    for chosen in order:
        with tf.GradientTape() as tape:
            loss = cross_entropy(tf.gather(labels, chosen), model(tf.gather(rows, chosen), training=True))
        weights = model.trainable_variables
        for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign_sub(rate * gradient)


@tf.function(jit_compile=True)
def look(rows, labels):
    """Loss and error rate."""
    logits = model(rows)
    wrong = tf.not_equal(tf.argmax(logits, axis=1), tf.cast(labels, tf.int64))
    return cross_entropy(labels, logits), tf.reduce_mean(tf.cast(wrong, tf.float32))


def batches(random, batch):
    return tf.constant(random.permutation(ROWS).reshape(-1, batch), tf.int32)


def train(seed, batch, rate, epochs, target=0.0):
    """Training losses by epoch, the first before training; the seconds of each epoch; the test error at the end."""
    rows, labels, test_rows, test_labels = begin(seed)
    random = np.random.default_rng([arguments.seed + seed, batch])
    losses, seconds = [float(look(rows, labels)[0])], []
    while len(losses) <= epochs and target < losses[-1] < 20:
        order = batches(random, batch)
        start = time.perf_counter()
        descend(rows, labels, order, rate)
        model.layers[0].bias.numpy()  # wait for it
        seconds.append(time.perf_counter() - start)
        losses.append(float(look(rows, labels)[0]))
    return losses, seconds, float(look(test_rows, test_labels)[1])


def epochs_needed(losses, batch):
    """Epochs until the loss is at the target, between two epochs by the straight line of the log loss."""
    if not losses[-1] <= TARGET:
        return float(LIMIT[batch])
    before, after = np.log(losses[-2:])
    return len(losses) - 2 + float((before - np.log(TARGET)) / (before - after))


# Every batch size, rate and seed.
needed = np.empty((len(BATCHES), len(RATES), SEEDS))
test_error, epoch_seconds, curves = np.empty_like(needed), {}, {}
for i, batch in enumerate(BATCHES):
    train(0, batch, np.float32(0), 1)  # compile
    for seed in recipe.steps(range(SEEDS), f"seeds, batches of {batch}"):
        for j, rate in enumerate(RATES):
            losses, seconds, test_error[i, j, seed] = train(seed, batch, rate, LIMIT[batch], TARGET)
            needed[i, j, seed] = epochs_needed(losses, batch)
            epoch_seconds.setdefault((batch, seed), []).extend(seconds)
            curves[i, j, seed] = losses

# The rate of a seed is the best of the other seeds; the best of its own tells how rate and batch size go together.
others = (needed.sum(axis=2, keepdims=True) - needed) / (SEEDS - 1)
chosen = others.argmin(axis=1)
own = needed.argmin(axis=1)
every = np.arange(SEEDS)
epochs = {b: needed[i, chosen[i], every] for i, b in enumerate(BATCHES)}
error = {b: 100 * test_error[i, chosen[i], every] for i, b in enumerate(BATCHES)}
an_epoch = {b: np.array([np.median(epoch_seconds[b, seed]) for seed in every]) for b in BATCHES}
seconds = {b: epochs[b] * an_epoch[b] for b in BATCHES}
slopes = np.array([np.polyfit(np.log2(BATCHES), np.log2(RATES[own[:, seed]]), 1)[0] for seed in every])


# Gradient noise, after a little training: ‖g_B − g‖² / ‖g‖² over the batches of an epoch.
@tf.function
def gradients_by_row(rows, labels):
    with tf.GradientTape() as tape:
        losses = keras.losses.sparse_categorical_crossentropy(labels, model(rows), from_logits=True)
    parts = tape.jacobian(losses, model.trainable_variables)
    return tf.concat([tf.reshape(part, (ROWS, -1)) for part in parts], axis=1)


noise, uphill = {b: [] for b in BATCHES}, {b: [] for b in BATCHES}
for seed in range(SEEDS):
    rows, labels, *_ = begin(seed)
    random = np.random.default_rng([arguments.seed + seed, 0])
    descend(rows, labels, batches(random, MINI), USUAL_RATE)
    by_row = gradients_by_row(rows, labels).numpy()
    gradient = by_row.mean(axis=0)
    for batch in BATCHES:
        means = by_row[random.permutation(ROWS)].reshape(-1, batch, by_row.shape[1]).mean(axis=1)
        noise[batch].append(float(((means - gradient) ** 2).sum(axis=1).mean() / (gradient**2).sum()))
    # Steadiness: how many of the first updates raise the loss of all training rows.
    for i, batch in enumerate(BATCHES):
        rows, labels, *_ = begin(seed)
        order = tf.concat([batches(random, batch) for _ in range(-(-WATCHED * batch // ROWS))], axis=0)
        losses = [float(look(rows, labels)[0])]
        for step in range(WATCHED):
            descend(rows, labels, order[step : step + 1], RATES[chosen[i, seed]])
            losses.append(float(look(rows, labels)[0]))
        uphill[batch].append(100 * float(np.mean(np.diff(losses) > 0)))

# The usual comparison, and Keras's own loop for the seconds of an epoch.
usual = {b: [100 * train(seed, b, USUAL_RATE, USUAL_EPOCHS)[2] for seed in range(SEEDS)] for b in BATCHES}
fit_rounds = {b: [] for b in BATCHES}
rows, labels, *_ = begin(0)
model.compile(keras.optimizers.SGD(0.0), cross_entropy)
keras.utils.set_random_seed(arguments.seed)
for repeat in range(6):
    for batch in BATCHES:
        start = time.perf_counter()
        model.fit(rows, labels, batch_size=batch, epochs=1, verbose=0)
        if repeat:  # the first traces
            fit_rounds[batch].append(time.perf_counter() - start)
fit_seconds = {b: epochs[b] * np.median(fit_rounds[b]) for b in BATCHES}

rows = {
    f"batches of {b}": [
        np.median(RATES[chosen[i]]),
        epochs[b],
        fit_seconds[b],
        seconds[b],
        error[b],
        noise[b],
        uphill[b],
        usual[b],
    ]
    for i, b in enumerate(BATCHES)
}
recipe.show(
    f"{SEEDS} seeds, {ROWS} training rows; until the training loss is {TARGET}, at the best rate of the other seeds",
    [
        "rate|.3g",
        "epochs|.1f",
        "seconds in fit|.2f",
        "in XLA|.4f",
        "test error %|.1f",
        "gradient noise|.2g",
        "updates uphill %|.0f",
        "usual error %|.1f",
    ],
    rows,
    SHARED,
)
print(
    f"Best rate ∝ batch size to the power {recipe.plus_minus(slopes, '.2f', SHARED)} (linear rule 1, square root 0.5)"
)


def against(measure, low, high, what, spec):
    """Evidence for the measure being lower with the first batch size than with the second."""
    rounds = measure is fit_rounds
    first, second = NAMES[low], NAMES[high]
    settings = {"of": "rounds"} if rounds else {"test_to_train": SHARED}
    return recipe.less(measure[low], measure[high], f"{what}, {first} and {second}", spec, **settings)


POWER = "power {}, {} seeds"
settings = {"spec": ".2f", "test_to_train": SHARED}


def between(low, high):
    return recipe.all_of(recipe.above(slopes, low, POWER, **settings), recipe.below(slopes, high, POWER, **settings))


claims = {
    "batch-mini-fastest": recipe.all_of(
        *(against(fit_seconds, MINI, other, "seconds", ".2f") for other in (SINGLE, FULL))
    ),
    "batch-mini-fastest-compiled": recipe.all_of(
        *(against(seconds, MINI, other, "seconds", ".4f") for other in (SINGLE, FULL))
    ),
    "batch-larger-epoch-faster": recipe.all_of(
        *(against(fit_rounds, *pair, "seconds", ".3f") for pair in ((MINI, SINGLE), (FULL, MINI)))
    ),
    "batch-single-fewest-epochs": against(epochs, SINGLE, MINI, "epochs", ".1f"),
    "batch-full-steadiest": against(uphill, FULL, MINI, "updates uphill (%)", ".0f"),
    "batch-single-noisiest": against(noise, MINI, SINGLE, "gradient noise", ".3g"),
    "batch-single-unsteadiest": against(uphill, MINI, SINGLE, "updates uphill (%)", ".0f"),
    "batch-larger-generalises-worse": against(error, MINI, FULL, "test error (%)", ".1f"),
    "batch-usual-comparison": against(usual, MINI, FULL, "test error (%)", ".1f"),
    "batch-rate-grows": recipe.above(slopes, 0.0, POWER, **settings),
    "batch-rate-linear": between(0.75, 1.25),
    "batch-rate-square-root": between(0.25, 0.75),
}

with recipe.panels(3) as (figure, (by_epoch, by_second, by_rate)):
    for i, (b, colour) in enumerate(zip(BATCHES, recipe.COLOURS, strict=False)):
        for seed in range(SEEDS):
            losses = curves[i, chosen[i, seed], seed]
            passed = np.arange(len(losses))
            label = None if seed else NAMES.get(b, f"batches of {b}")
            by_epoch.semilogy(passed, losses, color=colour, lw=0.9, alpha=0.7, label=label)
            by_second.semilogy(passed * np.median(fit_rounds[b]), losses, color=colour, lw=0.9, alpha=0.7)
        by_rate.loglog(RATES, needed[i].mean(axis=1), color=colour, marker="o", ms=3)
    for axis, unit, linear in ((by_epoch, "epochs", 1.0), (by_second, "seconds of model.fit", 0.1)):
        axis.set_xscale("symlog", linthresh=linear)  # from 0
        axis.axhline(TARGET, color="#999999", lw=0.8)
        axis.set(xlabel=f"{unit}, at the chosen rate", ylabel="loss on all training rows (nats)")
    by_epoch.legend(frameon=False, fontsize=8, loc="lower left")
    by_epoch.set_title("Loss by epochs")
    by_second.set_title("Loss by time")
    by_rate.set(xlabel="learning rate", ylabel="epochs until there", title="The best rate moves with the batch")

recipe.finish(
    arguments,
    claims=claims,
    results={
        "rates": RATES,
        "batches": BATCHES,
        "chosen_rate": {b: RATES[chosen[i]] for i, b in enumerate(BATCHES)},
        "epochs": epochs,
        "seconds_fit": fit_seconds,
        "seconds_compiled": seconds,
        "test_error_percent": error,
        "usual_test_error_percent": usual,
        "gradient_noise": noise,
        "uphill_percent": uphill,
        "power_of_batch_size": slopes,
    },
    figure=figure,
)
