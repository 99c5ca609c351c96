"""What do normalised inputs, batch normalisation and layer normalisation do for training?

A network with three tanh layers is trained on breast_cancer, whose columns differ in scale by a factor of 100 000, by
plain gradient descent in batches of 32: raw, standardised and robustly scaled (median and quartiles) inputs, and batch
or layer normalisation between them, and (deep) with ten layers in place of three. Then the networks meet batches of 1,
2 and 4.

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

from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf
from sklearn.base import clone
from sklearn.preprocessing import FunctionTransformer, RobustScaler, StandardScaler

from tfopt import initializers
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__, data="breast_cancer")
SEEDS = recipe.seeds(arguments, smoke=2, default=5)
RATES = 4.0 ** np.arange(-10, 3, 4 if arguments.smoke else 1)
EPOCHS, SMALL_EPOCHS = recipe.by_mode(arguments, smoke=(2, 1), default=(30, 6))
TARGET = recipe.by_mode(arguments, smoke=0.4, default=0.03)  # training loss, nats
UNITS, BATCH, SMALL_BATCHES = 32, 32, [1, 2, 4]
LAYERS, DEEP = recipe.by_mode(arguments, smoke=(1, 2), default=(3, 10))

x, y = recipe.table(arguments, task="classification")
ROWS = recipe.by_mode(arguments, smoke=0.15, default=0.72)  # share of training
samples = recipe.samples(x, y, SEEDS, train=ROWS, valid=0.05, shared=True, scaled=False)
SHARED = samples[0].test_to_train  # the seeds share rows: the intervals are widened
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


def network(norm, depth):
    layers = [keras.Input((x.shape[1],))]
    for _ in range(depth):
        layers += [keras.layers.Dense(UNITS), *NORMS[norm](), keras.layers.Activation("tanh")]
    model = keras.Sequential([*layers, keras.layers.Dense(int(y.max()) + 1)])
    return recipe.Descent(model, initializers.Glorot, jit_compile=not arguments.smoke)  # few steps need no compiling


def scaled(scaling):
    """The samples, scaled as their training rows say."""
    fitted = [clone(SCALERS[scaling]).fit(sample.x["train"]) for sample in samples]
    return [
        replace(sample, x={part: fit.transform(rows).astype("float32") for part, rows in sample.x.items()})
        for sample, fit in zip(samples, fitted, strict=True)
    ]


def signals(descent, sample):
    """What the loss sends back before the first step.

    The size of the gradient at the first hidden layer's tanh over that at the logits, and how much the gradients of the
    first kernel differ between the inputs (largest over least), both as base-10 logarithms.
    """
    descent.begin(sample.seed)
    with tf.GradientTape(persistent=True) as tape:
        signal, first = tf.constant(sample.x["train"]), None
        for layer in descent.model.layers:
            if first is None and isinstance(layer, keras.layers.Activation):
                first = signal
            signal = layer(signal, training=True) if "normalization" in layer.name else layer(signal)
        loss = descent.loss(sample.y["train"], signal)
    back, out = (np.sqrt(np.mean(np.square(tape.gradient(loss, part)))) for part in (first, signal))
    by_input = np.linalg.norm(tape.gradient(loss, descent.model.layers[0].kernel), axis=1)
    return np.log10(max(back, 1e-30) / out), np.log10(by_input.max() / max(by_input.min(), 1e-30))


# Every arm, rate and seed; each seed at the rate that is best for the others.
data, every = {scaling: scaled(scaling) for scaling in SCALERS}, np.arange(len(SEEDS))
networks = {(norm, LAYERS): network(norm, LAYERS) for norm in NORMS}
networks |= {(norm, DEEP): network(norm, DEEP) for norm in ("plain", "batch norm")}
found, needed = {}, {}  # by arm: what each seed measured; epochs by rate and seed
for arm, (scaling, *which) in recipe.steps(ARMS.items(), "arms"):
    descent, final, errors = networks[tuple(which)], *np.empty((2, len(RATES), len(SEEDS)))
    needed[arm] = np.empty(final.shape)
    for k, sample in enumerate(data[scaling]):
        for j, rate in enumerate(RATES):
            losses, _, errors[j, k] = descent.train(sample, BATCH, rate, EPOCHS, TARGET)
            needed[arm][j, k] = recipe.epochs_needed(losses, TARGET, EPOCHS)
            final[j, k] = min(np.nan_to_num(losses[-1], nan=10.0), 10.0)
    chosen = recipe.by_the_others(needed[arm] + final)  # the last loss decides where no rate gets there
    vanish, spread = np.transpose([signals(descent, sample) for sample in data[scaling]])
    found[arm] = {
        "rate|.2g": RATES[chosen],
        "epochs|.1f": needed[arm][chosen, every],
        "last loss": final[chosen, every],
        "rates that get there|.1f": (needed[arm] < EPOCHS).sum(axis=0),
        "test error %|.1f": 100 * errors[chosen, every],
        "first/logits, log10|.1f": vanish,
        "inputs max/min, log10|.1f": spread,
    }
title = f"{len(SEEDS)} seeds; until the training loss is {TARGET}; never counts as {EPOCHS} epochs"
recipe.show(title, list(found["raw"]), {arm: list(own.values()) for arm, own in found.items()}, SHARED)

# Small batches, standardised inputs: test loss after the same epochs, at the best rate of the other seeds.
SMALL_NORMS, small = ["plain", "batch norm", "layer norm"], {}
for batch, norm in recipe.steps([(b, norm) for b in SMALL_BATCHES for norm in SMALL_NORMS], "small batches"):
    descent = networks[norm, LAYERS]
    losses = np.array(
        [
            [descent.train(sample, batch, rate, SMALL_EPOCHS)[1] for sample in data["standardised"]]
            for rate in RATES[::2]
        ]
    )
    losses = np.nan_to_num(losses, nan=1e3, posinf=1e3)
    small[norm, batch] = losses[recipe.by_the_others(losses), every]
rows = {f"batches of {batch}": [small[norm, batch] for norm in SMALL_NORMS] for batch in SMALL_BATCHES}
recipe.show(f"Test loss, standardised inputs, {SMALL_EPOCHS} epochs", SMALL_NORMS, rows, SHARED)

# The momentum of the statistics for inference: two epochs at batch norm's rate, seen in inference and as in training.
early = {}
for norm in ("batch norm", "batch norm, momentum 0.99"):
    descent, early[norm] = networks[norm, LAYERS], []
    for sample, rate in zip(data["raw"], found["raw, batch norm"]["rate|.2g"], strict=True):
        inferred = descent.train(sample, BATCH, rate, 2)[0][-1]
        own = float(descent.loss(sample.y["train"], descent.model(sample.x["train"], training=True)))
        early[norm].append((inferred, own))
rows = {name: list(np.transpose(pairs)) for name, pairs in early.items()}
recipe.show("Training loss on raw inputs, two epochs", ["in inference", "with the rows' own statistics"], rows, SHARED)


def compare(measure, better, worse, what, judge=recipe.less):
    """Evidence for the measure being lower (with `recipe.more` higher) for the first arm than for the second."""
    return judge(found[better][measure], found[worse][measure], what, ".1f", test_to_train=SHARED)


def sooner(better, worse):
    return compare("epochs|.1f", better, worse, "epochs")


def steadier(better, worse):
    return compare("rates that get there|.1f", better, worse, "learning rates that get there", recipe.more)


plain, normed = "standardised", "standardised, batch norm"
GRADIENT = "log10 of the gradient of the first layer over that of the logits"
SPREAD = "log10 of the largest gradient of an input over the least"
inferred = {norm: np.array(pairs)[:, 0] for norm, pairs in early.items()}
claims = {
    "norm-inputs-faster": sooner(plain, "raw"),
    "norm-inputs-stable": steadier(plain, "raw"),
    "norm-inputs-vanishing": compare("first/logits, log10|.1f", plain, "raw", GRADIENT, recipe.more),
    "norm-inputs-spread": compare("inputs max/min, log10|.1f", plain, "raw", SPREAD),
    "norm-inputs-error": compare("test error %|.1f", plain, "raw", "test error (%)"),
    "norm-robust-faster": sooner("robust", plain),
    "norm-batch-faster": sooner(normed, plain),
    "norm-batch-faster-deep": sooner("deep, batch norm", "deep"),
    "norm-batch-stable": steadier(normed, plain),
    "norm-batch-stable-deep": steadier("deep, batch norm", "deep"),
    "norm-batch-replaces-scaling": sooner("raw, batch norm", plain),
    "norm-layer-faster-than-batch": sooner("standardised, layer norm", normed),
    "norm-default-momentum": recipe.less(
        inferred["batch norm, momentum 0.99"], inferred["batch norm"], "training loss", test_to_train=SHARED
    ),
}
for batch in SMALL_BATCHES:
    claims[f"norm-batch-of-{batch}"] = recipe.less(
        small["batch norm", batch], small["plain", batch], "test loss", test_to_train=SHARED
    )

with recipe.panels(3) as (figure, (left, middle, right)):
    for arm, colour in zip(ARMS, recipe.COLOURS, strict=True):
        left.semilogx(RATES, needed[arm].mean(axis=1), color=colour, marker="o", ms=3, label=arm)
    left.set(xlabel="learning rate", ylabel=f"epochs to a training loss of {TARGET}", title="Epochs needed, by rate")
    left.legend(frameon=False, fontsize=7.5, loc="lower left")
    spreads = {arm: own["inputs max/min, log10|.1f"] for arm, own in found.items()}
    recipe.dots(middle, spreads, "How unlike the inputs' gradients are", SPREAD, test_to_train=SHARED)
    series = {norm: np.transpose([small[norm, batch] for batch in SMALL_BATCHES]) for norm in SMALL_NORMS}
    recipe.curves(
        right, SMALL_BATCHES, series, "Normalisations in small batches", "batch size", "test loss (nats)", SHARED
    )

arms = {arm: {head.partition("|")[0]: values for head, values in own.items()} for arm, own in found.items()}
results = {"rates": RATES, "arms": arms, "small_batches_test_loss": small, "loss_after_two_epochs": early}
recipe.finish(arguments, claims, results, figure)
