"""What the builds of a search have shown so far: which numbers vary, and which hyperparameters are seen at all."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from tfopt.search.engines.request import Build, FitRequest
from tfopt.search.engines.rows import Table
from tfopt.search.engines.shadow import EmptySlots, Shadow, cast_shadow, hidden, key

_log = logging.getLogger("tfopt")


class ShadowBook:
    """Casts shadows and remembers what they show.

    Args:
        build: Returns the compiled model of a configuration.
        table: Training rows, for their shapes.
        probe: Whether to look for hyperparameters that act without a trace in the model, at a build or two for each.

    Attributes:
        live: For each structure, the paths of the numbers that differ between its configurations.
        examples: For each structure, configurations that showed this, with their shadows.
        structures: Of each configuration that was built, by `key`.
    """

    def __init__(self, build: Build, table: Table, probe: bool = True):
        self._build, self._table, self._probe = build, table, probe
        self.live: dict[str, set[str]] = defaultdict(set)
        self.examples: dict[str, list[tuple[FitRequest, Shadow]]] = defaultdict(list)
        self.structures: dict[Any, str] = {}
        self._shown: set[str] = set()  # hyperparameters that are seen in the models
        self._slots = EmptySlots()

    def cast(self, request: FitRequest) -> Shadow | Exception:
        """Return the shadow of a request, or what its build raised."""
        try:
            shadow = cast_shadow(self._build, request, self._table, self._slots)[0]
        except Exception as error:
            _log.debug("building failed", exc_info=True)
            return error
        self._note(request, shadow)
        return shadow

    def hiding(self, cast: Sequence[tuple[FitRequest, Shadow]]) -> str | None:
        """Return which hyperparameters of these requests do something that no model shows; None if none does."""
        if not self._probe:
            return None
        earlier = [pair for pairs in self.examples.values() for pair in pairs]
        names = hidden(self._build, [*earlier, *cast], self._table, self._shown, self._slots)
        if not names:
            return None
        listed = ", ".join(map(repr, names))
        return f"changing {listed} changes nothing that can be seen in the model that `build` returns"

    def _note(self, request: FitRequest, shadow: Shadow) -> None:
        self.structures[key(request.hyperparameters)] = shadow.signature
        examples = self.examples[shadow.signature]
        first = examples[0][1].numbers if examples else shadow.numbers
        differing = {path for path, number in shadow.numbers.items() if number != first[path]}
        if not examples or not differing <= self.live[shadow.signature]:
            examples.append((request, shadow))
        self.live[shadow.signature] |= differing
