"""Does dropout help a network that would overfit, beside L2 and with it, and is its rate 1 − 1/n?

The claims: "dropout drops units in training and none in inference", "it keeps a network from leaning on single units",
"L2 smooths, but a very complex network still overfits, and then dropout helps", "for n units its rate is 1 − 1/n", and
a program: Dense(64), Dropout(0.5), Dense(10), ten epochs of Adam with batches of 32. A network with two hidden layers,
small and large, is trained on few rows. The strength of L2, the rate of dropout and the learning rate of each are
chosen on the validation rows of other seeds than those that judge them. `DropoutEffects` measures what dropout does.

What goes wrong in the usual programs: the rate is not 1 − 1/n, which would drop 98 % of 64 units, but a hyperparameter;
a test without `eval()` (in Keras: with `training=True`) shows the loss with dropout on; and `model(x, training=True)`
in a callback changes the training, because it draws from the model's random stream.

    python recipes/dropout.py                                      # a minute and a half on two cores
    python recipes/dropout.py --full                               # three times the seeds
    python recipes/dropout.py --data table.csv --target label      # a classification table of your own
"""

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from scipy.special import logsumexp
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import tfopt
from tfopt.report import house_style, recipe

arguments = recipe.arguments(__doc__, __file__, data="digits")
EPOCHS = recipe.by_mode(arguments, smoke=4, default=60, full=60)
BATCH = 32
SEEDS = range(arguments.seed, arguments.seed + recipe.by_mode(arguments, smoke=3, default=12, full=36))
PILOTS = range(arguments.seed + 1000, arguments.seed + recipe.by_mode(arguments, smoke=1001, default=1002, full=1004))
WIDTHS = {"small": 64, "large": 256}  # units of each of the two hidden layers; the formula's n
PEAKS = recipe.by_mode(arguments, smoke=[3e-3], default=[1e-3, 4e-3], full=[1e-3, 2e-3, 4e-3])  # Adam's, decaying to 0
RATES, STRENGTHS = [0.2, 0.5, 0.8], [1e-3, 1e-2, 5e-2]

keras.utils.set_random_seed(arguments.seed)
x, y = recipe.table(arguments, task="classification")
classes, num_train = int(y.max()) + 1, min(200, len(x) // 3)  # few, so that there is something to overfit
# The probe's rows are in no part of any split: what dropout does is measured on them, and the scale taken from them.
probe, rest = train_test_split(np.arange(len(x)), test_size=0.85, random_state=arguments.seed, stratify=y)
x = StandardScaler().fit(x[probe]).transform(x)


def nats(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean cross-entropy over the rows of (…, rows, classes)."""
    right = np.take_along_axis(logits, np.broadcast_to(labels[:, None], (*logits.shape[:-1], 1)), axis=-1)[..., 0]
    return np.mean(logsumexp(logits, axis=-1) - right, axis=-1)


class Network:
    """Hidden layers with L2 and dropout after each; rate, strength and learning rate are variables of one graph."""

    def __init__(self, *widths: int, epochs: int = EPOCHS, schedule: str = "linear"):
        self.steps = epochs * -(-num_train // BATCH)
        self.rate, self.strength, self.peak = (keras.Variable(0.0, trainable=False) for _ in range(3))
        penalty = tfopt.regularizers.L2(self.strength)
        hidden = [keras.layers.Dense(units, "relu", kernel_regularizer=penalty) for units in widths]
        self.drops = [tfopt.layers.Dropout(self.rate, name=f"after_layer_{i + 1}") for i in range(len(widths))]
        layers = [layer for pair in zip(hidden, self.drops, strict=True) for layer in pair]
        self.last = keras.layers.Dense(classes)
        self.model = keras.Sequential([keras.Input((x.shape[1],)), *layers, self.last])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        adam = keras.optimizers.Adam(tfopt.schedules.from_name(schedule, self.peak, self.steps))
        self.model.compile(adam, loss, steps_per_execution=self.steps, jit_compile=False)
        self.see = keras.Model(self.model.inputs[0], [hidden[-1].output, self.model.outputs[0]])
        self.effects = tfopt.callbacks.DropoutEffects((x[probe], y[probe]), draws=4)
        self.effects.set_model(self.model)

    def train(self, seed: int, peak: float, rate: float, strength: float, measure: bool = True) -> dict[str, float]:
        """Train afresh; return losses and errors without dropout, and what dropout does."""
        train, others = train_test_split(rest, train_size=num_train, random_state=seed, stratify=y[rest])
        parts = {"train": train, "valid": others[: len(others) // 4], "test": others[len(others) // 4 :]}
        for variable, value in ((self.peak, peak), (self.rate, rate), (self.strength, strength)):
            variable.assign(value)
        for i, layer in enumerate(layer for layer in self.model.layers if layer.weights and layer not in self.drops):
            layer.kernel.assign(tfopt.initializers.He(seed=100 * seed + i)(layer.kernel.shape))
            layer.bias.assign(tf.zeros(layer.bias.shape))
        for variable in self.model.optimizer.variables:
            variable.assign(tf.zeros(variable.shape, variable.dtype))
        for i, layer in enumerate(self.drops):
            layer.seed_generator.state.assign([seed, i])  # the same masks each time
        rows = tf.data.Dataset.from_tensor_slices((x[train], y[train])).shuffle(num_train, seed=seed)
        self.model.fit(rows.batch(BATCH).repeat().take(self.steps), verbose=0, shuffle=False)

        hidden, logits = (part.numpy() for part in self.see(x))
        found = {f"{name} loss": float(nats(logits[part], y[part])) for name, part in parts.items()}
        found |= {f"{name} error": 100 * np.mean(logits[part].argmax(1) != y[part]) for name, part in parts.items()}
        if measure:
            measured = self.effects.measure()
            found |= {key: measured[key] for key in ("loss_on", "loss_off")}
            found |= measured["layers"][self.drops[-1].name]
            # How much the network leans on single units: how much the loss grows without the worst one to lose.
            test = parts["test"][:300]
            without = logits[test] - hidden[test].T[:, :, None] * self.last.kernel.numpy()[:, None, :]
            found["lean"] = float(np.max(nats(without, y[test])) - nats(logits[test], y[test]))
        return found


runs, chosen = {}, {}
for size, units in WIDTHS.items():
    network = Network(units, units)
    methods = {"neither": [(0.0, 0.0)], "dropout": [(rate, 0.0) for rate in RATES], "1 − 1/n": [(1 - 1 / units, 0.0)]}
    methods["L2"] = [(0.0, strength) for strength in STRENGTHS]
    methods["both"] = [(rate, strength) for rate in RATES[:2] for strength in STRENGTHS]
    for name, settings in methods.items():
        tuned = {}
        for setting in settings:
            scores = [[network.train(s, peak, *setting, measure=False)["valid loss"] for s in PILOTS] for peak in PEAKS]
            tuned[setting] = min(zip(np.mean(scores, axis=1), PEAKS, strict=True))  # and the learning rate
        chosen[size, name] = min(tuned, key=lambda setting: tuned[setting][0])
        for setting in settings if name == "dropout" else [chosen[size, name]]:  # every rate, for the picture
            runs[size, setting] = [network.train(seed, tuned[setting][1], *setting) for seed in SEEDS]
tutorial = Network(64, epochs=min(EPOCHS, 10), schedule="constant")
for name, setting in (("neither", (0.0, 0.0)), ("dropout", (0.5, 0.0))):
    chosen["tutorial", name] = setting
    runs["tutorial", setting] = [tutorial.train(seed, 1e-3, *setting) for seed in SEEDS]


def column(size: str, method: str | tuple[float, float], key: str) -> np.ndarray:
    setting = chosen[size, method] if isinstance(method, str) else method
    return np.array([run[key] for run in runs[size, setting]])


print(f"\n{len(SEEDS)} seeds and splits, {num_train} training rows, {EPOCHS} epochs; ± 95 % interval over seeds")
heads = ("train loss", "test loss", "test error %", "worst unit lost", "correlation")
print(f"{'network':10}{'method':9}{'rate':>6}{'L2':>7}" + "".join(f"{head:>17}" for head in heads))
for (size, name), (rate, strength) in chosen.items():
    keys = (
        ("train loss", ".3f"),
        ("test loss", ".3f"),
        ("test error", ".1f"),
        ("lean", ".2f"),
        ("coadaptation", ".3f"),
    )
    cells = [recipe.plus_minus(column(size, name, key), spec) for key, spec in keys]
    print(f"{size:10}{name:9}{rate:6.3g}{strength:7.3g}" + "".join(f"{cell:>17}" for cell in cells))


def versus(size: str, method: str, other: str, key: str, spec: str = ".3f", unit: str = "") -> tuple[str, str]:
    """Return verdict and numbers on "the method's is lower than the other's", on the same seeds."""
    first, second = column(size, method, key), column(size, other, key)
    numbers = (
        f"{recipe.plus_minus(first, spec)}{unit} against {recipe.plus_minus(second, spec)}{unit}, {len(SEEDS)} seeds"
    )
    return recipe.judge(second - first), numbers


# What dropout does, at rate 0.5 in the large network: by `DropoutEffects`, on the probe.
half = (0.5, 0.0)
measured = {
    key: column("large", half, key) for key in ("drop_fraction", "mean_shift", "variance_ratio", "loss_on", "loss_off")
}
network.rate.assign(0.5)
dropping = network.model(x[probe], training=False).numpy()
network.rate.assign(0.0)
differs = float(np.max(np.abs(dropping - network.model(x[probe], training=False).numpy())))
dropped, seeds = measured["drop_fraction"], f"{len(SEEDS)} seeds"
gap = measured["loss_on"] - measured["loss_off"]
best = f"rate {chosen['large', 'dropout'][0]:g}"
claims = {
    "dropout-off-in-inference": (
        "Dropout drops units in training, and none in inference.",
        recipe.fact(np.all(np.abs(dropped - 0.5) < 0.02) and differs == 0),
        f"a share of {recipe.plus_minus(dropped)} is dropped at rate 0.5; in inference outputs change by {differs:g}",
    ),
    "dropout-keeps-mean": (
        "Scaling by 1/(1 − rate) keeps the mean of what a layer gives on.",
        recipe.judge(0.05 - np.abs(measured["mean_shift"])),
        f"shifted by {recipe.plus_minus(measured['mean_shift'])} standard deviations at rate 0.5, {seeds}",
    ),
    "dropout-keeps-variance": (
        "It keeps the variance too.",
        recipe.judge(0.05 - np.abs(measured["variance_ratio"] - 1)),
        f"{recipe.plus_minus(measured['variance_ratio'], '.2f')} times the variance at rate 0.5, {seeds}",
    ),
    "dropout-test-in-training-mode": (
        "A test that leaves dropout on shows no higher loss.",
        recipe.judge(-gap),
        f"{recipe.plus_minus(measured['loss_on'])} with it against {recipe.plus_minus(measured['loss_off'])}, {seeds}",
    ),
    "dropout-leans-less": (
        "A network with dropout leans less on single units.",
        *versus("large", "dropout", "neither", "lean"),
    ),
    "dropout-lowers-coadaptation": (
        "Its units are less correlated.",
        *versus("large", "dropout", "neither", "coadaptation"),
    ),
    "dropout-lowers-test-loss": (
        f"Dropout ({best}) lowers the test loss of the large network.",
        *versus("large", "dropout", "neither", "test loss"),
    ),
    "dropout-lowers-test-error": (
        f"Dropout ({best}) lowers the test error of the large network.",
        *versus("large", "dropout", "neither", "test error", ".1f", " %"),
    ),
    "dropout-beats-l2-in-large-nets": (
        "In the large network dropout gives a lower test loss than L2.",
        *versus("large", "dropout", "L2", "test loss"),
    ),
    "dropout-helps-l2-in-large-nets": (
        "In the large network L2 with dropout gives a lower test loss than L2 alone.",
        *versus("large", "both", "L2", "test loss"),
    ),
    "dropout-rate-formula": (
        "The rate 1 − 1/n for n units gives a lower test error than a rate that is chosen.",
        *versus("small", "1 − 1/n", "dropout", "test error", ".1f", " %"),
    ),
    "dropout-tutorial-network": (
        "The tutorial's Dense(64), Dropout(0.5), Dense(10) makes fewer errors than without dropout.",
        *versus("tutorial", "dropout", "neither", "test error", ".1f", " %"),
    ),
}

with house_style():
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    for axes, key, what in (
        (left, "test loss", "test loss (nats)"),
        (right, "lean", "loss added by losing the worst unit (nats)"),
    ):
        for size, color in (("small", "#0072b2"), ("large", "#d55e00")):
            settings = [(0.0, 0.0), *((rate, 0.0) for rate in RATES), chosen[size, "1 − 1/n"]]
            means, halves = recipe.interval(np.array([column(size, setting, key) for setting in settings]).T)
            label = f"2 × {WIDTHS[size]} units"
            axes.errorbar(
                [rate for rate, _ in settings], means, halves, color=color, marker="o", capsize=3, label=label
            )
        axes.set(xlabel="dropout rate (the last is 1 − 1/n)", ylabel=what)
    left.set(yscale="log", yticks=[0.3, 1, 3], yticklabels=["0.3", "1", "3"])
    left.minorticks_off()
    left.legend(frameon=False)
    rows = [key for key in chosen if key[1] != "1 − 1/n"]
    for place, (size, name) in enumerate(rows):
        mean, width = recipe.interval(column(size, name, "test error"))
        color = {"small": "#0072b2", "large": "#d55e00", "tutorial": "#767676"}[size]
        middle.errorbar(mean, place, xerr=width, fmt="o", color=color, capsize=3)
    middle.set(xlabel="test error (%)", yticks=range(len(rows)), yticklabels=[f"{size}: {name}" for size, name in rows])
    middle.invert_yaxis()

results = {
    "chosen": {f"{size}, {name}": {"rate": rate, "l2": strength} for (size, name), (rate, strength) in chosen.items()},
    "runs": {
        f"{size}, rate {rate:.3g}, l2 {strength:g}": {key: [run[key] for run in each] for key in each[0]}
        for (size, (rate, strength)), each in runs.items()
    },
    "training_rows": num_train,
    "epochs": EPOCHS,
}
recipe.finish(arguments, claims, results, figure)
