"""Where examples that are no table come from: a function of the user's own, NPZ files, Keras's pictures, digits."""

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfopt.data.example_folders import files_alone, is_folder_of_classes, read_all, read_folder
from tfopt.data.examples import ExampleSet, each, named
from tfopt.data.files import files_of, read_bytes
from tfopt.data.formats import read_arrays
from tfopt.data.given import as_series
from tfopt.data.given_examples import examples_of
from tfopt.data.guesses import shown
from tfopt.data.raw import stem
from tfopt.data.spelling import quoted
from tfopt.data.unpacking import MAX_UNPACKED
from tfopt.data.user_file import held, is_own_function, names_python
from tfopt.errors import UserError, nearest, one_line

_INPUTS = ["x", "X", "images", "image", "data", "features", "inputs"]
_TARGETS = ["y", "Y", "labels", "label", "targets", "target"]
_OF_TRAINING, _SET_APART = ("train", "training"), ("test", "val", "valid", "validation")
_GRAY, _COLOURED = ("mnist", "fashion_mnist"), ("cifar10", "cifar100")
KERAS_PICTURES = _GRAY + _COLOURED


def load_examples(
    source: str,
    *,
    target: Sequence[str] = (),
    task: str = "auto",
    drop: Sequence[str] = (),
    as_image: bool = False,
    image_size: str | None = None,
    max_unpacked: int = MAX_UNPACKED,
) -> ExampleSet | None:
    """Return what a source holds as examples, or None where it is a table.

    Args:
        source: `PATH.py:function`, an NPZ file whose inputs are more than a matrix or have other names than `x` and
            `y`, `keras:NAME` of pictures, `digits`, a folder with a folder of images or texts for each class.
        target: Which of several targets is compared; of an NPZ file the array that holds the target.
        task: `"regression"`, `"classification"`, or `"auto"`.
        drop: Arrays of an NPZ file to leave out.
        as_image: Whether `digits` are pictures, and the inputs of an NPZ file.
        image_size: What the images of a folder are resized to, `"64"` or `"48x64"`; None for the commonest size.
        max_unpacked: Bytes that an NPZ file may unpack to.

    Raises:
        UserError: It cannot be read, or is no picture.
    """
    found = _found(source, target, drop, as_image, image_size, max_unpacked, True)
    if found is None:
        return None
    if found.get("y") is None:
        raise UserError(f"{source} gives inputs without targets. Return (x, y), or name the target with --target.")
    if source.endswith(".npz"):
        target = ()
    if len(target) > 1:
        raise UserError(f"one target is compared, and --target names {len(target)} ({source}). Name one.")
    found.pop("names", None)
    if task == "regression" and found.get("task") == "classification":
        raise UserError(f"--task regression does not go with the classes of {source}. Leave it out.")
    own = {"name": _name(source), "source": source, "task": task, "target": target[0] if target else None}
    return examples_of(**{**own, **found})


def load_inputs(
    source: str,
    *,
    target: Sequence[str] = (),
    drop: Sequence[str] = (),
    as_image: bool = False,
    image_size: str | None = None,
    max_unpacked: int = MAX_UNPACKED,
) -> dict[str, Any] | None:
    """Return examples to predict, or None where they are a table: `x` and, where there are any, `y` and `names`.

    The arguments are those of `load_examples`. A folder may hold images or texts without folders of classes.
    """
    if files := files_alone(source):
        return read_all(files, image_size, [])
    return _found(source, target, drop, as_image, image_size, max_unpacked, False)


def _found(
    source: str,
    target: Sequence[str],
    drop: Sequence[str],
    as_image: bool,
    image_size: str | None,
    max_unpacked: int,
    targets_needed: bool,
) -> dict[str, Any] | None:
    """Return the arguments of `examples_of` that a source gives; None for a table."""
    if is_folder_of_classes(source):
        return read_folder(source, image_size)
    if names_python(source):
        return _split_apart(_of_function(source), source, targets_needed)
    if source == "digits" and as_image:
        return _digits()
    if source in [f"keras:{name}" for name in KERAS_PICTURES]:
        return _of_keras(source)
    if source.endswith(".npz"):
        return _of_npz(source, target, drop, as_image, max_unpacked, targets_needed)
    if as_image:
        raise UserError(f"--as-image is for digits and NPZ files, and {source} is neither. Leave it out.")
    return None


def load_series(source: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return what `PATH.py:function` gives as a table whose rows are in order of time, as `as_series` does.

    Raises:
        UserError: It gives something else, or fails.
    """
    return as_series(_of_function(source), source)


def given_examples(data: Any, settings: Mapping[str, Any]) -> ExampleSet | None:
    """Return what Python holds as examples; None where it is a table: a data frame, or one matrix with its targets."""
    if _is_table(data):
        return None
    source = "the given data"
    found = _split_apart(data, source, True)
    target = settings.get("target")
    own: dict[str, Any] = {"task": settings.get("task") or "auto", "target": None if target is None else str(target)}
    return examples_of(**{"source": source, **own, **found})


def _is_table(data: Any) -> bool:
    if isinstance(data, pd.DataFrame) or (isinstance(data, Mapping) and {"data", "target"} <= data.keys()):
        return True
    if isinstance(data, Mapping):
        return not _by_names({str(k): v for k, v in data.items()})
    if _is_stream(data):
        return False
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        return True  # what a table's reader complains about
    if len(data) == 2 and (_is_stream(data[0]) or _are_pairs(*data)):
        return False
    x, y = data[0], data[1]
    if isinstance(x, pd.DataFrame) or hasattr(x, "toarray"):
        return True
    if isinstance(x, Mapping | tuple) or isinstance(y, Mapping | tuple):
        return False
    try:
        array = np.asarray(x)
    except ValueError:
        return False  # ragged, which the examples' reader says
    return array.ndim == 2 or (array.ndim == 1 and array.dtype.kind not in "UO") or array.ndim == 0


def _name(source: str) -> str:
    return stem(source.rpartition(":")[0]) if names_python(source) else stem(source.rpartition(":")[2])


def _of_function(source: str) -> Any:
    """Return what the user's function returns."""
    function = held(source, "--data", "data", is_own_function, "a function that returns (x, y)")
    if not callable(function):
        return function
    try:
        return function()
    except Exception as error:
        raise UserError(f"{source} raised {one_line(error)}. Mend the function.") from error


def _split_apart(value: Any, source: str, targets_needed: bool) -> dict[str, Any]:
    """Return `x`, `y` and, where they are there, weights and examples that are set apart for testing."""
    if value is None:
        raise UserError(f"{source} returned None. Return (x, y): arrays, or dicts or tuples of arrays.")
    if isinstance(value, Mapping) and (of_names := _by_names({str(k): v for k, v in value.items()})):
        return of_names
    if isinstance(value, tuple | list) and len(value) == 2:
        first, second = value
        if _is_stream(first) and _is_stream(second):
            return _with_test(_of_stream(first, source), _of_stream(second, source), source)
        if _are_pairs(first, second):
            return _with_test(dict(zip("xy", first, strict=True)), dict(zip("xy", second, strict=True)), source)
        return {"x": first, "y": second}
    if isinstance(value, tuple | list) and len(value) == 3:
        return {"x": value[0], "y": value[1], "weights": value[2]}
    if _is_stream(value):
        return _of_stream(value, source)
    if not targets_needed:
        return {"x": value}
    raise UserError(
        f"{source} returned {type(value).__name__}. Return (x, y), (x, y, weights), ((x, y), (x_test, y_test)), a "
        "tf.data.Dataset or a keras.utils.PyDataset."
    )


def _are_pairs(first: Any, second: Any) -> bool:
    """Whether these are `(x, y)` of training and `(x, y)` for testing, not two inputs and two targets."""
    if not all(isinstance(part, tuple | list) and len(part) == 2 for part in (first, second)):
        return False
    if any(np.isscalar(each_part) for part in (first, second) for each_part in part):
        return False
    try:
        lengths = [[_rows(array) for array in part] for part in (first, second)]
        shapes = [[_shape(array) for array in part] for part in (first, second)]
    except (TypeError, ValueError, StopIteration):
        return False
    if lengths[0] != lengths[1]:
        return lengths[0][0] == lengths[0][1] and lengths[1][0] == lengths[1][1]
    return shapes[0] == shapes[1] and shapes[0][0] != shapes[0][1]


def _rows(array: Any) -> int:
    return len(next(iter(array.values())) if isinstance(array, Mapping) else array)


def _shape(array: Any) -> Any:
    return {k: np.shape(v)[1:] for k, v in array.items()} if isinstance(array, Mapping) else np.shape(array)[1:]


def _with_test(train: dict[str, Any], test: dict[str, Any], source: str) -> dict[str, Any]:
    """Return both parts as one, with the places of the second."""
    both: dict[str, Any] = {}
    for what in ("x", "y"):
        one, other = (_as_nest(part[what]) for part in (train, test))
        if type(one) is not type(other) or [name for name, _ in named(one)] != [name for name, _ in named(other)]:
            raise UserError(f"{what} of the second part has another form than of the first ({source}).")
        try:
            both[what] = each(lambda a, b: np.concatenate([np.asarray(a), np.asarray(b)]), one, other)
        except ValueError as error:
            raise UserError(f"{what} differs in shape between the two parts ({source}: {error}).") from None
    num_train, num_test = (len(named(_as_nest(part["x"]))[0][1]) for part in (train, test))
    both["test_rows"] = np.arange(num_train, num_train + num_test)
    both["notes"] = [f"the {num_test:,} examples that {source} sets apart are held out, instead of folds"]
    return both


def _as_nest(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _is_stream(value: Any) -> bool:
    if hasattr(value, "element_spec"):
        return True
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(value, keras.utils.PyDataset)


def _of_stream(value: Any, source: str) -> dict[str, Any]:
    """Return all that a `tf.data.Dataset` or a `PyDataset` holds."""
    is_batched = True
    if hasattr(value, "element_spec"):
        if int(value.cardinality()) == -1:
            raise UserError(f"the dataset of {source} repeats for ever. Return it without `repeat()`.")
        is_batched = _is_batched(value)
        parts = list(value.as_numpy_iterator())
    else:
        if value.num_batches is None:
            raise UserError(f"the PyDataset of {source} has no end. Give it a `__len__`.")
        parts = [value[place] for place in range(value.num_batches)]
    if not parts:
        raise UserError(f"the dataset of {source} is empty. Add examples.")
    if not isinstance(parts[0], tuple | list) or len(parts[0]) not in (2, 3):
        raise UserError(f"the dataset of {source} gives no pairs of inputs and targets. Let each element be (x, y).")
    found = {}
    for what, values in zip(("x", "y", "weights"), zip(*parts, strict=True), strict=False):
        nests = [_as_nest(nest) for nest in values]
        try:
            found[what] = each(lambda *arrays: np.concatenate(arrays) if is_batched else np.stack(arrays), *nests)
        except ValueError:
            raise UserError(
                f"{what} is ragged: elements of the dataset differ in shape ({source}). Pad or cut them to one shape."
            ) from None
    return found


def _is_batched(dataset: Any) -> bool:
    """Whether the elements are batches: all have a first axis, of one length."""
    import tensorflow as tf  # there already: it has made the dataset

    shapes = [spec.shape for spec in tf.nest.flatten(dataset.element_spec)]
    return all(shape.rank for shape in shapes) and len({shape[0] for shape in shapes}) == 1


def _by_names(arrays: dict[str, Any]) -> dict[str, Any] | None:
    """Return the arrays whose names say what they are, such as `x` and `y`, or `x_train`, `y_train`, `x_test`, …."""

    def matching(words: Sequence[str], part: Sequence[str]) -> list[str]:
        ends = "|".join(part)
        pattern = re.compile(rf"(?:{'|'.join(words)})_(?:{ends})|(?:{ends})_(?:{'|'.join(words)})" if ends else "$^")
        return [name for name in arrays if pattern.fullmatch(name)]

    plain = [[name for name in arrays if name in words] for words in (_INPUTS, _TARGETS)]
    if [len(names) for names in plain] == [1, 1] and len(arrays) == 2:
        return {"x": arrays[plain[0][0]], "y": arrays[plain[1][0]]}
    train = [matching(words, _OF_TRAINING) for words in (_INPUTS, _TARGETS)]
    if [len(names) for names in train] != [1, 1]:
        return None
    first = {"x": arrays[train[0][0]], "y": arrays[train[1][0]]}
    apart = [matching(words, _SET_APART) for words in (_INPUTS, _TARGETS)]
    pairs = [{"x": arrays[x], "y": arrays[y]} for x in apart[0] for y in apart[1] if _ending(x) == _ending(y)]
    # A validation part beside a test part is learned from: what is compared is held out once.
    tests = [pair for pair, x in zip(pairs, apart[0], strict=False) if _ending(x) == "test"]
    if not pairs:
        return first
    test = tests[0] if tests else pairs[-1]
    for pair in pairs:
        if pair is not test:
            first = {what: np.concatenate([first[what], pair[what]]) for what in ("x", "y")}
    return _with_test(first, test, "the source")


def _ending(name: str) -> str:
    return next(word for word in _SET_APART if re.search(rf"(?:^|_){word}(?:_|$)", name))


def _of_npz(
    source: str, target: Sequence[str], drop: Sequence[str], as_image: bool, max_unpacked: int, targets_needed: bool
) -> dict[str, Any] | None:
    """Return the arrays of an NPZ file; None where it is a table."""
    if files_of(source) != [source]:
        return None
    data = read_bytes(source)
    kind = {"kind": "image"} if as_image else {}
    arrays, names = read_arrays(data, source, max_unpacked, ("x", "y"))
    if "x" in arrays and ("y" in arrays or not targets_needed) and not (target or drop):
        return {**kind, **arrays} if as_image or arrays["x"].ndim > 2 else None
    if not names:
        return None
    arrays, _ = read_arrays(data, source, max_unpacked)
    for option, asked in (("--target", target), ("--drop", drop)):
        for name in asked:
            if name not in arrays and targets_needed:
                raise UserError(f"no array {quoted(name)} for {option} ({source}).{nearest(name, arrays)}")
    kept = {name: array for name, array in arrays.items() if name not in drop}
    if not target and (found := _by_names(kept)):
        return {**kind, **found}
    inputs = {name: array for name, array in kept.items() if name not in target}
    if not targets_needed:
        inputs = {name: array for name, array in inputs.items() if name not in _TARGETS}
    if not inputs or (targets_needed and not target):
        raise UserError(
            f"which of the arrays {shown(map(quoted, arrays)) or '(none)'} is the target ({source})? Name it with "
            "--target; those in --drop are left out, all others are inputs."
        )
    x = inputs if len(inputs) > 1 else next(iter(inputs.values()))
    y = [kept[name] for name in target if name in kept]
    return {**kind, "x": x, "y": y[0] if y else None}


def _digits() -> dict[str, Any]:
    from sklearn.datasets import load_digits  # a second of import that others can do without

    bunch = load_digits()
    x = (bunch.images / 16).astype("float32")[..., None]
    return {"x": x, "y": bunch.target, "kind": "image", "classes": list(map(str, range(10))), "task": "classification"}


def _of_keras(source: str) -> dict[str, Any]:
    from tfopt.data.sources import load_keras

    (x_train, y_train), (x_test, y_test) = load_keras(source.partition(":")[2])
    found = _with_test({"x": x_train, "y": y_train.ravel()}, {"x": x_test, "y": y_test.ravel()}, source)
    return {**found, "kind": "image", "task": "classification"}
