"""When does regularisation help, by size of network and of training set, and what does it do to the training error?

The claims: "the cost J = 1/2m Σ(h − y)² + λ/2m Σθ² keeps a model from overfitting", "regularisation reduces the
training error", "L2 smooths, but a very complex network still overfits; then take dropout", and three programs of the
tutorials: Dense(64) → Dropout(0.5) → Dense(10) with Adam for 10 epochs; Lasso and Ridge with α = 0.1 and `max_iter`;
dropout trained on 100 rows of noise and tested with dropout still on. What goes wrong there: `max_iter` does nothing in
Ridge's default solver; a penalty written λ·norm(parameters) is no L2, as its pull does not grow with the weights; and
from noise nothing can be learned, with dropout or without, so that the program shows nothing.

The networks have two hidden layers and are trained on digits, every seed on rows of its own; L2's strength is chosen on
validation rows. Ridge's λ is chosen within the training rows of each fold.

So: more rows first, then L2 with a strength chosen on validation rows; judge regularisation by new rows and never by
the training error, which it raises.

Claims:
    overfit-textbook-cost-is-ridge: The textbook's cost with λ has the solution of Ridge(alpha=λ)
    overfit-ridge-lowers-training-error: Ridge's penalty reduces the training error (diabetes, products of two
        columns)
    overfit-ridge-lowers-test-error: Ridge's penalty reduces the error on new rows (diabetes, products of two
        columns)
    overfit-searched-network-beats-ridge: A network with L2 by KerasTuner has a lower error on diabetes than Ridge
        by GridSearchCV
    overfit-l2-lowers-training-error: L2 reduces a network's training error
    overfit-l2-lowers-test-error: L2 reduces the error of the large network on new rows
    overfit-l2-lowers-test-loss: L2 reduces the loss of the large network on new rows
    overfit-larger-network-overfits-more: The large network overfits more than the small one
    overfit-dropout-where-l2-is-not-enough: In the large network, dropout added to L2 lowers the test error further
    overfit-helps-more-with-few-rows: L2 and dropout lower the test error more with the fewest training rows than
        with the most
    overfit-textbook-program-dropout-helps: Dense(64), Dropout(0.5), Dense(10), 10 epochs, 100 rows: dropout lowers
        the test error
    overfit-textbook-program-longer-dropout-helps: The same program for 100 epochs: dropout lowers the test error
    overfit-dropout-on-in-test: A test loss taken with dropout still on is higher than the network's own
    overfit-dropout-learns-from-noise: Trained on 100 rows of noise with dropout, a network beats the mean on new
        rows
    overfit-norm-is-l2: A penalty λ·‖θ‖ acts as L2's λ·‖θ‖²
    overfit-lasso-zeros-ridge-none: With α = 0.1 on diabetes, Lasso sets weights to zero and Ridge sets none
    overfit-ridge-max-iter-matters: `max_iter` changes what Ridge's default solver finds

    python recipes/overfitting.py             # about a minute on two cores
"""

import keras
import numpy as np
import tensorflow as tf
from sklearn import datasets, linear_model, model_selection, preprocessing

import tfopt
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__)
SEEDS = recipe.seeds(arguments, smoke=2, default=6)  # each with rows of its own
STEPS, BATCH = recipe.by_mode(arguments, smoke=10, default=600), 32  # updates of one training, about
WIDTHS = recipe.by_mode(arguments, smoke=[8, 32], default=[16, 64, 256])  # units of each of the two hidden layers
ROWS = recipe.by_mode(arguments, smoke=[50, 100], default=[50, 100, 190])  # training rows
USUAL_WIDTH, USUAL_ROWS = WIDTHS[1], ROWS[1]  # while the other is changed
STRENGTHS = recipe.by_mode(arguments, smoke=[1e-3], default=[3e-4, 3e-3, 3e-2])  # of L2
RATE = 0.5  # of dropout, the tutorials'
METHODS = {
    "neither": [(0.0, 0.0)],
    "L2": [(s, 0.0) for s in STRENGTHS],
    "dropout": [(0.0, RATE)],
    "both": [(s, RATE) for s in STRENGTHS],
}
FOLDS, REPEATS = recipe.by_mode(arguments, smoke=(2, 1), default=(5, 10))
LAMBDAS = np.geomspace(1e-4, 1e4, 17)

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
wide = preprocessing.PolynomialFeatures(2, include_bias=False).fit_transform(x)
errors = np.zeros((FOLDS * REPEATS, len(LAMBDAS), 2))
best = []
folds = model_selection.RepeatedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=arguments.seed)
for fold, (learn, test) in enumerate(folds.split(wide)):
    scaler = preprocessing.StandardScaler().fit(wide[learn])
    best.append(linear_model.RidgeCV(LAMBDAS).fit(scaler.transform(wide[learn]), y[learn]).alpha_ == LAMBDAS)
    for place, value in enumerate(LAMBDAS):
        ridge = linear_model.Ridge(value).fit(scaler.transform(wide[learn]), y[learn])
        for part, rows in enumerate((learn, test)):
            errors[fold, place, part] = np.sqrt(np.mean((ridge.predict(scaler.transform(wide[rows])) - y[rows]) ** 2))
ridge_train, ridge_test = ((errors[:, :, part][np.array(best)], errors[:, 0, part]) for part in (0, 1))


# 2. Networks: neither, L2, dropout or both, by width and by training rows; and the tutorials' programs as they stand.
def network(hp):
    layers = [keras.Input((hp["inputs"],))]
    for _ in range(hp["hidden"]):
        penalty = tfopt.regularizers.L2(hp["l2"])
        layers += [keras.layers.Dense(hp["width"], "relu", kernel_initializer="he_normal", kernel_regularizer=penalty)]
        layers += [tfopt.layers.Dropout(hp["rate"])]
    model = keras.Sequential([*layers, keras.layers.Dense(hp["outputs"])])
    rate = tfopt.schedules.LinearDecay(3e-3, STEPS) if hp["hidden"] == 2 else hp["learning_rate"]
    classes = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss, metrics = (classes, []) if hp["outputs"] > 1 else ("mse", ["mse"])
    model.compile(keras.optimizers.Adam(rate), loss, metrics=metrics)
    return model


digits, labels = datasets.load_digits(return_X_y=True)
whole = recipe.samples(digits, labels, SEEDS, train=0.65, valid=0.15)
found = {}
cases = [(width, count) for width in WIDTHS for count in (ROWS if width == USUAL_WIDTH else [USUAL_ROWS])]
for width, count in recipe.steps(cases, "sizes"):
    samples = [sample.first(count) for sample in whole]
    tried = [
        {"method": method, "inputs": 64, "hidden": 2, "width": width, "outputs": 10, "l2": l2, "rate": rate}
        for method, settings in METHODS.items()
        for l2, rate in settings
    ]
    scores = recipe.train(network, tried, samples, epochs=max(1, STEPS // -(-count // BATCH)), batch_size=BATCH)
    for method in METHODS:
        which = [i for i, hp in enumerate(tried) if hp["method"] == method]
        found[width, count, method] = recipe.chosen(scores, which)

base = {"inputs": 64, "hidden": 1, "width": 64, "outputs": 10, "l2": 0.0, "learning_rate": 1e-3}
few = [sample.first(USUAL_ROWS) for sample in whole]
usual = {}
for epochs in recipe.by_mode(arguments, smoke=(2, 4), default=(10, 100)):
    scores = recipe.train(network, [base | {"rate": rate} for rate in (0.0, RATE)], few, epochs=epochs)["test error"]
    usual[epochs] = dict(zip((0.0, RATE), scores, strict=True))
short, long = usual

noise = {key: [] for key in ("off", "on", "mean")}
for seed in SEEDS:
    draw = np.random.default_rng(seed).normal
    (x_noise, y_noise), (x_new, y_new) = ((draw(size=(rows, 10)), draw(size=rows)) for rows in (100, 1000))
    keras.utils.set_random_seed(seed)
    model = network(base | {"inputs": 10, "outputs": 1, "rate": RATE, "learning_rate": 1e-2})
    model.fit(x_noise, y_noise, epochs=STEPS // 4, batch_size=BATCH, verbose=0)
    for key, training in (("off", False), ("on", True)):
        noise[key].append(np.mean((model(x_new, training=training).numpy()[:, 0] - y_new) ** 2))
    noise["mean"].append(np.mean((y_noise.mean() - y_new) ** 2))

# 3. L2's strength by KerasTuner, and Ridge's by GridSearchCV, on the same folds of diabetes.
searched = {"network": [], "ridge": []}  # root mean square errors on the outer folds
small = base | {"inputs": 10, "outputs": 1, "width": 32, "rate": 0.0, "learning_rate": 3e-3}
outer = model_selection.KFold(FOLDS, shuffle=True, random_state=arguments.seed)
for number, (learn, test) in enumerate(recipe.steps(outer.split(x), "searches")):
    scaler, middle, spread = preprocessing.StandardScaler().fit(x[learn]), y[learn].mean(), y[learn].std()
    rows, target = scaler.transform(x[learn]), (y[learn] - middle) / spread
    inner = list(model_selection.KFold(3, shuffle=True, random_state=arguments.seed + number).split(rows))
    epochs = recipe.by_mode(arguments, smoke=1, default=40)
    best = recipe.tuned(
        lambda hp: network(small | hp),
        {"l2": [*STRENGTHS, 0.3]},
        rows,
        target,
        inner,
        objective="val_mse",
        epochs=epochs,
        seed=arguments.seed + number,
    )
    keras.utils.set_random_seed(arguments.seed + number)
    model = network(small | best)
    model.fit(rows, target, epochs=epochs, batch_size=BATCH, verbose=0)
    guess = middle + spread * model(scaler.transform(x[test])).numpy()[:, 0]
    searched["network"].append(np.sqrt(np.mean((guess - y[test]) ** 2)))
    search = model_selection.GridSearchCV(
        linear_model.Ridge(), {"alpha": LAMBDAS}, cv=inner, scoring="neg_mean_squared_error"
    ).fit(rows, target)
    guess = middle + spread * search.predict(scaler.transform(x[test]))
    searched["ridge"].append(np.sqrt(np.mean((guess - y[test]) ** 2)))

rows = {
    f"width {width}, {count} rows, {method}": [scores[key] for key in ("train loss", "test loss", "test error")]
    for (width, count, method), scores in found.items()
}
recipe.show(f"Digits, {len(SEEDS)} seeds", ["training loss", "test loss", "test error %|.1f"], rows)

large, fewest, most = WIDTHS[-1], ROWS[0], ROWS[-1]
gaps = {w: found[w, USUAL_ROWS, "neither"]["test loss"] - found[w, USUAL_ROWS, "neither"]["train loss"] for w in WIDTHS}
gains = {
    count: found[USUAL_WIDTH, count, "neither"]["test error"] - found[USUAL_WIDTH, count, "both"]["test error"]
    for count in ROWS
}


def less(one, other, key, what):
    """Evidence that in the large network one method has less of it than the other."""
    first, second = (found[large, USUAL_ROWS, method][key] for method in (one, other))
    return recipe.less(first, second, what, ".1f" if "error" in key else ".3f")


def by_folds(pair, what):
    return recipe.less(*pair, what, ".1f", of="folds", test_to_train=1 / (FOLDS - 1))


claims = {
    "overfit-textbook-cost-is-ridge": recipe.fact(
        max(left) < 1e-4,
        "of its gradient at θ = 0 at most {} is left at Ridge's θ, for 4 λ from 0.1 to 100",
        f"{max(left):.0e}",
    ),
    "overfit-ridge-lowers-training-error": by_folds(ridge_train, "root mean square error, chosen λ against 1e-4"),
    "overfit-ridge-lowers-test-error": by_folds(ridge_test, "root mean square error, chosen λ against 1e-4"),
    "overfit-searched-network-beats-ridge": by_folds(
        (searched["network"], searched["ridge"]), "root mean square error"
    ),
    "overfit-l2-lowers-training-error": less("L2", "neither", "train loss", "training loss"),
    "overfit-l2-lowers-test-error": less("L2", "neither", "test error", "test error (%)"),
    "overfit-l2-lowers-test-loss": less("L2", "neither", "test loss", "test loss"),
    "overfit-larger-network-overfits-more": recipe.less(gaps[WIDTHS[0]], gaps[large], "test loss less training loss"),
    "overfit-dropout-where-l2-is-not-enough": less("both", "L2", "test error", "test error (%)"),
    "overfit-helps-more-with-few-rows": recipe.more(gains[fewest], gains[most], "points of test error less", ".1f"),
    "overfit-textbook-program-dropout-helps": recipe.less(
        usual[short][RATE], usual[short][0.0], "test error (%)", ".1f"
    ),
    "overfit-textbook-program-longer-dropout-helps": recipe.less(
        usual[long][RATE], usual[long][0.0], "test error (%)", ".1f"
    ),
    "overfit-dropout-on-in-test": recipe.less(noise["off"], noise["on"], "mean squared error", ".2f"),
    "overfit-dropout-learns-from-noise": recipe.less(noise["off"], noise["mean"], "mean squared error", ".2f"),
    "overfit-norm-is-l2": recipe.fact(
        abs(pulls[0] - pulls[1]) < 1e-3,
        "at twice the weights its pull is {} times as strong, L2's {} times",
        *(f"{pull:.1f}" for pull in pulls),
    ),
    "overfit-lasso-zeros-ridge-none": recipe.fact(zeros[0] > 0 == zeros[1], "{} of 10 against {}", *zeros),
    "overfit-ridge-max-iter-matters": recipe.fact(
        max_iter_changes > 0, "max_iter = 1 and 10000: coefficients differ by {}", f"{max_iter_changes:g}"
    ),
}

with recipe.panels(3, width=5) as (figure, axes):
    series = {"training rows": errors[:, :, 0], "new rows": errors[:, :, 1]}
    recipe.curves(
        axes[0],
        LAMBDAS,
        series,
        "Ridge's penalty raises the training error",
        "λ",
        "root mean square error (diabetes)",
        1 / (FOLDS - 1),
    )
    axes[0].set_xscale("log")
    for axis, keys, title, xlabel in (
        (axes[1], [(width, USUAL_ROWS) for width in WIDTHS], "Digits: test error by width", "units in a hidden layer"),
        (axes[2], [(USUAL_WIDTH, count) for count in ROWS], "Digits: test error by training rows", "training rows"),
    ):
        series = {method: np.transpose([found[*key, method]["test error"] for key in keys]) for method in METHODS}
        numbers = [key[0] if axis is axes[1] else key[1] for key in keys]
        recipe.curves(axis, numbers, series, title, xlabel, "test error (%)")

results = {
    "ridge_errors": errors,
    "lambdas": LAMBDAS,
    "digits": found,
    "noise": noise,
    "textbook_program": usual,
    "searched": searched,
}
recipe.finish(arguments, claims, results, figure)
