"""`tfopt <verb>`: finds the verb's module, runs it, and turns whatever happens into an exit code.

A verb is one line in `VERBS` and a module `tfopt/cli/<verb>.py` (`-` becomes `_`) with a docstring whose first
paragraph describes it, `add_arguments(parser)`, `run(arguments) -> int`, and, if wanted, `EXAMPLES` and `USAGE`.
"""

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType

from tfopt import __version__
from tfopt._escape import printable
from tfopt.cli import streams
from tfopt.cli.parser import Parser
from tfopt.errors import UserError, nearest, no_memory, of_system

VERBS = {
    "search": "tune networks beside scikit-learn models on a table, and say which is better",
    "predict": "write a run's predictions for the rows of a table",
    "show": "print a run's leaderboard and what each model chose, or a model as a program",
    "ablate": "say which ingredients of a network help on a table",
    "report": "draw the figures and the HTML report of a run",
    "diagnose": "say what is wrong with a training run, from its log",
    "plot-schedule": "draw learning-rate schedules, in the terminal or as a picture",
    "lr-find": "suggest a learning rate for a saved model or a small network on a table",
    "recipes": "list or run the experiments that test what the textbooks claim",
    "doctor": "check that this machine can search: versions, devices, one real trial",
    "completion": "print what completes these commands in bash, zsh or fish",
}

DONE, UNEXPECTED, USAGE, NO_TRIAL, NO_NETWORK, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 4, 130, 143
_BROKEN_PIPE = 141

_WHAT = "How should this Keras model be optimised, and is it then better than the simple thing?"
_BEGIN = """
  tfopt search diabetes                    an embedded data set, in under two minutes
  tfopt search table.csv --target price    a table of your own
  tfopt recipes run dropout                a textbook's claim, tested
  tfopt doctor                             when something does not work
"""
_EXIT_CODES = (
    "exit codes: 0 done, 1 unexpected failure, 2 usage or bad data, 3 no trial completed, "
    "4 no network could be exported, 130 interrupted"
)


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends the work where Ctrl-C would."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: Arguments after the program's name; None for the process's own.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    if argv is None:
        streams.protect()
        signal.signal(signal.SIGTERM, _terminate)
    try:
        try:
            code = _dispatch(words)
        except SystemExit as ended:  # --help and --version
            code = ended.code if isinstance(ended.code, int) else DONE
        return code if _flushed() else max(code, UNEXPECTED)
    except UserError as error:
        return _fail(USAGE, str(error), debug)
    except KeyboardInterrupt as error:
        terminated = isinstance(error, Terminated)
        hint = f"; {error}" if str(error) else ""  # what was interrupted knows best how to go on
        print(printable(f"{'terminated' if terminated else 'interrupted'}{hint}"), file=sys.stderr)
        return TERMINATED if terminated else INTERRUPTED
    except BrokenPipeError:
        # The reader has left, as in `tfopt … | head`. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except OSError as error:
        return _fail(USAGE, str(of_system(error)), debug)
    except Exception as error:
        if no_memory(error):
            return _fail(USAGE, str(of_system(error)), debug)
        what = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
        return _fail(UNEXPECTED, f"unexpected {what}; run with --debug for the traceback", debug)


def _dispatch(words: list[str]) -> int:
    leading = []
    while words and words[0].startswith("-"):
        leading.append(words.pop(0))
    parser = top_parser()
    if not words:
        arguments, unknown = parser.parse_known_args(leading)
        if unknown:
            raise UserError(
                f"unknown option {unknown[0]}.{nearest(unknown[0], parser.flags())} `tfopt --help` lists them."
            )
        print(f"{_WHAT}\n{_BEGIN}\nAll commands: tfopt --help")
        return DONE
    verb = words.pop(0)
    if verb not in VERBS:
        raise UserError(f"unknown command {verb!r}.{nearest(verb, VERBS)} Commands: {', '.join(VERBS)}.")
    module = importlib.import_module(f"tfopt.cli.{verb.replace('-', '_')}")
    arguments = verb_parser(verb, module).parse(leading + words)
    from tfopt.cli import console  # rich and logging are for commands that run, not for --help

    with console.messages(arguments):
        return module.run(arguments)


def verb_parser(verb: str, module: ModuleType) -> Parser:
    """Return the parser of one verb, with the options that every verb has."""
    parser = Parser(
        prog=f"tfopt {verb}",
        usage=getattr(module, "USAGE", None),
        description=(module.__doc__ or "").split("\n\n")[0].replace("`", ""),
        examples=getattr(module, "EXAMPLES", ""),
    )
    module.add_arguments(parser)
    _add_common(parser)
    return parser


def top_parser() -> Parser:
    """Return the parser of what stands before a verb."""
    width = max(map(len, VERBS)) + 2
    commands = "".join(f"  {verb:<{width}}{summary}\n" for verb, summary in VERBS.items())
    parser = Parser(
        prog="tfopt",
        usage="tfopt COMMAND [options]",
        description=_WHAT,
        examples=_BEGIN,
        epilog=f"commands:\n{commands}\n`tfopt COMMAND --help` shows a command's options.\n{_EXIT_CODES}",
    )
    _add_common(parser)
    return parser


def _add_common(parser: Parser) -> None:
    group = parser.add_argument_group("messages")
    group.add_argument("-h", "--help", action="help", help="show this and exit")
    group.add_argument("--version", action="version", version=f"tfopt {__version__}", help="print the version and exit")
    group.add_argument("-v", "--verbose", action="count", default=0, help="say more on standard error")
    group.add_argument("-q", "--quiet", action="store_true", help="say nothing on standard error but errors")
    group.add_argument("--no-progress", action="store_true", help="no progress bar; a line a finished unit instead")
    group.add_argument("--debug", action="store_true", help="show the traceback of a failure, and every log line")


def _flushed() -> bool:
    """Whether all of a command's output has been written; says so if not."""
    sys.stdout.flush()
    failure = getattr(sys.stdout, "failure", None)
    if failure is None:
        return True
    why = getattr(failure, "strerror", None) or failure
    print(f"error: standard output could not be written ({why}). Send it elsewhere.", file=sys.stderr)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python would complain again when it flushes at exit
    return False


def _fail(code: int, message: str, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"error: {printable(' '.join(message.splitlines()))}", file=sys.stderr)
    return code


def _terminate(signum: int, frame: object) -> None:
    raise Terminated
