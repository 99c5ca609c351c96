"""Does it matter how the weights begin?

The claims: "with all-zero weights the gradients vanish and nothing is learned", "random weights of the wrong size
vanish too", "Xavier (Glorot) is for sigmoid and tanh, He's √(2/n) for ReLU". Part 1 sends rows through networks of 30
layers and measures the spread of activations and gradients by depth (figures 6 and 7 of Glorot and Bengio 2010) for
eight ways to begin. Part 2 trains the 30-layer ReLU network (figure 3 of He et al. 2015), each way with the learning
rate that gave it the lowest training loss on another seed. Part 3 looks at which weights move when all begin at zero.

What goes wrong in the usual program: `RandomNormal(stddev=0.01)` in every layer, whatever its width and activation.

    python recipes/initialization.py                                     # a minute and a half on two cores
    python recipes/initialization.py --full                              # more seeds
    python recipes/initialization.py --data table.csv --target label     # a classification table of your own
"""

import keras
import numpy as np
import tensorflow as tf
from matplotlib import pyplot as plt
from sklearn import model_selection, preprocessing

from tfopt import initializers
from tfopt.report import house_style, recipe

arguments = recipe.arguments(__doc__, __file__, data="digits")
DEPTH = recipe.by_mode(arguments, smoke=10, default=30, full=30)
WIDTH, BATCH = recipe.by_mode(arguments, smoke=48, default=96, full=96), 64
SEEDS = range(arguments.seed, arguments.seed + recipe.by_mode(arguments, smoke=2, default=5, full=16))
PILOT = arguments.seed + 1000  # the seed that chooses the learning rates
EPOCHS = recipe.by_mode(arguments, smoke=1, default=15, full=15)  # of SGD with momentum 0.9
RATES = recipe.by_mode(arguments, smoke=[0.01], default=[0.001, 0.003, 0.01, 0.03], full=[0.001, 0.003, 0.01, 0.03])
ACTIVATIONS = ["tanh", "sigmoid", "relu"]
WAYS = ["zeros", "N(0, 0.01)", "LeCun", "Glorot", "He", "orthogonal", "for_activation", "LSUV"]
TRAINED = ["N(0, 0.01)", "Glorot", "He", "orthogonal"]

keras.utils.set_random_seed(arguments.seed)
tf.get_logger().setLevel("ERROR")  # many models, one graph each
x, y = recipe.table(arguments, task="classification")
x_train, x_test, y_train, y_test = model_selection.train_test_split(x, y, stratify=y, random_state=arguments.seed)
scaler = preprocessing.StandardScaler().fit(x_train.astype("float64"))
x_train, x_test = (scaler.transform(part).astype("float32") for part in (x_train, x_test))
classes, batch = int(y.max()) + 1, min(BATCH, len(x_train))
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
        initializers.lsuv(model, x_train[:256], orthogonal=False, layers=[layer.name for layer in model.layers[:-1]])


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
            measured.append([part.numpy() for part in measure(x_train[:256], y_train[:256])])
        forward[activation, way], backward[activation, way] = np.swapaxes(measured, 0, 1)

print(f"\nSpread of activations at layer 1 and {DEPTH}, and of gradients at layer {DEPTH} and 1; {len(SEEDS)} seeds")
print(f"{'':10}{'way to begin':16}{'forward, first → last':>26}{'backward, last → first':>26}")
for (activation, way), ahead in forward.items():
    (a, b), (c, d) = ahead.mean(axis=0)[[0, -1]], backward[activation, way].mean(axis=0)[[-1, 0]]
    print(f"{activation:10}{way:16}{a:12.2g} →{b:12.2g}{c:12.2g} →{d:12.2g}")


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
    begin(model, way, seed)
    for variable in optimizer.variables:
        variable.assign(np.zeros(variable.shape, variable.dtype))
    optimizer.learning_rate = rate
    shuffle = np.random.default_rng(seed)
    rows, labels = tf.constant(x_train), tf.constant(y_train)
    losses = [float(epoch(rows, labels, tf.constant(shuffle.permutation(len(y_train))))) for _ in range(EPOCHS)]
    return losses, float(np.mean(np.argmax(model(x_test), axis=1) == y_test))


curves, accuracies, best_rates = {}, {}, {}
for way in TRAINED:
    ends = [train(way, rate, PILOT)[0][-1] for rate in RATES]
    best_rates[way] = RATES[int(np.argmin(np.nan_to_num(ends, nan=np.inf)))]
    trained = [train(way, best_rates[way], seed) for seed in SEEDS]
    curves[way] = np.array([losses for losses, _ in trained])
    accuracies[way] = np.array([accuracy for _, accuracy in trained])
print(
    f"\nReLU network of {DEPTH} layers of {WIDTH}, {EPOCHS} epochs: accuracy on new rows (by chance {chance:.3f}), loss"
)
for way in TRAINED:
    ends = recipe.plus_minus(curves[way][:, -1])
    print(f"{way:16}{recipe.plus_minus(accuracies[way]):>16}{ends:>16}   rate {best_rates[way]}")

# Part 3: which weights move when all begin at zero.
moved = {}
for name, small in (("hidden", network("relu", depth=2)), ("linear", network("relu", depth=0))):
    begin(small, "zeros", 0)
    small.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"], jit_compile=False)
    small.fit(x_train, y_train, epochs=recipe.by_mode(arguments, 2, 10, 10), batch_size=batch, verbose=0)
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
seeds = f"through {DEPTH} layers, {len(SEEDS)} seeds"
kernels = [value for name, value in moved.items() if name.startswith("hidden") and "kernel" in name]
learned = recipe.judge(accuracies["He"] - 2 * chance)
not_learned = recipe.judge(2 * chance - accuracies["Glorot"])
claims = {
    "init-zeros-hidden-still": (
        "From all-zero weights the hidden layers learn nothing.",
        recipe.fact(not any(kernels)),
        f"the largest of all weights after training is {max(kernels):g} in {len(kernels)} kernels",
    ),
    "init-zeros-learn-nothing": (
        "From all-zero weights nothing at all is learned.",
        recipe.fact(not moved["hidden: logits/bias"] and moved["linear: accuracy"] <= 2 * chance),
        f"the output bias reaches {moved['hidden: logits/bias']:.2g}; a model without hidden layers learns: accuracy "
        f"{moved['linear: accuracy']:.3f} against {chance:.3f} by chance",
    ),
    "init-wrong-size-vanishes": (
        "Random weights of the wrong size, N(0, 0.01²), vanish too.",
        recipe.judge(THOUSANDTH - small),
        f"10^({recipe.plus_minus(small, '.1f')}) of the spread {seeds}",
    ),
    "init-he-for-relu": (
        "He's weights keep the signal through ReLU layers, and Glorot's do not.",
        recipe.all_of(recipe.judge(FIVE - np.abs(he)), recipe.judge(he - glorot - FIVE)),
        f"10^({recipe.plus_minus(he, '.2f')}) against 10^({recipe.plus_minus(glorot, '.2f')}) {seeds}",
    ),
    "init-glorot-for-tanh": (
        "Glorot's weights keep the signal through tanh layers.",
        recipe.judge(FIVE - np.abs(tanh)),
        f"10^({recipe.plus_minus(tanh, '.2f')}) of the spread {seeds}",
    ),
    "init-glorot-for-sigmoid": (
        "Glorot's weights keep the gradient through sigmoid layers.",
        recipe.judge(FIVE - np.abs(sigmoid)),
        f"10^({recipe.plus_minus(sigmoid, '.1f')}) of the gradient comes back {seeds}",
    ),
    "init-deep-relu-trains-with-he": (
        f"{DEPTH} ReLU layers learn with He's weights, and not with Glorot's.",
        recipe.all_of(learned, not_learned),
        f"accuracy {recipe.plus_minus(accuracies['He'])} against {recipe.plus_minus(accuracies['Glorot'])} {seeds}; "
        f"learned above {2 * chance:.3f}",
    ),
}

COLORS = dict(
    zip(WAYS, ["#000000", "#e69f00", "#56b4e9", "#d55e00", "#0072b2", "#cc79a7", "#009e73", "#767676"], strict=True)
)
with house_style():
    figure, axes = plt.subplots(1, 4, figsize=(16, 4.2), layout="constrained")
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
