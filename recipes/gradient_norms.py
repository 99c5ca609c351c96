"""Do gradients vanish in deep sigmoid networks and explode in recurrent ones, and what keeps them healthy?

The claims: "in a deep network with sigmoid units and small random weights the gradient vanishes towards the input", "in
a recurrent network without clipping it explodes", "He initialisation with ReLU and normalisation keeps it alive". Each
network is trained with the same steps (the recurrent one reads a row value by value), and `GradientNorms` records the
gradient of every layer at every step, as it was applied, from inside the training.

What goes wrong in the usual program: it runs a second GradientTape in a callback, after the step. That is the gradient
of the next step, with another dropout mask and before clipping, and each step costs twice as much.

    python recipes/gradient_norms.py                                     # a minute on two cores
    python recipes/gradient_norms.py --full                              # more seeds
    python recipes/gradient_norms.py --data table.csv --target label     # a classification table of your own
"""

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.preprocessing import scale

import tfopt
from tfopt.report import house_style, recipe

arguments = recipe.arguments(__doc__, __file__, data="digits")
SEEDS = range(arguments.seed, arguments.seed + recipe.by_mode(arguments, smoke=2, default=6, full=20))
EPOCHS = recipe.by_mode(arguments, smoke=1, default=6, full=6)
DEPTH = 12  # hidden layers of the two dense networks
WIDTH, BATCH, RATE = 32, 50, 0.05  # plain SGD, so that a step is the gradient times the rate
VANISHED = -3  # log10 of first over largest layer: one rate serves all layers, and this one is 1000 times slower
EXPLODED = np.log10(20)  # log10 of the largest norm over the median: a step that undoes many others

keras.utils.set_random_seed(arguments.seed)
x, y = recipe.table(arguments, task="classification")
rows = np.random.default_rng(arguments.seed).permutation(len(x))[:1000]
x, y = scale(x.astype("float64"))[rows].astype("float32"), y[rows]
L = keras.layers


def deep_sigmoid(seed: int) -> list[keras.layers.Layer]:
    start = tfopt.initializers.Normal(0.05, seed=seed)  # "small random numbers"
    return [L.Dense(WIDTH, "sigmoid", kernel_initializer=start, name=f"layer_{i + 1}") for i in range(DEPTH)]


def recurrent(seed: int) -> list[keras.layers.Layer]:
    # Pascanu et al. (2013): it can only explode with a spectral radius above 1. Here it is about 0.35·√32 = 2.
    start = tfopt.initializers.Normal(0.35, seed=seed)
    return [L.Reshape((x.shape[1], 1)), L.SimpleRNN(WIDTH, recurrent_initializer=start, name="recurrent")]


def healthy(seed: int) -> list[keras.layers.Layer]:
    layers: list[keras.layers.Layer] = []
    for i in range(DEPTH):
        start = tfopt.initializers.He(seed=1000 * seed + i)
        layers.append(L.Dense(WIDTH, use_bias=False, kernel_initializer=start, name=f"layer_{i + 1}"))
        layers += [L.LayerNormalization(name=f"norm_{i + 1}"), L.ReLU()]
    return layers


NETWORKS = {"sigmoid, small weights": deep_sigmoid, "recurrent, no clipping": recurrent, "He, ReLU, normed": healthy}


def train(name: str, seed: int) -> tuple[tfopt.callbacks.GradientNorms, float]:
    """Train one network; returns its norms and its training accuracy."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.Input((x.shape[1],)), *NETWORKS[name](seed), L.Dense(int(y.max()) + 1, name="output")]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(RATE), loss, metrics=["accuracy"], jit_compile=False)
    norms = tfopt.callbacks.GradientNorms()
    history = model.fit(x, y, epochs=EPOCHS, batch_size=BATCH, verbose=0, callbacks=[norms])
    return norms, history.history["accuracy"][-1]


found: dict[str, dict[str, list[float]]] = {}
pictures: dict[str, tfopt.callbacks.GradientNorms] = {}
profiles: dict[str, list[np.ndarray]] = {}
for name in NETWORKS:
    found[name] = {"share": [], "spike": [], "accuracy": []}
    for seed in SEEDS:
        norms, accuracy = train(name, seed)
        history = norms.history
        layers = [layer for layer in norms.layers if "norm" not in layer]
        profile = np.array([np.median(history[f"grad_norm/{layer}"]) for layer in layers])
        profiles.setdefault(name, []).append(profile)
        found[name]["share"].append(float(np.log10(max(profile[0], 1e-30) / profile.max())))
        found[name]["spike"].append(float(np.log10(history["grad_norm"].max() / np.median(history["grad_norm"]))))
        found[name]["accuracy"].append(accuracy)
    pictures[name] = norms

print(f"\n{len(SEEDS)} seeds, {EPOCHS} epochs; base-10 logarithms of ratios, ± 95 % interval over seeds")
print(f"{'network':24}{'first / largest layer':>23}{'largest / median step':>23}{'accuracy':>17}")
for name, row in found.items():
    print(f"{name:24}{recipe.plus_minus(row['share'], '.2f'):>23}{recipe.plus_minus(row['spike'], '.2f'):>23}"
          f"{recipe.plus_minus(row['accuracy'], '.2f'):>17}")  # fmt: skip


def above(values: list[float], limit: float) -> str:
    """Return the verdict on "the values are above the limit"."""
    return recipe.judge(np.array(values) - limit)


def below(values: list[float], limit: float) -> str:
    return recipe.judge(limit - np.array(values))


sick, wild, well = found.values()
seeds = f"{len(SEEDS)} seeds"
accuracies = [recipe.plus_minus(row["accuracy"]) for row in (well, sick)]
claims = {
    "gradient-vanishes-in-sigmoid": (
        f"In a sigmoid network of {DEPTH} layers with small random weights the gradient vanishes towards the input.",
        below(sick["share"], VANISHED),
        f"first over largest layer 10^({recipe.plus_minus(sick['share'], '.1f')}), vanished below 10^-3, {seeds}",
    ),
    "gradient-explodes-in-recurrent": (
        "In a recurrent network without clipping, of spectral radius 2, the gradient explodes.",
        above(wild["spike"], EXPLODED),
        f"largest over median step 10^({recipe.plus_minus(wild['spike'], '.1f')}), exploded above 20, {seeds}",
    ),
    "gradient-he-keeps-alive": (
        f"He initialisation, ReLU and normalisation keep the gradient of {DEPTH} layers alive.",
        recipe.all_of(above(well["share"], VANISHED), below(well["spike"], EXPLODED)),
        f"first over largest layer 10^({recipe.plus_minus(well['share'], '.1f')}), "
        f"largest over median step 10^({recipe.plus_minus(well['spike'], '.1f')}), {seeds}",
    ),
    "gradient-healthy-learns-more": (
        "The healthy network learns more in the same steps than the deep sigmoid network.",
        recipe.judge(np.array(well["accuracy"]) - np.array(sick["accuracy"])),
        f"training accuracy {accuracies[0]} against {accuracies[1]}, {seeds}",
    ),
}

with house_style():
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.5), layout="constrained", width_ratios=[3, 3, 4])
    colors = dict(zip(NETWORKS, ("#d55e00", "#cc79a7", "#0072b2"), strict=True))
    for name, place in (("sigmoid, small weights", (6, -16)), ("He, ReLU, normed", (0, 10))):
        for profile in profiles[name]:
            left.semilogy(range(1, len(profile) + 1), profile, color=colors[name], alpha=0.6)
        left.annotate(name, (DEPTH / 2, profile[DEPTH // 2]), place, textcoords="offset points", color=colors[name])
    left.set(xlabel="layer (the last is the output)", ylabel="median norm of its gradient", title="by layer, each seed")
    for name, norms in pictures.items():
        middle.semilogy(norms.history["grad_norm"], color=colors[name], label=name)
    middle.set(xlabel="step", ylabel="norm of the whole gradient", title="by step, last seed")
    middle.legend(frameon=False)
    whole = pictures["sigmoid, small weights"].plot(right).figure.axes  # `GradientNorms.plot`
    next(axes for axes in whole if axes is not right and right.get_shared_x_axes().joined(axes, right)).set_title(
        "sigmoid, small weights: the callback's picture"
    )

recipe.finish(arguments, claims, {"log10_and_accuracy": found, "epochs": EPOCHS, "seeds": len(SEEDS)}, figure)
