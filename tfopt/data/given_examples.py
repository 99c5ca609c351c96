"""Arrays as a user gives them made into examples: checked, in the types that TensorFlow takes, with their task."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfopt.data.examples import ExampleSet, Kind, Nest, each, kind_of, named, put_together
from tfopt.data.guesses import shown
from tfopt.data.spelling import quoted
from tfopt.errors import UserError, nearest

_MOST_NUMBERED_CLASSES = 20


def examples_of(
    x: Any,
    y: Any,
    *,
    source: str,
    name: str = "examples",
    task: str = "auto",
    kind: Kind | None = None,
    target: str | None = None,
    classes: Sequence[str] = (),
    weights: Any = None,
    test_rows: np.ndarray | None = None,
    notes: Sequence[str] = (),
) -> ExampleSet:
    """Return arrays as examples for a search, or complain about them in one line that names their source.

    Args:
        x: Inputs: what makes an array, or a dict, tuple or list of such, each with a row for each example. Text is
            `str`.
        y: Targets, likewise: numbers, class labels or codes, one-hot rows; of several, one is compared.
        source: What errors name.
        name: Short name for reports.
        task: `"regression"`, `"classification"`, or `"auto"` to tell from the target.
        kind: `"image"`, `"sequence"`, `"text"` or `"other"`; None to tell from shape and type.
        target: Which of several targets is compared; None for the first.
        classes: Labels of the codes in `y`; empty for the codes themselves.
        weights: (rows,) weights of the examples; None for equal ones.
        test_rows: Examples that are set apart for testing.
        notes: What was guessed before.

    Raises:
        UserError: The arrays cannot be used.

    Example:
        ```python
        x = {"left": np.zeros((6, 4), "float32"), "right": np.zeros((6, 2, 3), "float32")}
        examples = tfopt.data.examples_of(x, [0.5, 1.0, 1.5, 2.0, 2.5, 3.0], source="pairs")
        print(examples.task, len(examples.columns))  # regression 10
        ```
    """
    said = list(notes)
    x = _nest(x, "x", source)
    rows = _number(x, "x", source)
    targets = _nest(y, "y", source)
    if _number(targets, "y", source) != rows:
        count = _number(targets, "y", source)
        raise UserError(f"x has {rows:,} examples and y {count:,} ({source}). Give both a row for each example.")
    if rows < 2:
        raise UserError(f"one example only ({source}). A comparison needs one for training and one for testing.")
    if kind is None:
        kind = kind_of(x)
        if not isinstance(x, dict | tuple) and x.dtype == np.uint8 and x.ndim == 3:
            kind = "image"
    if kind == "image" and not isinstance(x, dict | tuple) and x.ndim == 3:
        x = x[..., None]
    place, values, others = _chosen(targets, target, source, said)
    found_task, codes, labels = _target(values, task, list(classes), source, said)
    word = "class" if found_task == "classification" and place is None else "y"
    return put_together(
        x,
        codes,
        name=name,
        source=source,
        task=found_task,
        classes=labels,
        kind=kind,
        target_name=word if place is None else f"y{place}" if isinstance(place, int) else place,
        shape=values.shape[1:] if found_task == "regression" else (),
        other_targets=others,
        target_place=place,
        test_rows=test_rows,
        weights=_weights(weights, rows, source),
        notes=said,
    )


def inputs_like(x: Any, parts: Any, source: str) -> Nest:
    """Return new inputs in the form of those that a model was trained on.

    Args:
        x: As for `examples_of`.
        parts: What each array was, as `ExampleSet.parts`.
        source: What errors name.

    Raises:
        UserError: They are of another form.
    """
    x = _nest(x, "x", source)
    if isinstance(parts, dict):
        if not isinstance(x, dict) or set(parts) - set(x):
            held = shown(map(quoted, x)) if isinstance(x, dict) else "one array"
            raise UserError(f"the model takes the inputs {shown(map(quoted, parts))} ({source} holds {held}).")
        x = {name: x[name] for name in parts}
    elif isinstance(parts, tuple) and (not isinstance(x, tuple) or len(x) != len(parts)):
        raise UserError(f"the model takes {len(parts)} inputs ({source} holds {len(named(x))}).")
    elif not isinstance(parts, tuple) and isinstance(x, dict | tuple):
        raise UserError(f"the model takes one input ({source} holds {len(x)}).")
    _number(x, "x", source)

    def fitted(part: Any, array: np.ndarray) -> np.ndarray:
        if array.dtype.kind != "O" and array.ndim == len(part.shape) and part.shape[-1:] == (1,):
            array = array[..., None]  # images of one channel
        if array.shape[1:] != part.shape or (array.dtype.kind == "O") != (part.dtype == "string"):
            what = f"input {quoted(part.name)}" if part.name else "the inputs"
            raise UserError(
                f"{what} have shape {array.shape[1:]} of {_type_name(array)}, and the model was trained on "
                f"{part.shape} of {part.dtype} ({source}). Give them in that form."
            )
        return array if array.dtype.kind == "O" else array.astype(part.dtype)

    return each(fitted, parts, x)


def _type_name(array: np.ndarray) -> str:
    return "text" if array.dtype.kind == "O" else str(array.dtype)


def _nest(values: Any, what: str, source: str) -> Nest:
    """Return arrays in the types that a network takes, by themselves or in a dict or tuple."""
    if isinstance(values, Mapping):
        return {str(key): _array(each_value, f"{what}[{key!r}]", source) for key, each_value in values.items()}
    if isinstance(values, tuple):
        return tuple(_array(each_value, f"{what}[{place}]", source) for place, each_value in enumerate(values))
    if isinstance(values, pd.DataFrame) and values.shape[1] > 0:
        values = values.to_numpy()
    return _array(values, what, source)


def _array(values: Any, what: str, source: str) -> np.ndarray:
    if hasattr(values, "bounding_shape"):
        raise UserError(f"{what} is ragged ({source}: a {type(values).__name__}). Pad it: `.to_tensor()`.")
    if hasattr(values, "toarray"):
        values = values.toarray()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy's about ragged lists
            array = np.asarray(values)
    except Exception:
        raise _ragged(values, what, source) from None
    if array.ndim == 0:
        raise UserError(f"{what} is no array of examples ({source}: {type(values).__name__}). Give one row each.")
    if array.dtype.kind in "SUOT":
        return _texts(array, what, source)
    if array.dtype.kind not in "biuf":
        raise UserError(f"{what} holds values of type {array.dtype} ({source}). Give numbers, truth values or text.")
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = array.astype("float64" if what.startswith("y") else "float32")
        bad = ~np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
        if bad.any():
            first = int(bad.argmax())
            kind = "NaN" if np.isnan(array[first]).any() else "infinite numbers"
            raise UserError(
                f"{what} holds {kind} in {bad.sum():,} of {len(array):,} examples ({source}: the first is number "
                f"{first + 1}). Fill them in, or leave these examples out."
            )
        return array
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "b":
        return array.astype("float32" if what.startswith("x") else "int32")
    if array.size and (int(array.max()) > 2**31 - 1 or int(array.min()) < -(2**31)):
        return array.astype("float32" if what.startswith("x") else "float64")
    return array.astype("int32")


def _texts(array: np.ndarray, what: str, source: str) -> np.ndarray:
    """Return an object array of `str`, (rows,)."""
    first = array.reshape(-1)[:1].tolist()
    if first and (hasattr(first[0], "__len__") and not isinstance(first[0], str | bytes)):
        raise _ragged(list(array), what, source)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise UserError(f"{what} holds text of shape {array.shape} ({source}). Give one text for each example.")
    cells = array.tolist()
    try:
        cells = [cell.decode("utf-8") if isinstance(cell, bytes) else cell for cell in cells]
    except UnicodeDecodeError as error:
        raise UserError(f"{what} holds bytes that are no UTF-8 ({source}: {error.reason}). Give `str`.") from None
    for place, cell in enumerate(cells):
        if not isinstance(cell, str):
            kind = "nothing" if cell is None else f"{type(cell).__name__} {cell!r}"[:60]
            raise UserError(f"{what} holds {kind} among its texts ({source}: example {place + 1}). Give text in each.")
    out = np.empty(len(cells), dtype=object)
    out[:] = cells
    return out


def _ragged(values: Any, what: str, source: str) -> UserError:
    shapes: dict[tuple[int, ...] | str, int] = {}
    for place, value in enumerate(values if hasattr(values, "__iter__") else ()):
        try:
            shapes.setdefault(np.shape(value), place + 1)
        except ValueError:
            shapes.setdefault("ragged itself", place + 1)
    listed = " and ".join(f"example {place} {shape}" for shape, place in list(shapes.items())[:2])
    return UserError(
        f"{what} is ragged: its examples differ in shape ({source}{': ' * bool(listed)}{listed}). "
        "Pad or cut them to one shape."
    )


def _number(nest: Nest, what: str, source: str) -> int:
    """Return how many examples there are."""
    lengths = {name: len(array) for name, array in named(nest)}
    if not lengths:
        raise UserError(f"{what} holds no array ({source}). Give at least one.")
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{what}[{name}] {count:,}" for name, count in lengths.items())
        raise UserError(f"the arrays of {what} differ in examples ({source}: {listed}). Give each a row for each.")
    count = next(iter(lengths.values()))
    if not count:
        raise UserError(f"no examples ({source}: {what} is empty). Add some.")
    return count


def _chosen(
    targets: Nest, wanted: str | None, source: str, said: list[str]
) -> tuple[str | int | None, np.ndarray, dict[Any, np.ndarray]]:
    """Return the place and the values of the target that is compared, and the others."""
    if not isinstance(targets, dict | tuple):
        return None, targets, {}
    places: list[Any] = list(targets) if isinstance(targets, dict) else list(range(len(targets)))
    names = {str(place): place for place in places}
    if wanted is not None and wanted not in names:
        raise UserError(
            f"no target {quoted(wanted)} for --target ({source}).{nearest(wanted, names)} "
            f"There are {shown(map(quoted, names))}."
        )
    place = places[0] if wanted is None else names[wanted]
    if wanted is None and len(places) > 1:
        said.append(f"of {len(places)} targets {str(place)!r} is compared, the first; choose another with --target")
    others = {other: _numbers(targets[other], other, source) for other in places if other != place}
    return place, targets[place], others


def _numbers(array: np.ndarray, name: Any, source: str) -> np.ndarray:
    if array.dtype.kind == "O":
        raise UserError(f"target {str(name)!r} holds text ({source}). Give numbers, or have it compared: --target.")
    return array.astype("float32") if array.dtype.kind == "f" else array


def _target(
    values: np.ndarray, task: str, classes: list[str], source: str, said: list[str]
) -> tuple[Any, np.ndarray, list[str]]:
    """Return the task, the targets as a table has them, and the classes."""
    flat = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    if task != "regression" and flat.ndim == 2 and flat.dtype.kind != "O" and _is_one_hot(flat):
        said.append(f"y is one-hot: classification of {flat.shape[1]} classes")
        labels = classes or [str(code) for code in range(flat.shape[1])]
        return _classes(flat.argmax(axis=1), labels, source)
    if task == "auto":
        task = "classification" if classes or (flat.ndim == 1 and _are_labels(flat)) else "regression"
        said.append(f"task: {task} (change with --task)")
    if task == "classification":
        if flat.ndim != 1:
            raise UserError(
                f"y has shape {values.shape} for classification ({source}). Give a label for each example, or one-hot "
                "rows; classes for each step are not compared."
            )
        if not classes:
            found = sorted(set(flat.tolist()))
            places = {label: code for code, label in enumerate(found)}
            return _classes(np.array([places[label] for label in flat.tolist()]), list(map(_label, found)), source)
        if flat.dtype.kind == "f" or (codes := flat.astype(np.int64)).min() < 0 or codes.max() >= len(classes):
            raise UserError(f"the labels do not match the {len(classes)} classes ({source}: up to {flat.max()}).")
        return _classes(codes, classes, source)
    if flat.dtype.kind == "O":
        raise UserError(f"y holds text ({source}: {quoted(str(flat[0]))}), and --task is regression. Leave it out.")
    numbers = flat.astype(np.float64).reshape(len(flat), -1)
    constant = numbers.min(axis=0) == numbers.max(axis=0)
    if constant.all():
        raise UserError(f"y is {numbers[0, 0]:g} in every example ({source}). Give another target.")
    return "regression", numbers[:, 0] if numbers.shape[1] == 1 else numbers, []


def _label(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_one_hot(flat: np.ndarray) -> bool:
    return flat.shape[1] > 1 and bool(np.isin(flat, (0, 1)).all() and (flat.sum(axis=1) == 1).all())


def _are_labels(flat: np.ndarray) -> bool:
    if flat.dtype.kind == "O":
        return True
    found = np.unique(flat)
    if not (found == np.round(found)).all():
        return False
    counted = flat.dtype.kind != "f" and found[0] == 0 and found[-1] == len(found) - 1 and 2 * len(found) <= len(flat)
    return counted or len(found) <= min(_MOST_NUMBERED_CLASSES, max(2, len(flat) // 5))


def _classes(codes: np.ndarray, labels: list[str], source: str) -> tuple[str, np.ndarray, list[str]]:
    counts = np.bincount(codes, minlength=len(labels))
    if (counts > 0).sum() < 2:
        raise UserError(f"one class only ({source}: every example is {labels[int(codes[0])]!r}). Add another class.")
    if empty := [label for label, count in zip(labels, counts, strict=True) if not count]:
        raise UserError(f"class {shown(map(quoted, empty), 3)} has no example ({source}). Add some, or leave it out.")
    return "classification", codes.astype(np.int64), labels


def _weights(values: Any, rows: int, source: str) -> np.ndarray | None:
    if values is None:
        return None
    weights = np.asarray(values, dtype=np.float64).reshape(-1)
    if len(weights) != rows or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise UserError(f"the weights must be {rows:,} numbers of 0 or more, not all 0 ({source}). Mend them.")
    return weights
