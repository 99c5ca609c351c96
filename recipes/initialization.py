"""Does it matter how the weights begin?

Part 1 sends rows through networks of 30 layers and measures the spread of activations and gradients by depth (figures 6
and 7 of Glorot and Bengio 2010) for eight ways to begin. Part 2 trains the 30-layer ReLU network (figure 3 of He et al.
2015), each way with the learning rate that the seed's validation rows choose. Part 3 looks at which weights move when
all begin at zero.

What goes wrong in the usual program: `RandomNormal(stddev=0.01)` in every layer, whatever its width and activation.

So: take He's weights for ReLU and Glorot's for tanh (or `tfopt.initializers.for_activation`), a seed of its own for
each layer, and normalisation for sigmoid or very deep networks.

Claims:
    init-zeros-hidden-still: From all-zero weights the hidden layers learn nothing
    init-zeros-learn-nothing: From all-zero weights nothing at all is learned
    init-wrong-size-vanishes: Random weights of the wrong size, N(0, 0.01²), vanish too
    init-he-for-relu: He's weights keep the signal through ReLU layers, and Glorot's do not
    init-glorot-for-tanh: Glorot's weights keep the signal through tanh layers
    init-glorot-for-sigmoid: Glorot's weights keep the gradient through sigmoid layers
    init-deep-relu-trains-with-he: 30 ReLU layers learn with He's weights, and not with Glorot's

    python recipes/initialization.py                                     # a minute and a half on two cores
    python recipes/initialization.py --data table.csv --target label     # a classification table of your own
"""

import keras
import numpy as np
import tensorflow as tf

from tfopt import initializers
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__, data="digits")
DEPTH = recipe.by_mode(arguments, smoke=10, default=30)
WIDTH, BATCH = recipe.by_mode(arguments, smoke=48, default=64), 64
SEEDS = recipe.seeds(arguments, smoke=2, default=5)
EPOCHS, ZERO_EPOCHS = recipe.by_mode(arguments, smoke=(1, 2), default=(10, 10))  # of SGD with momentum 0.9
RATES = recipe.by_mode(arguments, smoke=[0.01], default=[0.003, 0.01, 0.03])
ACTIVATIONS = ["tanh", "sigmoid", "relu"]
WAYS = {  # an initializer of an activation and a seed
    "zeros": lambda activation, seed: keras.initializers.Zeros(),
    "N(0, 0.01)": lambda activation, seed: initializers.Normal(0.01, seed=seed),
    "LeCun": lambda activation, seed: initializers.LeCun(seed=seed),
    "Glorot": lambda activation, seed: initializers.Glorot(seed=seed),
    "He": lambda activation, seed: initializers.He(seed=seed),
    "orthogonal": lambda activation, seed: initializers.Orthogonal(initializers.gain(activation), seed=seed),
    "for_activation": lambda activation, seed: initializers.for_activation(activation, seed=seed),
    "LSUV": lambda activation, seed: initializers.Orthogonal(seed=seed),
}
TRAINED = ["N(0, 0.01)", "Glorot", "He", "orthogonal"]

x, y = recipe.table(arguments, task="classification")
samples = recipe.samples(x, y, SEEDS, train=0.6, valid=0.15, shared=True)
SHARED = samples[0].test_to_train  # the seeds share rows: the intervals are widened
CHANCE = max(np.bincount(samples[0].y["test"])) / len(samples[0].y["test"])
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network(activation, way, depth=DEPTH):
    layers = [
        keras.layers.Dense(WIDTH, activation, kernel_initializer=WAYS[way](activation, None)) for _ in range(depth)
    ]
    output = keras.layers.Dense(int(y.max()) + 1, kernel_initializer=WAYS[way](activation, None), name="logits")
    return keras.Sequential([keras.Input((x.shape[1],)), *layers, output])


# Part 1: the spread of activations and gradients by depth.
def spreads(model):
    """Return a function: standard deviation of each hidden layer's outputs, root mean square of their gradients."""

    @tf.function
    def both(rows, labels):
        with tf.GradientTape() as tape:
            signals = [rows]
            for layer in model.layers[:-1]:
                signals.append(layer(signals[-1]))
            cost = LOSS(labels, model.layers[-1](signals[-1]))
        # In float64, because the squares of what vanishes are too small for float32.
        gradients = [tf.cast(gradient, "float64") for gradient in tape.gradient(cost, signals[1:])]
        sizes = [tf.sqrt(tf.reduce_mean(gradient**2)) for gradient in gradients]
        return tf.stack([tf.math.reduce_std(tf.cast(signal, "float64")) for signal in signals[1:]]), tf.stack(sizes)

    return both


forward, backward = {}, {}  # (activation, way): (seeds, layers)
for activation in recipe.steps(ACTIVATIONS, "activations"):
    model = network(activation, "zeros")
    measure = spreads(model)
    for way, make in WAYS.items():
        measured = []
        for sample in (
            samples[:1] if way == "LSUV" else samples
        ):  # LSUV looks at the data, layer by layer: one is enough
            rows, labels = sample.x["train"][:256], sample.y["train"][:256]
            for place, layer in enumerate(model.layers):  # every kernel gets a seed of its own
                layer.kernel.assign(make(activation, 1000 * sample.seed + place)(layer.kernel.shape))
                layer.bias.assign(np.zeros(layer.bias.shape))
            if way == "LSUV":
                initializers.lsuv(model, rows, orthogonal=False, layers=[layer.name for layer in model.layers[:-1]])
            measured.append([part.numpy() for part in measure(rows, labels)])
        forward[activation, way], backward[activation, way] = np.swapaxes(measured, 0, 1)


def kept(values, back=False):
    """Return log10 of the last layer's spread over the first's (of gradients the other way round), for each seed."""
    first, last = (values[:, -1], values[:, 0]) if back else (values[:, 0], values[:, -1])
    return np.log10(np.maximum(last, 1e-45) / np.maximum(first, 1e-45))


rows = {
    f"{activation}, {way}": [kept(ahead), kept(backward[activation, way], back=True)]
    for (activation, way), ahead in forward.items()
    if way != "zeros"
}
title = f"log10 of the spread that {DEPTH} layers leave, {len(SEEDS)} seeds"
recipe.show(title, ["of activations|.1f", "of gradients|.1f"], rows)


# Part 2: training the deep ReLU network.
def compiled(hp):
    model = network("relu", hp["way"])
    model.compile(keras.optimizers.SGD(hp["learning_rate"], momentum=0.9), LOSS)
    return model


arms = {way: [{"way": way, "learning_rate": rate} for rate in RATES] for way in TRAINED}
trained = recipe.best_of(compiled, arms, samples, epochs=EPOCHS, batch_size=BATCH)
recipe.show_scores(f"ReLU network of {DEPTH} layers of {WIDTH}, {EPOCHS} epochs", trained)
right = {way: 1 - scores["test error"] / 100 for way, scores in trained.items()}

# Part 3: which weights move when all begin at zero.
sample, moved = samples[0], {}
for name, depth in (("hidden", 2), ("linear", 0)):
    small = network("relu", "zeros", depth=depth)
    small.compile(keras.optimizers.SGD(0.1, momentum=0.9), LOSS, jit_compile=False)
    keras.utils.set_random_seed(arguments.seed)
    small.fit(sample.x["train"], sample.y["train"], epochs=ZERO_EPOCHS, batch_size=BATCH, verbose=0)
    moved[f"{name}: kernels"] = [float(np.max(np.abs(layer.kernel))) for layer in small.layers]
    moved[f"{name}: logits/bias"] = float(np.max(np.abs(small.layers[-1].bias)))
    guesses = np.argmax(small(sample.x["test"]), axis=1)
    moved[f"{name}: accuracy"] = float(np.mean(guesses == sample.y["test"]))

# Verdicts. A signal is kept within a factor of 5, vanished below a thousandth.
FIVE, THOUSANDTH = np.log10(5), -3
he, glorot, small = (kept(forward["relu", way]) for way in ("He", "Glorot", "N(0, 0.01)"))
LEARNED = "accuracy {}, learned above twice that of guessing, {} seeds"
SPREAD = "10^({}) of it is left, {} seeds"


def keeps(values):
    """Evidence that a signal is kept within a factor of 5."""
    return recipe.below(np.abs(values), FIVE, SPREAD, shown=values, spec=".2f")


still = moved["hidden: kernels"]
claims = {
    "init-zeros-hidden-still": recipe.fact(
        not any(still), "the largest of all weights after training is {} in {} kernels", f"{max(still):g}", len(still)
    ),
    "init-zeros-learn-nothing": recipe.fact(
        not moved["hidden: logits/bias"] and moved["linear: accuracy"] <= 2 * CHANCE,
        "the output bias reaches {}; a model without hidden layers learns: accuracy {} against {} by chance",
        f"{moved['hidden: logits/bias']:.2g}",
        f"{moved['linear: accuracy']:.3f}",
        f"{CHANCE:.3f}",
    ),
    "init-wrong-size-vanishes": recipe.below(small, THOUSANDTH, SPREAD, spec=".1f"),
    "init-he-for-relu": recipe.all_of(keeps(he), recipe.more(he, glorot, "log10 of what is left", ".2f", margin=FIVE)),
    "init-glorot-for-tanh": keeps(kept(forward["tanh", "Glorot"])),
    "init-glorot-for-sigmoid": keeps(kept(backward["sigmoid", "Glorot"], back=True)),
    "init-deep-relu-trains-with-he": recipe.all_of(
        recipe.above(right["He"], 2 * CHANCE, LEARNED, test_to_train=SHARED),
        recipe.below(right["Glorot"], 2 * CHANCE, LEARNED, test_to_train=SHARED),
    ),
}

with recipe.panels(4, width=4) as (figure, axes):
    shown = {
        "relu: activations, by layer": ("relu", "activations", forward),
        "tanh: activations, by layer": ("tanh", "activations", forward),
        "sigmoid: gradients, by layer": ("sigmoid", "gradients", backward),
    }
    for axis, (title, (activation, what, spread)) in zip(axes, shown.items(), strict=False):
        for way, colour in zip([*WAYS][1:], recipe.COLOURS, strict=False):
            mean = np.maximum(spread[activation, way].mean(axis=0), 1e-20)
            axis.semilogy(range(1, DEPTH + 1), mean, color=colour, label=way)
        axis.set(xlabel="layer", ylabel=f"spread of the {what}", title=title, ylim=(1e-16, 30))
    axes[1].legend(fontsize=8, frameon=False, loc="lower right")
    losses = {way: scores["train loss"] for way, scores in trained.items()}
    recipe.dots(axes[3], losses, f"Loss after training {DEPTH} ReLU layers", "training loss (nats)")

by_layer = {
    name: {f"{activation}, {way}": values.mean(axis=0) for (activation, way), values in spread.items()}
    for name, spread in (("forward", forward), ("backward", backward))
}
recipe.finish(arguments, claims, by_layer | {"trained": trained, "from_zeros": moved, "by_chance": CHANCE}, figure)
