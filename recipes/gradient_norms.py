"""Do gradients vanish in deep sigmoid networks and explode in recurrent ones, and what keeps them healthy?

The claims: "in a deep network with sigmoid units the gradient vanishes towards the input", "in a recurrent network
without clipping it explodes", "He initialisation with ReLU and normalisation keeps it alive". Each network is trained
on the digits (the recurrent one reads them pixel by pixel), and `GradientNorms` records the gradient of every layer at
every step, as it was applied, from inside the training. The usual snippet instead runs a second GradientTape in a
callback: another batch, another dropout mask, no clipping, and a step that costs twice as much.

    python recipes/gradient_norms.py            # about a minute on two cores
    python recipes/gradient_norms.py --full     # ten seeds
"""

import argparse
import json
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.preprocessing import scale

import tfopt

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--out", default="runs/gradient_norms", help="folder of the picture and the JSON result")
parser.add_argument("--smoke", action="store_true", help="one epoch, two seeds, to see that it runs")
parser.add_argument("--full", action="store_true", help="ten seeds in place of four")
arguments = parser.parse_args()

DEPTH = 12  # hidden layers of the two dense networks
EPOCHS = 1 if arguments.smoke else 6
SEEDS = range(2 if arguments.smoke else 10 if arguments.full else 4)
VANISHED = 1e-3  # of the largest layer's gradient: one learning rate serves all layers, this one is 1000 times slower
EXPLODED = 20  # times the median norm: a step that undoes many others

x, y = load_digits(return_X_y=True)
x = scale(x)[:1000].astype("float32")
y = y[:1000]
L = keras.layers


def deep_sigmoid(seed: int) -> list[keras.layers.Layer]:
    start = keras.initializers.RandomNormal(stddev=0.05, seed=seed)  # "small random numbers"
    return [L.Dense(32, "sigmoid", kernel_initializer=start, name=f"layer_{i + 1}") for i in range(DEPTH)]


def recurrent(seed: int) -> list[keras.layers.Layer]:
    # Pascanu et al. (2013): it can only explode with a spectral radius above 1. Here it is about 0.35·√32 = 2.
    start = keras.initializers.RandomNormal(stddev=0.35, seed=seed)
    return [L.Reshape((64, 1)), L.SimpleRNN(32, recurrent_initializer=start, name="recurrent")]


def healthy(seed: int) -> list[keras.layers.Layer]:
    layers: list[keras.layers.Layer] = []
    for i in range(DEPTH):
        start = keras.initializers.HeNormal(seed=seed + i)
        layers.append(L.Dense(32, use_bias=False, kernel_initializer=start, name=f"layer_{i + 1}"))
        layers += [L.LayerNormalization(name=f"norm_{i + 1}"), L.ReLU()]
    return layers


NETWORKS = {"sigmoid, small weights": deep_sigmoid, "recurrent, no clipping": recurrent, "He, ReLU, normed": healthy}


def train(name: str, seed: int) -> tuple[tfopt.callbacks.GradientNorms, float]:
    """Train one network; returns its norms and its training accuracy."""
    keras.utils.set_random_seed(seed)
    output = L.Dense(10, name="output")
    model = keras.Sequential([keras.Input((64,)), *NETWORKS[name](seed), output])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), loss, metrics=["accuracy"])
    norms = tfopt.callbacks.GradientNorms()
    history = model.fit(x, y, epochs=EPOCHS, batch_size=50, verbose=0, callbacks=[norms])
    return norms, history.history["accuracy"][-1]


def interval(values: list[float]) -> str:
    """Mean and 95 % interval over the seeds."""
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):7.2f} ± {half:5.2f}"


rows: dict[str, dict[str, list[float]]] = {}
pictures = {}
for name in NETWORKS:
    rows[name] = {"share": [], "spike": [], "accuracy": []}
    for seed in SEEDS:
        norms, accuracy = train(name, seed)
        history = norms.history
        kernels = np.array([np.median(history[f"grad_norm/{layer}"]) for layer in norms.layers if "norm" not in layer])
        rows[name]["share"].append(float(np.log10(max(kernels[0], 1e-30) / kernels.max())))
        rows[name]["spike"].append(float(np.log10(history["grad_norm"].max() / np.median(history["grad_norm"]))))
        rows[name]["accuracy"].append(accuracy)
    pictures[name] = norms

print(f"{len(SEEDS)} seeds, {EPOCHS} epochs; base-10 logarithms, mean ± 95 % interval")
print(f"{'network':24} {'first/largest layer':>19} {'max/median step':>17} {'accuracy':>17}")
for name, row in rows.items():
    print(f"{name:24} {interval(row['share']):>19} {interval(row['spike']):>17} {interval(row['accuracy']):>17}")


def judge(values: list[float], threshold: float, above: bool) -> str:
    """Whether the interval over the seeds lies on the claim's side of the threshold."""
    mean = np.mean(values)
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    low, high = (mean - half, mean + half) if above else (-mean - half, -mean + half)
    limit = threshold if above else -threshold
    return "holds" if low > limit else "does not hold" if high < limit else "can't be told here"


sick, wild, well = (rows[name] for name in NETWORKS)
alive = [judge(well["share"], np.log10(VANISHED), True), judge(well["spike"], np.log10(EXPLODED), False)]
verdicts = {
    "the gradient vanishes in a deep sigmoid network": judge(sick["share"], np.log10(VANISHED), False),
    "the gradient explodes in a recurrent network without clipping": judge(wild["spike"], np.log10(EXPLODED), True),
    "He initialisation, ReLU and normalisation keep it alive": (
        alive[0] if alive[0] == alive[1] else next(verdict for verdict in alive if verdict != "holds")
    ),
}
print()
for claim, verdict in verdicts.items():
    print(f"{verdict}: {claim}")

out = Path(arguments.out)
out.mkdir(parents=True, exist_ok=True)
figure, axes = plt.subplots(1, 3, figsize=(15, 5.5), layout="constrained")
for ax, (name, norms) in zip(axes, pictures.items(), strict=True):
    tallest = norms.plot(ax).figure.axes
    above = next(other for other in tallest if other is not ax and ax.get_shared_x_axes().joined(ax, other))
    above.set_title(name, loc="left", fontsize=10)
plt.rcParams["svg.hashsalt"] = "tfopt"
figure.savefig(out / "gradient_norms.svg", metadata={"Date": None})
figure.savefig(out / "gradient_norms.png", dpi=110)
(out / "gradient_norms.json").write_text(
    json.dumps({"seeds": len(SEEDS), "epochs": EPOCHS, "log10": rows, "verdicts": verdicts}, indent=2)
)
print(f"Picture and numbers: {out}")
