"""Is dropout or a penalty that changes while training better than a fixed one?

The claims: "dropout early in the training, and none later, makes a network that underfits fit better"; "dropout that
sets in late beats fixed dropout where a network overfits" (both Liu et al. 2023, https://arxiv.org/abs/2303.01500);
"dropout that grows from nothing, a curriculum, beats fixed dropout" (Morerio et al. 2017,
https://arxiv.org/abs/1703.06229); "a penalty that fades, or that grows, beats a fixed one".

Two cases: a wide network with some wrong labels, which overfits; and a narrow one, trained briefly, which underfits.
Each kind of dropout chooses its rate and its learning rate by the loss on validation rows; test rows judge. The L2
schedules have the same mean over the training as the fixed strength beside them, and one learning rate. (Liu et al.
trained vision transformers on ImageNet: what fails here, with two small layers, may hold there.)

What goes wrong with the usual snippet: `layer.rate = 0.5` in a callback does nothing to a `keras.layers.Dropout` that
is being trained: its rate was baked into the graph at the first batch. `tfopt.layers.Dropout` reads a variable.

So: tune a fixed rate and a fixed strength first, and use neither where the training loss is still high; a schedule for
them is worth a try only after that, and only with a layer whose rate can change.

Claims:
    adaptive-fixed-beats-none: Fixed dropout lowers the test loss of a network that overfits
    adaptive-none-beats-fixed: Where a network underfits, fixed dropout raises the test loss
    adaptive-early-fits-better: Early dropout lowers the final training loss of a network that underfits
    adaptive-early-generalises: Early dropout lowers the test loss of a network that underfits
    adaptive-late-beats-fixed: Late dropout beats fixed dropout in a network that overfits
    adaptive-curriculum-beats-fixed: Dropout that grows from nothing beats fixed dropout where a network overfits
    adaptive-fading-l2-beats-fixed: An L2 penalty that fades beats a fixed one in a network that overfits
    adaptive-growing-l2-beats-fixed: An L2 penalty that grows beats a fixed one in a network that overfits
    adaptive-rate-in-a-callback: `layer.rate = 0.9` in a callback changes the rate of a keras.layers.Dropout in
        training

    python recipes/adaptive_regularization.py                                  # digits, a minute on two cores
    python recipes/adaptive_regularization.py --data table.csv --target label  # a classification table of your own
"""

import keras
import numpy as np

import tfopt
from tfopt import schedules
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__, data="digits")
SEEDS = recipe.seeds(arguments, smoke=2, default=6)  # each with rows of its own
CASES = {  # share of wrong labels, units of the two hidden layers, epochs
    "overfits": (0.1, 64, recipe.by_mode(arguments, smoke=2, default=40)),
    "underfits": (0.0, 6, recipe.by_mode(arguments, smoke=2, default=15)),
}
RATES = {"overfits": [0.2, 0.4], "underfits": [0.1, 0.2]}  # of dropout
STRENGTH = 1e-2  # of L2
LEARNING_RATES = recipe.by_mode(arguments, smoke=[1e-2], default=[3e-3, 1e-2])
BATCH = 32
DROPOUT = {
    "fixed dropout": lambda rate, steps: rate,
    "early dropout": lambda rate, steps: schedules.EarlyDropout(rate, cutoff_steps=steps // 2),
    "late dropout": lambda rate, steps: schedules.LateDropout(rate, cutoff_steps=steps // 4),
    "curriculum dropout": lambda rate, steps: schedules.CurriculumDropout(rate, total_steps=steps),
}
PENALTY = {
    "fixed L2": lambda strength, steps: schedules.Constant(strength),
    "fading L2": lambda strength, steps: schedules.LinearDecay(2 * strength, steps),
    "growing L2": lambda strength, steps: schedules.LinearDecay(0.0, steps, 2 * strength),
}

x, y = recipe.table(arguments, task="classification")
classes = int(y.max()) + 1


def results_of(case):
    """Scores by kind, a number a seed, each at the strength and learning rate that its own validation rows choose."""
    wrong, units, epochs = CASES[case]
    samples = recipe.samples(x, y, SEEDS, train=0.6, valid=0.15, wrong=wrong)
    steps = epochs * -(-len(samples[0].y["train"]) // BATCH)

    def build(hp):
        rate = DROPOUT[hp["kind"]](hp["strength"], steps) if hp["kind"] in DROPOUT else 0.0
        layers = [keras.Input((x.shape[1],))]
        for _ in range(2):
            penalty = tfopt.regularizers.L2(0.0) if hp["kind"] in PENALTY else None
            layers += [keras.layers.Dense(units, "relu", kernel_initializer="he_normal", kernel_regularizer=penalty)]
            layers += [tfopt.layers.Dropout(rate)]
        model = keras.Sequential([*layers, keras.layers.Dense(classes)])
        optimizer = keras.optimizers.Adam(schedules.LinearDecay(hp["learning_rate"], steps))
        model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    def driven(hp):
        return [tfopt.callbacks.HyperparameterScheduler({"l2": PENALTY[hp["kind"]](hp["strength"], steps)}, log=False)]

    def arm(kind, strengths, rates):
        return [{"kind": kind, "strength": strength, "learning_rate": rate} for strength in strengths for rate in rates]

    arms = {"neither": arm("neither", [0.0], LEARNING_RATES)}
    arms |= {kind: arm(kind, RATES[case], LEARNING_RATES) for kind in DROPOUT}
    found = {}
    for kind, own in recipe.steps(arms.items(), f"kinds of dropout, {case}"):  # each a structure of its own
        found |= recipe.best_of(build, {kind: own}, samples, epochs=epochs, batch_size=BATCH)
    if case == "overfits":
        arms = {kind: arm(kind, [STRENGTH], LEARNING_RATES[-1:]) for kind in PENALTY}
        found |= recipe.best_of(build, arms, samples, epochs=epochs, batch_size=BATCH, callbacks=driven)
    return found


results = {case: results_of(case) for case in CASES}
for case, kinds in results.items():
    recipe.show_scores(f"A network that {case}, {len(SEEDS)} seeds", kinds)


# The usual snippet: the rate of Keras's own dropout, set to 0.9 after an epoch at 0.1.
def dropped(_, outputs):
    return keras.ops.mean(keras.ops.cast(keras.ops.equal(outputs, 0.0), "float32"))


layer = keras.layers.Dropout(0.1, seed=arguments.seed)
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1000, bias_initializer="ones"), layer])
model.compile(keras.optimizers.SGD(1e-3), "mse", metrics=[dropped])
change = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: setattr(layer, "rate", [0.1, 0.9][epoch]))
snippet = model.fit(np.zeros((8, 1)), np.ones((8, 1000)), epochs=2, verbose=0, callbacks=[change]).history["dropped"]


def less(case, one, other, measure):
    """Evidence for "the first kind has less of the measure than the second"."""
    what = {"train loss": "training loss"}.get(measure, measure)
    return recipe.less(results[case][one][measure], results[case][other][measure], what)


claims = {
    "adaptive-fixed-beats-none": less("overfits", "fixed dropout", "neither", "test loss"),
    "adaptive-none-beats-fixed": less("underfits", "neither", "fixed dropout", "test loss"),
    "adaptive-early-fits-better": less("underfits", "early dropout", "neither", "train loss"),
    "adaptive-early-generalises": less("underfits", "early dropout", "neither", "test loss"),
    "adaptive-late-beats-fixed": less("overfits", "late dropout", "fixed dropout", "test loss"),
    "adaptive-curriculum-beats-fixed": less("overfits", "curriculum dropout", "fixed dropout", "test loss"),
    "adaptive-fading-l2-beats-fixed": less("overfits", "fading L2", "fixed L2", "test loss"),
    "adaptive-growing-l2-beats-fixed": less("overfits", "growing L2", "fixed L2", "test loss"),
    "adaptive-rate-in-a-callback": recipe.fact(
        snippet[1] > 0.5,
        "{} of the units dropped at rate 0.1, {} after it was set to 0.9",
        *(f"{share:.2f}" for share in snippet),
    ),
}

with recipe.panels(2, width=5.5) as (figure, axes):
    for axis, (case, kinds) in zip(axes, results.items(), strict=True):
        for part, colour in (("train", recipe.COLOURS[0]), ("test", recipe.COLOURS[1])):
            rows = {kind: scores[f"{part} loss"] for kind, scores in kinds.items()}
            recipe.dots(axis, rows, f"A network that {case}", "loss (nats)", colour, f"{part} rows")

recipe.finish(arguments, claims, results, figure)
