"""Schedules written in one line, as on the command line: ``warmup(500) + cosine(9500)``."""

import ast
import inspect
from collections.abc import Mapping
from typing import Any

from tfopt.errors import UserError, nearest
from tfopt.schedules.composition import Product, Sequence
from tfopt.schedules.registry import check_argument_names, names, schedule_class
from tfopt.schedules.schedule import Schedule
from tfopt.schedules.warmup import Warmup


def parse(
    text: str, learning_rate: float = 1.0, total_steps: int = 1000, parameters: Mapping[str, Any] | None = None
) -> Schedule:
    """Return the schedule of an expression.

    A name alone, with or without arguments in brackets, is a family fitted to what is left of `total_steps`. A first
    number in brackets is its length in steps. ``a + b`` runs b after a; a ``warmup(n)`` before something warms up to
    it. ``a * b`` multiplies, also with a number.

    Args:
        text: Such as ``"cosine"``, ``"step(decay_rate=0.5)"``, ``"warmup(500) + cosine(9500)"`` or
            ``"0.5 * linear(100)"``.
        learning_rate: Float ≥ 0: the highest value of each family.
        total_steps: Int ≥ 1: the steps of all parts together.
        parameters: Further arguments, given to each part that knows them.

    Raises:
        UserError: The expression cannot be read, or a name or an argument is unknown (the nearest one is named).
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise UserError(f"cannot read the schedule {text!r}. Write it as in 'warmup(500) + cosine(9500)'.") from None
    parameters = parameters or {}
    reader = _Reader(text, learning_rate, dict(parameters))
    parts = [reader.part(node) for node in _summands(tree)]
    schedule = reader.joined(parts, total_steps)
    unused = set(parameters) - reader.used
    if unused:
        name = sorted(unused)[0]
        raise UserError(f"no part of {text!r} has an argument {name!r}.{nearest(name, reader.known)}")
    return schedule


class _Part:
    """One summand: how long it is, if it says so, and how to make it of a length."""

    def __init__(self, steps: int | None, make: Any, is_warmup: bool = False):
        self.steps, self.make, self.is_warmup = steps, make, is_warmup


class _Reader:
    def __init__(self, text: str, learning_rate: float, parameters: dict[str, Any]):
        self.text, self.learning_rate, self.parameters = text, learning_rate, parameters
        self.used: set[str] = set()
        self.known: set[str] = set()

    def part(self, node: ast.expr) -> _Part:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            factors = [self.part(factor) for factor in (node.left, node.right)]
            steps = max((factor.steps for factor in factors if factor.steps is not None), default=None)
            return _Part(steps, lambda total: Product([factor.make(factor.steps or total) for factor in factors]))
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            return _Part(None, lambda total: Product([float(node.value)]))
        if isinstance(node, ast.Name):
            return self.call(node.id, [], {})
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            keywords = {str(keyword.arg): self.value(keyword.value) for keyword in node.keywords}
            return self.call(node.func.id, [self.value(argument) for argument in node.args], keywords)
        raise UserError(
            f"cannot read {ast.unparse(node)!r} in the schedule {self.text!r}. Write it as in 'warmup(500) + "
            "cosine(9500, alpha=0.1)'."
        )

    def value(self, node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node)
        except ValueError:
            raise UserError(f"{ast.unparse(node)!r} in the schedule {self.text!r} is not a plain value.") from None

    def call(self, name: str, positional: list[Any], keywords: dict[str, Any]) -> _Part:
        steps = positional[0] if positional else None
        if len(positional) > 1 or (steps is not None and (not isinstance(steps, int) or steps < 1)):
            raise UserError(
                f"{name} takes one length in steps; its other arguments go by name. Received: "
                f"{name}({', '.join(map(str, positional))}) in {self.text!r}."
            )
        if name == "warmup":
            arguments = self.arguments(Warmup, keywords)
            return _Part(steps, lambda total: arguments, is_warmup=True)
        warms_up = name.startswith("warmup_") and name not in names()
        family = name.removeprefix("warmup_") if warms_up else name
        if family not in names():
            hint = nearest(name, [*names(), "warmup"])
            raise UserError(f"unknown schedule {name!r}.{hint} `tfopt plot-schedule --list` shows all.")
        cls = schedule_class(family)
        own_warmup = {} if not warms_up else self.arguments(Warmup, {}, only=("warmup_steps", "shape"))
        arguments = self.arguments(cls, keywords, without=own_warmup)

        def make(total: int) -> Schedule:
            warmup = min(int(own_warmup.get("warmup_steps", max(1, total // 10))), total - 1) if warms_up else 0
            schedule = cls.for_total(self.learning_rate, total - warmup, **arguments)
            return (
                Warmup(schedule, warmup, **{k: v for k, v in own_warmup.items() if k == "shape"})
                if warmup
                else schedule
            )

        return _Part(steps, make)

    def arguments(self, cls: Any, keywords: dict[str, Any], only: Any = None, without: Any = ()) -> dict[str, Any]:
        allowed = [name for name in inspect.signature(cls).parameters if name not in ("schedule", "schedules", "name")]
        allowed = [name for name in allowed if (only is None or name in only) and name not in without]
        self.known.update(allowed)
        try:
            check_argument_names(cls, keywords)
        except ValueError as error:
            raise UserError(str(error)) from None
        shared = {name: value for name, value in self.parameters.items() if name in allowed}
        self.used.update(shared)
        return shared | keywords

    def joined(self, parts: list[_Part], total_steps: int) -> Schedule:
        given = sum(part.steps or 0 for part in parts)
        open_ended = [part for part in parts if part.steps is None]
        left = total_steps - given
        if open_ended and left < len(open_ended):
            raise UserError(
                f"the parts of {self.text!r} that say their length take {given} steps of {total_steps}. Raise --steps."
            )
        lengths = [part.steps or left // len(open_ended) for part in parts]
        made: list[Schedule] = []
        starts: list[int] = []
        place, warmup = 0, None
        try:
            for part, length in zip(parts, lengths, strict=True):
                if part.is_warmup:
                    warmup = (length, part.make(length))
                    continue
                schedule, begin = part.make(length), place
                if warmup is not None:
                    schedule = Warmup(schedule, **{"warmup_steps": warmup[0]} | warmup[1])
                    length, warmup = length + warmup[0], None
                made.append(schedule)
                starts.append(begin)
                place += length
            if warmup is not None:
                made.append(Warmup(self.learning_rate, **{"warmup_steps": warmup[0]} | warmup[1]))
                starts.append(place)
            return made[0] if len(made) == 1 else Sequence(made, starts[1:])
        except (ValueError, TypeError) as error:
            raise UserError(f"{self.text!r}: {error}") from None


def _summands(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*_summands(node.left), *_summands(node.right)]
    return [node]
