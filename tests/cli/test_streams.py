"""What happens to standard output and standard error never ends a command's work."""

import io
import os
import subprocess
import sys

import pytest

from tfopt.cli.streams import Forgiving

FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
MODULE = f"{sys.executable} -m tfopt"
TITLE = "import sys; sys.path.insert(0, '.'); from tfopt.cli.streams import protect; protect()"


def shell(command: str, **environment: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "TFOPT_LAZY": "1", **environment}
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment, timeout=120)


def test_closed_streams_are_nobodys():
    assert shell(f"{MODULE} --version 2>&-").stdout.startswith("tfopt ")
    assert shell(f"{MODULE} nothing 2>&-").returncode == 2
    assert shell(f"{MODULE} --version >&-").returncode == 0


def test_the_number_of_a_closed_stream_is_not_given_to_the_next_file(tmp_path):
    kept = tmp_path / "kept.txt"
    program = f"{TITLE}; file = open({str(kept)!r}, 'w'); print('lost', file=sys.stderr); file.write('whole')"
    assert shell(f'{sys.executable} -c "{program}" 2>&-').returncode == 0
    assert kept.read_text() == "whole"


def test_characters_that_an_encoding_lacks_are_replaced():
    done = shell(f"{sys.executable} -c \"{TITLE}; print('0.3 … 0.7')\"", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, "0.3 ? 0.7\n")


@FULL
def test_a_full_standard_error_ends_nothing():
    program = f"{TITLE}; print('x' * 100_000, file=sys.stderr, flush=True); print('done')"
    done = shell(f'{sys.executable} -c "{program}" 2>/dev/full')
    assert (done.returncode, done.stdout) == (0, "done\n")


@FULL
def test_a_full_standard_output_is_an_error_that_says_so():
    done = shell(f"{MODULE} --version >/dev/full")
    assert done.stderr == "error: standard output could not be written (No space left on device). Send it elsewhere.\n"
    assert done.returncode == 1


def test_a_reader_that_has_left_is_no_failure_for_messages():
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    stream = Forgiving(Gone())
    assert stream.write("text") == 4
    stream.writelines(["a", "b"])
    stream.flush()
    assert stream.isatty() is False
