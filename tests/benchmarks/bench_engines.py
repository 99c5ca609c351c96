"""Where each engine wins, how near the arithmetic they come, and what a thousand trials leave behind.

    python tests/benchmarks/bench_engines.py grid       # members, widths and rows: seconds a trial
    python tests/benchmarks/bench_engines.py floor      # the same products alone, and where the rest goes
    python tests/benchmarks/bench_engines.py memory     # resident memory over 1000 trials in one process

Interleaved medians in one process; the first call of each, which traces, is left out of `grid` and `floor`.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from results import environment, keep
from sklearn.datasets import load_digits

from tfopt.training.choose import engine_for
from tfopt.training.fits import FitRequest

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("part", choices=["grid", "floor", "memory"])
parser.add_argument("--repeats", type=int, default=3)
parser.add_argument("--trials", type=int, default=1000, help="of the memory test")
arguments = parser.parse_args()
layers = keras.layers


def build(hp):
    width, penalty = hp["width"], keras.regularizers.L2(hp["l2"])
    hidden = []
    for _ in range(2):
        hidden += [layers.Dense(width, "relu", kernel_regularizer=penalty), layers.Dropout(hp["dropout"])]
    model = keras.Sequential([keras.Input((64,)), *hidden, layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(hp["lr"]), loss, metrics=["accuracy"])
    return model


def configurations(number, width=64, seed=0):
    random = np.random.default_rng(seed)
    return [
        {
            "width": width,
            "l2": float(10 ** random.uniform(-7, -2)),
            "dropout": float(random.uniform(0.05, 0.5)),
            "lr": float(10 ** random.uniform(-4, -2)),
        }
        for _ in range(number)
    ]


def rows(number):
    x, y = load_digits(return_X_y=True)
    chosen = np.random.default_rng(0).integers(0, len(x), number)
    return (x[chosen] / 16).astype("float32"), y[chosen].astype("int32")


def seconds_a_trial(engines, number, width, epochs, repeats):
    """Return each engine's seconds a trial in interleaved repeats after a first call, and who trained last."""
    seconds = {name: [] for name in engines}
    for turn in range(repeats + 1):
        for name, engine in engines.items():
            requests = [FitRequest(hp, index, epochs) for index, hp in enumerate(configurations(number, width, turn))]
            started = time.perf_counter()
            results = engine.fit(requests)
            if turn:
                seconds[name].append((time.perf_counter() - started) / number)
            used = {result.engine for result in results}
    return {name: values for name, values in seconds.items() if values}, used


def grid():
    print(f"{'members':>8} {'width':>6} {'rows':>9} {'epochs':>7} {'shared s':>10} {'population s':>13}  auto chose")
    cases = [(1, 64, 1347, 20), (4, 64, 1347, 20), (16, 64, 1347, 20), (64, 64, 1347, 10), (256, 64, 1347, 5)]
    cases += [(16, width, 1347, epochs) for width, epochs in ((16, 20), (256, 5), (512, 2), (1024, 2))]
    cases += [(16, 64, 10_000, 5), (16, 64, 100_000, 1), (4, 64, 1_000_000, 1)]
    for number, width, num_rows, epochs in cases:
        x, y = rows(num_rows)
        engines = {kind: engine_for(kind, build, x, y) for kind in ("shared", "population")}
        repeats = arguments.repeats if num_rows < 100_000 else 1
        seconds, _ = seconds_a_trial(engines, number, width, epochs, repeats)
        _, used = seconds_a_trial({"auto": engine_for("auto", build, x, y)}, number, width, epochs, 0)
        auto = ", ".join(sorted(used))
        case = f"{number:,} of {width:,} units, {num_rows:,} rows, {epochs} epochs"
        keep("engines", case, {"seconds": seconds, "auto": auto, "environment": environment()})
        shared, population = (np.median(seconds[name]) for name in ("shared", "population"))
        line = f"{number:8} {width:6} {num_rows:9} {epochs:7} {shared:10.3f} {population:13.3f}  {auto}"
        print(line, flush=True)


def floor():
    x, y = rows(1347)
    steps, members, sizes = 43, 20, [(64, 64), (64, 64), (64, 10)]
    random = np.random.default_rng(0)
    pairs = [(random.normal(size=(32, a)).astype("f4"), random.normal(size=(a, b)).astype("f4")) for a, b in sizes]
    back = [random.normal(size=(32, b)).astype("f4") for _, b in sizes]

    def products():
        for (inputs, weights), gradient in zip(pairs, back, strict=True):
            inputs @ weights, inputs.T @ gradient, gradient @ weights.T

    together = [(np.stack([a] * members), np.stack([w] * members)) for a, w in pairs]
    together_back = [np.stack([g] * members) for g in back]

    def products_together():
        for (inputs, weights), gradient in zip(together, together_back, strict=True):
            inputs @ weights, inputs.swapaxes(1, 2) @ gradient, gradient @ weights.swapaxes(1, 2)

    stacked = [(tf.stack([a] * members), tf.stack([w] * members)) for a, w in pairs]
    stacked_back = [tf.stack([g] * members) for g in back]

    @tf.function(autograph=False)
    def batched():
        def body(index, kept):
            for (inputs, weights), gradient in zip(stacked, stacked_back, strict=True):
                scale = 1 + kept * 1e-12
                kept += tf.reduce_sum(tf.matmul(inputs * scale, weights)[:, 0, 0])
                kept += tf.reduce_sum(tf.matmul(inputs * scale, gradient, transpose_a=True)[:, 0, 0])
                kept += tf.reduce_sum(tf.matmul(gradient * scale, weights, transpose_b=True)[:, 0, 0])
            return index + 1, kept

        return tf.while_loop(lambda i, _: i < steps, body, (tf.constant(0), tf.constant(0.0)))[1]

    engines = {kind: engine_for(kind, build, x, y) for kind in ("shared", "population")}
    floors = {"NumPy, one after another": [], "NumPy, 20 members": [], "TensorFlow, 20 members": []}
    for turn in range(arguments.repeats + 1):
        for name, work, share in (
            ("NumPy, one after another", lambda: [products() for _ in range(steps)], 1),
            ("NumPy, 20 members", lambda: [products_together() for _ in range(steps)], members),
            ("TensorFlow, 20 members", lambda: batched().numpy(), members),
        ):
            started = time.perf_counter()
            work()
            if turn:
                floors[name].append((time.perf_counter() - started) / share)
    epochs = 20
    trials, _ = seconds_a_trial(engines, members, 64, epochs, arguments.repeats)
    trials = {name: float(np.median(values)) for name, values in trials.items()}
    measured = {name: seconds / epochs for name, seconds in trials.items()}
    flops = 6 * sum(a * b for a, b in sizes) * 1347
    print(f"{flops / 1e6:.0f} MFLOP a member and epoch (64-64-10, 1347 rows)")
    least = min(np.median(values) for values in floors.values())
    for name, seconds in [(n, np.median(v)) for n, v in floors.items()] + list(measured.items()):
        rate = flops / seconds / 1e9
        print(f"{name:32} {1e3 * seconds:7.2f} ms {rate:7.1f} GFLOP/s {least / seconds:6.0%} of the floor")
    parts = {"without dropout": {"dropout": 0.0}, "without a penalty": {"l2": 0.0}}
    for name, change in parts.items():
        times = []
        for turn in range(arguments.repeats + 1):
            requests = [FitRequest(hp | change, i, epochs) for i, hp in enumerate(configurations(members, seed=turn))]
            started = time.perf_counter()
            engines["population"].fit(requests)
            times.append((time.perf_counter() - started) / members / epochs)
        print(f"{'population ' + name:32} {1e3 * np.median(times[1:]):7.2f} ms")
    alone = {"population": engines["population"]}
    short = np.median(seconds_a_trial(alone, members, 64, 1, arguments.repeats)[0]["population"])
    an_epoch = (trials["population"] - short) / (epochs - 1)
    print(f"of a trial's {1e3 * trials['population']:.0f} ms {1e3 * (short - an_epoch):.0f} are its build")


def memory():
    x, y = rows(256)
    engine = engine_for("auto", build, x, y)

    def resident():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))

    print(f"{'trials':>7} {'resident MB':>12}")
    for done in range(0, arguments.trials + 1, 100):
        if done:
            engine.fit([FitRequest(hp, 0, 2) for hp in configurations(100, seed=done)])
        print(f"{done:7} {resident():12.0f}", flush=True)


{"grid": grid, "floor": floor, "memory": memory}[arguments.part]()
