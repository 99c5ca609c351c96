"""Does it matter how the weights begin?

The claims: "with all-zero weights the gradients vanish and nothing is learned", "random weights of the wrong size
vanish too", "Xavier (Glorot) is for sigmoid and tanh, He's √(2/n) for ReLU". Part 1 sends rows through networks of 30
layers and measures the spread of activations and gradients by depth (figures 6 and 7 of Glorot and Bengio 2010) for
eight ways to begin. Part 2 trains the 30-layer ReLU network (figure 3 of He et al. 2015), each way with the learning
rate that gave it the lowest training loss on another seed. Part 3 looks at which weights move when all begin at zero.

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
from sklearn import model_selection, preprocessing

from tfopt import initializers
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__, data="digits")
DEPTH = recipe.by_mode(arguments, smoke=10, default=30)
WIDTH, BATCH = recipe.by_mode(arguments, smoke=48, default=96), 64
SEEDS = range(arguments.seed, arguments.seed + recipe.by_mode(arguments, smoke=2, default=5))
PILOT = arguments.seed + 99  # the seed that chooses the learning rates
EPOCHS = recipe.by_mode(arguments, smoke=1, default=15)  # of SGD with momentum 0.9
RATES = recipe.by_mode(arguments, smoke=[0.01], default=[0.001, 0.003, 0.01, 0.03])
ACTIVATIONS = ["tanh", "sigmoid", "relu"]
WAYS = ["zeros", "N(0, 0.01)", "LeCun", "Glorot", "He", "orthogonal", "for_activation", "LSUV"]
TRAINED = ["N(0, 0.01)", "Glorot", "He", "orthogonal"]

keras.utils.set_random_seed(arguments.seed)
tf.get_logger().setLevel("ERROR")  # many models, one graph each
x, y = recipe.table(arguments, task="classification")
classes = int(y.max()) + 1
SHARED = 1 / 3  # a quarter of the rows are tested on; splits share rows, and this widens the intervals


def split(seed):
    """The seed's own training and test rows."""
    x_train, x_test, y_train, y_test = model_selection.train_test_split(x, y, stratify=y, random_state=seed)
    scaler = preprocessing.StandardScaler().fit(x_train.astype("float64"))
    return [scaler.transform(part).astype("float32") for part in (x_train, x_test)] + [y_train, y_test]


splits = {seed: split(seed) for seed in (*SEEDS, PILOT)}
x_train, x_test, y_train, y_test = splits[PILOT]
batch = min(BATCH, len(x_train))
chance = max(np.bincount(y_test)) / len(y_test)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network(activation, depth=DEPTH):
    hidden = [keras.layers.Dense(WIDTH, activation, name=f"layer{i + 1}") for i in range(depth)]
    return keras.Sequential([keras.Input((x.shape[1],)), *hidden, keras.layers.Dense(classes, name="logits")])


def begin(model, way, seed):
    """Give the model new weights; zero biases. Every kernel gets its own seed."""
    activation = keras.activations.serialize(model.layers[0].activation)
    make = {
        "zeros": lambda own: keras.initializers.Zeros(),
        "N(0, 0.01)": lambda own: initializers.Normal(0.01, seed=own),
        "LeCun": lambda own: initializers.LeCun(seed=own),
        "Glorot": lambda own: initializers.Glorot(seed=own),
        "He": lambda own: initializers.He(seed=own),
        "orthogonal": lambda own: initializers.Orthogonal(initializers.gain(activation), seed=own),
        "for_activation": lambda own: initializers.for_activation(activation, seed=own),
        "LSUV": lambda own: initializers.Orthogonal(seed=own),
    }[way]
    for index, layer in enumerate(model.layers):
        layer.kernel.assign(make(1000 * seed + index)(layer.kernel.shape))
        layer.bias.assign(np.zeros(layer.bias.shape))
    if way == "LSUV":
        initializers.lsuv(
            model, splits[seed][0][:256], orthogonal=False, layers=[layer.name for layer in model.layers[:-1]]
        )


# Part 1: the spread of activations and gradients by depth.
def spreads(model):
    """Return a function: standard deviation of each hidden layer's outputs, root mean square of their gradients."""

    @tf.function
    def both(rows, labels):
        with tf.GradientTape() as tape:
            signal, signals = rows, []
            for layer in model.layers[:-1]:
                signal = layer(signal)
                signals.append(signal)
            cost = loss(labels, model.layers[-1](signal))
        gradients = tape.gradient(cost, signals)
        # In float64, because the squares of what vanishes are too small for float32.
        sizes = [tf.sqrt(tf.reduce_mean(tf.cast(gradient, "float64") ** 2)) for gradient in gradients]
        return tf.stack([tf.math.reduce_std(tf.cast(signal, "float64")) for signal in signals]), tf.stack(sizes)

    return both


forward, backward = {}, {}  # (activation, way): (seeds, layers)
models = {activation: network(activation) for activation in ACTIVATIONS}
for activation, model in models.items():
    measure = spreads(model)
    for way in WAYS:
        measured = []
        for seed in SEEDS[:1] if way == "LSUV" else SEEDS:  # LSUV looks at the data, layer by layer: one is enough
            begin(model, way, seed)
            measured.append([part.numpy() for part in measure(splits[seed][0][:256], splits[seed][2][:256])])
        forward[activation, way], backward[activation, way] = np.swapaxes(measured, 0, 1)

rows = {}
for (activation, way), ahead in forward.items():
    (a, b), (c, d) = ahead.mean(axis=0)[[0, -1]], backward[activation, way].mean(axis=0)[[-1, 0]]
    rows[f"{activation}, {way}"] = [f"{a:.2g} → {b:.2g}", f"{c:.2g} → {d:.2g}"]
title = f"Spread by layer, of {DEPTH}; {len(SEEDS)} seeds"
recipe.show(title, ["activations, first → last", "gradients, last → first"], rows)


def kept(values, back=False):
    """Return log10 of the last layer's spread over the first's (of gradients the other way round), for each seed."""
    first, last = (values[:, -1], values[:, 0]) if back else (values[:, 0], values[:, -1])
    return np.log10(np.maximum(last, 1e-45) / np.maximum(first, 1e-45))


# Part 2: training the deep ReLU network, each epoch in one compiled loop.
model, steps = models["relu"], len(x_train) // batch
optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
optimizer.build(model.trainable_variables)


@tf.function
def epoch(rows, labels, order):
    """Train one epoch; return its mean loss."""
    total = 0.0
    for step in tf.range(steps):
        chosen = order[step * batch : (step + 1) * batch]
        with tf.GradientTape() as tape:
            cost = loss(tf.gather(labels, chosen), model(tf.gather(rows, chosen)))
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(cost, weights), weights, strict=True))
        total += cost
    return total / steps


def train(way, rate, seed):
    """Return the loss of each epoch and the accuracy on new rows."""
    x_train, x_test, y_train, y_test = splits[seed]
    begin(model, way, seed)
    for variable in optimizer.variables:
        variable.assign(np.zeros(variable.shape, variable.dtype))
    optimizer.learning_rate = rate
    shuffle = np.random.default_rng(seed)
    rows, labels = tf.constant(x_train), tf.constant(y_train)
    losses = [float(epoch(rows, labels, tf.constant(shuffle.permutation(len(y_train))))) for _ in range(EPOCHS)]
    return losses, float(np.mean(np.argmax(model(x_test), axis=1) == y_test))


curves, accuracies, best_rates = {}, {}, {}
for way in recipe.steps(TRAINED, "ways to begin"):
    ends = [train(way, rate, PILOT)[0][-1] for rate in RATES]
    best_rates[way] = RATES[int(np.argmin(np.nan_to_num(ends, nan=np.inf)))]
    trained = [train(way, best_rates[way], seed) for seed in SEEDS]
    curves[way] = np.array([losses for losses, _ in trained])
    accuracies[way] = np.array([accuracy for _, accuracy in trained])
rows = {way: [accuracies[way], curves[way][:, -1], f"{best_rates[way]:g}"] for way in TRAINED}
title = f"ReLU network of {DEPTH} layers of {WIDTH}, {EPOCHS} epochs; by chance {chance:.3f} are right"
recipe.show(title, ["accuracy on new rows", "training loss", "rate"], rows, SHARED)

# Part 3: which weights move when all begin at zero.
moved = {}
for name, small in (("hidden", network("relu", depth=2)), ("linear", network("relu", depth=0))):
    begin(small, "zeros", 0)
    small.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"], jit_compile=False)
    keras.utils.set_random_seed(arguments.seed)
    small.fit(x_train, y_train, epochs=recipe.by_mode(arguments, 2, 10), batch_size=batch, verbose=0)
    for weight in small.trainable_variables:
        moved[f"{name}: {weight.path.removeprefix(small.name + '/')}"] = float(np.max(np.abs(weight.numpy())))
    moved[f"{name}: accuracy"] = float(np.mean(np.argmax(small(x_test), axis=1) == y_test))
print("\nLargest weight after training from zeros, and accuracy, with two hidden layers and with none")
for name, value in moved.items():
    print(f"  {name:22}{value:8.3g}")

# Verdicts. A signal is kept within a factor of 5, vanished below a thousandth.
FIVE, THOUSANDTH = np.log10(5), -3
he, glorot, small = (kept(forward["relu", way]) for way in ("He", "Glorot", "N(0, 0.01)"))
tanh, sigmoid = kept(forward["tanh", "Glorot"]), kept(backward["sigmoid", "Glorot"], back=True)
kernels = [value for name, value in moved.items() if name.startswith("hidden") and "kernel" in name]
LEARNED = "accuracy {}, learned above twice that of guessing, {} seeds"
SPREAD = "10^({}) of it is left, {} seeds"


def keeps(values):
    """Evidence that a signal is kept within a factor of 5."""
    return recipe.below(np.abs(values), FIVE, SPREAD, shown=values, spec=".2f")


claims = {
    "init-zeros-hidden-still": recipe.fact(
        not any(kernels),
        "the largest of all weights after training is {} in {} kernels",
        f"{max(kernels):g}",
        len(kernels),
    ),
    "init-zeros-learn-nothing": recipe.fact(
        not moved["hidden: logits/bias"] and moved["linear: accuracy"] <= 2 * chance,
        "the output bias reaches {}; a model without hidden layers learns: accuracy {} against {} by chance",
        f"{moved['hidden: logits/bias']:.2g}",
        f"{moved['linear: accuracy']:.3f}",
        f"{chance:.3f}",
    ),
    "init-wrong-size-vanishes": recipe.below(small, THOUSANDTH, SPREAD, spec=".1f"),
    "init-he-for-relu": recipe.all_of(keeps(he), recipe.more(he, glorot, "log10 of what is left", ".2f", margin=FIVE)),
    "init-glorot-for-tanh": keeps(tanh),
    "init-glorot-for-sigmoid": keeps(sigmoid),
    "init-deep-relu-trains-with-he": recipe.all_of(
        recipe.above(accuracies["He"], 2 * chance, LEARNED, test_to_train=SHARED),
        recipe.below(accuracies["Glorot"], 2 * chance, LEARNED, test_to_train=SHARED),
    ),
}

COLORS = dict(
    zip(WAYS, ["#000000", "#e69f00", "#56b4e9", "#d55e00", "#0072b2", "#cc79a7", "#009e73", "#767676"], strict=True)
)
with recipe.panels(4, width=4) as (figure, axes):
    panels = [("relu", "activations", forward), ("tanh", "activations", forward), ("sigmoid", "gradients", backward)]
    for axis, (activation, what, spread) in zip(axes, panels, strict=False):
        for way in WAYS[1:]:
            mean = np.maximum(spread[activation, way].mean(axis=0), 1e-20)
            axis.semilogy(range(1, DEPTH + 1), mean, color=COLORS[way], label=way)
        axis.set(xlabel="layer", ylabel=f"spread of the {what}", title=f"{activation}: {what}", ylim=(1e-16, 30))
    axes[0].legend(fontsize=8, frameon=False, loc="lower left")
    for way in TRAINED:
        axes[3].plot(range(1, EPOCHS + 1), curves[way].T, color=COLORS[way], alpha=0.35, linewidth=0.8)
        axes[3].plot(range(1, EPOCHS + 1), curves[way].mean(axis=0), color=COLORS[way], label=way)
    axes[3].legend(fontsize=8, frameon=False)
    axes[3].set(xlabel="epoch", ylabel="training loss (nats)", title=f"training {DEPTH} ReLU layers, each seed")

results = {
    "forward": {f"{activation}, {way}": values.mean(axis=0) for (activation, way), values in forward.items()},
    "backward": {f"{activation}, {way}": values.mean(axis=0) for (activation, way), values in backward.items()},
    "accuracy": accuracies,
    "learning_rate": best_rates,
    "loss": curves,
    "from_zeros": moved,
    "by_chance": chance,
}
recipe.finish(arguments, claims, results, figure)
