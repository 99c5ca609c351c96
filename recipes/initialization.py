"""Does it matter how the weights begin?

The tutorials say: all-zero weights learn nothing; random ones of the wrong size vanish; Xavier (Glorot) is for tanh and
He for ReLU. Part 1 sends digits through networks of 30 layers and measures the spread of the activations and of the
gradients by depth (figures 6 and 7 of Glorot and Bengio 2010), for eight ways to begin and five activations. Part 2
trains the 30-layer ReLU network (figure 3 of He et al. 2015). Part 3 looks at which weights move
when all begin at zero.

    python recipes/initialization.py            # about two minutes on two cores
    python recipes/initialization.py --smoke    # a few seconds, to see that it runs

说明：不同初始化方法下，激活值与梯度随深度的变化，以及 30 层网络能否训练。
"""

import argparse
import json
import pathlib
import time

import keras
import numpy as np
import scipy.stats
import tensorflow as tf
from matplotlib import pyplot as plt
from sklearn import datasets, model_selection

import tfopt
from tfopt import initializers
from tfopt.report import house_style

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--out", default="runs/initialization", help="folder for the picture and the JSON result")
parser.add_argument("--seed", type=int, default=0, help="first of the seeds")
parser.add_argument("--smoke", action="store_true", help="few layers, seeds and epochs, to see that it runs")
parser.add_argument("--full", action="store_true", help="more seeds")
arguments = parser.parse_args()

DEPTH = 8 if arguments.smoke else 30
WIDTH = 32 if arguments.smoke else 96
SEEDS = range(arguments.seed, arguments.seed + (2 if arguments.smoke else 8 if arguments.full else 4))
ACTIVATIONS = ["tanh", "sigmoid", "relu"] if arguments.smoke else ["tanh", "sigmoid", "relu", "gelu", "selu"]
EPOCHS = 1 if arguments.smoke else 15  # of training, batches of 64, SGD with momentum 0.9
RATES = [0.01] if arguments.smoke else [0.001, 0.003, 0.01, 0.03, 0.1]  # the best of them counts, for each way to begin

started = time.perf_counter()
keras.utils.set_random_seed(arguments.seed)
tf.get_logger().setLevel("ERROR")
out = pathlib.Path(arguments.out)
out.mkdir(parents=True, exist_ok=True)

x, y = datasets.load_digits(return_X_y=True)
x = ((x - x.mean()) / x.std()).astype("float32")
x_train, x_test, y_train, y_test = model_selection.train_test_split(x, y, test_size=0.25, stratify=y, random_state=0)


def network(activation, depth=DEPTH):
    hidden = [keras.layers.Dense(WIDTH, activation, name=f"layer{i + 1}") for i in range(depth)]
    return keras.Sequential([keras.Input((64,)), *hidden, keras.layers.Dense(10, name="logits")])


def begin(model, name, seed):
    """Give the model new weights; zero biases. Every kernel gets its own seed."""
    activation = keras.activations.serialize(model.layers[0].activation)
    for index, layer in enumerate(model.layers):
        own = 1000 * seed + index
        make = {
            "zeros": lambda own: keras.initializers.Zeros(),
            "N(0, 0.01)": lambda own: initializers.Normal(0.01, seed=own),
            "LeCun": lambda own: initializers.LeCun(seed=own),
            "Glorot": lambda own: initializers.Glorot(seed=own),
            "He": lambda own: initializers.He(seed=own),
            "orthogonal": lambda own: initializers.Orthogonal(seed=own),
            "orthogonal, gain": lambda own: initializers.Orthogonal(initializers.gain(activation), seed=own),
            "for_activation": lambda own: initializers.for_activation(activation, seed=own),
            "LSUV": lambda own: initializers.Orthogonal(seed=own),
        }[name]
        layer.kernel.assign(make(own)(layer.kernel.shape))
        layer.bias.assign(np.zeros(layer.bias.shape))
    if name == "LSUV":
        initializers.lsuv(model, x_train[:256], orthogonal=False, layers=[layer.name for layer in model.layers[:-1]])


# Part 1: the spread of activations and gradients by depth.
WAYS = ["zeros", "N(0, 0.01)", "LeCun", "Glorot", "He", "orthogonal", "for_activation", "LSUV"]
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def spreads(model):
    """Standard deviation of every hidden layer's outputs, and root mean square of the loss's gradient on them."""

    @tf.function
    def both(rows, labels):
        with tf.GradientTape() as tape:
            signal, signals = rows, []
            for layer in model.layers[:-1]:
                signal = layer(signal)
                signals.append(signal)
            cost = loss(labels, model.layers[-1](signal))
        gradients = tape.gradient(cost, signals)
        sizes = [tf.sqrt(tf.reduce_mean(tf.square(gradient))) for gradient in gradients]
        return tf.stack([tf.math.reduce_std(signal) for signal in signals]), tf.stack(sizes)

    return both


forward, backward = {}, {}
for activation in ACTIVATIONS:
    model = network(activation)
    measure = spreads(model)
    for way in WAYS:
        measured = []
        for seed in SEEDS[:1] if way == "LSUV" else SEEDS:  # LSUV looks at the data, layer by layer: one is enough
            begin(model, way, seed)
            measured.append([part.numpy() for part in measure(x_train[:256], y_train[:256])])
        forward[activation, way], backward[activation, way] = np.mean(measured, axis=0)

print(f"Spread of the activations at layer 1 and {DEPTH}, and of the gradients at layer {DEPTH} and 1")
print(f"{'':12}{'way to begin':18}{'forward, first → last':>26}{'backward, last → first':>26}")
for activation in ACTIVATIONS:
    for way in WAYS:
        ahead, back = forward[activation, way], backward[activation, way]
        print(f"{activation:12}{way:18}{ahead[0]:12.2g} →{ahead[-1]:12.2g}{back[-1]:12.2g} →{back[0]:12.2g}")


def kept(values):
    """Last over first: 1 if the signal keeps its size."""
    return float(values[-1] / values[0]) if values[0] else 0.0


# Part 2: training the deep ReLU network, all epochs in one compiled loop.
model = network("relu")
rate = keras.Variable(0.01, trainable=False)
optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
optimizer.build(model.trainable_variables)
BATCH = 64
num_batches = len(x_train) // BATCH


@tf.function(jit_compile=True)
def train(rows, labels, order):
    """One epoch; returns its mean loss."""
    weights = model.trainable_variables
    total = 0.0
    for step in tf.range(num_batches):
        chosen = tf.slice(order, [step * BATCH], [BATCH])
        with tf.GradientTape() as tape:
            cost = loss(tf.gather(labels, chosen), model(tf.gather(rows, chosen)))
        optimizer.apply_gradients(zip(tape.gradient(cost, weights), weights, strict=True))
        total += cost
    return total / num_batches


TRAINED = ["N(0, 0.01)", "Glorot", "He", "orthogonal, gain"]
curves = {}
for way in TRAINED:
    for value in RATES:
        for seed in SEEDS:
            begin(model, way, seed)
            for variable in optimizer.variables:
                variable.assign(np.zeros(variable.shape, variable.dtype))
            optimizer.learning_rate = value
            shuffle = np.random.default_rng(seed)
            losses = []
            for _ in range(EPOCHS):
                order = tf.constant(shuffle.permutation(len(x_train)))
                losses.append(float(train(tf.constant(x_train), tf.constant(y_train), order)))
            accuracy = float(np.mean(np.argmax(model(x_test), axis=1) == y_test))
            curves[way, value, seed] = (losses, accuracy)

print(f"\nReLU network of {DEPTH} layers of {WIDTH}, {EPOCHS} epochs: accuracy on new digits, 95 % interval over seeds")
accuracies, best_rates = {}, {}
for way in TRAINED:
    by_rate = {value: [curves[way, value, seed][1] for seed in SEEDS] for value in RATES}
    best = max(RATES, key=lambda value: np.mean(by_rate[value]))
    mean, spread = np.mean(by_rate[best]), np.std(by_rate[best], ddof=1)
    width = scipy.stats.t.ppf(0.975, len(SEEDS) - 1) * spread / np.sqrt(len(SEEDS))
    accuracies[way], best_rates[way] = [float(mean), float(mean - width), float(mean + width)], best
    final = np.mean([curves[way, best, seed][0][-1] for seed in SEEDS])
    print(f"{way:18} {mean:.3f} [{mean - width:.3f}, {mean + width:.3f}]   loss {final:.3f}   best rate {best}")
chance = max(np.bincount(y_test)) / len(y_test)

# Part 3: which weights move when all begin at zero.
moved = {}
for name, small in (("three layers", network("relu", depth=2)), ("linear", network("relu", depth=0))):
    begin(small, "zeros", 0)
    small.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"])
    small.fit(x_train, y_train, epochs=2 if arguments.smoke else 10, batch_size=64, verbose=0)
    for weight in small.trainable_variables:
        moved[f"{name}: {weight.path.removeprefix(small.name + '/')}"] = float(np.max(np.abs(weight.numpy())))
    moved[f"{name}: accuracy"] = float(small.evaluate(x_test, y_test, verbose=0)[1])
print("\nLargest weight after training from zeros")
for name, value in moved.items():
    print(f"  {name:28} {value:.3g}")

# Verdicts.
hidden_still = all(value == 0 for name, value in moved.items() if "three layers" in name and "kernel" in name)
he, glorot = accuracies["He"], accuracies["Glorot"]
he_keeps, glorot_relu = kept(forward["relu", "He"]), kept(forward["relu", "Glorot"])
glorot_tanh, too_small = kept(forward["tanh", "Glorot"]), kept(forward["relu", "N(0, 0.01)"])
sigmoid_gradient = kept(backward["sigmoid", "Glorot"][::-1])  # at the first layer, over the last
verdicts = {
    "zeros: hidden layers learn nothing": "holds" if hidden_still else "does not hold",
    "zeros: nothing is learned at all": "does not hold"
    if moved["three layers: logits/bias"] > 0 and moved["linear: accuracy"] > 2 * chance
    else "holds",
    "random weights of the wrong size vanish": "holds"
    if kept(forward["relu", "N(0, 0.01)"]) < 1e-3
    else "does not hold",
    "He keeps the signal through ReLU, Glorot does not": "holds"
    if 0.2 < he_keeps < 5 and glorot_relu < he_keeps / 5
    else "does not hold",
    "Glorot is right for tanh": "holds" if glorot_tanh > 0.1 else "does not hold",
    "Glorot is right for sigmoid": "holds" if sigmoid_gradient > 0.01 else "does not hold",
    f"{DEPTH} ReLU layers train with He and not with Glorot": "can't be told here"
    if arguments.smoke
    else "holds"
    if he[1] > 2 * chance and glorot[2] < 2 * chance
    else "does not hold"
    if glorot[1] > 2 * chance
    else "can't be told here",
}
print()
for claim, verdict in verdicts.items():
    print(f"{claim}: {verdict}")

# The picture.
COLORS = dict(
    zip(WAYS, ["#000000", "#e69f00", "#56b4e9", "#d55e00", "#0072b2", "#cc79a7", "#009e73", "#767676"], strict=True)
)
with house_style():
    figure, axes = plt.subplots(2, len(ACTIVATIONS) + 1, figsize=(3.2 * len(ACTIVATIONS) + 4, 7), layout="constrained")
    layers = np.arange(1, DEPTH + 1)
    for column, activation in enumerate(ACTIVATIONS):
        for axis, values, what in ((axes[0, column], forward, "activations"), (axes[1, column], backward, "gradients")):
            for way in WAYS[1:]:
                axis.semilogy(layers, np.maximum(values[activation, way], 1e-12), color=COLORS[way], label=way)
            axis.set(ylim=(1e-12, 100), xlabel="layer", ylabel=f"spread of the {what}", title=f"{activation}: {what}")
    axes[0, 0].legend(fontsize=8, frameon=False)
    for way, color in zip(TRAINED, ["#e69f00", "#d55e00", "#0072b2", "#cc79a7"], strict=True):
        losses = np.array([curves[way, best_rates[way], seed][0] for seed in SEEDS])
        axes[0, -1].plot(range(1, EPOCHS + 1), losses.T, color=color, alpha=0.35, linewidth=0.8)
        axes[0, -1].plot(range(1, EPOCHS + 1), losses.mean(axis=0), color=color)
        side = "bottom" if way.startswith("N") else "top" if way == "Glorot" else "center"
        axes[0, -1].text(EPOCHS, losses.mean(axis=0)[-1], f" {way}", color=color, fontsize=8, va=side)
    axes[0, -1].set(xlabel="epoch", ylabel="training loss", title=f"{DEPTH} ReLU layers", xlim=(1, EPOCHS * 1.5))
    for index, way in enumerate(TRAINED):
        mean, low, high = accuracies[way]
        axes[1, -1].errorbar(mean, index, xerr=[[mean - low], [high - mean]], fmt="o", color="#0072b2")
    axes[1, -1].axvline(chance, color="#767676", linewidth=1)
    axes[1, -1].set(yticks=range(len(TRAINED)), yticklabels=TRAINED, xlabel="accuracy on new digits (line: chance)",
                    xlim=(0, 1))  # fmt: skip
    figure.savefig(out / "initialization.png", dpi=100)

result = {
    "recipe": "initialization",
    "verdicts": verdicts,
    "forward": {f"{activation}, {way}": values.tolist() for (activation, way), values in forward.items()},
    "backward": {f"{activation}, {way}": values.tolist() for (activation, way), values in backward.items()},
    "accuracy": accuracies,
    "best_rate": best_rates,
    "from_zeros": moved,
    "depth": DEPTH,
    "width": WIDTH,
    "smoke": arguments.smoke,
    "seed": arguments.seed,
    "version": tfopt.__version__,
    "seconds": round(time.perf_counter() - started, 1),
}
(out / "initialization.json").write_text(json.dumps(result, indent=1) + "\n")
print(f"{result['seconds']:.0f} s; picture and result in {out}")
