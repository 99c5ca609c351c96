"""When does regularisation help, by size of network and of training set, and what does it do to the training error?

Networks with two hidden layers are trained on digits, every seed on rows of its own; L2's strength is chosen on
validation rows. Beside them stand three programs of the tutorials: Dense(64) → Dropout(0.5) → Dense(10) with Adam for
10 epochs; Ridge with `max_iter`; dropout trained on 100 rows of noise and tested with dropout still on. What goes wrong
there: `max_iter` does nothing in Ridge's default solver, and from noise nothing can be learned, with dropout or
without, so that the program shows nothing. (Ridge's own errors are in `l1_l2_vs_lasso_ridge`.)

So: more rows first, then L2 with a strength chosen on validation rows; judge regularisation by new rows and never by
the training error, which it tends to raise.

Claims:
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
    overfit-searched-network-beats-ridge: A network with L2 by KerasTuner has a lower error on diabetes than Ridge
        by GridSearchCV
    overfit-ridge-max-iter-matters: `max_iter` changes what Ridge's default solver finds

    python recipes/overfitting.py             # about a minute on two cores
"""

import keras
import numpy as np
from sklearn import datasets, linear_model, model_selection, preprocessing

import tfopt
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__)
SEEDS = recipe.seeds(arguments, smoke=2, default=6)  # each with rows of its own
STEPS, BATCH = recipe.by_mode(arguments, smoke=10, default=600), 32  # updates of one training, about
WIDTHS = recipe.by_mode(arguments, smoke=[8, 32], default=[16, 64, 128])  # units of each of the two hidden layers
ROWS = recipe.by_mode(arguments, smoke=[50, 100], default=[50, 100, 190])  # training rows
USUAL_WIDTH, USUAL_ROWS = WIDTHS[1], ROWS[1]  # while the other is changed
STRENGTHS = recipe.by_mode(arguments, smoke=[1e-3], default=[3e-4, 3e-3, 3e-2])  # of L2
RATE = 0.5  # of dropout, the tutorials'
METHODS = {  # strengths of L2, rate of dropout
    "neither": ([0.0], 0.0),
    "L2": (STRENGTHS, 0.0),
    "dropout": ([0.0], RATE),
    "both": (STRENGTHS, RATE),
}
FOLDS, SEARCH_EPOCHS = recipe.by_mode(arguments, smoke=(2, 1), default=(5, 40))
LAMBDAS = np.geomspace(1e-4, 1e4, 17)  # of Ridge


def network(hp):
    layers = [keras.Input((hp.get("inputs", 64),))]
    for _ in range(hp["hidden"]):
        penalty = tfopt.regularizers.L2(hp["l2"])
        layers += [keras.layers.Dense(hp["width"], "relu", kernel_initializer="he_normal", kernel_regularizer=penalty)]
        layers += [tfopt.layers.Dropout(hp["rate"])]
    model = keras.Sequential([*layers, keras.layers.Dense(hp.get("outputs", 10))])
    rate = tfopt.schedules.LinearDecay(3e-3, STEPS) if hp["hidden"] == 2 else hp["learning_rate"]
    classes = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss, metrics = ("mse", ["mse"]) if "outputs" in hp else (classes, [])
    model.compile(keras.optimizers.Adam(rate), loss, metrics=metrics)
    return model


# 1. Digits: neither, L2, dropout or both, by width and by training rows; and a tutorial's program as it stands.
whole = recipe.samples(*datasets.load_digits(return_X_y=True), SEEDS, train=0.65, valid=0.15)
found = {}
cases = [(width, count) for width in WIDTHS for count in (ROWS if width == USUAL_WIDTH else [USUAL_ROWS])]
for width, count in recipe.steps(cases, "sizes"):
    arms = {
        (f"width {width}", f"{count} rows", method): [
            {"hidden": 2, "width": width, "l2": l2, "rate": rate} for l2 in own
        ]
        for method, (own, rate) in METHODS.items()
    }
    epochs = max(1, STEPS // -(-count // BATCH))
    found |= recipe.best_of(network, arms, [sample.first(count) for sample in whole], epochs=epochs, batch_size=BATCH)
recipe.show_scores(f"Digits, {len(SEEDS)} seeds", found)

tutorial = {"hidden": 1, "width": 64, "l2": 0.0, "learning_rate": 1e-3}
few = [sample.first(USUAL_ROWS) for sample in whole]
usual = {}  # after the tutorial's epochs and after more: test errors without and with dropout
for length, epochs in zip(("short", "long"), recipe.by_mode(arguments, smoke=(2, 4), default=(10, 100)), strict=True):
    usual[length] = recipe.train(network, [tutorial | {"rate": r} for r in (0.0, RATE)], few, epochs=epochs)[
        "test error"
    ]

# 2. Noise: 100 rows to learn from, 1000 to judge by, dropout off and on. The mean of the training targets is 0.
one_value = {"inputs": 10, "outputs": 1}
draw = np.random.default_rng(arguments.seed).normal
noisy = recipe.samples(draw(size=(1120 * len(SEEDS), 10)), draw(size=1120 * len(SEEDS)), SEEDS, train=0.09, valid=0.02)
learner = tutorial | one_value | {"rate": RATE, "learning_rate": 1e-2}
ended = recipe.train(network, [learner], noisy, epochs=STEPS // 4, batch_size=BATCH, models=True)
tried = [
    (model(sample.x["test"], training=True), sample.y["test"])
    for model, sample in zip(*ended["model"], noisy, strict=True)
]
noise = {
    "off": ended["test loss"][0],
    "on": [recipe.loss_and_error(outputs, y)[0] for outputs, y in tried],
    "mean": [np.mean(sample.y["test"] ** 2) for sample in noisy],
}

# 3. L2's strength by KerasTuner, and Ridge's by GridSearchCV, on the same folds of diabetes.
x, y = datasets.load_diabetes(return_X_y=True)
searched = {"network": [], "ridge": []}  # root mean square errors on the outer folds
small = tutorial | one_value | {"width": 32, "rate": 0.0, "learning_rate": 3e-3}
outer = model_selection.KFold(FOLDS, shuffle=True, random_state=arguments.seed).split(x)
for seed, (learn, test) in enumerate(recipe.steps(outer, "searches"), arguments.seed):
    scaler, middle, spread = preprocessing.StandardScaler().fit(x[learn]), y[learn].mean(), y[learn].std()
    rows, target = scaler.transform(x[learn]), (y[learn] - middle) / spread
    inner = list(model_selection.KFold(3, shuffle=True, random_state=seed).split(rows))
    settings = {"objective": "val_mse", "epochs": SEARCH_EPOCHS, "seed": seed}
    space = {"l2": [*STRENGTHS, 0.3]}
    model = recipe.tuned_model(lambda hp: network(small | hp), space, rows, target, inner, **settings)
    ridge = model_selection.GridSearchCV(
        linear_model.Ridge(), {"alpha": LAMBDAS}, cv=inner, scoring="neg_mean_squared_error"
    )
    ridge.fit(rows, target)
    for name, predict in (("network", lambda new, model=model: model(new).numpy()[:, 0]), ("ridge", ridge.predict)):
        guess = middle + spread * predict(scaler.transform(x[test]))
        searched[name].append(np.sqrt(np.mean((guess - y[test]) ** 2)))
once, often = (linear_model.Ridge(0.1, max_iter=count).fit(x, y).coef_ for count in (1, 10_000))
changed = float(np.max(np.abs(once - often)))


def of(method, measure, width=WIDTHS[-1], count=USUAL_ROWS):
    """What the seeds measured, in the large network where nothing else is said."""
    return found[f"width {width}", f"{count} rows", method][measure]


def less(one, other, measure, what):
    """Evidence that in the large network one method has less of it than the other."""
    return recipe.less(of(one, measure), of(other, measure), what, ".1f" if "error" in measure else ".3f")


gaps = [of("neither", "test loss", width) - of("neither", "train loss", width) for width in WIDTHS]
gains = [np.subtract(*(of(way, "test error", USUAL_WIDTH, n) for way in ("neither", "both"))) for n in ROWS]
shared = {"of": "folds", "test_to_train": 1 / (FOLDS - 1)}
claims = {
    "overfit-l2-lowers-training-error": less("L2", "neither", "train loss", "training loss"),
    "overfit-l2-lowers-test-error": less("L2", "neither", "test error", "test error (%)"),
    "overfit-l2-lowers-test-loss": less("L2", "neither", "test loss", "test loss"),
    "overfit-larger-network-overfits-more": recipe.less(gaps[0], gaps[-1], "test loss less training loss"),
    "overfit-dropout-where-l2-is-not-enough": less("both", "L2", "test error", "test error (%)"),
    "overfit-helps-more-with-few-rows": recipe.more(gains[0], gains[-1], "points of test error less", ".1f"),
    "overfit-textbook-program-dropout-helps": recipe.less(*usual["short"][::-1], "test error (%)", ".1f"),
    "overfit-textbook-program-longer-dropout-helps": recipe.less(*usual["long"][::-1], "test error (%)", ".1f"),
    "overfit-dropout-on-in-test": recipe.less(noise["off"], noise["on"], "mean squared error", ".2f"),
    "overfit-dropout-learns-from-noise": recipe.less(noise["off"], noise["mean"], "mean squared error", ".2f"),
    "overfit-searched-network-beats-ridge": recipe.less(*searched.values(), "root mean square error", ".1f", **shared),
    "overfit-ridge-max-iter-matters": recipe.fact(
        changed > 0, "max_iter = 1 and 10000: coefficients differ by {}", f"{changed:g}"
    ),
}

with recipe.panels(2, width=5) as (figure, (left, right)):
    series = {method: np.transpose([of(method, "test error", width) for width in WIDTHS]) for method in METHODS}
    recipe.curves(
        left,
        WIDTHS,
        series,
        "Error by width of the network",
        "units in a hidden layer",
        "test error on digits (%)",
    )
    series = {
        method: np.transpose([of(method, "test error", USUAL_WIDTH, count) for count in ROWS]) for method in METHODS
    }
    recipe.curves(right, ROWS, series, "Error by rows, with each method", "training rows", "test error on digits (%)")

results = {"digits": found, "noise": noise, "textbook_program": usual, "searched": searched}
recipe.finish(arguments, claims, results, figure)
