"""Which loss survives outliers in the targets, and which wrong labels?

The claims: "mean squared error for regression, cross-entropy for classification"; absolute error and Huber's loss do
not mind outliers; label smoothing, or absolute error on the probabilities (Ghosh et al. 2017), does not mind wrong
labels. Part 1 spoils some training targets of a table by adding ten standard deviations, part 2 draws some training
labels of digits anew; the test rows stay as they are. Network and optimizer are the same for every loss, the learning
rate is chosen for each loss, level and fold on a fifth of its (spoilt) training rows, by mean absolute error or
accuracy. Scikit-learn's robust regressors and usual classifiers stand on the same folds, as they come.

Part 3 is a fault that looks worse than it is: softmax outputs with `SparseCategoricalCrossentropy(from_logits=True)`.
Keras 3.15 finds the logits behind the softmax, warns, and the losses are those of the correct form, even if the softmax
stands in a Lambda layer. It finds nothing, and says nothing, if the softmax is written out (exp over sum), if another
operation comes after it, or if the loss is your own: then the softmax is taken twice.

    python recipes/loss_functions.py                                       # about a minute on two cores
    python recipes/loss_functions.py --full                                # five times as many folds
    python recipes/loss_functions.py --data houses.csv --target price      # a regression table of your own
"""

import warnings

import keras
import numpy as np
import tensorflow as tf
from matplotlib import pyplot as plt
from sklearn import datasets, ensemble, linear_model, model_selection, neighbors, preprocessing, svm

import tfopt
from tfopt.report import house_style, recipe

arguments = recipe.arguments(__doc__, __file__, data="diabetes")

LEVELS = [0.0, 0.3] if arguments.smoke else [0.0, 0.1, 0.3]  # share of the training targets that are spoilt
NOISE = [0.0, 0.4]  # share of the training labels that are wrong
OUTLIER = 10  # standard deviations added to a spoilt target
SMOOTHING = 0.1
FOLDS = recipe.by_mode(arguments, smoke=2, default=5, full=5)
REPEATS = recipe.by_mode(arguments, smoke=1, default=1, full=5)
STEPS, BATCH = recipe.by_mode(arguments, smoke=20, default=300, full=300), 64  # updates of one training
RATES = [3e-3] if arguments.smoke else [1e-3, 3e-3, 1e-2]  # highest learning rate of a linear decay, with Adam
LOSSES = {"squared error": "mse", "absolute error": "mae", "Huber": keras.losses.Huber(delta=1.0)}
CLASS_LOSSES = {
    "cross-entropy": keras.losses.CategoricalCrossentropy(),
    "smoothed cross-entropy": keras.losses.CategoricalCrossentropy(label_smoothing=SMOOTHING),
    "squared error": "mse",
    "absolute error": "mae",
}

keras.utils.set_random_seed(arguments.seed)
tf.get_logger().setLevel("ERROR")  # many models, a graph each
rng = np.random.default_rng(arguments.seed)
TEST_TO_TRAIN = 1 / (FOLDS - 1)  # folds share training rows: the intervals are widened for it
rate = keras.Variable(1e-3, trainable=False)  # changes without a new graph


def network(width, outputs, activation, loss):
    layers = [keras.layers.Dense(64, "relu"), keras.layers.Dense(outputs, activation)]
    model = keras.Sequential([keras.Input((width,)), *layers])
    adam = keras.optimizers.Adam(tfopt.schedules.LinearDecay(rate, STEPS))
    model.compile(adam, loss, steps_per_execution=STEPS, jit_compile=False)  # a whole fit in one call of its graph
    return model


def begin(model, seed):
    """Give the model the seed's own weights, and the optimizer no past."""
    for variable in model.optimizer.variables:
        if variable.name != "learning_rate":
            variable.assign(keras.ops.zeros_like(variable))
    for place, layer in enumerate(model.layers):
        if layer.weights:
            own = 1000 * seed + place  # with one seed for all, the kernels would be copies in part
            layer.kernel.assign(keras.initializers.GlorotUniform(seed=own)(layer.kernel.shape))
            layer.bias.assign(keras.ops.zeros_like(layer.bias))


def fit(model, x, y, learning_rate, seed):
    begin(model, seed)
    rate.assign(learning_rate)
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=seed).repeat().batch(BATCH).take(STEPS)
    model.fit(data, shuffle=False, verbose=0)


def absolute_error(guess, truth):
    return np.mean(np.abs(guess[:, 0] - truth))


def mistakes(guess, truth):
    return np.mean(guess.argmax(axis=1) != truth.argmax(axis=1))


def choose_and_fit(model, x, y, seed, error):
    """Train with the learning rate that is best on a fifth of the rows; return it."""
    cut, failed = len(x) // 5, []
    for candidate in RATES:
        fit(model, x[cut:], y[cut:], candidate, seed)
        failed.append(error(model(x[:cut]).numpy(), y[:cut]))
    best = RATES[int(np.argmin(failed))]
    fit(model, x, y, best, seed)
    return best


# Part 1: regression with outliers among the training targets.
x, y = recipe.table(arguments, task="regression")
SCIKIT_LEARN = {
    "Ridge": lambda: linear_model.Ridge(),
    "HuberRegressor": lambda: linear_model.HuberRegressor(max_iter=1000),
    "QuantileRegressor": lambda: linear_model.QuantileRegressor(alpha=0.0),
    "TheilSenRegressor": lambda: linear_model.TheilSenRegressor(max_subpopulation=500, random_state=arguments.seed),
    "RANSACRegressor": lambda: linear_model.RANSACRegressor(random_state=arguments.seed),
    "boosting, absolute": lambda: ensemble.HistGradientBoostingRegressor(loss="absolute_error", max_iter=50),
}
models = {name: network(x.shape[1], 1, None, loss) for name, loss in LOSSES.items()}
errors = {(name, level): [] for name in [*LOSSES, *SCIKIT_LEARN] for level in LEVELS}
rates = {}
folds = model_selection.RepeatedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=arguments.seed)
for index, (train, test) in enumerate(folds.split(x)):
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
        guesses = {name: make().fit(x_train, target).predict(x_test) for name, make in SCIKIT_LEARN.items()}
        for name, model in models.items():
            rates[name, level, index] = choose_and_fit(model, x_train, target, index, absolute_error)
            guesses[name] = model(x_test).numpy()[:, 0]
        for name, guess in guesses.items():
            errors[name, level].append(np.sqrt(np.mean((middle + spread * guess - y[test]) ** 2)))

print(f"\nRoot mean square error on clean test rows, {FOLDS * REPEATS} folds, by share of spoilt training targets")
print(f"{'':26}" + "".join(f"{level:>18.0%}" for level in LEVELS))
for name in [*LOSSES, *SCIKIT_LEARN]:
    cells = [recipe.plus_minus(errors[name, level], ".3g", TEST_TO_TRAIN) for level in LEVELS]
    print(f"{'network, ' * (name in LOSSES) + name:26}" + "".join(f"{cell:>18}" for cell in cells))

# Part 2: digits with wrong training labels.
EVERY = recipe.by_mode(arguments, smoke=3, default=1, full=1)
digits, labels = (part[::EVERY] for part in datasets.load_digits(return_X_y=True))
CLASSIFIERS = {
    "LogisticRegression": lambda: linear_model.LogisticRegression(C=0.01, max_iter=500),
    "SVC": lambda: svm.SVC(),
    "KNeighborsClassifier": lambda: neighbors.KNeighborsClassifier(),
}
models = {name: network(64, 10, "softmax", loss) for name, loss in CLASS_LOSSES.items()}
accuracies = {(name, level): [] for name in [*CLASS_LOSSES, *CLASSIFIERS] for level in NOISE}
believed = {(name, level): [] for name in CLASS_LOSSES for level in NOISE[1:]}
folds = model_selection.RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=arguments.seed)
for index, (train, test) in enumerate(folds.split(digits, labels)):
    train = rng.permutation(train)
    x_train, x_test = (((digits[part] - 5) / 6).astype("float32") for part in (train, test))
    order = rng.permutation(len(train))
    others = (labels[train] + rng.integers(1, 10, len(train))) % 10
    for level in NOISE:
        wrong = order[: round(level * len(train))]
        noisy = labels[train].copy()
        noisy[wrong] = others[wrong]
        guesses = {name: make().fit(x_train, noisy).predict(x_test) for name, make in CLASSIFIERS.items()}
        for name, model in models.items():
            targets = np.eye(10, dtype="float32")[noisy]
            rates[name, level, index] = choose_and_fit(model, x_train, targets, index, mistakes)
            guesses[name] = model(x_test).numpy().argmax(axis=1)
            if level:
                believed[name, level].append(np.mean(model(x_train[wrong]).numpy().argmax(axis=1) == noisy[wrong]))
        for name, guess in guesses.items():
            accuracies[name, level].append(np.mean(guess == labels[test]))

print(
    "\nAccuracy on test rows with right labels (%), by share of wrong training labels; share of those learned by heart"
)
print(f"{'':32}" + "".join(f"{level:>16.0%}" for level in NOISE) + f"{'by heart':>12}")
for name in [*CLASS_LOSSES, *CLASSIFIERS]:
    cells = [recipe.plus_minus(100 * np.array(accuracies[name, level]), ".1f", TEST_TO_TRAIN) for level in NOISE]
    heart = f"{np.mean(believed[name, NOISE[-1]]):12.0%}" if name in CLASS_LOSSES else ""
    print(f"{'network, ' * (name in CLASS_LOSSES) + name:32}" + "".join(f"{cell:>16}" for cell in cells) + heart)


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
VARIANTS = {
    "logits, as it should be": (None, from_logits),
    "softmax activation": (keras.layers.Softmax(), from_logits),
    "softmax in a Lambda": (keras.layers.Lambda(keras.ops.softmax), from_logits),
    "softmax written out": (keras.layers.Lambda(written_out), from_logits),
    "softmax and a loss of one's own": (keras.layers.Softmax(), own_loss),
}
SEEDS = recipe.by_mode(arguments, smoke=2, default=5, full=10)
EPOCHS = recipe.by_mode(arguments, smoke=1, default=5, full=5)
curves, costs, warned = {}, {}, {}
for name, (last, loss) in VARIANTS.items():
    stem = [keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)]
    model = keras.Sequential(stem + [last] * (last is not None))
    curves[name], costs[name], warned[name] = [], [], False
    model.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=False)
    for seed in range(SEEDS):
        chosen = np.random.default_rng(seed).permutation(len(digits))
        train, test = chosen[:500], chosen[500:]
        begin(model, seed)
        keras.utils.set_random_seed(seed)  # the order of the batches
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            history = model.fit(digits[train] / 16, labels[train], epochs=EPOCHS, batch_size=50, verbose=0)
        warned[name] |= any("produced by a Softmax" in str(warning.message) for warning in caught)
        curves[name].append(history.history["loss"])
        logits = keras.Sequential(model.layers[:2])(digits[test] / 16)
        costs[name].append(float(from_logits(labels[test], logits)))  # what the network has learned, rightly measured

right = np.array(curves["logits, as it should be"])
print(f"\n{'outputs, all as from_logits=True':34}{'warns':>7}{'loss differs by':>17}{'cross-entropy on new rows':>27}")
for name in VARIANTS:
    differs = np.max(np.abs(np.array(curves[name]) - right))
    print(f"{name:34}{'yes' if warned[name] else '':>7}{differs:17.2g}{recipe.plus_minus(costs[name]):>27}")

# Verdicts.
most, wrong_most = LEVELS[-1], NOISE[-1]


def lower(better, worse, level):
    """Judge that one error is lower than another, and show both."""
    a, b = errors[better, level], errors[worse, level]
    shown = [recipe.plus_minus(values, ".3g", TEST_TO_TRAIN) for values in (a, b)]
    numbers = f"root mean square error {shown[0]} against {shown[1]}, {FOLDS * REPEATS} folds"
    return recipe.judge(np.subtract(b, a), test_to_train=TEST_TO_TRAIN), numbers


def higher(better, worse, level):
    a, b = (100 * np.array(accuracies[name, level]) for name in (better, worse))
    shown = [recipe.plus_minus(values, ".1f", TEST_TO_TRAIN) for values in (a, b)]
    numbers = f"accuracy {shown[0]} % against {shown[1]} %, {FOLDS * REPEATS} folds"
    return recipe.judge(a - b, test_to_train=TEST_TO_TRAIN), numbers


def spoils(name):
    """Judge that what a variant has learned is worse than what the correct form has."""
    shown = [recipe.plus_minus(costs[variant]) for variant in (name, "logits, as it should be")]
    numbers = f"cross-entropy on new rows {shown[0]} against {shown[1]}, {SEEDS} seeds"
    return recipe.judge(np.subtract(costs[name], costs["logits, as it should be"])), numbers


def differs(name):
    most = float(np.max(np.abs(np.array(curves[name]) - right)))
    return recipe.fact(most > 1e-6), f"losses of {SEEDS} trainings differ by {most:.1g} at most"


claims = {
    "loss-squared-on-clean-targets": (
        "Without outliers, squared error gives a lower root mean square error than absolute error",
        *lower("squared error", "absolute error", 0.0),
    ),
    "loss-absolute-under-outliers": (
        f"With {most:.0%} outliers, absolute error beats squared error",
        *lower("absolute error", "squared error", most),
    ),
    "loss-huber-under-outliers": (
        f"With {most:.0%} outliers, Huber's loss beats squared error",
        *lower("Huber", "squared error", most),
    ),
    "loss-network-beats-robust-linear": (
        f"With {most:.0%} outliers, the network with Huber's loss beats scikit-learn's HuberRegressor",
        *lower("Huber", "HuberRegressor", most),
    ),
    "loss-cross-entropy-for-classes": (
        "With right labels, cross-entropy is more accurate than squared error on the probabilities",
        *higher("cross-entropy", "squared error", 0.0),
    ),
    "loss-smoothing-under-wrong-labels": (
        f"With {wrong_most:.0%} wrong labels, label smoothing makes cross-entropy more accurate",
        *higher("smoothed cross-entropy", "cross-entropy", wrong_most),
    ),
    "loss-absolute-under-wrong-labels": (
        f"With {wrong_most:.0%} wrong labels, absolute error on the probabilities is more accurate than cross-entropy",
        *higher("absolute error", "cross-entropy", wrong_most),
    ),
    "loss-network-beats-svc-under-wrong-labels": (
        f"With {wrong_most:.0%} wrong labels, the network with the smoothed cross-entropy is more accurate than SVC",
        *higher("smoothed cross-entropy", "SVC", wrong_most),
    ),
    "loss-softmax-with-from-logits-spoils": (
        "Softmax outputs with from_logits=True spoil the training",
        *differs("softmax activation"),
    ),
    "loss-lambda-softmax-with-from-logits-spoils": (
        "A softmax in a Lambda layer with from_logits=True spoils the training",
        *differs("softmax in a Lambda"),
    ),
    "loss-written-out-softmax-with-from-logits-spoils": (
        "A softmax that is written out, with from_logits=True, spoils the training",
        *spoils("softmax written out"),
    ),
    "loss-own-loss-on-softmax-spoils": (
        "A softmax before a loss of one's own that takes logits spoils the training",
        *spoils("softmax and a loss of one's own"),
    ),
}

COLOURS = {"squared error": "#d55e00", "absolute error": "#0072b2", "Huber": "#009e73", "cross-entropy": "#1a1a1a"}
COLOURS |= {"smoothed cross-entropy": "#cc79a7"}
with house_style():
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.4), layout="constrained", width_ratios=[1, 1, 0.8])
    panels = (
        (axes[0], errors, LOSSES, ["HuberRegressor"], LEVELS, "root mean square error on clean test rows"),
        (axes[1], accuracies, CLASS_LOSSES, ["SVC"], NOISE, "accuracy on rightly labelled test rows"),
    )
    for ax, values, ours, theirs, levels, label in panels:
        for place, name in enumerate([*ours, *theirs]):
            mean, half = recipe.interval(np.transpose([values[name, level] for level in levels]), 1, TEST_TO_TRAIN)
            colour, line = COLOURS.get(name, "#767676"), "-" if name in ours else ":"
            shift = 0.004 * (place - len(ours) / 2)  # so that the bars do not hide each other
            ax.errorbar(np.array(levels) + shift, mean, half, color=colour, ls=line, marker="o", ms=4, label=name)
        ax.set(xlabel="share of the training targets that are spoilt", ylabel=label)
        ax.legend(frameon=False, fontsize=9)
    axes[1].set(ylim=(0.6, 1.0), xticks=NOISE)
    for place, name in enumerate(VARIANTS):
        harmless = np.array_equal(curves[name], right)
        mean, half = recipe.interval(costs[name])
        axes[2].errorbar(mean, place, xerr=half, color="#0072b2" if harmless else "#d55e00", marker="o", capsize=3)
    axes[2].set(yticks=range(len(VARIANTS)), yticklabels=list(VARIANTS), xlabel="cross-entropy on new rows (nats)")
    axes[2].invert_yaxis()
    for ax, title in zip(axes, ("Outliers", "Wrong labels", "from_logits=True"), strict=True):
        ax.set_title(title)

results = {"errors": errors, "accuracies": accuracies, "learned_by_heart": believed, "learning_rates": rates}
results |= {"from_logits": {"curves": curves, "cross_entropy": costs, "warned": warned}}
recipe.finish(arguments, claims=claims, results=results, figure=figure)
