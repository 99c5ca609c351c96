"""What was guessed while a table was read, for saying aloud: one note for each kind of guess."""

from collections.abc import Collection, Iterable

from tfopt.data.spelling import quoted
from tfopt.errors import with_name

_LISTED = 4


class Guesses:
    """Collects guesses about columns and words them, columns of one kind together."""

    def __init__(self) -> None:
        self._always: set[str] = set()
        self._groups: dict[tuple[str, str], list[tuple[str, str]]] = {}

    def add(self, what: str, name: str, detail: str, otherwise: str, always: bool = False) -> None:
        """Add a guess.

        Args:
            what: The kind of guess, such as `"read as numbers with thousands commas"`.
            name: The column.
            detail: How many cells, with an example.
            otherwise: The kind for `--column NAME=KIND` that says otherwise.
            always: Whether it is said of a column that is dropped, too.
        """
        if always:
            self._always.add(what)
        self._groups.setdefault((what, otherwise), []).append((name, detail))

    def notes(self, names: Collection[str]) -> list[str]:
        """Return one sentence for each kind of guess about these columns, and for what is guessed of any column."""
        notes = []
        for (what, kind), guesses in self._groups.items():
            kept = [(name, detail) for name, detail in guesses if name in names or what in self._always]
            if kept:
                listed = shown((f"{quoted(name)} ({detail})" for name, detail in kept), _LISTED)
                flag = with_name("--column", kept[0][0] if len(kept) == 1 else "NAME", kind)
                notes.append(f"{what}: {listed}; change with {flag}")
        return notes


def shown(names: Iterable[str], most: int = 8) -> str:
    """Return a list of names for a message, shortened when it is long."""
    words = [name if len(name) <= 200 else name[:199] + "…" for name in names]
    return ", ".join(words[:most]) + (f" … ({len(words)} in all)" if len(words) > most else "")


def cells(count: int) -> str:
    """Return `1 cell` or `1,234 cells`."""
    return f"{count:,} cell{'s' * (count != 1)}"
