"""Which loss survives outliers in the targets, and which wrong labels?

Part 1 spoils some training targets of a table by adding ten standard deviations, part 2 draws some training labels of
digits anew; the test rows stay as they are. Network and optimizer are the same for every loss, the learning rate is
chosen for each loss, level and fold on a fifth of its (spoilt) training rows, by mean absolute error or accuracy.
Scikit-learn's HuberRegressor and SVC stand on the same folds, as they come. (Absolute error on the probabilities
against wrong labels is from Ghosh et al. 2017.)

Part 3 is a fault that looks worse than it is: softmax outputs with `SparseCategoricalCrossentropy(from_logits=True)`.
Keras 3.15 finds the logits behind the softmax, warns, and the losses are those of the correct form, even if the softmax
stands in a Lambda layer. It finds nothing, and says nothing, if the softmax is written out (exp over sum), if another
operation comes after it, or if the loss is your own: then the softmax is taken twice.

So: where targets may hold outliers, train by Huber's loss or absolute error and report what you mean to minimise; keep
cross-entropy for classes; leave the softmax out of the network and set from_logits=True, or keep it and leave that out.

Claims:
    loss-squared-on-clean-targets: Without outliers, squared error gives a lower root mean square error than
        absolute error
    loss-absolute-under-outliers: With 30% outliers, absolute error beats squared error
    loss-huber-under-outliers: With 30% outliers, Huber's loss beats squared error
    loss-network-beats-robust-linear: With 30% outliers, the network with Huber's loss beats scikit-learn's
        HuberRegressor
    loss-cross-entropy-for-classes: With right labels, cross-entropy is more accurate than squared error on the
        probabilities
    loss-smoothing-under-wrong-labels: With 40% wrong labels, label smoothing makes cross-entropy more accurate
    loss-absolute-under-wrong-labels: With 40% wrong labels, absolute error on the probabilities is more accurate
        than cross-entropy
    loss-network-beats-svc-under-wrong-labels: With 40% wrong labels, the network with the smoothed cross-entropy is
        more accurate than SVC
    loss-softmax-with-from-logits-spoils: Softmax outputs with from_logits=True spoil the training
    loss-lambda-softmax-with-from-logits-spoils: A softmax in a Lambda layer with from_logits=True spoils the
        training
    loss-written-out-softmax-with-from-logits-spoils: A softmax that is written out, with from_logits=True, spoils
        the training
    loss-own-loss-on-softmax-spoils: A softmax before a loss of one's own that takes logits spoils the training

    python recipes/loss_functions.py                                       # about a minute on two cores
    python recipes/loss_functions.py --data houses.csv --target price      # a regression table of your own
"""

import warnings

import keras
import numpy as np
import tensorflow as tf
from sklearn import datasets, linear_model, model_selection, preprocessing, svm

import tfopt
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__, data="diabetes")
LEVELS = [0.0, 0.3] if arguments.smoke else [0.0, 0.1, 0.3]  # share of the training targets that are spoilt
NOISE = [0.0, 0.4]  # share of the training labels that are wrong
OUTLIER = 10  # standard deviations added to a spoilt target
FOLDS = recipe.by_mode(arguments, smoke=2, default=5)
STEPS, BATCH = recipe.by_mode(arguments, smoke=20, default=300), 64  # updates of one training
RATES = [3e-3] if arguments.smoke else [1e-3, 3e-3, 1e-2]  # highest learning rate of a linear decay, with Adam
LOSSES = {"squared error": "mse", "absolute error": "mae", "Huber": keras.losses.Huber(delta=1.0)}
CLASS_LOSSES = {
    "cross-entropy": keras.losses.CategoricalCrossentropy(),
    "smoothed cross-entropy": keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
    "squared error": "mse",
    "absolute error": "mae",
}

keras.utils.set_random_seed(arguments.seed)
tf.get_logger().setLevel("ERROR")  # many models, a graph each
TEST_TO_TRAIN = 1 / (FOLDS - 1)  # folds share training rows: the intervals are widened for it
SHARED = {"test_to_train": TEST_TO_TRAIN, "of": "folds"}
rate = keras.Variable(1e-3, trainable=False)  # changes without a new graph


def network(width, outputs, activation, loss):
    layers = [keras.layers.Dense(64, "relu"), keras.layers.Dense(outputs, activation)]
    model = keras.Sequential([keras.Input((width,)), *layers])
    adam = keras.optimizers.Adam(tfopt.schedules.LinearDecay(rate, STEPS))
    model.compile(adam, loss, steps_per_execution=STEPS, jit_compile=False)  # a whole fit in one call of its graph
    return model


def fit(model, x, y, learning_rate, seed):
    recipe.restart(model, seed, "GlorotUniform")
    rate.assign(learning_rate)
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=seed).repeat().batch(BATCH).take(STEPS)
    model.fit(data, shuffle=False, verbose=0)


def choose_and_fit(model, x, y, seed, error):
    """Train with the learning rate that is best on a fifth of the rows."""
    cut, failed = len(x) // 5, []
    for candidate in RATES if len(RATES) > 1 else ():
        fit(model, x[cut:], y[cut:], candidate, seed)
        failed.append(error(model(x[:cut]).numpy(), y[:cut]))
    fit(model, x, y, RATES[int(np.argmin(failed))] if failed else RATES[0], seed)


# Part 1: regression with outliers among the training targets.
x, y = recipe.table(arguments, task="regression")
models = {name: network(x.shape[1], 1, None, loss) for name, loss in LOSSES.items()}
errors = {(name, level): [] for name in [*LOSSES, "HuberRegressor"] for level in LEVELS}
folds = model_selection.KFold(FOLDS, shuffle=True, random_state=arguments.seed).split(x)
for seed, (train, test) in enumerate(recipe.steps(folds, "folds with outliers"), arguments.seed):
    rng = np.random.default_rng(seed)
    train = rng.permutation(train)
    scaler = preprocessing.StandardScaler().fit(x[train])
    x_train, x_test = (scaler.transform(x[part]).astype("float32") for part in (train, test))
    order = rng.permutation(len(train))  # a higher level spoils the rows of a lower one, and more
    for level in LEVELS:
        spoilt = y[train].astype("float64")
        spoilt[order[: round(level * len(train))]] += OUTLIER * y[train].std()
        middle = np.median(spoilt)
        spread = 1.4826 * np.median(np.abs(spoilt - middle))  # as the median, it does not mind outliers
        target = ((spoilt - middle) / spread).astype("float32")
        guesses = {"HuberRegressor": linear_model.HuberRegressor(max_iter=1000).fit(x_train, target).predict(x_test)}
        for name, model in models.items():
            choose_and_fit(model, x_train, target, seed, lambda out, truth: np.mean(np.abs(out[:, 0] - truth)))
            guesses[name] = model(x_test).numpy()[:, 0]
        for name, guess in guesses.items():
            errors[name, level].append(np.sqrt(np.mean((middle + spread * guess - y[test]) ** 2)))
rows = {name: [errors[name, level] for level in LEVELS] for name in [*LOSSES, "HuberRegressor"]}
title = f"Root mean square error on clean test rows, {FOLDS} folds, by share of spoilt training targets"
recipe.show(title, [f"{level:.0%}|.3g" for level in LEVELS], rows, TEST_TO_TRAIN)

# Part 2: digits with wrong training labels.
digits, labels = (part[:: recipe.by_mode(arguments, 3, 1)] for part in datasets.load_digits(return_X_y=True))
models = {name: network(64, 10, "softmax", loss) for name, loss in CLASS_LOSSES.items()}
right = {(name, level): [] for name in [*CLASS_LOSSES, "SVC"] for level in NOISE}  # % of the test rows
believed = {name: [] for name in CLASS_LOSSES}  # % of the wrong labels that are learned by heart
folds = model_selection.StratifiedKFold(FOLDS, shuffle=True, random_state=arguments.seed).split(digits, labels)
for seed, (train, test) in enumerate(recipe.steps(folds, "folds with wrong labels"), arguments.seed):
    rng = np.random.default_rng([seed, 1])
    train = rng.permutation(train)
    x_train, x_test = (((digits[part] - 5) / 6).astype("float32") for part in (train, test))
    order, others = rng.permutation(len(train)), (labels[train] + rng.integers(1, 10, len(train))) % 10
    for level in NOISE:
        wrong, noisy = order[: round(level * len(train))], labels[train].copy()
        noisy[wrong] = others[wrong]
        guesses = {"SVC": svm.SVC().fit(x_train, noisy).predict(x_test)}
        for name, model in models.items():
            targets = np.eye(10, dtype="float32")[noisy]
            choose_and_fit(model, x_train, targets, seed, lambda out, truth: np.mean(out.argmax(1) != truth.argmax(1)))
            guesses[name] = model(x_test).numpy().argmax(axis=1)
            if level:
                believed[name].append(100 * np.mean(model(x_train[wrong]).numpy().argmax(axis=1) == noisy[wrong]))
        for name, guess in guesses.items():
            right[name, level].append(100 * np.mean(guess == labels[test]))
rows = {name: [*(right[name, level] for level in NOISE), believed.get(name, "")] for name in [*CLASS_LOSSES, "SVC"]}
title = "Accuracy on test rows with right labels (%), by share of wrong training labels; those learned by heart"
recipe.show(title, [*(f"{level:.0%}|.1f" for level in NOISE), "by heart %|.0f"], rows, TEST_TO_TRAIN)


# Part 3: softmax outputs with from_logits=True.
def own_loss(truth, logits):
    """Cross-entropy of logits in one's own words."""
    return -tf.reduce_sum(
        tf.one_hot(tf.cast(tf.reshape(truth, [-1]), "int32"), 10) * tf.nn.log_softmax(logits), axis=-1
    )


def written_out(logits):
    exponentials = keras.ops.exp(logits)
    return exponentials / keras.ops.sum(exponentials, axis=-1, keepdims=True)


from_logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
RIGHT = "logits, as it should be"
VARIANTS = {
    RIGHT: (None, from_logits),
    "softmax activation": (keras.layers.Softmax(), from_logits),
    "softmax in a Lambda": (keras.layers.Lambda(keras.ops.softmax), from_logits),
    "softmax written out": (keras.layers.Lambda(written_out), from_logits),
    "softmax and a loss of one's own": (keras.layers.Softmax(), own_loss),
}
SEEDS = recipe.seeds(arguments, smoke=2, default=5)
EPOCHS = recipe.by_mode(arguments, smoke=1, default=5)
curves, costs, warned = {}, {}, {}
for name, (last, loss) in VARIANTS.items():
    stem = [keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)]
    model = keras.Sequential(stem + [last] * (last is not None))
    curves[name], costs[name], warned[name] = [], [], False
    model.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=False)
    for seed in SEEDS:
        chosen = np.random.default_rng(seed).permutation(len(digits))
        train, test = chosen[: len(chosen) // 2], chosen[len(chosen) // 2 :]
        recipe.restart(model, seed, "GlorotUniform")
        keras.utils.set_random_seed(seed)  # the order of the batches
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            history = model.fit(digits[train] / 16, labels[train], epochs=EPOCHS, batch_size=50, verbose=0)
        warned[name] |= any("produced by a Softmax" in str(warning.message) for warning in caught)
        curves[name].append(history.history["loss"])
        learned = keras.Sequential(model.layers[:2])(digits[test] / 16)
        costs[name].append(float(from_logits(labels[test], learned)))  # what it has learned, rightly measured

apart = {name: float(np.max(np.abs(np.subtract(own, curves[RIGHT])))) for name, own in curves.items()}
rows = {name: ["yes" if warned[name] else "", f"{apart[name]:.2g}", costs[name]] for name in VARIANTS}
recipe.show("Outputs, all as from_logits=True", ["warns", "loss differs by", "cross-entropy on new rows"], rows)

# Verdicts.
most, wrong_most = LEVELS[-1], NOISE[-1]


def lower(better, worse, level):
    return recipe.less(errors[better, level], errors[worse, level], "root mean square error", ".3g", **SHARED)


def higher(better, worse, level):
    return recipe.more(right[better, level], right[worse, level], "accuracy (%)", ".1f", **SHARED)


def spoils(name):
    """Evidence that what a variant has learned is worse than what the correct form has, on halves that share rows."""
    return recipe.more(costs[name], costs[RIGHT], "cross-entropy on new rows", test_to_train=1.0)


def differs(name):
    form = "losses of {} trainings differ by {} at most"
    return recipe.fact(apart[name] > 1e-6, form, len(SEEDS), f"{apart[name]:.1g}")


claims = {
    "loss-squared-on-clean-targets": lower("squared error", "absolute error", 0.0),
    "loss-absolute-under-outliers": lower("absolute error", "squared error", most),
    "loss-huber-under-outliers": lower("Huber", "squared error", most),
    "loss-network-beats-robust-linear": lower("Huber", "HuberRegressor", most),
    "loss-cross-entropy-for-classes": higher("cross-entropy", "squared error", 0.0),
    "loss-smoothing-under-wrong-labels": higher("smoothed cross-entropy", "cross-entropy", wrong_most),
    "loss-absolute-under-wrong-labels": higher("absolute error", "cross-entropy", wrong_most),
    "loss-network-beats-svc-under-wrong-labels": higher("smoothed cross-entropy", "SVC", wrong_most),
    "loss-softmax-with-from-logits-spoils": differs("softmax activation"),
    "loss-lambda-softmax-with-from-logits-spoils": differs("softmax in a Lambda"),
    "loss-written-out-softmax-with-from-logits-spoils": spoils("softmax written out"),
    "loss-own-loss-on-softmax-spoils": spoils("softmax and a loss of one's own"),
}

with recipe.panels(3, width=5) as (figure, axes):
    for axis, values, names, levels, title, label in (
        (
            axes[0],
            errors,
            [*LOSSES, "HuberRegressor"],
            LEVELS,
            "Losses and outliers",
            "root mean square error",
        ),
        (axes[1], right, [*CLASS_LOSSES, "SVC"], NOISE, "Losses and wrong labels", "accuracy (%)"),
    ):
        series = {name: np.transpose([values[name, level] for level in levels]) for name in names}
        recipe.curves(axis, levels, series, title, "share of spoilt training targets", label, TEST_TO_TRAIN)
    title = "With and without from_logits"
    recipe.dots(axes[2], costs, title, "cross-entropy on new rows (nats)", test_to_train=1.0)

logits = {"curves": curves, "cross_entropy": costs, "warned": warned}
results = {"errors": errors, "accuracies": right, "learned_by_heart": believed, "from_logits": logits}
recipe.finish(arguments, claims, results, figure)
