"""What measuring gradients costs a training step, beside the callback that others ship, and whether memory leaks.

The variants take turns in blocks of a few steps on one model each, so that other load on the machine hits all alike;
printed are medians of the blocks, and the median of the ratios of neighbouring blocks. The time is that of `fit`'s
inner loop with its callbacks.

    python tests/benchmarks/bench_gradient_norms.py                 # a few minutes
    python tests/benchmarks/bench_gradient_norms.py --blocks 30     # rougher
"""

import argparse
import gc
import itertools
import resource
import time

import keras
import numpy as np
import tensorflow as tf
from results import environment, keep

import tfopt

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--blocks", type=int, default=150, help="blocks of each variant")
parser.add_argument("--fits", type=int, default=100, help="fits of the leak test")
parser.add_argument("--only", choices=["mlp", "cnn", "leak"], help="one part alone")
arguments = parser.parse_args()
L = keras.layers


class Tape(keras.callbacks.Callback):
    """What others ship: a second forward and backward pass on a fixed batch after each step."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = tf.constant(x), tf.constant(y)

    def on_train_begin(self, logs=None):
        @tf.function
        def norm():
            with tf.GradientTape() as tape:
                loss = self.model.compute_loss(self.x, self.y, self.model(self.x, training=True))
            return tf.linalg.global_norm(tape.gradient(loss, [v.value for v in self.model.trainable_variables]))

        self.norm = norm

    def on_train_batch_end(self, batch, logs=None):
        float(self.norm())


def mlp(**options):
    model = keras.Sequential([keras.Input((20,)), L.Dense(32, "relu"), L.Dense(32, "relu"), L.Dense(3)])
    model.compile(keras.optimizers.Adam(1e-3, **options), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def cnn(**options):
    layers = [keras.Input((28, 28, 1)), L.Conv2D(32, 3, activation="relu"), L.MaxPooling2D()]
    layers += [L.Conv2D(64, 3, activation="relu"), L.MaxPooling2D(), L.Flatten(), L.Dense(10)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(1e-3, **options), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


class Lane:
    """One variant: a model, its callbacks, and the inner loop of `fit` run a block at a time."""

    def __init__(self, model, x, y, batch_size, callbacks):
        self.model = model
        dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size, drop_remainder=True).cache().repeat()
        model.fit(dataset.take(3), epochs=1, verbose=0)  # builds everything
        self.iterator = iter(dataset)
        self.callbacks = keras.callbacks.CallbackList(
            callbacks, add_history=True, model=model, verbose=0, epochs=1, steps=1
        )
        self.callbacks.on_train_begin()
        self.callbacks.on_epoch_begin(0)
        self.step = itertools.count()
        self.run(20)

    def run(self, steps):
        start = time.perf_counter()
        for _ in range(steps):
            step = next(self.step)
            self.callbacks.on_train_batch_begin(step)
            logs = self.model.train_function(self.iterator)
            self.callbacks.on_train_batch_end(step, {key: float(value) for key, value in logs.items()})
        return (time.perf_counter() - start) / steps


def compare(title, build, x, y, batch_size, size, blocks):
    variants = {
        "none": (build(), []),
        "GradientNorms": (build(), [tfopt.callbacks.GradientNorms()]),
        "GradientNorms, update ratio": (build(), [tfopt.callbacks.GradientNorms(update_ratio=True)]),
        "NonFiniteGuard": (build(), [tfopt.callbacks.NonFiniteGuard()]),
        "second tape": (build(), [Tape(x[:batch_size], y[:batch_size])]),
        "clipping": (build(global_clipnorm=1.0), []),
        "clipping, GradientNorms": (build(global_clipnorm=1.0), [tfopt.callbacks.GradientNorms()]),
    }
    lanes = {name: Lane(model, x, y, batch_size, callbacks) for name, (model, callbacks) in variants.items()}
    times = {name: [] for name in lanes}
    order = list(lanes)
    generator = np.random.default_rng(0)
    for _ in range(blocks):
        generator.shuffle(order)
        for name in order:
            times[name].append(lanes[name].run(size))
    milliseconds = {name: [round(1e3 * value, 4) for value in values] for name, values in times.items()}
    keep("gradient_norms", title, {"milliseconds": milliseconds, "environment": environment()})
    print(f"\n{title}: {blocks} interleaved blocks of {size} steps")
    print(f"{'':28} {'fastest 5 %':>12} {'median':>12} {'ratio of medians':>17} {'of fastest':>11}")
    for name, values in times.items():
        base = times["clipping" if name.startswith("clipping") else "none"]
        low, middle = np.percentile(values, 5), np.median(values)
        print(
            f"{name:28} {1e3 * low:9.3f} ms {1e3 * middle:9.3f} ms {middle / np.median(base) - 1:+16.1%} "
            f"{low / np.percentile(base, 5) - 1:+10.1%}"
        )


def leak(fits):
    """Memory over many fits of one model with a fresh callback each, after a warm-up, beside plain fits."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(128, 20)).astype("float32"), generator.integers(0, 3, 128)
    print(f"\nmemory grown over {fits} fits of one model (MB)")
    for name, make in (("plain", list), ("GradientNorms, fresh each time", lambda: [tfopt.callbacks.GradientNorms()])):
        model = mlp()
        for number in range(fits + 10):
            if number == 10:
                gc.collect()
                before = resident()
            model.fit(x, y, batch_size=32, epochs=1, verbose=0, callbacks=make())
        gc.collect()
        print(f"{name:32} {resident() - before:8.1f}")


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


generator = np.random.default_rng(0)
if arguments.only in (None, "mlp"):
    rows = generator.normal(size=(1024, 20)).astype("float32"), generator.integers(0, 3, 1024)
    compare("MLP 20-32-32-3, Adam, batch 32", mlp, *rows, 32, 20, arguments.blocks)
if arguments.only in (None, "cnn"):
    rows = generator.normal(size=(256, 28, 28, 1)).astype("float32"), generator.integers(0, 10, 256)
    compare("two convolutions, 28×28, Adam, batch 64", cnn, *rows, 64, 2, max(10, arguments.blocks // 3))
if arguments.only in (None, "leak"):
    leak(arguments.fits)
