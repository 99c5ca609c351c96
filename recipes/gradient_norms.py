"""Do gradients vanish in deep sigmoid networks and explode in recurrent ones, and what keeps them healthy?

The claims: "in a deep network with sigmoid units and small random weights the gradient vanishes towards the input", "in
a recurrent network without clipping it explodes", "He initialisation with ReLU and normalisation keeps it alive". Each
network is trained with the same steps (the recurrent one reads a row value by value), on rows of the seed's own, and
`GradientNorms` records the gradient of every layer at every step, as it was applied, from inside the training.

What goes wrong in the usual program: it runs a second GradientTape in a callback, after the step. That is the gradient
of the next step, with another dropout mask and before clipping, and each step costs twice as much.

So: look at the gradient by layer before blaming the learning rate; use ReLU with He's weights and normalisation in deep
networks, and clip the gradient of recurrent ones.

Claims:
    gradient-vanishes-in-sigmoid: In a sigmoid network of 12 layers with small random weights the gradient vanishes
        towards the input
    gradient-explodes-in-recurrent: In a recurrent network without clipping, of spectral radius 2, the gradient
        explodes
    gradient-he-keeps-alive: He initialisation, ReLU and normalisation keep the gradient of 12 layers alive
    gradient-healthy-learns-more: The healthy network learns more in the same steps than the deep sigmoid network

    python recipes/gradient_norms.py                                     # half a minute on two cores
    python recipes/gradient_norms.py --data table.csv --target label     # a classification table of your own
"""

import keras
import numpy as np

import tfopt
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__, data="digits")
SEEDS = recipe.seeds(arguments, smoke=2, default=6)  # each with rows of its own
EPOCHS = recipe.by_mode(arguments, smoke=1, default=15)
DEPTH = 12  # hidden layers of the two dense networks
WIDTH, BATCH, RATE = 32, 32, 0.05  # plain SGD, so that a step is the gradient times the rate
VANISHED = -3  # log10 of first over largest layer: one rate serves all layers, and this one is 1000 times slower
EXPLODED = np.log10(20)  # log10 of the largest norm over the median: a step that undoes many others

x, y = recipe.table(arguments, task="classification")
samples = recipe.samples(x, y, SEEDS, train=0.8, valid=0.1)
L = keras.layers


def deep_sigmoid(seed: int) -> list[keras.layers.Layer]:
    start = [tfopt.initializers.Normal(0.05, seed=1000 * seed + i) for i in range(DEPTH)]  # "small random numbers"
    return [L.Dense(WIDTH, "sigmoid", kernel_initializer=start[i], name=f"layer_{i + 1}") for i in range(DEPTH)]


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


def train(name: str, sample: recipe.Sample) -> tuple[tfopt.callbacks.GradientNorms, float]:
    """Train one network; returns its norms and its training accuracy."""
    keras.utils.set_random_seed(sample.seed)
    output = L.Dense(int(y.max()) + 1, name="output")
    model = keras.Sequential([keras.Input((x.shape[1],)), *NETWORKS[name](sample.seed), output])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(RATE), loss, metrics=["accuracy"], jit_compile=False)
    norms = tfopt.callbacks.GradientNorms()
    data = sample.x["train"], sample.y["train"]
    history = model.fit(*data, epochs=EPOCHS, batch_size=BATCH, verbose=0, callbacks=[norms])
    return norms, history.history["accuracy"][-1]


found, profiles, steps = {}, {}, {}
for name, sample in recipe.steps([(name, sample) for name in NETWORKS for sample in samples], "trainings"):
    norms, accuracy = train(name, sample)
    history = norms.history
    profile = np.array([np.median(history[f"grad_norm/{layer}"]) for layer in norms.layers if "norm" not in layer])
    row = found.setdefault(name, {"share": [], "spike": [], "accuracy": []})
    row["share"].append(float(np.log10(max(profile[0], 1e-30) / profile.max())))
    row["spike"].append(float(np.log10(history["grad_norm"].max() / np.median(history["grad_norm"]))))
    row["accuracy"].append(accuracy)
    profiles.setdefault(name, []).append(profile)
    steps[name] = history["grad_norm"]

columns = ["first / largest layer|.2f", "largest / median step|.2f", "accuracy|.2f"]
recipe.show(
    f"{len(SEEDS)} seeds; base-10 logarithms of ratios", columns, {k: list(v.values()) for k, v in found.items()}
)

sick, wild, well = found.values()
SHARE = "first over largest layer 10^({}), vanished below 10^-3, {} seeds"
SPIKE = "largest over median step 10^({}), exploded above 20, {} seeds"
claims = {
    "gradient-vanishes-in-sigmoid": recipe.below(sick["share"], VANISHED, SHARE, spec=".1f"),
    "gradient-explodes-in-recurrent": recipe.above(wild["spike"], EXPLODED, SPIKE, spec=".1f"),
    "gradient-he-keeps-alive": recipe.all_of(
        recipe.above(well["share"], VANISHED, SHARE, spec=".1f"),
        recipe.below(well["spike"], EXPLODED, SPIKE, spec=".1f"),
    ),
    "gradient-healthy-learns-more": recipe.more(well["accuracy"], sick["accuracy"], "training accuracy"),
}

with recipe.panels(2, width=6) as (figure, (left, right)):
    for name, colour in zip(NETWORKS, recipe.COLOURS, strict=False):
        if name != "recurrent, no clipping":
            for seed, profile in enumerate(profiles[name]):
                layers = range(1, len(profile) + 1)
                left.semilogy(layers, profile, color=colour, alpha=0.6, label=None if seed else name)
        right.semilogy(steps[name], color=colour, label=name)
    left.set(
        xlabel="layer (the last is the output)",
        ylabel="median norm of its gradient",
        title="Gradient of each layer, by network",
    )
    right.set(xlabel="step", ylabel="norm of the whole gradient", title="Gradient in each step (last seed)")
    left.legend(frameon=False)
    right.legend(frameon=False)

recipe.finish(arguments, claims, {"log10_and_accuracy": found, "epochs": EPOCHS}, figure)
