"""Runs programs in forks of a process that has loaded Keras and nothing of tfopt: loading it takes seconds each time.

Reads a line of JSON for each program: its text, its arguments, its folder, and the files of its output and its errors.
Writes a line with the exit code.
"""

import atexit
import json
import os
import signal
import sys
import traceback
import types

import keras  # noqa: F401

SECONDS = 600  # of a program: then it is ended


def run(program: str, arguments: list[str], folder: str, output: str, errors: str) -> int:
    """Run a program as `python -c` does, in this process."""
    signal.alarm(SECONDS)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in ((1, output), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.chdir(folder)
    sys.argv, sys.path[0] = ["-c", *arguments], ""
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        exec(compile(program, "<string>", "exec"), vars(main))
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                code = run(*json.loads(line))
            finally:
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
