"""What a schedule costs in `fit`, against a float learning rate: a 32-unit MLP, batches of 32, many short rounds.

    python tests/benchmarks/bench_schedules.py [--rounds 60] [--epochs-of 50]
    python tests/benchmarks/bench_schedules.py --rounds 0       only the cost inside the graph

The models take turns within a round, so that other work on the machine falls on all alike.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import tensorflow as tf

from tfopt import callbacks, schedules

CASES = {
    "float": (lambda: 0.01, lambda: []),
    "float again (noise)": (lambda: 0.01, lambda: []),
    "Keras CosineDecay": (lambda: keras.optimizers.schedules.CosineDecay(0.01, 10**6), lambda: []),
    "LinearDecay": (lambda: schedules.LinearDecay(0.01, 10**6), lambda: []),
    "Warmup(CosineDecay)": (lambda: schedules.Warmup(schedules.CosineDecay(0.01, 10**6), 1000), lambda: []),
    "OneCycle": (lambda: schedules.OneCycle(0.01, 10**6), lambda: []),
    "refined, 100 knots": (lambda: schedules.refine(np.linspace(1, 2, 10**4), 0.01), lambda: []),
    "LearningRateLogger": (lambda: schedules.LinearDecay(0.01, 10**6), lambda: [callbacks.LearningRateLogger()]),
    "HyperparameterScheduler": (
        lambda: 0.01,
        lambda: [callbacks.HyperparameterScheduler({"weight_decay": schedules.LinearDecay(0.1, 10**6)})],
    ),
}


class _Stopwatch(keras.callbacks.Callback):
    """Time of an epoch without what fit does around it."""

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self.start


def inside_the_graph(rate, evaluations=5000, repeats=15):
    """Seconds of one evaluation in a compiled graph, beyond an empty loop's; the fastest of some repeats."""

    def loop(value):
        @tf.function
        def run():
            total = tf.constant(0.0)
            for i in tf.range(evaluations):
                total += value(i)
            return total

        run()
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return min(times) / evaluations

    @tf.autograph.experimental.do_not_convert
    def scheduled(i):
        return tf.cast(rate(i), "float32")

    @tf.autograph.experimental.do_not_convert
    def empty(i):
        return tf.cast(i, "float32")

    return loop(scheduled) - loop(empty)


def main():
    """Print microseconds a step and the excess over the float."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--epochs-of", type=int, default=50, metavar="STEPS")
    arguments = parser.parse_args()
    print("one evaluation inside a graph, in µs")
    for name, (rate, extra) in CASES.items():
        if callable(rate()) and not extra():
            print(f"{name:<26}{1e6 * inside_the_graph(rate()):>12.1f}", flush=True)
    if not arguments.rounds:
        return
    steps = arguments.epochs_of
    x = np.random.default_rng(0).normal(size=(32 * steps, 16)).astype("float32")
    y = x[:, :1]
    models, seconds = {}, {name: [] for name in CASES}
    for name, (rate, _) in CASES.items():
        keras.utils.set_random_seed(0)
        models[name] = keras.Sequential(
            [keras.Input((16,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(32, "relu"), keras.layers.Dense(1)]
        )
        models[name].compile(keras.optimizers.AdamW(rate()), "mse")
    for turn in range(arguments.rounds + 1):
        names = list(CASES)
        names = names[turn % len(names) :] + names[: turn % len(names)]
        for name in names:
            watch = _Stopwatch()
            epochs = 2 if CASES[name][1]() or turn == 0 else 1  # with a callback the first epoch traces
            models[name].fit(x, y, epochs=epochs, shuffle=False, verbose=0, callbacks=[*CASES[name][1](), watch])
            if turn:
                seconds[name].append(watch.seconds / steps)
    best = min(seconds["float"])
    print(f"{arguments.rounds} rounds of {steps} steps; the fastest round is the one that other work disturbed least")
    print(f"{'learning rate':<26}{'fastest µs':>12}{'excess':>9}{'median µs':>12}")
    for name, times in seconds.items():
        fastest, median = min(times), statistics.median(times)
        print(f"{name:<26}{1e6 * fastest:>12.0f}{100 * (fastest / best - 1):>8.1f}%{1e6 * median:>12.0f}")


if __name__ == "__main__":
    main()
