"""What do 16-bit training and 8-bit weights cost in accuracy, and what do they save in size and time?

The claims: "mixed precision trains as accurately, faster", "float16 needs loss scaling, bfloat16 does not",
"quantisation to int8 after training makes a model four times smaller and faster at hardly any loss of accuracy". One
network is trained on digits in float32, mixed_bfloat16 and mixed_float16 (with and without loss scaling); those of
float32 are then quantised to int8 and int4 by Keras's `model.quantize`. Accuracy is that on test rows, size is that of
the `.keras` file, time is that of an epoch of `model.fit` and of a prediction, in a graph and compiled by XLA. All of
it runs on the CPU, and again on a GPU where there is one.

The same seeds (weights, rows, order) and the same learning rate for all: a precision is meant to be changed without
tuning anew. Times are interleaved: each seed or round takes all in turn, and differences are paired.

What goes wrong with the usual snippet: `tf.keras.mixed_precision.experimental.set_policy` is gone; `compile` scales the
loss where the global policy is mixed_float16, and not where the layers alone are told so; a model saved after `fit`
carries Adam's two averages, three times its own size, also with `include_optimizer=False`, and quantising looks as if
it saved eleven twelfths (here a copy is saved that was never compiled); and `quantize` leaves convolutions alone with
no more than a warning.

So: on a CPU train in float32; on a GPU try mixed_bfloat16 and time it; quantise for the size of the file, and measure
accuracy and speed on the machine that will predict.

Claims:
    precision-mixed-as-accurate: Mixed precision loses less than 1 point of accuracy, in bfloat16 and in float16
    precision-mixed-faster-cpu: Mixed precision trains faster than float32 on the CPU
    precision-mixed-faster-gpu: Mixed precision trains faster than float32 on a GPU
    precision-mixed-smaller: Mixed precision makes the saved model smaller
    precision-float16-needs-scaling: Float16 needs loss scaling: without it the test loss is higher
    precision-int8-as-accurate: Quantising to int8 after training loses less than 1 point of accuracy
    precision-int4-as-accurate: Quantising to int4 after training loses less than 1 point of accuracy
    precision-int8-four-times-smaller: Quantising to int8 makes the saved model four times smaller (by 3.5 at least)
    precision-int8-faster-graph: An int8 model predicts faster than a float32 one in a graph, as model.predict runs
        it
    precision-int8-faster-xla: An int8 model predicts faster than a float32 one when both are compiled by XLA
    precision-convolutions-quantised: Keras's quantize covers convolutions

    python recipes/mixed_precision_and_quantization.py            # about a minute on two cores
    python recipes/mixed_precision_and_quantization.py --data table.csv --target label
"""

import time
import warnings

import keras
import numpy as np
import tensorflow as tf
from sklearn.preprocessing import StandardScaler

import tfopt
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__, data="digits")
tfopt.devices.configure()

SEEDS = recipe.by_mode(arguments, smoke=2, default=5)
EPOCHS = recipe.by_mode(arguments, smoke=1, default=10)
ROUNDS = recipe.by_mode(arguments, smoke=3, default=15)  # of timing predictions
UNITS = recipe.by_mode(arguments, smoke=64, default=512)
PREDICTED = recipe.by_mode(arguments, smoke=256, default=4096)  # rows of a prediction
BATCH, RATE = 64, 1e-3  # Adam
MARGIN = 1.0  # percentage points of accuracy that count as hardly any loss
TRAINED = {  # dtype policy, and whether the loss is scaled
    "float32": ("float32", False),
    "mixed_bfloat16": ("mixed_bfloat16", False),
    "mixed_float16": ("mixed_float16", True),
    "mixed_float16, unscaled": ("mixed_float16", False),
}
MODES = ["int8", "int4"]

x, y = recipe.table(arguments, task="classification")
classes = int(y.max()) + 1
train_rows = int(0.75 * len(x)) // BATCH * BATCH
SHARED = (len(x) - train_rows) / train_rows  # splits share rows: test over training rows widens the intervals
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network(policy):
    hidden = [keras.layers.Dense(UNITS, "relu", dtype=policy) for _ in range(2)]
    # The logits leave in float32: the loss is no place for 16 bits.
    return keras.Sequential([keras.Input((x.shape[1],)), *hidden, keras.layers.Dense(classes, dtype="float32")])


def split(seed):
    order = np.random.default_rng(arguments.seed + seed).permutation(len(x))
    train, test = order[:train_rows], order[train_rows:]
    scaler = StandardScaler().fit(x[train])  # a column that varies in the test rows alone keeps its size
    return scaler.transform(x[train]), y[train], scaler.transform(x[test]), y[test]


def scores(logits, labels, exact):
    """Accuracy in %, loss in nats, and % of the predictions that are not those of float32."""
    guessed = np.argmax(logits, axis=1)
    changed = np.mean(guessed != np.argmax(exact, axis=1))
    return {"accuracy": 100 * np.mean(guessed == labels), "loss": float(loss(labels, logits)), "changed": 100 * changed}


def size_on_disk(model):
    """Kilobytes of the `.keras` file."""
    file = arguments.out / "model.keras"
    model.save(file)
    kilobytes = file.stat().st_size / 1000
    file.unlink()
    return kilobytes


def quantised(trained, mode):
    """A copy of the trained network with `mode` weights in its Dense layers."""
    model = network("float32")
    model.set_weights(trained)
    model.quantize(mode, filters=lambda layer: isinstance(layer, keras.layers.Dense))
    return model


def run(device):
    """Everything on one device: accuracies and seconds by name and seed, kilobytes by name, seconds by round."""
    found = {key: {} for key in ("accuracy", "loss", "changed", "epoch", "size", "graph", "XLA")}
    with tfopt.devices.strategy([device]).scope():
        models = {}
        for name, (policy, scaled) in TRAINED.items():
            models[name] = network(policy)
            optimizer = keras.optimizers.Adam(RATE)
            models[name].compile(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer, loss)
            models[name].optimizer.build(models[name].trainable_variables)
        fresh = {name: [value.numpy() for value in model.optimizer.variables] for name, model in models.items()}
        for seed in recipe.steps(range(SEEDS), f"seeds, {device}"):
            rows, labels, test_rows, test_labels = split(seed)
            keras.utils.set_random_seed(arguments.seed + seed)
            start_weights = network("float32").get_weights()
            for name, model in models.items():
                if not seed:  # trace
                    model.fit(rows[:BATCH], labels[:BATCH], batch_size=BATCH, verbose=0)
                model.set_weights(start_weights)
                for variable, value in zip(model.optimizer.variables, fresh[name], strict=True):
                    variable.assign(value)
                keras.utils.set_random_seed(arguments.seed + seed)  # the order of the rows
                start = time.perf_counter()
                model.fit(rows, labels, epochs=EPOCHS, batch_size=BATCH, verbose=0)
                found["epoch"].setdefault(name, []).append((time.perf_counter() - start) / EPOCHS)
            trained = models["float32"].get_weights()
            ends = models | {mode: quantised(trained, mode) for mode in MODES}
            exact = models["float32"](test_rows)
            for name, model in ends.items():
                for key, score in scores(model(test_rows), test_labels, exact).items():
                    found[key].setdefault(name, []).append(score)
        timed = {name: model for name, model in ends.items() if "unscaled" not in name}
        found["size"]["float32, after fit"] = size_on_disk(models["float32"])
        for name, model in timed.items():
            copy = model
            if name in TRAINED:  # one without an optimizer
                copy = network(TRAINED[name][0])
                copy.set_weights(model.get_weights())
            found["size"][name] = size_on_disk(copy)
    with tf.device(device):
        rows = tf.constant(np.resize(test_rows, (PREDICTED, x.shape[1])), tf.float32)
        for way in ("graph", "XLA"):
            calls = {name: tf.function(model, jit_compile=way == "XLA") for name, model in timed.items()}
            for call in calls.values():
                call(rows)  # trace
            for _ in range(ROUNDS):
                for name, call in calls.items():
                    start = time.perf_counter()
                    call(rows).numpy()
                    found[way].setdefault(name, []).append(time.perf_counter() - start)
    return found


found = {"CPU": run("CPU:0")}
if tf.config.list_logical_devices("GPU"):
    found["GPU"] = run("GPU:0")
else:
    print("No GPU here: what a GPU would do is skipped")
for device, numbers in found.items():
    rows = {}
    for name in numbers["accuracy"]:
        milliseconds = [numbers[key].get(name) for key in ("epoch", "graph", "XLA")]
        times = ["" if values is None else f"{1000 * np.median(values):.1f}" for values in milliseconds]
        size = f"{numbers['size'][name]:.0f}" if name in numbers["size"] else ""
        rows[name] = [*(numbers[key][name] for key in ("accuracy", "changed", "loss")), size, *times]
    title = f"{device}: {SEEDS} seeds; changed: predictions unlike float32's; milliseconds of an epoch and a prediction"
    columns = ["test accuracy %|.1f", "changed %|.2f", "test loss|.4f", "kB on disk", "epoch", "graph", "XLA"]
    recipe.show(title, columns, rows, SHARED)
    print(f"float32 with its optimizer: {numbers['size']['float32, after fit']:.0f} kB on disk")

# The convolution that `quantize` leaves alone.
convolution = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()])
convolution.add(keras.layers.Dense(2))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    convolution.quantize("int8", filters="conv|dense")
kernels = {type(layer).__name__: str(layer.dtype_policy.name) for layer in convolution.layers if layer.weights}
said = [str(warning.message) for warning in caught if "Conv2D" in str(warning.message)]
print(f"\nPolicies after quantize('int8'): {kernels}; warned: {said}")

cpu = found["CPU"]
device = list(found)[-1]


def as_accurate(name):
    """Evidence that the loss of accuracy against float32 is below the margin."""
    first, second = (np.array(cpu["accuracy"][one]) for one in (name, "float32"))
    return recipe.more(first, second, "accuracy (%)", ".2f", margin=-MARGIN, test_to_train=SHARED)


def faster(key, name, where):
    what = f"{name} on the {where}"
    return recipe.faster(
        found[where][key]["float32"], found[where][key][name], what, of="seeds" if key == "epoch" else "rounds"
    )


def both(where):
    return recipe.all_of(*(faster("epoch", name, where) for name in ("mixed_bfloat16", "mixed_float16")))


ratio = {name: cpu["size"]["float32"] / size for name, size in cpu["size"].items()}
claims = {
    "precision-mixed-as-accurate": recipe.all_of(as_accurate("mixed_bfloat16"), as_accurate("mixed_float16")),
    "precision-mixed-faster-cpu": both("CPU"),
    "precision-mixed-faster-gpu": both("GPU") if "GPU" in found else recipe.fact(None, "0 GPUs here"),
    "precision-mixed-smaller": recipe.fact(
        min(ratio["mixed_bfloat16"], ratio["mixed_float16"]) > 1.05,
        "{} against {} kB: its weights stay float32",
        *(f"{cpu['size'][name]:.0f}" for name in ("mixed_float16", "float32")),
    ),
    "precision-float16-needs-scaling": recipe.less(
        cpu["loss"]["mixed_float16"], cpu["loss"]["mixed_float16, unscaled"], "test loss", ".5f", test_to_train=SHARED
    ),
    "precision-int8-as-accurate": as_accurate("int8"),
    "precision-int4-as-accurate": as_accurate("int4"),
    "precision-int8-four-times-smaller": recipe.fact(
        ratio["int8"] >= 3.5,
        "{} to {} kB: {}; int4 {}",
        f"{cpu['size']['float32']:.0f}",
        f"{cpu['size']['int8']:.0f}",
        f"{ratio['int8']:.2f}",
        f"{ratio['int4']:.2f}",
    ),
    "precision-int8-faster-graph": recipe.all_of(*(faster("graph", "int8", where) for where in found)),
    "precision-int8-faster-xla": recipe.all_of(*(faster("XLA", "int8", where) for where in found)),
    "precision-convolutions-quantised": recipe.fact(
        "int8" in kernels["Conv2D"], "int8 asked for; Conv2D: {}, Dense: {}", kernels["Conv2D"], kernels["Dense"]
    ),
}

shown = ["float32", "mixed_bfloat16", "mixed_float16", *MODES]
with recipe.panels(2, width=5.5) as (figure, (left, right)):
    for name, colour in zip(shown, recipe.COLOURS, strict=False):
        mean, half = recipe.interval(cpu["accuracy"][name], test_to_train=SHARED)
        left.errorbar(cpu["size"][name], mean, half, color=colour, fmt="o", capsize=3, label=name)
    left.set(
        xlabel="saved model (kB)", ylabel="test accuracy (%)", title="Accuracy and size of the file", xlim=(0, None)
    )
    left.legend(frameon=False, loc="lower center")
    for key, label, colour in zip(
        ("epoch", "graph", "XLA"),
        ("training, an epoch", "prediction, graph", "prediction, XLA"),
        recipe.COLOURS,
        strict=False,
    ):
        ratios = {
            name: np.median(np.array(found[device][key][name]) / np.array(found[device][key]["float32"]))
            for name in shown
            if name in found[device][key]
        }
        right.plot(list(ratios.values()), list(ratios), "o", color=colour, label=label)
    right.axvline(1, color="#999999", lw=0.8)
    right.legend(frameon=False)
    right.set(xlabel="time over float32's (median)", title=f"Time on the {device}", xscale="log")

recipe.finish(arguments, claims=claims, results={"devices": found, "policies_after_int8": kernels}, figure=figure)
