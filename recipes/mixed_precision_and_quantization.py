"""What do 16-bit training and 8-bit weights cost in accuracy, and what do they save in size and time?

One network is trained on digits in float32, mixed_bfloat16 and mixed_float16 (with and without loss scaling); those of
float32 are then quantised to int8 and int4 by Keras's `model.quantize`. Accuracy is that on test rows, size is that of
the `.keras` file, time is that of an epoch of `model.fit` and of a prediction, in a graph and compiled by XLA, all on
the CPU.

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
    precision-mixed-smaller: Mixed precision makes the saved model smaller
    precision-float16-needs-scaling: Float16 needs loss scaling: without it the test loss is higher
    precision-int8-as-accurate: Quantising to int8 after training loses less than 1 point of accuracy
    precision-int4-as-accurate: Quantising to int4 after training loses less than 1 point of accuracy
    precision-int8-four-times-smaller: Quantising to int8 makes the saved model four times smaller (by 3.5 at least)
    precision-int8-faster-graph: An int8 model predicts faster than a float32 one in a graph, as model.predict runs
        it
    precision-int8-faster-xla: An int8 model predicts faster than a float32 one when both are compiled by XLA
    precision-convolutions-quantised: Keras's quantize covers convolutions

    python recipes/mixed_precision_and_quantization.py   # a minute on a processor with 16-bit arithmetic, 15 on others
    python recipes/mixed_precision_and_quantization.py --data table.csv --target label
"""

import time
import warnings

import keras
import numpy as np
import tensorflow as tf

import tfopt
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__, data="digits")
tfopt.devices.configure("cpu")  # a GPU would be another question
tf.get_logger().setLevel("ERROR")  # four models, a graph each

SEEDS = recipe.seeds(arguments, smoke=2, default=5)
EPOCHS = recipe.by_mode(arguments, smoke=1, default=4)  # 16 bits are slow on a CPU
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
samples = recipe.samples(x, y, SEEDS, train=0.72, valid=0.05, shared=True)
SHARED = samples[0].test_to_train  # the seeds share rows: the intervals are widened
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network(policy):
    hidden = [keras.layers.Dense(UNITS, "relu", dtype=policy) for _ in range(2)]
    # The logits leave in float32: the loss is no place for 16 bits.
    output = keras.layers.Dense(int(y.max()) + 1, dtype="float32")
    return keras.Sequential([keras.Input((x.shape[1],)), *hidden, output])


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


# Accuracies and seconds of an epoch by name and seed. The precisions take turns within a seed.
cpu = {key: {} for key in ("accuracy", "changed", "loss", "epoch", "graph", "XLA", "size")}
models, fresh = {}, {}
for name, (policy, scaled) in TRAINED.items():
    models[name], optimizer = network(policy), keras.optimizers.Adam(RATE)
    models[name].compile(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer, loss)
    models[name].optimizer.build(models[name].trainable_variables)
    fresh[name] = [value.numpy() for value in models[name].optimizer.variables]
    models[name].fit(samples[0].x["train"][:BATCH], samples[0].y["train"][:BATCH], batch_size=BATCH, verbose=0)  # trace
for sample in recipe.steps(samples, "seeds"):
    keras.utils.set_random_seed(sample.seed)
    begin = network("float32").get_weights()
    for name, model in models.items():
        model.set_weights(begin)
        for variable, value in zip(model.optimizer.variables, fresh[name], strict=True):
            variable.assign(value)
        keras.utils.set_random_seed(sample.seed)  # the order of the rows
        start = time.perf_counter()
        model.fit(sample.x["train"], sample.y["train"], epochs=EPOCHS, batch_size=BATCH, verbose=0)
        cpu["epoch"].setdefault(name, []).append((time.perf_counter() - start) / EPOCHS)
    trained = models["float32"].get_weights()
    ends = models | {mode: quantised(trained, mode) for mode in MODES}
    guesses = np.argmax(models["float32"](sample.x["test"]), axis=1)
    for name, model in ends.items():
        logits = np.asarray(model(sample.x["test"]))
        nats, error = recipe.loss_and_error(logits, sample.y["test"])
        changed = 100 * np.mean(logits.argmax(axis=1) != guesses)  # predictions that are not those of float32
        for key, value in (("accuracy", 100 - error), ("loss", nats), ("changed", changed)):
            cpu[key].setdefault(name, []).append(value)

# Size of the file, of a copy without an optimizer where it was trained; seconds of a prediction, in turn.
timed = {name: model for name, model in ends.items() if "unscaled" not in name}
for name, model in timed.items():
    copy = network(TRAINED[name][0]) if name in TRAINED else model
    copy.set_weights(model.get_weights())
    cpu["size"][name] = size_on_disk(copy)
cpu["size"]["float32, after fit"] = size_on_disk(models["float32"])
rows = tf.constant(np.resize(samples[-1].x["test"], (PREDICTED, x.shape[1])), tf.float32)
for way in ("graph", "XLA"):
    calls = {name: tf.function(model, jit_compile=way == "XLA") for name, model in timed.items()}
    for call in calls.values():
        call(rows)  # trace
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            call(rows).numpy()
            cpu[way].setdefault(name, []).append(time.perf_counter() - start)

table = {}
for name in cpu["accuracy"]:
    milliseconds = [1000 * np.median(cpu[key].get(name, np.nan)) for key in ("epoch", "graph", "XLA")]
    times = ["" if np.isnan(value) else f"{value:.1f}" for value in milliseconds]
    size = f"{cpu['size'][name]:.0f}" if name in cpu["size"] else ""
    table[name] = [*(cpu[key][name] for key in ("accuracy", "changed", "loss")), size, *times]
title = f"{len(SEEDS)} seeds; changed: predictions unlike float32's; milliseconds of an epoch and of a prediction"
columns = ["test accuracy %|.1f", "changed %|.2f", "test loss|.4f", "kB on disk", "epoch", "graph", "XLA"]
recipe.show(title, columns, table, SHARED)
print(f"float32 with its optimizer: {cpu['size']['float32, after fit']:.0f} kB on disk")

# The convolution that `quantize` leaves alone.
convolution = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()])
convolution.add(keras.layers.Dense(2))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    convolution.quantize("int8", filters="conv|dense")
kernels = {type(layer).__name__: str(layer.dtype_policy.name) for layer in convolution.layers if layer.weights}
said = [str(warning.message) for warning in caught if "Conv2D" in str(warning.message)]
print(f"\nPolicies after quantize('int8'): {kernels}; warned: {said}")


def as_accurate(name):
    """Evidence that the loss of accuracy against float32 is below the margin."""
    first, second = (np.array(cpu["accuracy"][one]) for one in (name, "float32"))
    return recipe.more(first, second, f"accuracy (%), {name}", ".2f", margin=-MARGIN, test_to_train=SHARED)


def faster(key, *names):
    over = "seeds" if key == "epoch" else "rounds"
    return recipe.all_of(*(recipe.faster(cpu[key]["float32"], cpu[key][name], f"`{name}`", of=over) for name in names))


ratio = {name: cpu["size"]["float32"] / size for name, size in cpu["size"].items()}
claims = {
    "precision-mixed-as-accurate": recipe.all_of(as_accurate("mixed_bfloat16"), as_accurate("mixed_float16")),
    "precision-mixed-faster-cpu": faster("epoch", "mixed_bfloat16", "mixed_float16"),
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
    "precision-int8-faster-graph": faster("graph", "int8"),
    "precision-int8-faster-xla": faster("XLA", "int8"),
    "precision-convolutions-quantised": recipe.fact(
        "int8" in kernels["Conv2D"],
        "int8 asked for; Conv2D: {}, Dense: {}",
        f"`{kernels['Conv2D']}`",
        f"`{kernels['Dense']}`",
    ),
}

shown = ["float32", "mixed_bfloat16", "mixed_float16", *MODES]
with recipe.panels(2, width=5.5) as (figure, (left, right)):
    rows = {f"{name}, {cpu['size'][name]:.0f} kB": cpu["accuracy"][name] for name in shown}
    recipe.dots(left, rows, "Accuracy of each precision, size of its file", "test accuracy (%)", test_to_train=SHARED)
    labels = {"epoch": "training, an epoch", "graph": "prediction, graph", "XLA": "prediction, XLA"}
    for (key, label), colour in zip(labels.items(), recipe.COLOURS, strict=False):
        names = [name for name in shown if name in cpu[key]]
        ratios = [np.median(np.divide(cpu[key][name], cpu[key]["float32"])) for name in names]
        right.plot(ratios, names, "o", color=colour, label=label)
    right.axvline(1, color="#999999", lw=0.8)
    right.legend(frameon=False)
    right.set(xlabel="time over float32's (median)", title="Time of each precision on a CPU", xscale="log")
    right.xaxis.set_major_formatter("{x:g}")
    right.xaxis.set_minor_formatter("{x:g}")
    right.invert_yaxis()  # float32 on top, as on the left

recipe.finish(arguments, claims, cpu | {"policies_after_int8": kernels}, figure)
