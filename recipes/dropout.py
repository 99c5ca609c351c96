"""Does dropout help a network that would overfit, beside L2 and with it, and is its rate 1 − 1/n?

A network with two hidden layers, small and large, is trained on few rows, and so is a tutorial's program, for ten
epochs. Every seed has rows of its own; its validation rows choose the strength of L2, the rate of dropout and the
learning rate of each method, its test rows judge. `DropoutEffects` measures what dropout does in the large network.

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
BATCH, LINEAR = 32, {"schedule": "linear", "epochs": EPOCHS}
WIDTHS = {"small": 64, "large": 128}  # units of each of the two hidden layers; the formula's n
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
    hidden, logits = (np.asarray(keras.Sequential(model.layers[:end])(rows)) for end in (-1, None))
    without = [logits - np.outer(*one) for one in zip(hidden.T, np.asarray(model.layers[-1].kernel), strict=True)]
    return max(recipe.loss_and_error(own, labels)[0] for own in without) - recipe.loss_and_error(logits, labels)[0]


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


tuned = [(rate, 0.0) for rate in RATES]
PAIRS = {  # of each method: rate of dropout, strength of L2
    "small": {"dropout": tuned, "1 − 1/n": [(1 - 1 / WIDTHS["small"], 0.0)]},
    "large": {
        "neither": [(0.0, 0.0)],
        "dropout": tuned,
        "dropout 0.5": [(0.5, 0.0)],
        "L2": [(0.0, strength) for strength in STRENGTHS],
        "both": [(rate, strength) for rate in RATES[:2] for strength in STRENGTHS],
    },
}
results = {}
for size, units in WIDTHS.items():
    arms = {
        method: [
            {"units": (units, units), "rate": rate, "l2": l2, "learning_rate": peak, **LINEAR}
            for rate, l2 in own
            for peak in LEARNING_RATES
        ]
        for method, own in PAIRS[size].items()
    }
    found = recipe.best_of(network, arms, samples, epochs=EPOCHS, batch_size=BATCH, models=True)
    models = {method: list(zip(scores.pop("model"), samples, strict=True)) for method, scores in found.items()}
    results |= {(size, method): scores for method, scores in found.items()}
leans = {method: [lean(*pair) for pair in models[method]] for method in ("neither", "dropout")}  # of the large network
measured = {method: [effects(*pair) for pair in models[method]] for method in ("neither", "dropout 0.5")}

few = min(EPOCHS, 10)
program = {"units": (64,), "l2": 0.0, "learning_rate": 1e-3, "schedule": "constant", "epochs": few}
arms = {"neither": [program | {"rate": 0.0}], "dropout": [program | {"rate": 0.5}]}
found = recipe.best_of(network, arms, samples, epochs=few, batch_size=BATCH)
results |= {("tutorial", method): scores for method, scores in found.items()}

# Rate and strength by KerasTuner, and the C of a logistic regression by GridSearchCV, on the same folds.
space = {"rate": [0.0, *RATES[:2]], "l2": STRENGTHS}
fixed = {"units": (64, 64), "learning_rate": 4e-3, **LINEAR}
searched = {"network": [], "logistic": []}  # test errors in %
for sample in recipe.steps(samples, "searches"):
    rows, labels = sample.searched
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=sample.seed).split(rows, labels))
    settings = {"objective": "val_accuracy", "epochs": EPOCHS, "seed": sample.seed}
    model = recipe.tuned_model(lambda hp: network(fixed | hp), space, rows, labels, folds, **settings)
    searched["network"].append(recipe.loss_and_error(model(sample.x["test"]), sample.y["test"])[1])
    search = GridSearchCV(LogisticRegression(max_iter=1000), {"C": [0.003, 0.03, 0.3, 3.0]}, cv=folds)
    right = search.fit(rows, labels).score(sample.x["test"], sample.y["test"])
    searched["logistic"].append(100 * (1 - right))

recipe.show_scores(f"{len(SEEDS)} seeds, {EPOCHS} epochs", results)


def less(size, one, other, key):
    """Evidence for "the first method has less of it than the second"."""
    what, spec = {"test loss": ("test loss", ".3f"), "test error": ("test error (%)", ".1f")}[key]
    return recipe.less(results[size, one][key], results[size, other][key], what, spec)


off, on = ({key: np.array([one[key] for one in own]) for key in own[0]} for own in measured.values())
differs, SHIFT = on["differs"].max(), "shifted by {} standard deviations at rate 0.5, {} seeds"
claims = {
    "dropout-off-in-inference": recipe.fact(
        np.all(np.abs(on["drop_fraction"] - 0.5) < 0.05) and differs == 0,
        "a share of {} is dropped at rate 0.5; in inference outputs change by {}",
        recipe.plus_minus(on["drop_fraction"]),
        f"{differs:g}",
    ),
    "dropout-keeps-mean": recipe.below(np.abs(on["mean_shift"]), SAME, SHIFT, shown=on["mean_shift"]),
    "dropout-keeps-variance": recipe.below(
        np.abs(on["variance_ratio"] - 1),
        SAME,
        "{} times the variance at rate 0.5, {} seeds",
        shown=on["variance_ratio"],
    ),
    "dropout-test-in-training-mode": recipe.less(on["on"], on["off"], "test loss"),
    "dropout-leans-less": recipe.less(leans["dropout"], leans["neither"], "loss added by losing the worst unit"),
    "dropout-lowers-coadaptation": recipe.less(on["coadaptation"], off["coadaptation"], "correlation"),
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
        ("test error", right, "Test error of each method, tuned", "test error (%)"),
    ):
        recipe.dots(axis, {f"{size}: {name}": scores[key] for (size, name), scores in results.items()}, title, label)

kept = {"scores": results, "measured": measured, "searched": searched, "lean": leans}
recipe.finish(arguments, claims, kept, figure)
