"""How much faster is the vectorised z = Wᵀx + b than the loop, by size, in NumPy and in TensorFlow?

The claim: "vectorised code beats the loop", for the linear part of a layer. The same z is computed by a double loop
over Python lists, by NumPy, and by TensorFlow one operation at a time (eager), as a graph and compiled by XLA, for
square layers from 1 to 1024 units. Each round times every way once, in turn, so that whatever else the machine does
hits all of them; the table has medians over rounds, and the speed-ups are paired within a round.

What goes wrong with the usual snippet: the loop as printed does not run. `rang` is no function, and the loop counts
with i where its body reads w[j] and x[j]. `PRINTED` below is that loop.

What is timed is the call with its data in place: float32 arrays and tensors for all but the loop, which gets lists of
Python's own numbers (indexing NumPy arrays one number at a time is slower still, and is shown too). Tracing and
compiling happen once and are left out. A single layer is little work for a graph, so a stack of 50 layers in one call
is timed as well. NumPy's linear algebra gets one thread.

So: write array operations where arrays are large, and lists where they hold a handful of numbers; compile what is
called often and has many small operations.

Claims:
    vector-beats-loop-large: Vectorised (NumPy) beats the loop for a large layer
    vector-beats-loop-always: Vectorised (NumPy) beats the loop at every size
    vector-tensorflow-beats-loop-always: TensorFlow, one operation at a time, beats the loop at every size
    vector-graph-beats-eager: A graph beats eager execution for one large layer
    vector-graph-beats-eager-stack: A graph beats eager execution for 50 layers in one call
    vector-xla-beats-graph-stack: XLA beats the graph for 50 layers in one call
    vector-tensorflow-beats-numpy: TensorFlow, compiled by XLA, beats NumPy on the CPU for one large layer
    vector-same-result: All ways give the same z
    vector-printed-loop: The loop as the tutorial prints it runs

    python recipes/vectorization.py            # about twenty seconds on two cores
"""

import time

import numpy as np
import tensorflow as tf
from threadpoolctl import threadpool_limits

from tfopt import devices
from tfopt.report import recipe

arguments = recipe.arguments(__doc__, __file__)
devices.configure("cpu")  # a GPU would be another question
one_thread = threadpool_limits(1, user_api="blas")

SIZES = [1, 16, 256] if arguments.smoke else [1, 4, 16, 64, 256, 1024]
DEPTH, WIDTH = 50, 64  # of the stack of layers that one call computes
ROUNDS = recipe.by_mode(arguments, smoke=5, default=15)
STACK = f"{DEPTH} layers of {WIDTH}"
SLICE = recipe.by_mode(arguments, smoke=0.002, default=0.01)  # seconds of each timing, at least one call
PRINTED = """
z = 0
for i in rang(len(x)):
    z = z + w[j] * x[j]
z = z + b
"""


def loop(w, x, b):
    z = []
    for j in range(len(b)):
        total = b[j]
        for i in range(len(x)):
            total += w[i][j] * x[i]
        z.append(total)
    return z


def numpy(w, x, b):
    return w.T @ x + b


def tensorflow(w, x, b):
    return tf.linalg.matvec(w, x, transpose_a=True) + b


def stacked(layer):
    """The layer on its own output, 50 times."""

    def stack(w, x, b):
        for _ in range(DEPTH):
            x = layer(w, x, b)
        return x

    return stack


def ways(size, wrap=lambda layer: layer):
    """Each way as a function of nothing, its data made beforehand."""
    random = np.random.default_rng(arguments.seed)
    w = random.normal(size=(size, size)) / (2 * np.sqrt(size))  # so that a stack keeps its size
    arrays = [part.astype("float32") for part in (w, random.normal(size=size), random.normal(size=size))]
    lists, tensors = [array.tolist() for array in arrays], [tf.constant(array) for array in arrays]
    in_loops, in_numpy, eager = wrap(loop), wrap(numpy), wrap(tensorflow)
    graph, xla = tf.function(eager), tf.function(eager, jit_compile=True)
    return {
        "loop": lambda: in_loops(*lists),
        "loop over arrays": lambda: in_loops(*arrays),
        "NumPy": lambda: in_numpy(*arrays),
        "eager": lambda: eager(*tensors),
        "graph": lambda: graph(*tensors),
        "XLA": lambda: xla(*tensors),
    }


def seconds(call):
    """Mean seconds of a call, over as many calls as fill the slice; the last result is there when the clock stops."""
    calls, start = 0, time.perf_counter()
    while True:
        result = call()
        calls += 1
        if calls & (calls - 1) == 0 or calls % 64 == 0:  # look at the clock now and then
            np.asarray(result)
            passed = time.perf_counter() - start
            if passed >= SLICE:
                return passed / calls


# The loop as printed, and with its first fault mended.
faults = []
for program in (PRINTED, PRINTED.replace("rang(", "range(")):
    try:
        exec(program, {"w": [1.0, 2.0], "x": [3.0, 4.0], "b": 0.5})
    except NameError as error:
        faults.append(str(error))

times, errors = {}, {}  # (way, size): seconds of each round; how far its result is from the loop's
for size in [*SIZES, STACK]:
    calls = ways(WIDTH, stacked) if size == STACK else ways(size)
    if size == STACK:
        del calls["loop over arrays"]
    results = {name: np.asarray(call(), dtype="float64") for name, call in calls.items()}  # traces and compiles
    for name, result in results.items():
        errors[name, size] = float(np.abs(result - results["loop"]).max() / np.abs(results["loop"]).max())
    for round_number in recipe.steps(range(ROUNDS), f"rounds, {size}"):
        for name in np.random.default_rng([arguments.seed, round_number]).permutation(list(calls)):
            times.setdefault((str(name), size), []).append(seconds(calls[str(name)]))
largest_error, large = max(errors.values()), SIZES[-1]
micros = {key: 1e6 * np.median(values) for key, values in times.items()}
NAMES = list(ways(1))
rows = {name: [micros.get((name, size), "") for size in [*SIZES, STACK]] for name in NAMES}
title = f"Microseconds for z = Wᵀx + b, W of size × size: medians of {ROUNDS} rounds"
recipe.show(title, [f"{size}|,.1f" for size in [*SIZES, STACK]], rows)


def at(sizes, slow, fast):
    """Evidence for `fast` being faster at each of the sizes, paired by round."""
    each = [recipe.faster(times[slow, size], times[fast, size], str(size)) for size in sizes]
    return recipe.all_of(*each)


claims = {
    "vector-beats-loop-large": at([large], "loop", "NumPy"),
    "vector-beats-loop-always": at(SIZES, "loop", "NumPy"),
    "vector-tensorflow-beats-loop-always": at(SIZES, "loop", "eager"),
    "vector-graph-beats-eager": at([large], "eager", "graph"),
    "vector-graph-beats-eager-stack": at([STACK], "eager", "graph"),
    "vector-xla-beats-graph-stack": at([STACK], "graph", "XLA"),
    "vector-tensorflow-beats-numpy": at([large], "NumPy", "XLA"),
    "vector-same-result": recipe.fact(
        largest_error < 1e-5, "largest relative difference {}, in float32", f"{largest_error:.0e}"
    ),
    "vector-printed-loop": recipe.fact(
        not faults, "{} faults: {}", len(faults), ", ".join(f"`{fault.split(chr(39))[1]}`" for fault in faults)
    ),
}

with recipe.panels(2, width=5.5) as (figure, (left, right)):
    for name, colour in zip(NAMES, recipe.COLOURS, strict=False):
        left.loglog(SIZES, [micros[name, size] for size in SIZES], marker="o", ms=4, color=colour, label=name)
        ratios = [np.median(np.divide(times["loop", size], times[name, size])) for size in SIZES]
        right.loglog(SIZES, ratios, marker="o", ms=4, color=colour)
    left.legend(frameon=False)
    for axis, title, label in (
        (left, "Time of a layer, by size", "microseconds for Wᵀx + b (median)"),
        (right, "Speed-up over the loop, by size", "times as fast as the loop (median)"),
    ):
        axis.set(xlabel="units and inputs of the layer", ylabel=label, title=title)
        axis.set_xticks(SIZES, SIZES, minor=False)
        axis.minorticks_off()

one_thread.restore_original_limits()
recipe.finish(arguments, claims, {"median_microseconds": micros, "relative_difference": largest_error}, figure)
