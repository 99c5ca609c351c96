"""Is dropout or a penalty that changes while training better than a fixed one?

The claims: "dropout early in the training, and none later, makes a network that underfits fit better"; "dropout that
sets in late beats fixed dropout where a network overfits" (both Liu et al. 2023, https://arxiv.org/abs/2303.01500);
"dropout that grows from nothing, a curriculum, beats fixed dropout" (Morerio et al. 2017,
https://arxiv.org/abs/1703.06229); "a penalty that fades, or that grows, beats a fixed one".

Two cases: a wide network on few rows with some wrong labels, which overfits; and a narrow one on many rows, trained
briefly, which underfits: fixed dropout does it harm. Each kind of schedule chooses its strength and its learning rate
by the loss on validation rows; test rows judge. All seeds and rates of a kind are members of one stack, trained side by
side: a layer of the stack is an `EinsumDense` whose kernel has a member axis, and its dropout has a row of rates. The
L2 schedules have the same mean over the training as the fixed strength beside them. (Liu et al. trained vision
transformers on ImageNet: what fails here, with two small layers, may hold there.)

What goes wrong with the usual snippet: `layer.rate = 0.5` in a callback does nothing to a `keras.layers.Dropout` that
is being trained: its rate was baked into the graph at the first batch. `tfopt.layers.Dropout` reads a variable.

    python recipes/adaptive_regularization.py                                  # digits, a minute on two cores
    python recipes/adaptive_regularization.py --data table.csv --target label  # a classification table of your own
"""

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import tfopt
from tfopt.errors import UserError
from tfopt.report import house_style, recipe

arguments = recipe.arguments(__doc__, __file__, data="digits")
SEEDS = range(arguments.seed, arguments.seed + recipe.by_mode(arguments, smoke=2, default=12, full=30))
CASES = {  # rows of training, share of wrong labels, units of the two hidden layers, epochs
    "overfits": (200, 0.1, 64, recipe.by_mode(arguments, smoke=2, default=40, full=40)),
    "underfits": (900, 0.0, 6, recipe.by_mode(arguments, smoke=1, default=8, full=8)),
}
RATES = {"overfits": [0.2, 0.4], "underfits": [0.1, 0.2]}  # of dropout
STRENGTHS = [3e-3, 1e-2] if not arguments.smoke else [1e-3]  # of L2
LEARNING_RATES = {"overfits": [3e-3, 1e-2], "underfits": [1e-2, 3e-2]}
if arguments.smoke:
    LEARNING_RATES = {"overfits": [4e-3], "underfits": [1e-2]}
BATCH = 32
tf.get_logger().setLevel("ERROR")  # each schedule is a graph of its own, and TensorFlow would warn of so many

x, y = recipe.table(arguments, task="classification")
classes = int(y.max()) + 1
if (least := np.bincount(y).min()) < 4:
    raise UserError(f"every class needs 4 rows, and the smallest has {least} (--data {arguments.data}). Leave it out.")


def split(seed, rows, wrong):
    """Standardised features and labels of the training, validation and test rows; some training labels are wrong."""
    rows = min(rows, len(x) // 2)
    x_train, x_rest, y_train, y_rest = train_test_split(x, y, train_size=rows, random_state=seed, stratify=y)
    x_valid, x_test, y_valid, y_test = train_test_split(x_rest, y_rest, test_size=0.6, random_state=seed)
    scaler = StandardScaler().fit(x_train)
    rng = np.random.default_rng(seed)
    y_train = np.where(rng.random(rows) < wrong, rng.integers(0, classes, rows), y_train)
    parts = ((x_train, y_train), (x_valid, y_valid), (x_test, y_test))
    return [(scaler.transform(features).astype("float32"), labels) for features, labels in parts]


splits = {case: [split(seed, *settings[:2]) for seed in SEEDS] for case, settings in CASES.items()}


def losses_and_errors(logits, labels):
    """Mean cross-entropy and share of errors of every member; logits are (rows, members, classes)."""
    logits = logits - logits.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    return (np.log(np.exp(logits).sum(axis=-1)) - chosen).mean(axis=0), (logits.argmax(-1) != labels).mean(axis=0)


def train(case, schedules, learning_rate, copies):
    """Train `copies` members a seed; returns their training loss, validation loss, test loss and test error."""
    units, epochs = CASES[case][2:]
    parts = [  # (rows, seeds x copies, features) and (rows, seeds x copies)
        [np.repeat(np.stack(arrays, axis=1), copies, axis=1) for arrays in zip(*part, strict=True)]
        for part in zip(*splits[case], strict=True)
    ]
    x_train, y_train = parts[0]
    members = x_train.shape[1]

    def dense(width, activation=None):
        penalty = tfopt.regularizers.L2(0.0) if "l2" in schedules else None
        return keras.layers.EinsumDense(
            "bmi,mio->bmo", (members, width), activation, bias_axes="mo", kernel_regularizer=penalty
        )

    hidden = [dense(units, "relu"), dense(units, "relu")]
    drops = [tfopt.layers.Dropout(np.zeros((1, members)), seed=seed) for seed in (1, 2)]
    inputs = keras.Input((members, x.shape[1]))
    model = keras.Sequential([inputs, hidden[0], drops[0], hidden[1], drops[1], dense(classes)])
    for layer in (*hidden, model.layers[-1]):
        starts = [tfopt.initializers.He(seed=seed)(layer.kernel.shape[1:]) for seed in SEEDS]
        layer.kernel.assign(np.repeat(np.stack(starts), copies, axis=0))  # the same for all kinds and strengths
    steps = epochs * -(-len(x_train) // BATCH)
    keras.utils.set_random_seed(arguments.seed)  # the same order of batches
    model.compile(
        keras.optimizers.Adam(tfopt.schedules.LinearDecay(learning_rate, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        loss_weights=float(members),  # the sum over members: each has the gradient that it would have alone
        # an epoch in one call; a loop is traced twice, which brief training does not repay
        steps_per_execution=1 if arguments.smoke else steps // epochs,
    )
    live = {name: schedule(steps) for name, schedule in schedules.items()}
    driven = [tfopt.callbacks.HyperparameterScheduler(live, log=False)] if live else []
    model.fit(x_train, y_train, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=driven)
    scores = [losses_and_errors(np.asarray(model(features)), labels) for features, labels in parts]
    table = np.stack([scores[0][0], scores[1][0], *scores[2]])
    return table.reshape(4, len(SEEDS), copies)


DROPOUT = {
    "fixed dropout": lambda rate: lambda steps: tfopt.schedules.Constant(rate),
    "early dropout": lambda rate: lambda steps: tfopt.schedules.EarlyDropout(rate, cutoff_steps=steps // 2),
    "late dropout": lambda rate: lambda steps: tfopt.schedules.LateDropout(rate, cutoff_steps=steps // 4),
    "curriculum dropout": lambda rate: lambda steps: tfopt.schedules.CurriculumDropout(rate, total_steps=steps),
}
PENALTY = {
    "fixed L2": lambda strength: lambda steps: tfopt.schedules.Constant(strength),
    "fading L2": lambda strength: lambda steps: tfopt.schedules.LinearDecay(2 * strength, steps),
    "growing L2": lambda strength: lambda steps: tfopt.schedules.LinearDecay(0.0, steps, 2 * strength),
}


results, chosen = {}, {}
for case in CASES:
    tried = {}  # kind: [(validation loss, strength, learning rate, (4, seeds) scores)]
    rates = np.tile(RATES[case], len(SEEDS))[None, :]  # (1, members)
    for learning_rate in LEARNING_RATES[case]:
        runs = [("neither", 0.0, train(case, {}, learning_rate, 1))]
        for kind, schedule in DROPOUT.items():
            scores = train(case, {"dropout": schedule(rates)}, learning_rate, len(RATES[case]))
            runs += [(kind, rate, scores[..., [i]]) for i, rate in enumerate(RATES[case])]
        for kind, schedule in PENALTY.items() if case == "overfits" else ():
            runs += [(kind, l2, train(case, {"l2": schedule(l2)}, learning_rate, 1)) for l2 in STRENGTHS]
        for kind, strength, scores in runs:
            tried.setdefault(kind, []).append((scores[1].mean(), strength, learning_rate, scores[..., 0]))
    for kind, options in tried.items():
        _, *chosen[case, kind], results[case, kind] = min(options, key=lambda option: option[0])

# A model without a network, tuned on the same rows: what the whole affair is worth.
for case in CASES:
    errors = []
    for train_part, valid, test in splits[case]:
        machines = [SVC(C=c, gamma=g / x.shape[1]).fit(*train_part) for c in (0.3, 1, 3, 10) for g in (0.2, 1)]
        best = max(machines, key=lambda machine: machine.score(*valid))
        errors.append(1 - best.score(*test))
    results[case, "SVC"] = np.array([[np.nan] * len(SEEDS)] * 3 + [errors])
    chosen[case, "SVC"] = None, None


# The usual snippet: the rate of Keras's own dropout, set to 0.9 after an epoch at 0.1.


def dropped(_, outputs):
    return keras.ops.mean(keras.ops.cast(keras.ops.equal(outputs, 0.0), "float32"))


layer = keras.layers.Dropout(0.1, seed=0)
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1000, bias_initializer="ones"), layer])
model.compile(keras.optimizers.SGD(1e-3), "mse", metrics=[dropped])
change = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: setattr(layer, "rate", [0.1, 0.9][epoch]))
snippet = model.fit(np.zeros((8, 1)), np.ones((8, 1000)), epochs=2, verbose=0, callbacks=[change]).history["dropped"]

for case, (rows, wrong, units, epochs) in CASES.items():
    print(
        f"\nA network of 2 x {units} units that {case}: {min(rows, len(x) // 2)} rows, {wrong:.0%} wrong labels, ",
        end="",
    )
    print(f"{epochs} epochs; {len(SEEDS)} seeds, 95 % intervals")
    print(f"{'':20}{'strength':>9}{'rate of learning':>18}{'training loss':>18}{'test loss':>18}{'test error %':>16}")
    for (where, kind), (training, _, loss, error) in results.items():
        if where == case:
            strength, rate = ("" if number is None else f"{number:g}" for number in chosen[case, kind])
            cells = [recipe.plus_minus(values, ".3f") if kind != "SVC" else "" for values in (training, loss)]
            print(f"{kind:20}{strength:>9}{rate:>18}{cells[0]:>18}{cells[1]:>18}", end="")
            print(f"{recipe.plus_minus(100 * error, '.1f'):>16}")
print(f"\nKeras's Dropout drops {snippet[0]:.2f} of the units at rate 0.1, {snippet[1]:.2f} after `layer.rate = 0.9`\n")


def compared(case, better, worse, measure):
    """Verdict and numbers on "the first has less of it than the second"."""
    row = {"training loss": 0, "test loss": 2}[measure]
    one, other = results[case, better][row], results[case, worse][row]
    numbers = f"{measure} {recipe.plus_minus(one, '.3f')} against {recipe.plus_minus(other, '.3f')}, "
    return recipe.judge(
        other - one
    ), numbers + f"difference {recipe.plus_minus(one - other, '.3f')}, {len(SEEDS)} seeds"


CLAIMS = {
    "adaptive-fixed-beats-none": ("Fixed dropout lowers the test loss of a network that overfits",
                                  "overfits", "fixed dropout", "neither", "test loss"),
    "adaptive-none-beats-fixed": ("Where a network underfits, fixed dropout raises the test loss",
                                  "underfits", "neither", "fixed dropout", "test loss"),
    "adaptive-early-fits-better": ("Early dropout lowers the final training loss of a network that underfits",
                                   "underfits", "early dropout", "neither", "training loss"),
    "adaptive-early-generalises": ("Early dropout lowers the test loss of a network that underfits",
                                   "underfits", "early dropout", "neither", "test loss"),
    "adaptive-late-beats-fixed": ("Late dropout beats fixed dropout in a network that overfits",
                                  "overfits", "late dropout", "fixed dropout", "test loss"),
    "adaptive-curriculum-beats-fixed": ("Dropout that grows from nothing beats fixed dropout where a network overfits",
                                        "overfits", "curriculum dropout", "fixed dropout", "test loss"),
    "adaptive-fading-l2-beats-fixed": ("An L2 penalty that fades beats a fixed one in a network that overfits",
                                       "overfits", "fading L2", "fixed L2", "test loss"),
    "adaptive-growing-l2-beats-fixed": ("An L2 penalty that grows beats a fixed one in a network that overfits",
                                        "overfits", "growing L2", "fixed L2", "test loss"),
}  # fmt: skip
claims = {name: (claim, *compared(*comparison)) for name, (claim, *comparison) in CLAIMS.items()}
claims["adaptive-rate-in-a-callback"] = (
    "`layer.rate = 0.9` in a callback changes the rate of a keras.layers.Dropout in training",
    recipe.fact(snippet[1] > 0.5),
    f"{snippet[0]:.2f} of the units dropped at rate 0.1, {snippet[1]:.2f} after it was set to 0.9",
)

COLOURS = {"training": "#0072B2", "test": "#D55E00"}
with house_style():
    figure, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained", width_ratios=[1, 1.3, 1.3])
    steps = np.linspace(0, 1000, 401)
    curves = {
        "fixed": tfopt.schedules.Constant(0.4),
        "early": tfopt.schedules.EarlyDropout(0.4, 500),
        "late": tfopt.schedules.LateDropout(0.4, 250),
        "curriculum": tfopt.schedules.CurriculumDropout(0.4, 1000),
    }
    spots = {"fixed": (60, 0.415), "early": (375, 0.12), "late": (265, 0.06), "curriculum": (330, 0.34)}
    for (name, curve), colour in zip(curves.items(), ["#000000", "#E69F00", "#009E73", "#CC79A7"], strict=True):
        axes[0].plot(steps / 1000, curve.curve(steps), color=colour)
        axes[0].text(spots[name][0] / 1000, spots[name][1], name, color=colour)
    axes[0].set(xlabel="share of the training", ylabel="dropout rate", title="the schedules", ylim=(0, 0.45))
    for axis, case in zip(axes[1:], CASES, strict=True):
        kinds = [kind for where, kind in results if where == case and kind != "SVC"]
        for row, part in ((0, "training"), (2, "test")):
            means, halves = zip(*(recipe.interval(results[case, kind][row]) for kind in kinds), strict=True)
            axis.errorbar(means, kinds, xerr=halves, fmt="o", color=COLOURS[part], capsize=3)
            axis.annotate(part, (means[0], 0), xytext=(-4, 9), textcoords="offset points", color=COLOURS[part])
        axis.invert_yaxis()
        axis.margins(y=0.12)
        axis.set(xlabel="loss without dropout or penalty (nats)", title=f"a network that {case}")

recipe.finish(
    arguments,
    claims=claims,
    results={
        f"{case}: {kind}": {"strength": chosen[case, kind][0], "learning_rate": chosen[case, kind][1]}
        | {name: values[row].tolist() for name, row in (("train_loss", 0), ("test_loss", 2), ("test_error", 3))
           if kind != "SVC" or row == 3}
        for (case, kind), values in results.items()
    }
    | {"keras_rate_in_a_callback": snippet},
    figure=figure,
)  # fmt: skip
