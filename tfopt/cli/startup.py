"""Importing TensorFlow without its start-up chatter on the user's terminal."""

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tfopt._private.tensorflow_messages import quiet_stderr

if TYPE_CHECKING:
    from tfopt.devices import DeviceReport
    from tfopt.training.workers import Workers


@contextlib.contextmanager
def start(
    device: str = "auto",
    precision: str = "float32",
    deterministic: bool = False,
    debug: bool = False,
    workers: "Workers | None" = None,
) -> Iterator["DeviceReport"]:
    """Set up the devices and import tfopt's Keras classes; further imports go into the body of the `with`.

    Args:
        device: As for `tfopt.devices.configure`.
        precision: As for `tfopt.devices.configure`.
        deterministic: As for `tfopt.devices.configure`.
        debug: Whether TensorFlow may say all it wants.
        workers: To be given a GPU each, if there are any; this process has the first, or all if it is the only one.
    """
    if not debug:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        # Python's half of TensorFlow's log: it warns of retracing, which a search over shapes does all the time.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with contextlib.nullcontext() if debug else quiet_stderr():
        import tfopt
        from tfopt import devices

        if workers is not None:
            device, workers.gpus = devices.one_each(device, workers.number)
        report = devices.configure(device, precision, deterministic)
        import keras

        keras.config.disable_interactive_logging()  # Keras's own progress bar goes to standard output
        tfopt.register()
        yield report
