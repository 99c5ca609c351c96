"""How soon does a small convolutional network read digits: under one cycle, or under step decay?

A small network is trained for the same number of epochs under `tfopt.schedules.OneCycle` (Smith and Topin 2018,
"super-convergence") and under `StepDecay` (a tenth after each third), and under one cycle of half that length. The
highest learning rate of each is chosen in every fold on a fifth of its training rows, and so is C of the SVC on raw
pixels, which stands on the same folds. The accuracies by epoch are those on the test rows of the fold; nothing is
chosen by them. The momentum is 0.9 throughout (Smith lets it go against the rate).

So: for a short training take one cycle (or any decay to zero) with its highest rate tuned; on small pictures try an SVC
on the raw pixels first.

Claims:
    image-one-cycle-reaches-accuracy-sooner: Under one cycle the network needs fewer epochs than under step decay to
        an accuracy that both reach
    image-one-cycle-ends-higher: After the same epochs the network is more accurate under one cycle than under step
        decay
    image-one-cycle-in-half-the-epochs: One cycle of half the epochs is as accurate as step decay, within 0.5%
    image-convolutions-beat-svc: The convolutional network is more accurate than an SVC on raw pixels

    python recipes/image_classification.py                          # 8×8 digits, about a minute on two cores
    python recipes/image_classification.py --data keras:mnist       # downloads; a sample of 2000 rows
    python recipes/image_classification.py --data keras:cifar10
    python recipes/image_classification.py --data pictures.npz      # x (rows, height, width) or (…, colours), and y
"""

import re

import keras
import numpy as np
import tensorflow as tf
from sklearn import model_selection, svm

import tfopt
from tfopt.errors import UserError
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__, data="digits")

EPOCHS = recipe.by_mode(arguments, smoke=2, default=12)
FOLDS = recipe.by_mode(arguments, smoke=2, default=5)
MOST_ROWS = recipe.by_mode(arguments, smoke=300, default=2000)  # a sample, stratified, of larger sets
BATCH = 32
RATES = [0.03] if arguments.smoke else [0.01, 0.03, 0.1]  # highest learning rate, of SGD with momentum 0.9
PENALTIES = [1.0, 10.0]  # C of the SVC
MARGIN = 0.005  # of accuracy: less is no difference

keras.utils.set_random_seed(arguments.seed)
tf.get_logger().setLevel("ERROR")  # three models, a graph each
rng = np.random.default_rng(arguments.seed)


def pictures(table):
    """Put pixel columns, named by place as in pixel_3_4 or x_3_4_0, where they belong; (rows, height, width, colours).

    Pixels that are the same in every picture are no features of a table; they are 0 here.
    """
    names = [*table.features, *table.ignored]
    places = {name: re.search(r"_(\d+)_(\d+)(?:_(\d+))?$", name) for name in names}
    if table.task != "classification" or not all(places.values()):
        raise UserError(
            f"no pictures with classes (--data {arguments.data}). Give digits, keras:mnist, keras:cifar10, or an NPZ "
            "file with x of shape (rows, height, width) or (rows, height, width, colours), and y."
        )
    places = {name: tuple(int(number or 0) for number in place.groups()) for name, place in places.items()}
    images = np.zeros((table.num_rows, *np.max(list(places.values()), axis=0) + 1), "float32")
    for name, place in places.items():
        if name in table.features:
            images[:, *place] = table.features[name]
    return images


table = tfopt.data.load_table(arguments.data, target=arguments.target)
images, labels = pictures(table), table.target
if len(images) > MOST_ROWS:
    kept, _ = model_selection.train_test_split(
        np.arange(len(images)), train_size=MOST_ROWS, stratify=labels, random_state=arguments.seed
    )
    images, labels = images[kept], labels[kept]
height, width, colours = images.shape[1:]
print(f"{table.name}: {len(images)} pictures of {height}×{width}×{colours}, {len(table.classes)} classes")

steps_per_epoch = -(-(len(images) * (FOLDS - 1) // FOLDS) // BATCH)
rate = keras.Variable(0.1, trainable=False)  # changes without a new graph


def network(schedule):
    layers = [
        keras.layers.Conv2D(16, 3, padding="same", activation="relu", kernel_initializer="he_normal"),
        keras.layers.Conv2D(32, 3, padding="same", strides=2, activation="relu", kernel_initializer="he_normal"),
        keras.layers.Flatten() if min(height, width) <= 16 else keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(len(table.classes)),
    ]
    model = keras.Sequential([keras.Input(images.shape[1:]), *layers])
    sgd = keras.optimizers.SGD(schedule, momentum=0.9)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(sgd, loss, metrics=["accuracy"], steps_per_execution=steps_per_epoch, jit_compile=False)
    return model


def one_cycle(epochs):
    return tfopt.schedules.OneCycle(rate, epochs * steps_per_epoch)


def step_decay(epochs):
    return tfopt.schedules.StepDecay(rate, max(epochs * steps_per_epoch // 3, 1))


PLANS = {
    "one cycle": (one_cycle, EPOCHS),
    "step decay": (step_decay, EPOCHS),
    "one cycle, half as long": (one_cycle, EPOCHS // 2),
}
models = {name: network(make(epochs)) for name, (make, epochs) in PLANS.items()}


def scaled(train, rows):
    return (images[rows] - images[train].mean()) / images[train].std()


def fit(name, train, test, learning_rate, seed):
    """Train from the seed's own weights; return the accuracy on the rows of `test` after each epoch."""
    recipe.restart(models[name], seed)
    rate.assign(learning_rate)
    keras.utils.set_random_seed(seed)  # the order of the batches
    settings = {"epochs": PLANS[name][1], "batch_size": BATCH, "validation_batch_size": len(test), "verbose": 0}
    held = scaled(train, test), labels[test]
    history = models[name].fit(scaled(train, train), labels[train], validation_data=held, **settings)
    return history.history["val_accuracy"]


def vector_machine(train, test, penalty):
    flat = images.reshape(len(images), -1) / images[train].std()
    return svm.SVC(C=penalty).fit(flat[train], labels[train]).score(flat[test], labels[test])


curves, chosen = {name: [] for name in PLANS}, {name: [] for name in [*PLANS, "SVC"]}
machines = []
folds = model_selection.StratifiedKFold(FOLDS, shuffle=True, random_state=arguments.seed).split(images, labels)
for seed, (train, test) in enumerate(recipe.steps(folds, "folds"), arguments.seed):
    train = rng.permutation(train)
    inner, held = train[len(train) // 5 :], train[: len(train) // 5]
    for name in PLANS:
        scores = [fit(name, inner, held, candidate, seed)[-1] for candidate in RATES]
        chosen[name].append(RATES[int(np.argmax(scores))])
        curves[name].append(fit(name, train, test, chosen[name][-1], seed))
    chosen["SVC"].append(max(PENALTIES, key=lambda penalty: vector_machine(inner, held, penalty)))
    machines.append(vector_machine(train, test, chosen["SVC"][-1]))

TEST_TO_TRAIN = 1 / (FOLDS - 1)  # folds share training rows: the intervals are widened for it
SHARED = {"test_to_train": TEST_TO_TRAIN, "of": "folds"}
final = {name: np.array([curve[-1] for curve in curves[name]]) for name in PLANS}
goals = np.minimum(final["one cycle"], final["step decay"]) - MARGIN  # of each fold: nearly where the worse one ends
soonest = {
    name: np.array([1 + np.argmax(np.array(curve) >= goal) for curve, goal in zip(curves[name], goals, strict=True)])
    for name in ("one cycle", "step decay")
}
goal = f"{100 * goals.mean():.1f} %"

rows = {name: [str(epochs), 100 * final[name], soonest.get(name, "")] for name, (_, epochs) in PLANS.items()}
rows["SVC on raw pixels"] = ["", 100 * np.array(machines), ""]
columns = ["epochs", "accuracy at the end %|.1f", f"epochs to {goal}|.1f"]
recipe.show(f"{FOLDS} folds", columns, rows, TEST_TO_TRAIN)


def more(first, second, margin=0.0):
    """Evidence for "the first is more accurate than the second, by the margin"."""
    one, other = 100 * np.array(first), 100 * np.array(second)
    return recipe.more(one, other, "accuracy (%)", ".1f", margin=100 * margin, **SHARED)


claims = {
    "image-one-cycle-reaches-accuracy-sooner": recipe.less(
        soonest["one cycle"], soonest["step decay"], "epochs", ".1f", **SHARED
    ),
    "image-one-cycle-ends-higher": more(final["one cycle"], final["step decay"]),
    "image-one-cycle-in-half-the-epochs": more(final["one cycle, half as long"], final["step decay"], -MARGIN),
    "image-convolutions-beat-svc": more(final["one cycle"], machines),
}

with recipe.panels(2, width=5.5) as (figure, (left, right)):
    for (name, (make, epochs)), colour in zip(PLANS.items(), recipe.COLOURS, strict=False):
        rate.assign(1.0)
        shape = np.array(make(epochs).curve(epochs * steps_per_epoch))
        left.plot(np.arange(len(shape)) / steps_per_epoch, shape, color=colour, label=name)
        mean, half = recipe.interval(curves[name], test_to_train=TEST_TO_TRAIN)
        right.errorbar(range(1, epochs + 1), 100 * mean, 100 * half, color=colour, marker="o", ms=4)
    left.set(xlabel="epoch", ylabel="learning rate, of its highest", title="Learning rate in each epoch")
    left.legend(frameon=False)
    right.axhline(100 * np.mean(machines), color="#767676", ls=":")
    right.annotate("SVC", (EPOCHS, 100 * np.mean(machines)), color="#767676", va="bottom")
    right.set(xlabel="epoch", ylabel="accuracy on test rows (%)", title="Accuracy after each epoch")

results = {"accuracy_by_epoch": curves, "svc": machines, "chosen": chosen, "goals": goals}
recipe.finish(arguments, claims, results, figure)
