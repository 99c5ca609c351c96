"""Does dropout help a network that would overfit, against L2 and with it, and is its rate 1 − 1/n?

The claims: "dropout keeps a network from overfitting", "dropout keeps units from leaning on each other", "where L2 is
not enough, dropout is", and the textbook's formula "the dropout rate is p = 1 − 1/n for n units". A wide network is
trained on a small sample of digits at several rates; `DropoutEffects` measures on the way what dropout does, without
touching the training. The usual snippet, `model(x, training=True)` in a callback, changes the trained weights: it
draws from the model's own random stream and moves the statistics of its normalisation layers.

    python recipes/dropout.py                                      # under two minutes on two cores
    python recipes/dropout.py --full                               # ten seeds
    python recipes/dropout.py --data table.csv --target label      # a classification table of your own
"""

import argparse
import json
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import tfopt

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", help="a CSV file with numbers and a class column (default: the embedded digits)")
parser.add_argument("--target", help="its class column (default: the last)")
parser.add_argument("--out", default="runs/dropout", help="folder of the picture and the JSON result")
parser.add_argument("--smoke", action="store_true", help="two epochs, two seeds, to see that it runs")
parser.add_argument("--full", action="store_true", help="ten seeds in place of four")
arguments = parser.parse_args()

TRAIN_ROWS = 200  # few, so that there is something to overfit
UNITS = 64  # the formula's n
EPOCHS = 2 if arguments.smoke else 60
SEEDS = range(2 if arguments.smoke else 10 if arguments.full else 4)
RATES = [0.0, 0.2, 0.5, 0.8, 1 - 1 / UNITS]  # the last is the textbook's
STRENGTH = 1e-3  # of L2

if arguments.data:
    table = pd.read_csv(arguments.data).dropna()
    target = arguments.target or table.columns[-1]
    x, y = table.drop(columns=target).select_dtypes("number").to_numpy(), pd.factorize(table[target])[0]
else:
    x, y = load_digits(return_X_y=True)
classes = int(y.max()) + 1


def train(rate: float, strength: float, seed: int) -> dict[str, float]:
    """Train one network; returns its losses, accuracies and what dropout did at the end."""
    split = train_test_split(x, y, train_size=min(TRAIN_ROWS, len(x) // 2), random_state=seed, stratify=y)
    scaler = StandardScaler().fit(split[0])  # on the training part alone
    x_train, x_test = (scaler.transform(part).astype("float32") for part in split[:2])
    y_train, y_test = split[2:]
    keras.utils.set_random_seed(seed)
    penalty = keras.regularizers.L2(strength)
    dense = [keras.layers.Dense(UNITS, "relu", kernel_regularizer=penalty) for _ in range(2)]
    drops = [keras.layers.Dropout(rate, name=f"after_layer_{i + 1}") for i in range(2)]
    layers = [layer for pair in zip(dense, drops, strict=True) for layer in pair]
    model = keras.Sequential([keras.Input((x.shape[1],)), *layers, keras.layers.Dense(classes)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
    effects = tfopt.callbacks.DropoutEffects((x_test[:300], y_test[:300]), draws=4, every=max(1, EPOCHS - 1))
    model.fit(x_train, y_train, epochs=EPOCHS, batch_size=32, verbose=0, callbacks=[effects] if rate else [])
    scores = [
        (float(loss(labels, logits)), float(np.mean(np.argmax(logits, axis=1) == labels)))
        for labels, logits in ((y_train, model(x_train)), (y_test, model(x_test)))
    ]
    (train_loss, train_accuracy), (test_loss, test_accuracy) = scores
    hidden = np.asarray(keras.Model(model.inputs[0], dense[1].output)(x_test[:300]))
    alive = hidden[:, hidden.std(axis=0) > 1e-6]
    correlation = np.abs(np.corrcoef(alive.T))[np.triu_indices(alive.shape[1], 1)] if alive.shape[1] > 1 else [np.nan]
    return {
        "train_loss": train_loss,
        "test_loss": test_loss,
        "train_error": 1 - train_accuracy,
        "test_error": 1 - test_accuracy,
        "gap": effects.history[-1]["gap"] if rate else 0.0,
        "flips": effects.history[-1]["flip_rate"] if rate else 0.0,
        "coadaptation": float(np.mean(correlation)),
    }


plans = {f"dropout {rate:.3g}": (rate, 0.0) for rate in RATES[1:]}
plans = {"neither": (0.0, 0.0), **plans, "L2": (0.0, STRENGTH), "L2 and dropout 0.5": (0.5, STRENGTH)}
results = {name: [train(*plan, seed) for seed in SEEDS] for name, plan in plans.items()}


def column(name: str, key: str) -> np.ndarray:
    return np.array([run[key] for run in results[name]])


def half_width(values: np.ndarray) -> float:
    """Half of the 95 % interval over the seeds."""
    return float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


print(f"{len(SEEDS)} seeds and splits, {min(TRAIN_ROWS, len(x) // 2)} training rows, {EPOCHS} epochs; ± 95 % interval")
print(f"{'':20} {'train loss':>15} {'test loss':>15} {'test error %':>15} {'gap':>7} {'flips %':>8} {'co-adapt.':>10}")
for name in plans:
    cells = [
        f"{column(name, key).mean():.3f} ± {half_width(column(name, key)):.3f}" for key in ("train_loss", "test_loss")
    ]
    error = 100 * column(name, "test_error")
    gap, flips, together = (column(name, key).mean() for key in ("gap", "flips", "coadaptation"))
    print(
        f"{name:20} {cells[0]:>15} {cells[1]:>15} {error.mean():8.1f} ± {half_width(error):4.1f} "
        f"{gap:7.2f} {100 * flips:8.1f} {together:10.3f}"
    )


def judge(better: str, worse: str, key: str) -> str:
    """Whether the first beats the second on the same seeds, by the interval of the differences."""
    difference = column(worse, key) - column(better, key)
    mean, half = difference.mean(), half_width(difference)
    return "holds" if mean - half > 0 else "does not hold" if mean + half < 0 else "can't be told here"


formula = f"dropout {RATES[-1]:.3g}"
verdicts = {
    "dropout 0.5 lowers the test loss": judge("dropout 0.5", "neither", "test_loss"),
    "dropout 0.5 lowers the test error": judge("dropout 0.5", "neither", "test_error"),
    "dropout 0.5 lowers co-adaptation": judge("dropout 0.5", "neither", "coadaptation"),
    "dropout 0.5 beats L2 (test loss)": judge("dropout 0.5", "L2", "test_loss"),
    "L2 with dropout beats L2 alone (test loss)": judge("L2 and dropout 0.5", "L2", "test_loss"),
    f"the rate 1 − 1/n = {RATES[-1]:.3f} beats 0.5 (test error)": judge(formula, "dropout 0.5", "test_error"),
}
print()
for claim, verdict in verdicts.items():
    print(f"{verdict}: {claim}")

out = Path(arguments.out)
out.mkdir(parents=True, exist_ok=True)
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
by_rate = ["neither", *(f"dropout {rate:.3g}" for rate in RATES[1:])]
for key, colour, label in (("train_loss", "#0072B2", "training"), ("test_loss", "#D55E00", "test")):
    means = [column(name, key).mean() for name in by_rate]
    left.errorbar(
        RATES, means, [half_width(column(name, key)) for name in by_rate], color=colour, marker="o", capsize=3
    )
    left.annotate(label, (RATES[2], means[2]), xytext=(0, 8), textcoords="offset points", color=colour, ha="center")
left.axvline(RATES[-1], color="#999999", ls="--", lw=1)
left.annotate(
    "1 − 1/n",
    (RATES[-1], 1),
    xycoords=("data", "axes fraction"),
    xytext=(-4, -10),
    textcoords="offset points",
    ha="right",
    fontsize=8,
)
left.set(xlabel="dropout rate", ylabel="loss without dropout (nats)")
names = list(plans)
error = [100 * column(name, "test_error").mean() for name in names]
right.barh(
    names, error, xerr=[100 * half_width(column(name, "test_error")) for name in names], color="#56B4E9", capsize=3
)
right.invert_yaxis()
right.set(xlabel="test error (%)")
for ax in (left, right):
    ax.spines[["top", "right"]].set_visible(False)
plt.rcParams["svg.hashsalt"] = "tfopt"
figure.savefig(out / "dropout.svg", metadata={"Date": None})
figure.savefig(out / "dropout.png", dpi=110)
(out / "dropout.json").write_text(
    json.dumps({"seeds": len(SEEDS), "epochs": EPOCHS, "results": results, "verdicts": verdicts}, indent=2)
)
print(f"Picture and numbers: {out}")
