"""The one error that means "what you asked for cannot be done": its text says what, where, and what to do."""

import difflib
import errno
import os
import re
import shlex
from collections.abc import Iterable

from tfopt._escape import printable


class UserError(ValueError):
    """A mistake in the user's input; the command line prints it as one line and exits with 2."""

    def __str__(self) -> str:
        return printable(" ".join(super().__str__().split("\n")))


def command(*words: object) -> str:
    """Return a command of `tfopt` as a line that can be pasted into a shell, whatever the names in it hold."""
    return shlex.join(["tfopt", *map(str, words)])


def with_name(option: str, name: str, kind: str = "") -> str:
    """Return an option that takes names with one of them, and its kind, as it can be pasted into a shell."""
    return f"{option} {shlex.quote(listed([f'{name}={kind}' if kind else name]))}"


def listed(names: Iterable[str]) -> str:
    """Return names as one option takes them: with commas, in double quotes where a name itself has one."""
    return ",".join(
        '"' + name.replace('"', '""') + '"' if "," in name or name != name.strip() or name.startswith('"') else name
        for name in names
    )


class CannotStack(ValueError):
    """A model or request that cannot be trained in a stack of members; the message says why, in one line."""


_REMEDIES = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space",
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f)",
    errno.EROFS: "Name a place that can be written",
    errno.EACCES: "Name a place that may be written and read",
    errno.EPERM: "Name a place that may be written and read",
    errno.ENAMETOOLONG: "Choose a shorter name",
    errno.EMFILE: "Raise the limit on open files (ulimit -n)",
    errno.ENOMEM: "Free some memory",
    errno.EISDIR: "Remove that folder",
    errno.ELOOP: "Remove that link",
    errno.EIO: "Check the disk",
}


_NO_MEMORY = ("failed to map segment", "cannot allocate memory", "oom when allocating")  # of loaders and TensorFlow


def no_memory(error: BaseException) -> bool:
    """Return whether memory, or a limit on it, ran out: of Python, of what loads a library, or of TensorFlow."""
    return isinstance(error, MemoryError) or any(said in str(error).lower() for said in _NO_MEMORY)


def of_system(error: Exception, then: str = "") -> UserError:
    """Return what the system refused as an error for the user: which file, why, and what to do.

    Args:
        error: What was raised.
        then: What to do once the cause is gone.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        return UserError("the working folder has been deleted. Change to another folder, and give whole paths.")
    if not isinstance(error, OSError):
        what, remedy = "memory ran out", "Free some, raise its limit (ulimit -v), or take fewer --workers"
    elif error.errno == errno.ENOENT and error.filename is None and "temporary directory" in str(error):
        what, remedy = "there is no place for temporary files", "Free some space, or name a folder in TMPDIR"
    else:
        said = error.strerror or one_line(str(error))
        what = (
            f"{os.fsdecode(error.filename)}: {said}" if isinstance(error.filename, str | bytes | os.PathLike) else said
        )
        if len(what) > 300:
            what = f"{what[:100]} … {what[-100:]}"
        remedy = _REMEDIES.get(error.errno or 0, "Check that the place is there and can be written")
    return UserError(f"{what}. {remedy}{f', then {then}' if then else '.'}")


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the choice most like `name`, or ``""`` when none is close."""
    names = sorted(choices)  # a folder's entries come in any order
    matches = [choice for choice in names if choice.lower() == name.lower()]
    matches = matches or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    # `--trails` is near one word of `--max-trials`, nearer than the whole of `--task` is.
    word, words = name.strip("-"), {part: choice for choice in names for part in re.split(r"[-_ ]", choice.strip("-"))}
    parts = difflib.get_close_matches(word, words, n=1, cutoff=0.8)
    if parts and (not matches or _likeness(word, parts[0]) > _likeness(name, matches[0])):
        matches = [words[parts[0]]]
    return f" Did you mean {matches[0]!r}?" if matches else ""


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()


def one_line(failure: Exception | str) -> str:
    """Return what went wrong in one line: of a long message its beginning and its end, where TensorFlow says why.

    Of a traceback that is its last line.
    """
    text = failure if isinstance(failure, str) else f"{type(failure).__name__}: {failure}"
    text = re.split(r"\n\s*Arguments received by ", text)[0]  # after which Keras lists what is not the cause
    text = re.sub(r"\x1b\[\d*m", "", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no reason was recorded"]
    if lines[0].startswith("Traceback "):
        return lines[-1]
    return lines[0] if len(lines) == 1 else f"{lines[0]} … {lines[-1]}"
