"""How much is data augmentation worth, by the number of training rows?

On the 8x8 digits: shifts by up to one pixel, Gaussian noise, mixup (Zhang et al. 2018,
https://arxiv.org/abs/1710.09412), all three together, and none.

Every seed has images of its own. Each is copied 20 times, every copy augmented anew; the network without augmentation
sees plain copies, so that all take the same number of steps. Strength and learning rate are chosen for each method and
seed by the loss on validation images; test images judge. Beside them a support vector machine, tuned on the same
validation images, without and with the shifted copies as rows of their own ("virtual examples", Schölkopf et al. 1996).

So: augment by changes that keep the label, such as small shifts; give the classical model the same copies before you
compare; and measure again when there are more rows.

Claims:
    augmentation-more-for-few: Shifts are worth more where rows are fewest than where they are most
    augmentation-together: All three together are better than shifts alone, on the mean over the numbers of rows
    augmentation-helps-svc: Shifted copies help a support vector machine, on the mean over the numbers of rows
    augmentation-beats-svc: A network with shifts makes fewer errors than a support vector machine with shifted
        copies
    augmentation-shifts-few: Shifts by a pixel lower a network's test error where rows are fewest
    augmentation-shifts-many: Shifts by a pixel lower a network's test error where rows are most
    augmentation-noise-few: Noise lowers a network's test error where rows are fewest
    augmentation-noise-many: Noise lowers a network's test error where rows are most
    augmentation-mixup-few: Mixup lowers a network's test error where rows are fewest
    augmentation-mixup-many: Mixup lowers a network's test error where rows are most

    python recipes/data_augmentation.py            # a minute on two cores
"""

from dataclasses import replace

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import tfopt
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__)
SEEDS = recipe.seeds(arguments, smoke=2, default=6)  # each with images of its own
SIZES = recipe.by_mode(arguments, smoke=[40, 80], default=[25, 50, 100, 180])
COPIES, EPOCHS = 20, recipe.by_mode(arguments, smoke=1, default=5)  # an epoch sees each copy once
BATCH, UNITS = 32, 128
LEARNING_RATES = recipe.by_mode(arguments, smoke=[4e-3], default=[3e-3, 1e-2])
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


def copies(sample, plan):
    """The sample with augmented copies of its training images; labels are shares of the classes."""
    rng = np.random.default_rng([sample.seed, 2 + PLANS.index(plan)])
    order = np.tile(np.arange(len(sample.y["train"])), COPIES)
    x, y = augmented(sample.x["train"], sample.y["train"], plan, order, rng)
    shares = {part: np.eye(10, dtype="float32")[labels] for part, labels in sample.y.items()}
    return replace(sample, x=sample.x | {"train": x}, y=shares | {"train": y})


def network(hp):
    hidden = keras.layers.Dense(UNITS, "relu", kernel_initializer="he_normal")
    model = keras.Sequential([keras.Input((64,)), hidden, keras.layers.Dense(10)])
    rate = tfopt.schedules.LinearDecay(hp["learning_rate"], hp["steps"])
    model.compile(keras.optimizers.Adam(rate), keras.losses.CategoricalCrossentropy(from_logits=True))
    return model


def machine(sample, shifts):
    """Test error of a support vector machine, tuned on the validation images."""
    rows, labels = sample.x["train"], sample.y["train"]
    if shifts:
        rows, labels = shifted(rows).reshape(-1, 64), np.tile(labels, len(SHIFTS))
    fitted = [SVC(C=10, gamma=gamma).fit(rows, labels) for gamma in GAMMAS]
    best = max(fitted, key=lambda one: one.score(sample.x["valid"], sample.y["valid"]))
    return 100 * (1 - best.score(sample.x["test"], sample.y["test"]))


whole = recipe.samples(images, digits, SEEDS, train=0.62, valid=0.13, scaled=False)
errors = {}  # (method, size): test errors in %, a number a seed
for size in recipe.steps(SIZES, "numbers of rows"):
    samples = [sample.first(size) for sample in whole]
    steps = EPOCHS * -(-COPIES * size // BATCH)
    tried = [{"learning_rate": rate, "steps": steps} for rate in LEARNING_RATES]
    scores = [
        recipe.train(network, tried, [copies(sample, plan) for sample in samples], epochs=EPOCHS, batch_size=BATCH)
        for plan in PLANS
    ]
    joined = {key: np.concatenate([one[key] for one in scores]) for key in scores[0]}
    of_rows = [plan[0] for plan in PLANS for _ in LEARNING_RATES]  # the method of each row of the scores
    for method in METHODS:
        errors[method, size] = recipe.chosen(joined, np.flatnonzero(np.array(of_rows) == method))["test error"]
    errors["SVC", size] = np.array([machine(sample, shifts=False) for sample in samples])
    errors["SVC, shifts", size] = np.array([machine(sample, shifts=True) for sample in samples])

names = [*METHODS, "SVC", "SVC, shifts"]
rows = {name: [errors[name, size] for size in SIZES] for name in names}
recipe.show(f"Test error in %, {len(SEEDS)} seeds, by training rows", [f"{size}|.1f" for size in SIZES], rows)

few, many = SIZES[0], SIZES[-1]


def less(better, worse, sizes):
    """Evidence for "the first makes fewer errors", on the mean over sizes."""
    one, other = (np.mean([errors[method, size] for size in sizes], axis=0) for method in (better, worse))
    return recipe.less(one, other, "test error (%)", ".1f")


gains = {size: errors["none", size] - errors["shifts", size] for size in SIZES}
claims = {
    f"augmentation-{method}-{where}": less(method, "none", [size])
    for method in ("shifts", "noise", "mixup")
    for where, size in (("few", few), ("many", many))
}
claims |= {
    "augmentation-more-for-few": recipe.more(gains[few], gains[many], "points of test error less", ".1f"),
    "augmentation-together": less("all three", "shifts", SIZES),
    "augmentation-helps-svc": less("SVC, shifts", "SVC", SIZES),
    "augmentation-beats-svc": less("shifts", "SVC, shifts", SIZES),
}

with recipe.panels(2, width=5.5) as (figure, (left, right)):
    series = {name: np.transpose([errors[name, size] for size in SIZES]) for name in names}
    recipe.curves(left, SIZES, series, "Error by rows, with each augmentation", "training rows", "test error (%)")
    gained = {name: series["none"] - values for name, values in series.items()}
    what = "points of error less than the plain network"
    recipe.curves(right, SIZES, gained, "What each augmentation gains", "training rows", what)

recipe.finish(arguments, claims, {"test_error": errors}, figure)
