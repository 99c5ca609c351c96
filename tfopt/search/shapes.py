"""What the files of a run hold, so that a damaged one is told from a whole one before it is used."""

import dataclasses
import functools
import json
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from tfopt.data.column import Column
from tfopt.search.config import SearchConfig

# A shape is a type, None for null, a list of one shape, a tuple of shapes of which one must fit, an `Object`, or `ANY`.
ANY = object
NUMBER = (float, None)
TEXT = (str, None)


@dataclass(frozen=True)
class Object:
    """The shape of a JSON object.

    Args:
        needed: Shapes of the values that must be there, by name.
        known: Shapes of the values that may be there.
        others: Shape of the values of all other names; None if there must be no others.
    """

    needed: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, Any] = field(default_factory=dict)
    others: Any = ANY


def misfit(value: Any, shape: Any, where: str = "") -> str | None:
    """Return in words what is wrong with a value that was read from JSON; None if nothing is."""
    if isinstance(shape, tuple):
        found = [misfit(value, each, where) for each in shape]
        return None if None in found else found[0]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _must_be(where, "a list", value)
        return _first(misfit(item, shape[0], f"{where}[{place}]") for place, item in enumerate(value))
    if isinstance(shape, Object):
        if not isinstance(value, dict):
            return _must_be(where, "an object", value)
        inner = f"{where}." if where else ""
        absent = next((name for name in shape.needed if name not in value), None)
        if absent is not None:
            return f"`{inner}{absent}` is missing"
        shapes = {**shape.needed, **shape.known}
        unknown = next((name for name in value if name not in shapes), None)
        if unknown is not None and shape.others is None:
            return f"`{inner}{unknown}` does not belong there"
        return _first(misfit(item, shapes.get(name, shape.others), f"{inner}{name}") for name, item in value.items())
    if shape is None:
        return None if value is None else _must_be(where, "null", value)
    fits = isinstance(value, (int, float) if shape is float else shape)
    if fits and (shape in (bool, ANY) or not isinstance(value, bool)):
        return None
    return _must_be(where, _WORDS[shape], value)


_WORDS = {str: "text", float: "a number", int: "a whole number", bool: "true or false"}


def _must_be(where: str, what: str, value: Any) -> str:
    received = json.dumps(value, ensure_ascii=False)
    return f"{f'`{where}`' if where else 'it'} must be {what}, not {received[:40]}{'…' * (len(received) > 40)}"


def _first(found: Any) -> str | None:
    return next((each for each in found if each is not None), None)


@functools.cache
def of_dataclass(kind: type) -> Object:
    """Return the shape of a dataclass of plain values as JSON; those that have no default are needed."""
    shapes = {name: _of_hint(hint) for name, hint in get_type_hints(kind).items()}
    needed = {f.name: shapes[f.name] for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING}
    return Object(needed, {name: shape for name, shape in shapes.items() if name not in needed}, others=None)


def _of_hint(hint: Any) -> Any:
    if get_origin(hint) in (types.UnionType, Union):
        return tuple(map(_of_hint, get_args(hint)))
    if get_origin(hint) is tuple:
        return [_of_hint(get_args(hint)[0])]
    if get_origin(hint) is Literal:
        return str
    return None if hint is type(None) else hint


_COLUMN = of_dataclass(Column)
_PART = Object(
    {**dict.fromkeys(("name", "dtype", "kind"), str), "shape": [int]},
    {"vocabulary_size": int, "length": int, "split": str},
    None,
)
_SERIES = Object({"columns": [_COLUMN], "time": (_COLUMN, None), "step": float, "frequency": str}, others=None)
_INTERVAL = Object({"mean": NUMBER, "low": NUMBER, "high": NUMBER})
_VALUES = Object(others=(str, float, bool, None))
_FOLD = (int, str)
_FITS = [Object({"engine": str, "reason": str, "seconds": float})]
_MEMBERS = [Object({"weight": float, "values": _VALUES})]
_CURVE = Object(known={"loss": [NUMBER], "val_loss": [NUMBER], "learning_rate": [NUMBER]}, others=[NUMBER])
_EFFECTS = Object({"drops": Object(others=NUMBER), "effects": Object(others=[[NUMBER]])})

FILES: Mapping[str, Object] = {
    "config.json": of_dataclass(SearchConfig),
    "environment.json": Object(
        known={
            "data": Object(
                known={
                    **dict.fromkeys(("name", "source", "sha256"), str),
                    **{name: [str] for name in ("ignored", "identifiers", "source_columns", "classes")},
                    **{name: [_COLUMN] for name in ("columns", "target_columns")},
                    "rows": int,
                    "inputs": Object({"form": str, "parts": [_PART]}, {"series": _SERIES}),
                }
            ),
            "sources": Object(others=str),
            "versions": Object(others=TEXT),
            "platform": str,
            "cores": (int, None),
            "device": Object(others=(str, bool, None)),
            "command": [str],
            "started": str,
        }
    ),
    "result.json": Object(
        {
            "leaderboard": [
                Object(
                    {"model": str, "kind": str, "score": NUMBER, "low": NUMBER, "high": NUMBER},
                    {"num_members": int},
                    others=NUMBER,
                )
            ],
            "verdict": TEXT,
        },
        {
            **dict.fromkeys(("data", "task", "objective", "method", "why", "outcome", "run_folder"), str),
            **dict.fromkeys(("network", "best_baseline", "recommended", "final_failure", "engines"), TEXT),
            "rows": int,
            "rope": NUMBER,
            "seconds": float,
            "greater_is_better": bool,
            "negated": bool,
            "trials": Object({"completed": int, "failed": int, "first_failure": TEXT}),
            "best_network": (_VALUES, None),
            "ensemble": _MEMBERS,
            "chosen": Object(others=_VALUES),
            "notes": [str],
        },
    ),
    "importance.json": Object(
        {
            "models": Object(others=str),
            "outputs": [str],
            "columns": [Object({"column": str, "kind": str}, {"network": _INTERVAL, "baseline": _INTERVAL})],
            "effects": [
                Object(
                    {"column": str, "values": [ANY]},
                    {"network": ([[NUMBER]], None), "baseline": ([[NUMBER]], None)},
                )
            ],
        },
        {"objective": str, "sorted_by": str, "rows": int, "repeats": int},
    ),
}

# The lines of trials.jsonl, by their `kind`.
RECORDS: Mapping[str, Object] = {
    "trial": Object(
        {
            "fold": _FOLD,
            "trial_id": str,
            "values": _VALUES,
            "status": str,
            "score": NUMBER,
            "inner_scores": [NUMBER],
            "epochs": [int],
            "seconds": float,
            "message": TEXT,
            "curve": _CURVE,
            "fits": _FITS,
        },
        {"predictions": str},
    ),
    "refit": Object(
        {
            "fold": _FOLD,
            "values": _VALUES,
            "scores": [NUMBER],
            "fit_seconds": NUMBER,
            "predict_seconds": NUMBER,
            "predictions": str,
            "fits": _FITS,
        },
        {"importance": (_EFFECTS, None)},
    ),
    "baseline": Object(
        {
            "model": str,
            "fold": _FOLD,
            **dict.fromkeys(("score", "inner_score", "default_score"), NUMBER),
            "chosen": _VALUES,
            "num_configurations": int,
            **dict.fromkeys(("tune_seconds", "fit_seconds", "predict_seconds"), NUMBER),
        }
    ),
    "final": Object({"values": _VALUES, "curve": _CURVE, "fits": _FITS}),
    "final ensemble": Object({"members": _MEMBERS, "fits": _FITS}),
    "final baseline": Object({"model": str, "parameters": _VALUES, "seconds": float}),
    "importance": Object({"model": str, "fold": _FOLD, "found": _EFFECTS}),
}
