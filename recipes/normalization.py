"""What do normalised inputs, batch normalisation and layer normalisation do for training?

The claims: "with normalised inputs training is faster, gradients vanish less and training is more stable"; "batch
normalisation in the hidden layers speeds convergence and steadies training, for mini-batches". A network with three
tanh layers is trained on breast_cancer, whose columns differ in scale by a factor of 100 000, by plain gradient descent
in batches of 32: raw, standardised and robustly scaled (median and quartiles) inputs, and batch or layer normalisation
between them, and (deep) with ten layers in place of three. Then the networks meet batches of 1, 2 and 4.

Fair: every arm tries the same learning rates, a factor 4 apart from 4⁻¹⁰ to 4². A seed (weights, rows, order) is
reported at the rate that was best for the other seeds. Losses are those of inference, on all training rows.

What goes wrong with the usual snippet: Keras's default `momentum=0.99` suits long trainings. On small data the
statistics for inference lag behind the network, most where the inputs are raw; the recipe uses 0.9, and shows both.
(Scaling all rows before they are split is the other fault; here the training rows alone tell the scale.)

So: standardise the inputs, always, with the training rows' mean and deviation; take batch normalisation in deep
networks and for batches of 16 or more, with a momentum that fits the number of steps; for smaller batches layer
normalisation.

Claims:
    norm-inputs-faster: With standardised inputs training is faster than with raw ones
    norm-inputs-stable: With standardised inputs training is more stable: more learning rates get there
    norm-inputs-vanishing: With standardised inputs the gradient vanishes less on its way to the first layer
    norm-inputs-spread: With standardised inputs the gradients of the inputs' weights are of like size
    norm-inputs-error: With standardised inputs the test error is lower
    norm-robust-faster: Robust scaling trains faster than standardising
    norm-batch-faster: Batch normalisation trains faster than none, with standardised inputs and batches of 32
    norm-batch-faster-deep: Batch normalisation trains a deep network faster than none
    norm-batch-stable: Batch normalisation steadies training: more learning rates get there
    norm-batch-stable-deep: Batch normalisation steadies the training of a deep network: more learning rates get
        there
    norm-batch-replaces-scaling: Batch normalisation makes up for raw inputs: it is no slower than standardised
        inputs without it
    norm-layer-faster-than-batch: Layer normalisation trains faster than batch normalisation
    norm-default-momentum: Keras's default momentum of 0.99 does no harm after two epochs on raw inputs: loss in
        inference
    norm-batch-of-1: Batch normalisation helps with batches of 1: it lowers the test loss
    norm-batch-of-2: Batch normalisation helps with batches of 2: it lowers the test loss
    norm-batch-of-4: Batch normalisation helps with batches of 4: it lowers the test loss

    python recipes/normalization.py                                      # about a minute on two cores
    python recipes/normalization.py --data table.csv --target label      # a classification table of your own
"""

import keras
import numpy as np
import tensorflow as tf
from sklearn.preprocessing import FunctionTransformer, RobustScaler, StandardScaler

from tfopt import initializers
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__, data="breast_cancer")

SEEDS = recipe.by_mode(arguments, smoke=2, default=5)
RATES = (4.0 ** np.arange(-10, 3, 4 if arguments.smoke else 1)).astype("float32")
EPOCHS = recipe.by_mode(arguments, smoke=2, default=30)
TARGET = recipe.by_mode(arguments, smoke=0.4, default=0.03)  # training loss, nats
BATCH, SMALL_BATCHES = 32, [1, 2, 4]
SMALL_EPOCHS = recipe.by_mode(arguments, smoke=1, default=6)
UNITS = 32
LAYERS, DEEP = recipe.by_mode(arguments, smoke=(1, 2), default=(3, 10))

x, y = recipe.table(arguments, task="classification")
classes = int(y.max()) + 1
ROWS = int(0.75 * len(x)) // BATCH * BATCH  # of training
SHARED = (len(x) - ROWS) / ROWS  # splits share rows: test over training rows widens the intervals
SCALERS = {"raw": FunctionTransformer(), "standardised": StandardScaler(), "robust": RobustScaler()}
NORMS = {
    "plain": lambda: [],
    "batch norm": lambda: [keras.layers.BatchNormalization(momentum=0.9)],
    "layer norm": lambda: [keras.layers.LayerNormalization()],
    "batch norm, momentum 0.99": lambda: [keras.layers.BatchNormalization()],
}
ARMS = {  # inputs, normalisation, hidden layers
    "raw": ("raw", "plain", LAYERS),
    "standardised": ("standardised", "plain", LAYERS),
    "robust": ("robust", "plain", LAYERS),
    "raw, batch norm": ("raw", "batch norm", LAYERS),
    "standardised, batch norm": ("standardised", "batch norm", LAYERS),
    "standardised, layer norm": ("standardised", "layer norm", LAYERS),
    "deep": ("standardised", "plain", DEEP),
    "deep, batch norm": ("standardised", "batch norm", DEEP),
}
cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Network:
    """A Keras model, its fresh weights by seed, and its compiled training."""

    def __init__(self, norm, depth):
        layers = [keras.Input((x.shape[1],))]
        for _ in range(depth):
            layers += [keras.layers.Dense(UNITS), *NORMS[norm](), keras.layers.Activation("tanh")]
        self.model = model = keras.Sequential([*layers, keras.layers.Dense(classes)])
        self.fresh = model.get_weights()

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
            """Loss and error rate of inference."""
            logits = model(rows, training=False)
            wrong = tf.not_equal(tf.argmax(logits, axis=1), tf.cast(labels, tf.int64))
            return cross_entropy(labels, logits), tf.reduce_mean(tf.cast(wrong, tf.float32))

        self.descend, self.look = descend, look

    def begin(self, seed):
        self.model.set_weights(self.fresh)
        for number, layer in enumerate(self.model.layers):
            if isinstance(layer, keras.layers.Dense):
                layer.kernel.assign(initializers.Glorot(seed=100 * seed + number)(layer.kernel.shape))


def split(scaling, seed):
    """Training and test rows of the seed, scaled as the training rows say."""
    order = np.random.default_rng(arguments.seed + seed).permutation(len(x))
    train, test = order[:ROWS], order[ROWS:]
    scaler = SCALERS[scaling].fit(x[train])
    parts = scaler.transform(x[train]), y[train], scaler.transform(x[test]), y[test]
    return [tf.constant(part, tf.int32 if part.ndim == 1 else tf.float32) for part in parts]


def train(network, data, seed, rate, epochs, batch=BATCH, target=0.0):
    """Training losses, the first before training; test loss and test error at the end."""
    rows, labels, *test = data
    network.begin(arguments.seed + seed)
    random = np.random.default_rng([arguments.seed + seed, batch])
    losses = [float(network.look(rows, labels)[0])]
    while len(losses) <= epochs and losses[-1] > target:  # false too for NaN: diverged
        order = random.permutation(ROWS)[: ROWS // batch * batch].reshape(-1, batch)
        network.descend(rows, labels, tf.constant(order, tf.int32), rate)
        losses.append(float(network.look(rows, labels)[0]))
    return losses, *(float(part) for part in network.look(*test))


def epochs_needed(losses):
    """Epochs until the loss is at the target, between two epochs by the straight line of the log loss."""
    if not losses[-1] <= TARGET:
        return float(EPOCHS)
    if len(losses) == 1:
        return 0.0
    before, after = np.log(losses[-2:])
    return len(losses) - 2 + float((before - np.log(TARGET)) / (before - after))


def signals(network, data):
    """What the loss sends back before the first step.

    The size of the gradient at the first hidden layer's tanh over that at the logits, and how much the gradients of the
    first kernel differ between the inputs (largest over least), both as base-10 logarithms.
    """
    rows, labels, *_ = data
    with tf.GradientTape(persistent=True) as tape:
        signal, first = rows, None
        for layer in network.model.layers:
            if first is None and isinstance(layer, keras.layers.Activation):
                first = signal
            signal = layer(signal, training=True) if "normalization" in layer.name else layer(signal)
        loss = cross_entropy(labels, signal)
    back, out = (np.sqrt(np.mean(np.square(tape.gradient(loss, part)))) for part in (first, signal))
    by_input = np.linalg.norm(tape.gradient(loss, network.model.layers[0].kernel), axis=1)
    return np.log10(max(back, 1e-30) / out), np.log10(by_input.max() / max(by_input.min(), 1e-30))


# Every arm, rate and seed.
networks = {(norm, LAYERS): Network(norm, LAYERS) for norm in NORMS}
networks |= {(norm, DEEP): Network(norm, DEEP) for norm in ("plain", "batch norm")}
every = np.arange(SEEDS)
epochs, loss, reach, error, vanish, spread, chosen_rate, needed = ({} for _ in range(8))
for arm, (scaling, *which) in recipe.steps(ARMS.items(), "arms"):
    network = networks[tuple(which)]
    table, final, errors = np.empty((3, len(RATES), SEEDS))
    heard = []
    for seed in range(SEEDS):
        data = split(scaling, seed)
        network.begin(arguments.seed + seed)
        heard.append(signals(network, data))
        for j, rate in enumerate(RATES):
            losses, _, errors[j, seed] = train(network, data, seed, rate, EPOCHS, target=TARGET)
            table[j, seed] = epochs_needed(losses)
            final[j, seed] = min(np.nan_to_num(losses[-1], nan=10.0), 10.0)
    score = table + final  # the final loss decides where no rate gets there
    chosen = (score.sum(axis=1, keepdims=True) - score).argmin(axis=0)  # of each seed, by the other seeds
    loss[arm] = final[chosen, every]
    needed[arm], chosen_rate[arm] = table, RATES[chosen]
    epochs[arm], error[arm] = table[chosen, every], 100 * errors[chosen, every]
    reach[arm] = (table < EPOCHS).sum(axis=0)
    vanish[arm], spread[arm] = np.array(heard).T

rows = {
    arm: [np.median(chosen_rate[arm]), epochs[arm], loss[arm], reach[arm], error[arm], vanish[arm], spread[arm]]
    for arm in ARMS
}
columns = [
    "rate|.2g",
    "epochs|.1f",
    "last loss",
    "rates that get there|.1f",
    "test error %|.1f",
    "first/logits, log10|.1f",
    "inputs max/min, log10|.1f",
]
title = f"{SEEDS} seeds, {ROWS} training rows; until the training loss is {TARGET}; never counts as {EPOCHS} epochs"
recipe.show(title, columns, rows, SHARED)

# Small batches, standardised inputs: test loss after the same epochs, at the best rate of the other seeds.
SMALL_RATES = RATES[:: 2 if not arguments.smoke else 1]
small_loss, small_error = {}, {}
for batch in recipe.steps(SMALL_BATCHES, "small batches"):
    for norm in ("plain", "batch norm", "layer norm"):
        found = np.empty((2, len(SMALL_RATES), SEEDS))
        for seed in range(SEEDS):
            data = split("standardised", seed)
            for j, rate in enumerate(SMALL_RATES):
                found[:, j, seed] = train(networks[norm, LAYERS], data, seed, rate, SMALL_EPOCHS, batch)[1:]
        found = np.nan_to_num(found, nan=1e3, posinf=1e3)
        best = (found[0].sum(axis=1, keepdims=True) - found[0]).argmin(axis=0)
        small_loss[norm, batch], small_error[norm, batch] = found[0][best, every], 100 * found[1][best, every]
rows = {
    f"batches of {batch}": [small_loss[norm, batch] for norm in ("plain", "batch norm", "layer norm")]
    for batch in SMALL_BATCHES
}
recipe.show(
    f"Test loss, standardised inputs, {SMALL_EPOCHS} epochs", ["plain", "batch norm", "layer norm"], rows, SHARED
)

# The momentum of the statistics for inference: two epochs at batch norm's rate, seen in inference and as in training.
early = {}
for norm in ("batch norm", "batch norm, momentum 0.99"):
    pairs, network = [], networks[norm, LAYERS]
    for seed in range(SEEDS):
        data = split("raw", seed)
        inference = train(network, data, seed, chosen_rate["raw, batch norm"][seed], 2)[0][-1]
        pairs.append((inference, float(cross_entropy(data[1], network.model(data[0], training=True)))))
    early[norm] = np.array(pairs).T
rows = {name: list(pair) for name, pair in early.items()}
recipe.show(
    "Training loss on raw inputs after two epochs", ["in inference", "with the rows' own statistics"], rows, SHARED
)


def compare(measure, better, worse, what, spec=".1f", sign=-1):
    """Evidence for the measure being lower (with sign 1 higher) for the first arm than for the second."""
    judge = recipe.less if sign < 0 else recipe.more
    return judge(measure[better], measure[worse], what, spec, test_to_train=SHARED)


scaled, normed = "standardised", "standardised, batch norm"
rates = "learning rates that get there"
inferred = {name: inference for name, (inference, _) in early.items()}
claims = {
    "norm-inputs-faster": compare(epochs, scaled, "raw", "epochs"),
    "norm-inputs-stable": compare(reach, scaled, "raw", rates, sign=1),
    "norm-inputs-vanishing": compare(
        vanish, scaled, "raw", "log10 of the gradient of the first layer over that of the logits", sign=1
    ),
    "norm-inputs-spread": compare(spread, scaled, "raw", "log10 of the largest gradient of an input over the least"),
    "norm-inputs-error": compare(error, scaled, "raw", "test error (%)"),
    "norm-robust-faster": compare(epochs, "robust", scaled, "epochs"),
    "norm-batch-faster": compare(epochs, normed, scaled, "epochs"),
    "norm-batch-faster-deep": compare(epochs, "deep, batch norm", "deep", "epochs"),
    "norm-batch-stable": compare(reach, normed, scaled, rates, sign=1),
    "norm-batch-stable-deep": compare(reach, "deep, batch norm", "deep", rates, sign=1),
    "norm-batch-replaces-scaling": compare(epochs, "raw, batch norm", scaled, "epochs"),
    "norm-layer-faster-than-batch": compare(epochs, "standardised, layer norm", normed, "epochs"),
    **{
        f"norm-batch-of-{batch}": recipe.less(
            small_loss["batch norm", batch], small_loss["plain", batch], "test loss", test_to_train=SHARED
        )
        for batch in SMALL_BATCHES
    },
    "norm-default-momentum": compare(inferred, "batch norm, momentum 0.99", "batch norm", "training loss", ".3f"),
}

with recipe.panels(3) as (figure, (left, middle, right)):
    for arm, colour in zip(ARMS, recipe.COLOURS, strict=True):
        left.semilogx(RATES, needed[arm].mean(axis=1), color=colour, marker="o", ms=3, label=arm)
    left.set(xlabel="learning rate", ylabel=f"epochs to a training loss of {TARGET}", title="Raw inputs learn slowest")
    left.legend(frameon=False, fontsize=7.5, loc="lower left")
    recipe.dots(
        middle,
        spread,
        "Raw inputs' gradients differ most",
        "log10 of the largest gradient of an input over the least",
        test_to_train=SHARED,
    )
    series = {
        norm: np.transpose([small_loss[norm, batch] for batch in SMALL_BATCHES])
        for norm in ("plain", "batch norm", "layer norm")
    }
    recipe.curves(right, SMALL_BATCHES, series, "Test loss in small batches", "batch size", "test loss (nats)", SHARED)

recipe.finish(
    arguments,
    claims=claims,
    results={
        "rates": RATES,
        "epochs": epochs,
        "last_training_loss": loss,
        "chosen_rate": chosen_rate,
        "rates_that_get_there": reach,
        "test_error_percent": error,
        "first_layer_over_logits_log10": vanish,
        "inputs_largest_over_least_log10": spread,
        "small_batches_test_loss": small_loss,
        "small_batches_test_error_percent": small_error,
        "loss_after_two_epochs_inference_and_training": early,
    },
    figure=figure,
)
