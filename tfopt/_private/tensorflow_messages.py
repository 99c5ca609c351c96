"""What TensorFlow writes to the terminal by itself when it starts, held back."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# What TensorFlow writes to file descriptor 2 by itself, before its log level is read.
_CHATTER = re.compile(
    rb"^(WARNING: All log messages before absl::InitializeLog\(\)|[IWE]0000 |[IWE]\d{4} \d\d:\d\d:\d\d|"
    rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] |To enable the following instructions)"
)


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
