"""When does regularisation help, by size of network and of training set, and what does it do to the training error?

The claims: "the cost J = 1/2m Σ(h − y)² + λ/2m Σθ² keeps a model from overfitting", "regularisation reduces the
training error", "L2 smooths, but a very complex network still overfits; then take dropout", and three programs of the
tutorials: Dense(64) → Dropout(0.5) → Dense(10) with Adam for 10 epochs; Lasso and Ridge with α = 0.1 and `max_iter`;
dropout trained on 100 rows of noise and tested with dropout still on. What goes wrong there: `max_iter` does nothing in
Ridge's default solver; a penalty written λ·norm(parameters) is no L2, as its pull does not grow with the weights; and
from noise nothing can be learned, with dropout or without, so that the program shows nothing. Keras's `predict` and
`evaluate` leave dropout out; `model(x, training=True)` in a loop of one's own does not.

The networks have two hidden layers and are trained on digits; L2's strength is chosen on 500 rows that are neither
learned nor tested. Ridge's λ is chosen within the training rows of each fold.

    python recipes/overfitting.py             # about a minute on two cores
    python recipes/overfitting.py --full      # more seeds
"""

import keras
import numpy as np
import tensorflow as tf
from matplotlib import pyplot as plt
from sklearn import datasets, linear_model, model_selection, preprocessing

import tfopt
from tfopt.report import house_style, recipe

arguments = recipe.arguments(__doc__, __file__)

SEEDS = range(arguments.seed, arguments.seed + recipe.by_mode(arguments, smoke=2, default=6, full=15))
STEPS, BATCH = recipe.by_mode(arguments, smoke=10, default=800, full=800), 32  # updates of one training
WIDTHS = [8, 32] if arguments.smoke else [16, 64, 256]  # units of each of the two hidden layers
ROWS = [50, 200] if arguments.smoke else [50, 200, 800]  # training rows
USUAL_WIDTH, USUAL_ROWS = WIDTHS[1], ROWS[1]  # while the other is changed
STRENGTHS = [1e-3] if arguments.smoke else [3e-4, 3e-3, 3e-2]  # of L2
RATE = 0.5  # of dropout, the tutorials'
METHODS = ["neither", "L2", "dropout", "both"]

keras.utils.set_random_seed(arguments.seed)
tf.get_logger().setLevel("ERROR")  # many models, a graph each
strength, dropped = (keras.Variable(0.0, trainable=False) for _ in range(2))  # change without a new graph
cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def begin(model, seed):
    """Give the model the seed's own weights, and the optimizer no past."""
    for variable in model.optimizer.variables:
        if variable.name != "learning_rate":
            variable.assign(keras.ops.zeros_like(variable))
    for place, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.Dense):
            own = 1000 * seed + place  # with one seed for all, the kernels would be copies in part
            layer.kernel.assign(keras.initializers.HeNormal(seed=own)(layer.kernel.shape))
            layer.bias.assign(keras.ops.zeros_like(layer.bias))


# 1. The textbook's cost and Ridge: where Ridge's θ is put into a Keras layer with that cost, no gradient is left.
x, y = datasets.load_diabetes(return_X_y=True)
scaled = preprocessing.StandardScaler().fit_transform(x).astype("float32")
left = []
for textbook in (0.1, 1.0, 10.0, 100.0):
    layer = keras.layers.Dense(1, kernel_regularizer=tfopt.regularizers.TextbookL2(textbook, num_samples=len(x)))
    model = keras.Sequential([keras.Input((10,)), layer])
    ridge = linear_model.Ridge(textbook).fit(scaled, y)
    sizes = []
    for kernel, bias in ((ridge.coef_, ridge.intercept_), (0 * ridge.coef_, y.mean())):
        layer.kernel.assign(kernel[:, None])
        layer.bias.assign([bias])
        with tf.GradientTape() as tape:
            cost = tf.reduce_mean(tf.square(model(scaled)[:, 0] - y.astype("float32"))) + sum(model.losses)
        sizes.append(float(tf.linalg.global_norm(tape.gradient(cost, model.trainable_variables))))
    left.append(sizes[0] / sizes[1])

ridges = [linear_model.Ridge(0.1, max_iter=count).fit(x, y).coef_ for count in (1, 10_000)]
max_iter_changes = float(np.max(np.abs(ridges[0] - ridges[1])))
zeros = [int(np.sum(make(0.1).fit(x, y).coef_ == 0)) for make in (linear_model.Lasso, linear_model.Ridge)]
weights = tf.Variable([3.0, -4.0])
pulls = []
for penalty in (tf.norm, lambda values: tf.reduce_sum(tf.square(values))):
    sizes = []
    for factor in (1.0, 2.0):
        with tf.GradientTape() as tape:
            cost = penalty(factor * weights)
        sizes.append(float(tf.norm(tape.gradient(cost, weights))) / factor)  # by the weights themselves
    pulls.append(sizes[1] / sizes[0])

# Errors by λ, with all products of two columns: more than there are reasons for.
lambdas = np.geomspace(1e-4, 1e4, 17)
wide = preprocessing.PolynomialFeatures(2, include_bias=False).fit_transform(x)
FOLDS, REPEATS = 5, 10
errors = np.zeros((FOLDS * REPEATS, len(lambdas), 2))
chosen = []
folds = model_selection.RepeatedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=arguments.seed)
for fold, (learn, test) in enumerate(folds.split(wide)):
    scaler = preprocessing.StandardScaler().fit(wide[learn])
    chosen.append(lambdas == linear_model.RidgeCV(lambdas).fit(scaler.transform(wide[learn]), y[learn]).alpha_)
    for place, value in enumerate(lambdas):
        ridge = linear_model.Ridge(value).fit(scaler.transform(wide[learn]), y[learn])
        for part, rows in enumerate((learn, test)):
            errors[fold, place, part] = np.sqrt(np.mean((ridge.predict(scaler.transform(wide[rows])) - y[rows]) ** 2))
share = 1 / (FOLDS - 1)  # folds share training rows: the intervals are widened for it

# 2. A hundred rows of noise, ten columns; dropout on and off where it is tested.
noise_model = keras.Sequential(
    [
        keras.Input((10,)),
        keras.layers.Dense(64, "relu"),
        tfopt.layers.Dropout(RATE),
        keras.layers.Dense(1),
    ]
)
noise_model.compile(keras.optimizers.Adam(1e-2), "mse", steps_per_execution=STEPS, jit_compile=False)
noise = {key: [] for key in ("trained on", "new, dropout off", "new, dropout on", "new, the mean")}
for seed in SEEDS:
    draw = np.random.default_rng(seed).normal
    (x_noise, y_noise), (x_new, y_new) = ((draw(size=(rows, 10)), draw(size=rows)) for rows in (100, 1000))
    begin(noise_model, seed)
    data = tf.data.Dataset.from_tensor_slices((x_noise, y_noise)).shuffle(100, seed=seed).repeat().batch(BATCH)
    noise_model.fit(data.take(STEPS), shuffle=False, verbose=0)
    for key, rows, truth, training in (
        ("trained on", x_noise, y_noise, False),
        ("new, dropout off", x_new, y_new, False),
        ("new, dropout on", x_new, y_new, True),
    ):
        noise[key].append(np.mean((noise_model(rows, training=training).numpy()[:, 0] - truth) ** 2))
    noise["new, the mean"].append(np.mean((y_noise.mean() - y_new) ** 2))

# 3. Digits: neither, L2, dropout or both, by width and by training rows.
digits, labels = datasets.load_digits(return_X_y=True)
digits = ((digits - 5) / 6).astype("float32")


def network(hidden, width, learning_rate, steps):
    layers = []
    for _ in range(hidden):
        layers += [keras.layers.Dense(width, "relu", kernel_regularizer=tfopt.regularizers.L2(strength))]
        layers += [tfopt.layers.Dropout(dropped)]
    model = keras.Sequential([keras.Input((64,)), *layers, keras.layers.Dense(10)])
    adam = keras.optimizers.Adam(learning_rate)
    model.compile(adam, cross_entropy, steps_per_execution=steps, jit_compile=False)  # a fit in one call of its graph
    return model


def measure(model, rows):
    logits = model(digits[rows])
    return float(cross_entropy(labels[rows], logits)), float(np.mean(np.argmax(logits, axis=1) != labels[rows]))


def train(model, rows, seed, l2, rate, steps):
    begin(model, seed)
    strength.assign(l2)
    dropped.assign(rate)
    data = tf.data.Dataset.from_tensor_slices((digits[rows], labels[rows])).shuffle(len(rows), seed=seed).repeat()
    model.fit(data.batch(BATCH).take(steps), shuffle=False, verbose=0)


def parts(seed, count):
    """Rows to learn, to choose by, and to test."""
    learn, rest = model_selection.train_test_split(
        np.arange(len(digits)), train_size=count, stratify=labels, random_state=seed
    )
    return learn, rest[:500], rest[500:]


found = {}
for width in WIDTHS:
    model = network(2, width, tfopt.schedules.LinearDecay(3e-3, STEPS), STEPS)
    for count in ROWS if width == USUAL_WIDTH else [USUAL_ROWS]:
        for method in METHODS:
            found[width, count, method] = []
            for seed in SEEDS:
                learn, choose, test = parts(seed, count)
                tried = []
                for l2 in STRENGTHS if method in ("L2", "both") else [0.0]:
                    train(model, learn, seed, l2, RATE if method in ("dropout", "both") else 0.0, STEPS)
                    tried.append((measure(model, choose)[0], *measure(model, learn), *measure(model, test), l2))
                found[width, count, method].append(min(tried)[1:])
found = {key: np.array(values) for key, values in found.items()}  # (seeds, 5)
TRAIN_LOSS, TRAIN_ERROR, TEST_LOSS, TEST_ERROR, CHOSEN = range(5)

# 4. The tutorials' program as it stands, on few rows: 10 epochs, and ten times as long.
EPOCH = -(-USUAL_ROWS // BATCH)
program = network(1, 64, 1e-3, EPOCH * 10)
usual = {}
for epochs in (10, 100):
    for rate in (0.0, RATE):
        usual[epochs, rate] = []
        for seed in SEEDS:
            learn, _, test = parts(seed, USUAL_ROWS)
            train(program, learn, seed, 0.0, rate, EPOCH * epochs)
            usual[epochs, rate].append(100 * measure(program, test)[1])

print(f"{len(SEEDS)} seeds and splits of digits; ± half of the 95 % interval; cross-entropy in nats, errors in %")
print(f"{'width':>6}{'rows':>6} {'':10}{'training loss':>18}{'test loss':>18}{'test error':>16}{'L2 chosen':>12}")
for (width, count, method), values in found.items():
    texts = [recipe.plus_minus(values[:, column]) for column in (TRAIN_LOSS, TEST_LOSS)]
    error = recipe.plus_minus(100 * values[:, TEST_ERROR], ".1f")
    l2 = f"{np.median(values[:, CHOSEN]):12.0e}" if method in ("L2", "both") else ""
    print(f"{width:6}{count:6} {method:10}{texts[0]:>18}{texts[1]:>18}{error:>16}{l2}")
print("\nA hundred rows of noise: mean squared error")
for key, values in noise.items():
    print(f"{key:18}{recipe.plus_minus(values, '.2f'):>16}")
print("\nDense(64), Dropout, Dense(10): test error by epochs and rate")
for (epochs, rate), values in usual.items():
    print(f"{epochs:4} epochs, rate {rate:g}: {recipe.plus_minus(values, '.1f')} %")


# Verdicts.
def versus(first, second, spec=".3f", test_to_train=0.0):
    return " against ".join(recipe.plus_minus(values, spec, test_to_train) for values in (first, second))


def on_seeds(lower, higher, what, spec=".3f"):
    """Judge that one is lower than the other on the same seeds."""
    return recipe.judge(np.subtract(higher, lower)), f"{what} {versus(lower, higher, spec)}, {len(SEEDS)} seeds"


def of(width, count, method, column):
    return found[width, count, method][:, column]


large, fewest, most = WIDTHS[-1], ROWS[0], ROWS[-1]
chosen_how = f"chosen λ against {lambdas[0]:g}, {FOLDS * REPEATS} folds"
gaps = {w: of(w, USUAL_ROWS, "neither", TEST_LOSS) - of(w, USUAL_ROWS, "neither", TRAIN_LOSS) for w in WIDTHS}
gains = {
    count: 100 * (of(USUAL_WIDTH, count, "neither", TEST_ERROR) - of(USUAL_WIDTH, count, "both", TEST_ERROR))
    for count in ROWS
}
ridge_train, ridge_test = ((errors[:, :, part][np.array(chosen)], errors[:, 0, part]) for part in (0, 1))
claims = {
    "overfit-textbook-cost-is-ridge": (
        "The textbook's cost with λ has the solution of Ridge(alpha=λ)",
        recipe.fact(max(left) < 1e-4),
        f"of its gradient at θ = 0 at most {max(left):.0e} is left at Ridge's θ, for 4 λ from 0.1 to 100",
    ),
    "overfit-ridge-lowers-training-error": (
        "Ridge's penalty reduces the training error (diabetes, products of two columns)",
        recipe.judge(ridge_train[1] - ridge_train[0], test_to_train=share),
        f"root mean square error {versus(*ridge_train, '.1f', share)}, {chosen_how}",
    ),
    "overfit-ridge-lowers-test-error": (
        "Ridge's penalty reduces the error on new rows (diabetes, products of two columns)",
        recipe.judge(ridge_test[1] - ridge_test[0], test_to_train=share),
        f"root mean square error {versus(*ridge_test, '.1f', share)}, {chosen_how}",
    ),
    "overfit-l2-lowers-training-error": (
        "L2 reduces a network's training error",
        *on_seeds(
            of(large, USUAL_ROWS, "L2", TRAIN_LOSS), of(large, USUAL_ROWS, "neither", TRAIN_LOSS), "cross-entropy"
        ),
    ),
    "overfit-l2-lowers-test-error": (
        f"L2 reduces the error of the network of width {large} on new rows",
        *on_seeds(
            100 * of(large, USUAL_ROWS, "L2", TEST_ERROR),
            100 * of(large, USUAL_ROWS, "neither", TEST_ERROR),
            "test error in %",
            ".1f",
        ),
    ),
    "overfit-l2-lowers-test-loss": (
        f"L2 reduces the loss of the network of width {large} on new rows",
        *on_seeds(of(large, USUAL_ROWS, "L2", TEST_LOSS), of(large, USUAL_ROWS, "neither", TEST_LOSS), "cross-entropy"),
    ),
    "overfit-larger-network-overfits-more": (
        f"A network of width {large} overfits more than one of width {WIDTHS[0]}",
        *on_seeds(gaps[WIDTHS[0]], gaps[large], "test loss less training loss"),
    ),
    "overfit-dropout-where-l2-is-not-enough": (
        f"In the network of width {large}, dropout added to L2 lowers the test error further",
        *on_seeds(
            100 * of(large, USUAL_ROWS, "both", TEST_ERROR),
            100 * of(large, USUAL_ROWS, "L2", TEST_ERROR),
            "test error in %",
            ".1f",
        ),
    ),
    "overfit-helps-more-with-few-rows": (
        f"L2 and dropout lower the test error more with {fewest} training rows than with {most}",
        *on_seeds(gains[most], gains[fewest], f"points lower with {most} and with {fewest} rows:", ".1f"),
    ),
    "overfit-textbook-program-dropout-helps": (
        f"Dense(64), Dropout(0.5), Dense(10), 10 epochs, {USUAL_ROWS} rows: dropout lowers the test error",
        *on_seeds(usual[10, RATE], usual[10, 0.0], "test error in %", ".1f"),
    ),
    "overfit-textbook-program-longer-dropout-helps": (
        "The same program for 100 epochs: dropout lowers the test error",
        *on_seeds(usual[100, RATE], usual[100, 0.0], "test error in %", ".1f"),
    ),
    "overfit-dropout-on-in-test": (
        "A test loss taken with dropout still on is higher than the network's own",
        *on_seeds(noise["new, dropout off"], noise["new, dropout on"], "mean squared error", ".2f"),
    ),
    "overfit-dropout-learns-from-noise": (
        "Trained on 100 rows of noise with dropout, a network beats the mean on new rows",
        *on_seeds(noise["new, dropout off"], noise["new, the mean"], "mean squared error", ".2f"),
    ),
    "overfit-norm-is-l2": (
        "A penalty λ·‖θ‖ acts as L2's λ·‖θ‖²",
        recipe.fact(abs(pulls[0] - pulls[1]) < 1e-3),
        f"at twice the weights its pull is {pulls[0]:.1f} times as strong, L2's {pulls[1]:.1f} times",
    ),
    "overfit-lasso-zeros-ridge-none": (
        "With α = 0.1 on diabetes, Lasso sets weights to zero and Ridge sets none",
        recipe.fact(zeros[0] > 0 == zeros[1]),
        f"{zeros[0]} of 10 against {zeros[1]}",
    ),
    "overfit-ridge-max-iter-matters": (
        "`max_iter` changes what Ridge's default solver finds",
        recipe.fact(max_iter_changes > 0),
        f"max_iter = 1 and 10000: coefficients differ by {max_iter_changes:g}",
    ),
}

COLOURS = dict(zip(METHODS, ["#1a1a1a", "#0072b2", "#d55e00", "#009e73"], strict=True))
with house_style():
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.4), layout="constrained")
    for part, (label, colour) in enumerate((("training rows", "#767676"), ("new rows", "#0072b2"))):
        mean, half = recipe.interval(errors[:, :, part], 1, share)
        axes[0].errorbar(lambdas, mean, half, color=colour, marker="o", ms=4, label=label)
    axes[0].legend(frameon=False, loc="upper left")
    axes[0].set(xscale="log", xlabel="λ", ylabel="root mean square error", title="Ridge on diabetes, degree 2")
    for ax, keys, label in (
        (
            axes[1],
            [(width, USUAL_ROWS) for width in WIDTHS],
            f"units in each hidden layer ({USUAL_ROWS} training rows)",
        ),
        (axes[2], [(USUAL_WIDTH, count) for count in ROWS], f"training rows ({USUAL_WIDTH} units in each layer)"),
    ):
        for place, method in enumerate(METHODS):
            values = 100 * np.transpose([found[*key, method][:, TEST_ERROR] for key in keys])
            mean, half = recipe.interval(values)
            where = np.arange(len(keys)) + 0.06 * (place - 1.5)
            ax.errorbar(where, mean, half, color=COLOURS[method], marker="o", ms=4, label=method)
        numbers = [key[0] if ax is axes[1] else key[1] for key in keys]
        ax.set(xticks=range(len(keys)), xticklabels=numbers, xlabel=label, ylabel="test error (%)", yscale="log")
        ax.set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
        ax.minorticks_off()
    axes[1].set_title("Digits by width")
    axes[2].set_title("Digits by training rows")
    axes[2].legend(frameon=False)

results = {"ridge_errors": errors, "lambdas": lambdas, "digits": found, "noise": noise, "textbook_program": usual}
recipe.finish(arguments, claims=claims, results=results, figure=figure)
