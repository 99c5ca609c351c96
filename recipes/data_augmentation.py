"""How much is data augmentation worth, by the number of training rows?

The claims: "shifted, noisy or mixed copies of the training images lower the test error", "the fewer images there are,
the more they help", "an augmented network is better than the classical models". On the 8x8 digits: shifts by up to
one pixel, Gaussian noise, mixup (Zhang et al. 2018, https://arxiv.org/abs/1710.09412), all three together, and none.

Every network takes the same number of steps, so that augmentation is not a longer training. Strength and learning rate
are chosen for each method and number of rows by the errors on validation rows; test rows judge. All methods,
strengths and seeds are members of one stack, trained side by side: a layer is an `EinsumDense` whose kernel has a
member axis. Beside them a support vector machine, tuned on the same validation rows, without and with the shifted
copies as rows of their own ("virtual examples", Schölkopf et al. 1996).

    python recipes/data_augmentation.py            # a minute on two cores
    python recipes/data_augmentation.py --full     # more seeds
"""

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

import tfopt
from tfopt.report import house_style, recipe

arguments = recipe.arguments(__doc__, __file__)
SEEDS = range(arguments.seed, arguments.seed + recipe.by_mode(arguments, smoke=2, default=6, full=12))
SIZES = recipe.by_mode(arguments, smoke=[50, 100], default=[50, 100, 200, 400, 800], full=[50, 100, 200, 400, 800])
STEPS = recipe.by_mode(arguments, smoke=20, default=1000, full=1000)
CHUNKS = 4  # the augmented batches are made in so many parts
BATCH, UNITS = 32, 128
LEARNING_RATES = [3e-3, 1e-2] if not arguments.smoke else [4e-3]
PLANS = [  # method, share of images that are shifted, noise (of a full black), alpha of mixup
    ("none", 0.0, 0.0, 0.0),
    ("shifts", 0.3, 0.0, 0.0),
    ("shifts", 0.7, 0.0, 0.0),
    ("noise", 0.0, 0.1, 0.0),
    ("noise", 0.0, 0.3, 0.0),
    ("mixup", 0.0, 0.0, 0.2),
    ("all three", 0.5, 0.1, 0.2),
]
SHIFTS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
METHODS = list(dict.fromkeys(method for method, *_ in PLANS))
GAMMAS = [0.05, 0.1, 0.3]  # of the support vector machine

images, digits = load_digits(return_X_y=True)
images = (images / 16).astype("float32")


def shifted(rows):
    """All nine shifts of the images, (9, rows, 64); what leaves at one side is lost, blank comes in at the other."""
    padded = np.pad(rows.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    views = [padded[:, 1 - down : 9 - down, 1 - right : 9 - right] for down, right in SHIFTS]
    return np.stack(views).reshape(len(SHIFTS), len(rows), 64)


def augmented(rows, labels, plan, order, rng):
    """The images and label shares of the rows in `order`, augmented by the plan."""
    _, share, noise, alpha = plan
    moves = np.where(rng.random(len(order)) < share, rng.integers(0, len(SHIFTS), len(order)), SHIFTS.index((0, 0)))
    x, y = shifted(rows)[moves, order], np.eye(10, dtype="float32")[labels[order]]
    if noise:
        x = x + noise * rng.standard_normal(x.shape, dtype="float32")
    if alpha:
        weight = rng.beta(alpha, alpha, (len(order), 1)).astype("float32")
        partner = rng.permutation(len(order))
        x, y = weight * x + (1 - weight) * x[partner], weight * y + (1 - weight) * y[partner]
    return x, y


def split(seed):
    """800 rows to train on, 300 to validate, the others to test; a smaller training part is the first of the 800."""
    pool, rest = train_test_split(np.arange(len(images)), train_size=800, random_state=seed, stratify=digits)
    valid, test = train_test_split(rest, train_size=300, random_state=seed, stratify=digits[rest])
    return np.random.default_rng(seed).permutation(pool), valid, test


splits = [split(seed) for seed in SEEDS]
members = len(PLANS) * len(SEEDS)  # all plans of the first seed, then of the second, ...
hidden = keras.layers.EinsumDense("bmi,mio->bmo", (members, UNITS), "relu", bias_axes="mo")
output = keras.layers.EinsumDense("bmi,mio->bmo", (members, 10), bias_axes="mo")
model = keras.Sequential([keras.Input((members, 64)), hidden, output])
peak = keras.Variable(0.0, trainable=False)
model.compile(
    keras.optimizers.Adam(tfopt.schedules.LinearDecay(peak, STEPS)),
    keras.losses.CategoricalCrossentropy(from_logits=True),
    loss_weights=float(members),  # the sum over members: each has the gradient that it would have alone
    steps_per_execution=STEPS // CHUNKS,
)
model.optimizer.build(model.trainable_variables)


def train(size, learning_rate):
    """Train all members on so many rows; returns validation and test errors, (2, seeds, plans)."""
    peak.assign(learning_rate)
    for variable in (*model.trainable_variables, *model.optimizer.variables):
        variable.assign(np.zeros(variable.shape, variable.dtype))
    for layer in (hidden, output):  # the same start for all plans of a seed
        starts = [tfopt.initializers.He(seed=seed)(layer.kernel.shape[1:]) for seed in SEEDS]
        layer.kernel.assign(np.repeat(np.stack(starts), len(PLANS), axis=0))
    orders = [np.random.default_rng(seed) for seed in SEEDS]
    rngs = [np.random.default_rng([seed, 1]) for seed in SEEDS for _ in PLANS]
    for _ in range(CHUNKS):
        batches = []
        for place, (pool, _, _) in enumerate(splits):
            rows, labels = images[pool[:size]], digits[pool[:size]]
            needed = STEPS // CHUNKS * BATCH
            order = np.concatenate([orders[place].permutation(size) for _ in range(-(-needed // size))])[:needed]
            for number, plan in enumerate(PLANS):
                batches.append(augmented(rows, labels, plan, order, rngs[place * len(PLANS) + number]))
        x, y = (np.stack(parts, axis=1) for parts in zip(*batches, strict=True))
        model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
    errors = []
    for part in (1, 2):
        rows = np.stack([split[part] for split in splits], axis=1).repeat(len(PLANS), axis=1)
        predicted = np.asarray(model(images[rows])).argmax(axis=-1)
        errors.append(100 * np.mean(predicted != digits[rows], axis=0).reshape(len(SEEDS), len(PLANS)))
    return np.stack(errors)


errors, chosen = {}, {}  # (method, size): test errors in %, a number a seed; and the plan and rate they were made with
for size in SIZES:
    table = {rate: train(size, rate) for rate in LEARNING_RATES}
    for method in METHODS:
        options = [(rate, n) for rate in LEARNING_RATES for n, plan in enumerate(PLANS) if plan[0] == method]
        rate, best = min(options, key=lambda option: table[option[0]][0, :, option[1]].mean())
        errors[method, size], chosen[method, size] = table[rate][1, :, best], (PLANS[best][1:], rate)
    for method in ("SVC", "SVC, shifts"):
        scores = []
        for pool, valid, test in splits:
            rows, labels = images[pool[:size]], digits[pool[:size]]
            if method != "SVC":
                rows, labels = shifted(rows).reshape(-1, 64), np.tile(labels, len(SHIFTS))
            machines = [SVC(C=10, gamma=gamma).fit(rows, labels) for gamma in GAMMAS]
            best = max(machines, key=lambda machine: machine.score(images[valid], digits[valid]))
            scores.append(100 * (1 - best.score(images[test], digits[test])))
        errors[method, size] = np.array(scores)

print(f"Test error in %, {len(SEEDS)} seeds and splits, 95 % intervals; {STEPS} steps of {BATCH} images")
print(f"{'rows':>12}", *(f"{method:>14}" for method in (*METHODS, "SVC", "SVC, shifts")))
for size in SIZES:
    cells = (recipe.plus_minus(errors[method, size], ".1f") for method in (*METHODS, "SVC", "SVC, shifts"))
    print(f"{size:12}", *(f"{cell:>14}" for cell in cells))
print("\nChosen: (share shifted, noise, alpha of mixup) and learning rate")
for size in SIZES:
    print(
        f"{size:12}",
        "; ".join(f"{method} {chosen[method, size][0]} at {chosen[method, size][1]:g}" for method in METHODS),
    )

few, many = SIZES[0], SIZES[-1]


def compared(better, worse, sizes):
    """Verdict and numbers on "the first makes fewer errors", on the mean over sizes."""
    one, other = (np.mean([errors[method, size] for size in sizes], axis=0) for method in (better, worse))
    numbers = f"{recipe.plus_minus(one, '.1f')} % errors against {recipe.plus_minus(other, '.1f')} %, "
    return recipe.judge(
        other - one
    ), numbers + f"difference {recipe.plus_minus(one - other, '.1f')}, {len(SEEDS)} seeds"


gains = {size: errors["none", size] - errors["shifts", size] for size in SIZES}
claims = {}
for method, what in (("shifts", "Shifts by a pixel lower"), ("noise", "Noise lowers"), ("mixup", "Mixup lowers")):
    claims[f"augmentation-{method}-few"] = (
        f"{what} a network's test error where rows are fewest", *compared(method, "none", [few])
    )  # fmt: skip
    claims[f"augmentation-{method}-many"] = (
        f"{what} a network's test error where rows are most", *compared(method, "none", [many])
    )  # fmt: skip
claims["augmentation-more-for-few"] = (
    "Shifts are worth more where rows are fewest than where they are most",
    recipe.judge(gains[few] - gains[many]),
    f"{recipe.plus_minus(gains[few], '.1f')} points of error at {few} rows, {recipe.plus_minus(gains[many], '.1f')} at "
    f"{many}, {len(SEEDS)} seeds",
)
claims["augmentation-together"] = (
    "All three together are better than shifts alone, on the mean over the numbers of rows",
    *compared("all three", "shifts", SIZES),
)
claims["augmentation-helps-svc"] = (
    "Shifted copies help a support vector machine, on the mean over the numbers of rows",
    *compared("SVC, shifts", "SVC", SIZES),
)
claims["augmentation-beats-svc"] = (
    "A network with shifts makes fewer errors than a support vector machine with shifted copies",
    *compared("shifts", "SVC, shifts", SIZES),
)

COLOURS = dict(zip((*METHODS, "SVC", "SVC, shifts"), ["#000000", "#0072B2", "#E69F00", "#CC79A7", "#009E73", "#767676",
                                                      "#D55E00"], strict=True))  # fmt: skip
with house_style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", sharex=True)
    for place, (method, colour) in enumerate(COLOURS.items()):
        near = np.array(SIZES) * 1.025 ** (place - 3)  # side by side, so that intervals can be told apart
        for axis, values in ((left, errors), (right, {k: errors["none", k[1]] - v for k, v in errors.items()})):
            means, halves = zip(*(recipe.interval(values[method, size]) for size in SIZES), strict=True)
            if axis is left or method != "none":
                axis.errorbar(near, means, halves, color=colour, marker="o", ms=3, lw=1.2, elinewidth=0.8, label=method)
    right.axhline(0, color="#000000", lw=0.8)
    left.legend(frameon=False, fontsize=8)
    left.set(xscale="log", yscale="log", xlabel="training rows", ylabel="test error (%)", title="errors")
    right.set(xlabel="training rows", ylabel="fewer errors than the plain network (points)", title="what it is worth")
    left.set_xticks(SIZES, [str(size) for size in SIZES])
    left.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    left.minorticks_off()

recipe.finish(
    arguments,
    claims=claims,
    results={"test_error": errors, "chosen": chosen, "seeds": len(SEEDS), "steps": STEPS},
    figure=figure,
)
