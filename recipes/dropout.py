"""Does dropout help a network that would overfit, beside L2 and with it, and is its rate 1 − 1/n?

The claims: "dropout drops units in training and none in inference", "it keeps a network from leaning on single units",
"L2 smooths, but a very complex network still overfits, and then dropout helps", "for n units its rate is 1 − 1/n", and
a program: Dense(64), Dropout(0.5), Dense(10), ten epochs of Adam with batches of 32. A network with two hidden layers,
small and large, is trained on few rows. Every seed has rows of its own; its validation rows choose the strength of L2,
the rate of dropout and the learning rate of each method, its test rows judge. `DropoutEffects` measures what dropout
does.

What goes wrong in the usual programs: the rate is not 1 − 1/n, which would drop 98 % of 64 units, but a hyperparameter;
a test without `eval()` (in Keras: with `training=True`) shows the loss with dropout on; and `model(x, training=True)`
in a callback changes the training, because it draws from the model's random stream.

So: treat the rate as a hyperparameter (0.1 to 0.5) and tune it together with L2, which often does as much; test with
`training=False`; and give a network with dropout the epochs that it needs.

Claims:
    dropout-off-in-inference: Dropout drops units in training, and none in inference
    dropout-keeps-mean: Scaling by 1/(1 − rate) keeps the mean of what a layer gives on
    dropout-keeps-variance: It keeps the variance too
    dropout-test-in-training-mode: A test that leaves dropout on shows no higher loss
    dropout-leans-less: A network with dropout leans less on single units
    dropout-lowers-coadaptation: Its units are less correlated
    dropout-lowers-test-loss: Dropout lowers the test loss of the large network
    dropout-lowers-test-error: Dropout lowers the test error of the large network
    dropout-beats-l2-in-large-nets: In the large network dropout gives a lower test loss than L2
    dropout-helps-l2-in-large-nets: In the large network L2 with dropout gives a lower test loss than L2 alone
    dropout-rate-formula: The rate 1 − 1/n for n units gives a lower test error than a rate that is chosen
    dropout-tutorial-network: The tutorial's Dense(64), Dropout(0.5), Dense(10) makes fewer errors than without
        dropout
    dropout-searched-beats-logistic: A network with rate and L2 by KerasTuner makes fewer errors than logistic
        regression by GridSearchCV

    python recipes/dropout.py                                      # a minute on two cores
    python recipes/dropout.py --data table.csv --target label      # a classification table of your own
"""

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold

import tfopt
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__, data="digits")
SEEDS = recipe.seeds(arguments, smoke=2, default=6)  # each with rows of its own
EPOCHS = recipe.by_mode(arguments, smoke=4, default=60)
BATCH = 32
WIDTHS = {"small": 64, "large": 256}  # units of each of the two hidden layers; the formula's n
LEARNING_RATES = recipe.by_mode(arguments, smoke=[3e-3], default=[1e-3, 4e-3])  # Adam's, decaying to 0
RATES, STRENGTHS = [0.2, 0.5, 0.8], recipe.by_mode(arguments, smoke=[1e-3], default=[1e-3, 1e-2, 5e-2])
FOLDS = recipe.by_mode(arguments, smoke=2, default=3)  # of the search
SAME = 0.05  # by how many standard deviations, or by what share, mean and variance may shift and count as kept

x, y = recipe.table(arguments, task="classification")
classes = int(y.max()) + 1
samples = recipe.samples(x, y, SEEDS, train=0.6, valid=0.15)
steps = -(-len(samples[0].y["train"]) // BATCH)


def network(hp):
    """Hidden layers with L2 and dropout after each."""
    layers = [keras.Input((x.shape[1],))]
    for number, units in enumerate(hp["units"]):
        penalty = tfopt.regularizers.L2(hp["l2"])
        layers += [keras.layers.Dense(units, "relu", kernel_initializer="he_normal", kernel_regularizer=penalty)]
        layers += [tfopt.layers.Dropout(hp["rate"], name=f"after_{number}")]
    model = keras.Sequential([*layers, keras.layers.Dense(classes, name="logits")])
    schedule = tfopt.schedules.from_name(hp["schedule"], hp["learning_rate"], hp["epochs"] * steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(schedule), loss, metrics=["accuracy"])
    return model


def lean(model, sample):
    """How much the network leans on single units: how much the test loss grows without the worst one to lose."""
    rows, labels = sample.x["test"], sample.y["test"]
    hidden = np.asarray(keras.Sequential(model.layers[:-1])(rows))
    kernel, logits = np.asarray(model.layers[-1].kernel), np.asarray(model(rows))
    without = [
        recipe.loss_and_error(logits - np.outer(hidden[:, unit], kernel[unit]), labels)[0]
        for unit in range(len(kernel))
    ]
    return max(without) - recipe.loss_and_error(logits, labels)[0]


def effects(model, sample):
    """What dropout does in the last hidden layer, on test rows."""
    watch = tfopt.callbacks.DropoutEffects((sample.x["test"], sample.y["test"]), draws=4)
    watch.set_model(model)
    found = watch.measure()
    last = model.layers[-2]
    dropping = np.asarray(model(sample.x["test"], training=False))
    last.rate = 0.0
    differs = np.max(np.abs(dropping - np.asarray(model(sample.x["test"], training=False))))
    own = found["layers"][last.name]
    return {"on": found["loss_on"], "off": found["loss_off"], "differs": float(differs), **own}


results, measured = {}, {"neither": [], "dropout": []}
for size, units in WIDTHS.items():
    settings = {
        "neither": [(0.0, 0.0)],
        "dropout": [(rate, 0.0) for rate in RATES],
        "1 − 1/n": [(1 - 1 / units, 0.0)],
        "L2": [(0.0, strength) for strength in STRENGTHS],
        "both": [(rate, strength) for rate in RATES[:2] for strength in STRENGTHS],
    }
    tried = [
        {
            "method": method,
            "units": (units, units),
            "rate": rate,
            "l2": strength,
            "learning_rate": peak,
            "schedule": "linear",
            "epochs": EPOCHS,
        }
        for method, pairs in settings.items()
        for rate, strength in pairs
        for peak in LEARNING_RATES
    ]
    scores = recipe.train(network, tried, samples, epochs=EPOCHS, batch_size=BATCH, models=True)
    for method in settings:
        results[size, method] = recipe.chosen(scores, [i for i, hp in enumerate(tried) if hp["method"] == method])
    if size == "large":
        leans = {
            method: [lean(*pair) for pair in zip(results[size, method]["model"], samples, strict=True)]
            for method in ("neither", "dropout")
        }
        for method, rate in (("neither", 0.0), ("dropout", 0.5)):
            place = next(i for i, hp in enumerate(tried) if hp["method"] == method and hp["rate"] == rate)
            measured[method] = [effects(*pair) for pair in zip(scores["model"][place], samples, strict=True)]

epochs = min(EPOCHS, 10)
program = [
    {"units": (64,), "rate": rate, "l2": 0.0, "learning_rate": 1e-3, "schedule": "constant", "epochs": epochs}
    for rate in (0.0, 0.5)
]
scores = recipe.train(network, program, samples, epochs=epochs, batch_size=BATCH)
for place, method in enumerate(("neither", "dropout")):
    results["tutorial", method] = recipe.chosen(scores, [place])

# Rate and strength by KerasTuner, and the C of a logistic regression by GridSearchCV, on the same folds.
space = {"rate": [0.0, *RATES[:2]], "l2": STRENGTHS}
searched = {"network": [], "logistic": []}  # test errors in %
for sample in recipe.steps(samples, "searches"):
    x_both, y_both = (np.concatenate([part[name] for name in ("train", "valid")]) for part in (sample.x, sample.y))
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=sample.seed).split(x_both, y_both))
    fixed = {"units": (64, 64), "learning_rate": 4e-3, "schedule": "linear", "epochs": EPOCHS}
    best = recipe.tuned(
        lambda hp, fixed=fixed: network(fixed | hp),
        space,
        x_both,
        y_both,
        folds,
        objective="val_accuracy",
        epochs=EPOCHS,
        seed=sample.seed,
    )
    keras.utils.set_random_seed(sample.seed)
    model = network(fixed | best)
    model.fit(x_both, y_both, epochs=EPOCHS, batch_size=BATCH, verbose=0)
    logits = model(sample.x["test"])
    searched["network"].append(recipe.loss_and_error(logits, sample.y["test"])[1])
    search = GridSearchCV(LogisticRegression(max_iter=1000), {"C": [0.003, 0.03, 0.3, 3.0]}, cv=folds).fit(
        x_both, y_both
    )
    searched["logistic"].append(100 * (1 - search.score(sample.x["test"], sample.y["test"])))

rows = {
    f"{size}, {method}": [scores[key] for key in ("train loss", "test loss", "test error")]
    for (size, method), scores in results.items()
}
recipe.show(f"{len(SEEDS)} seeds, {EPOCHS} epochs", ["training loss", "test loss", "test error %|.1f"], rows)


def less(size, one, other, key):
    """Evidence for "the first method has less of it than the second"."""
    what, spec = {"test loss": ("test loss", ".3f"), "test error": ("test error (%)", ".1f")}[key]
    return recipe.less(results[size, one][key], results[size, other][key], what, spec)


def of(method, key):
    return np.array([one[key] for one in measured[method]])


dropped, differs = of("dropout", "drop_fraction"), float(np.max(of("dropout", "differs")))
claims = {
    "dropout-off-in-inference": recipe.fact(
        np.all(np.abs(dropped - 0.5) < 0.05) and differs == 0,
        "a share of {} is dropped at rate 0.5; in inference outputs change by {}",
        recipe.plus_minus(dropped),
        f"{differs:g}",
    ),
    "dropout-keeps-mean": recipe.below(
        np.abs(of("dropout", "mean_shift")),
        SAME,
        "shifted by {} standard deviations at rate 0.5, {} seeds",
        shown=of("dropout", "mean_shift"),
    ),
    "dropout-keeps-variance": recipe.below(
        np.abs(of("dropout", "variance_ratio") - 1),
        SAME,
        "{} times the variance at rate 0.5, {} seeds",
        shown=of("dropout", "variance_ratio"),
        spec=".2f",
    ),
    "dropout-test-in-training-mode": recipe.less(of("dropout", "on"), of("dropout", "off"), "test loss"),
    "dropout-leans-less": recipe.less(leans["dropout"], leans["neither"], "loss added by losing the worst unit"),
    "dropout-lowers-coadaptation": recipe.less(
        of("dropout", "coadaptation"), of("neither", "coadaptation"), "correlation"
    ),
    "dropout-lowers-test-loss": less("large", "dropout", "neither", "test loss"),
    "dropout-lowers-test-error": less("large", "dropout", "neither", "test error"),
    "dropout-beats-l2-in-large-nets": less("large", "dropout", "L2", "test loss"),
    "dropout-helps-l2-in-large-nets": less("large", "both", "L2", "test loss"),
    "dropout-rate-formula": less("small", "1 − 1/n", "dropout", "test error"),
    "dropout-tutorial-network": less("tutorial", "dropout", "neither", "test error"),
    "dropout-searched-beats-logistic": recipe.less(searched["network"], searched["logistic"], "test error (%)", ".1f"),
}

with recipe.panels(2, width=5.5) as (figure, (left, right)):
    for key, axis, title, label in (
        ("test loss", left, "Test loss of each method, tuned", "test loss (nats)"),
        ("test error", right, "A rate of 1 − 1/n learns nothing", "test error (%)"),
    ):
        recipe.dots(axis, {f"{size}: {name}": scores[key] for (size, name), scores in results.items()}, title, label)

kept = {
    f"{size}, {method}": {key: values for key, values in scores.items() if key != "model"}
    for (size, method), scores in results.items()
}
recipe.finish(arguments, claims, {"scores": kept, "measured": measured, "searched": searched, "lean": leans}, figure)
