"""What a schedule costs in `fit`, against a float learning rate: a 32-unit MLP, batches of 32, medians of rounds.

    python tests/benchmarks/bench_schedules.py [--rounds 15] [--epochs-of 400]

The models take turns within a round, and each is compared with the float of the same round, so that other work on the
machine falls on all alike.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np

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


def main():
    """Print microseconds a step and the excess over the float."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--epochs-of", type=int, default=400, metavar="STEPS")
    arguments = parser.parse_args()
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
            epochs = 2 if CASES[name][1]() or turn == 0 else 1  # the first epoch of a callback traces
            models[name].fit(x, y, epochs=epochs, shuffle=False, verbose=0, callbacks=[*CASES[name][1](), watch])
            if turn:
                seconds[name].append(watch.seconds / steps)
    base = seconds["float"]
    print(
        f"{'learning rate':<26}{'µs a step':>10}{'excess':>10}   (medians of {arguments.rounds} rounds of {steps} steps)"
    )
    for name, times in seconds.items():
        excess = statistics.median(t / b - 1 for t, b in zip(times, base, strict=True))
        print(f"{name:<26}{1e6 * statistics.median(times):>10.0f}{100 * excess:>9.1f}%")


if __name__ == "__main__":
    main()
