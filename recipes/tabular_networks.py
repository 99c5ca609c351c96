"""Which parts of RealMLP help a network for tables?

The claims, of Holzmüller, Grinsztajn and Steinwart (2024, https://arxiv.org/abs/2407.04491): a multilayer perceptron
with all of these parts is better on tables than a plain one, and each part helps. Here each is taken out of the whole
and put alone into a plain network of the same widths: numbers embedded as trained waves; a trained factor for each
input; dense layers in neural-tangent parametrisation; trained strengths of the activations; a learning rate of four
cosine cycles in place of one line to zero; dropout that stays for half of the training and then fades. RealMLP's start
from data, label smoothing, weight decay and short memory of Adam are left out.

Every network chooses its learning rate on validation rows and is judged on test rows, in the same splits. Splits of one
table share rows, which the intervals account for (Nadeau and Bengio 2003); verdicts are corrected for the number of
claims. What holds on average over 118 tables, as in the paper, need not be seen on one.

So: take RealMLP as a whole and search its settings on your table; no single part stands for it.

Claims:
    tabular-all-beats-plain: All parts together are better than none
    tabular-waves-in-all: Leaving waves out of all parts makes the network worse
    tabular-waves-alone: Putting waves alone into a plain network makes it better
    tabular-input-factors-in-all: Leaving input factors out of all parts makes the network worse
    tabular-input-factors-alone: Putting input factors alone into a plain network makes it better
    tabular-neural-tangent-in-all: Leaving neural tangent out of all parts makes the network worse
    tabular-neural-tangent-alone: Putting neural tangent alone into a plain network makes it better
    tabular-trained-activations-in-all: Leaving trained activations out of all parts makes the network worse
    tabular-trained-activations-alone: Putting trained activations alone into a plain network makes it better
    tabular-cycles-in-all: Leaving cycles out of all parts makes the network worse
    tabular-cycles-alone: Putting cycles alone into a plain network makes it better
    tabular-dropout-in-all: Leaving dropout out of all parts makes the network worse
    tabular-dropout-alone: Putting dropout alone into a plain network makes it better

    python recipes/tabular_networks.py                                # a few minutes on two cores
    python recipes/tabular_networks.py --data houses.csv --target price
"""

import keras

from tfopt import layers, schedules
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__, data="friedman1")
SEEDS = recipe.seeds(arguments, smoke=2, default=4)  # of splits and first weights
EPOCHS = recipe.by_mode(arguments, smoke=2, default=60)
LEARNING_RATES = recipe.by_mode(arguments, smoke=[0.005], default=[0.002, 0.006])
ROWS, TRAIN, VALID = 600, 0.6, 0.2  # of a split, at most; shares to train on and to choose by
BATCH, UNITS = 32, 64  # two hidden layers
PARTS = ("waves", "input factors", "neural tangent", "trained activations", "cycles", "dropout")
ARMS = {  # name: the parts that are in
    "all parts": PARTS,
    "plain": (),
    **{f"without {part}": tuple(other for other in PARTS if other != part) for part in PARTS},
    **{f"{part} alone": (part,) for part in PARTS},
}

x, y = recipe.table(arguments)
classes = int(y.max()) + 1 if y.dtype.kind in "iu" else 0
samples = recipe.samples(x, y, SEEDS, train=TRAIN, valid=VALID, most=ROWS, shared=True)
STEPS = EPOCHS * -(-len(samples[0].y["train"]) // BATCH)
TEST_TO_TRAIN = len(samples[0].y["test"]) / len(samples[0].y["train"])


def network(hp):
    has = set(ARMS[hp["arm"]])

    inputs = keras.Input((x.shape[1],))
    hidden = layers.PeriodicEmbedding(4, learning_rate_factor=0.1)(inputs) if "waves" in has else inputs
    if "input factors" in has:
        hidden = layers.FeatureScaling(learning_rate_factor=6.0)(hidden)
    for _ in range(2):
        if "neural tangent" in has:
            # From He's start, and at √64 times the rate: as fast as a usual kernel of 64 inputs.
            start = keras.initializers.RandomNormal(0.0, 2**0.5)
            hidden = layers.NeuralTangentDense(UNITS, kernel_initializer=start, learning_rate_factor=8.0)(hidden)
        else:
            hidden = keras.layers.Dense(UNITS, kernel_initializer="he_normal")(hidden)
        if "trained activations" in has:
            hidden = layers.ParametricActivation("relu", learning_rate_factor=0.1)(hidden)
        else:
            hidden = keras.layers.Activation("relu")(hidden)
        if "dropout" in has:
            hidden = layers.Dropout(schedules.FlatThenAnneal(0.15, STEPS, flat_fraction=0.5))(hidden)
    model = keras.Model(inputs, keras.layers.Dense(classes or 1)(hidden))
    schedule = schedules.CosLog if "cycles" in has else schedules.LinearDecay
    rate = schedule(hp["learning_rate"], STEPS)
    optimizer = keras.optimizers.Adam(rate)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True) if classes else "mse")
    return model


arms = {arm: [{"arm": arm, "learning_rate": rate} for rate in LEARNING_RATES] for arm in ARMS}
found = recipe.best_of(network, arms, samples, epochs=EPOCHS, batch_size=BATCH)
# Share of errors (%), or root mean squared error: of each arm a number a split, at the rate that its own rows chose.
errors = {arm: scores["test error"] for arm, scores in found.items()}
what = "test error (%)" if classes else "root mean squared test error"


def better(one, other):
    return recipe.less(errors[one], errors[other], what, test_to_train=TEST_TO_TRAIN)


claims = {"tabular-all-beats-plain": better("all parts", "plain")}
for part in PARTS:
    key = part.replace(" ", "-")
    claims[f"tabular-{key}-in-all"] = better("all parts", f"without {part}")
    claims[f"tabular-{key}-alone"] = better(f"{part} alone", "plain")

recipe.show(f"{what}: {len(SEEDS)} splits", [what], {arm: [values] for arm, values in errors.items()}, TEST_TO_TRAIN)
with recipe.panels(2, width=6, height=4) as (figure, axes):
    sides = (
        ("without {}", "all parts", "Taken out of all parts"),
        ("{} alone", "plain", "Put alone into a plain network"),
    )
    for ax, (form, base, title), sign in zip(axes, sides, (1, -1), strict=True):
        gains = {part: sign * (errors[form.format(part)] - errors[base]) for part in PARTS}
        recipe.dots(ax, gains, title, f"what the part takes off the {what}", test_to_train=TEST_TO_TRAIN)
        ax.axvline(0, color="#000000", lw=0.8)

recipe.finish(arguments, claims, {"errors": errors}, figure)
