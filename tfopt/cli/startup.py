"""Importing TensorFlow without its start-up chatter on the user's terminal."""

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfopt.devices import DeviceReport

# What TensorFlow writes to file descriptor 2 by itself, before its log level is read.
_CHATTER = re.compile(
    rb"^(WARNING: All log messages before absl::InitializeLog\(\)|[IWE]0000 |[IWE]\d{4} \d\d:\d\d:\d\d|"
    rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] |To enable the following instructions)"
)


@contextlib.contextmanager
def start(
    device: str = "auto", precision: str = "float32", deterministic: bool = False, debug: bool = False
) -> Iterator["DeviceReport"]:
    """Set up the devices and import tfopt's Keras classes; further imports go into the body of the `with`.

    Args:
        device: As for `tfopt.devices.configure`.
        precision: As for `tfopt.devices.configure`.
        deterministic: As for `tfopt.devices.configure`.
        debug: Whether TensorFlow may say all it wants.
    """
    if not debug:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        # Python's half of TensorFlow's log: it warns of retracing, which a search over shapes does all the time.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with contextlib.nullcontext() if debug else quiet_stderr():
        import tfopt
        from tfopt import devices

        report = devices.configure(device, precision, deterministic)
        import keras

        keras.config.disable_interactive_logging()  # Keras's own progress bar goes to standard output
        tfopt.register()
        yield report


def is_chatter(line: bytes) -> bool:
    """Return whether TensorFlow writes such a line by itself when it starts."""
    return _CHATTER.match(line) is not None


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, and let out at the end whatever is not TensorFlow's chatter."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            held.seek(0)
            for line in held:
                if not is_chatter(line):
                    os.write(2, line)
