"""Examples that are no table: images, sequences, texts, several inputs; with their numbers as columns too."""

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from tfopt.data.column import Column
from tfopt.data.formats import element_names
from tfopt.data.table import Table, Task

if TYPE_CHECKING:
    from tfopt.data.windows import Series

Kind = Literal["image", "sequence", "text", "other"]
Nest = Any  # an array, or a dict or tuple of arrays, with the same first dimension

# Numbers of an example up to which they are columns too, for models of tables.
MOST_COLUMNS = 4096
_MOST_WORDS, _LONGEST_TEXT = 20_000, 256
_TEXTS_LOOKED_AT = 1000
_SPACELESS = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")


@dataclass(frozen=True)
class InputPart:
    """One array of an example's inputs, as it comes and as the network gets it.

    Args:
        name: Its key, or its place; empty for the only one.
        shape: Of one example.
        dtype: `"float32"`, `"uint8"`, `"int32"` or `"string"`.
        kind: What is done to it: of `"image"`, bytes are divided by 255; `"sequence"` is standardised, `"text"` becomes
            numbers of words, both by the training part of each fold; `"other"` stays as it is.
        vocabulary_size: Of a text, one more than the largest number of a word.
        length: Of a text, words that are read.
        split: Of a text, what counts as a word: `"whitespace"`, or `"character"` where a script has no spaces.

    Example:
        ```python
        part = tfopt.data.InputPart("", (28, 28, 1), "uint8", "image")
        print(part.encoded_shape, part.encoded_dtype)  # (28, 28, 1) float32
        ```
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: Kind
    vocabulary_size: int = 0
    length: int = 0
    split: Literal["whitespace", "character"] = "whitespace"

    @property
    def encoded_shape(self) -> tuple[int, ...]:
        """The shape of one example as the network gets it."""
        return (self.length,) if self.kind == "text" else self.shape

    @property
    def encoded_dtype(self) -> str:
        """The type of the numbers that the network gets."""
        return {"text": "int32", "other": self.dtype}.get(self.kind, "float32")

    @property
    def is_fixed(self) -> bool:
        """Whether an example's numbers are the same in every fold."""
        return self.kind in ("image", "other")


@dataclass
class ExampleSet(Table):
    """A data set whose inputs are arrays of any shape. As a `Table` it has their numbers for columns, if not too many.

    Args:
        x: Inputs: an array, or a dict or tuple of arrays, of as many examples. Texts are arrays of `str`.
        kind: `"image"`, `"sequence"`, `"text"` or `"other"`.
        parts: What each array of `x` is, in the same dict or tuple.
        shape: Shape of one example's target.
        other_targets: Targets that the network learns too and that nothing is compared by: by name, or by place.
        target_place: Name or place of `target` among the network's targets; None for the only one.
        series: What the examples are windows of; None if they are not.

    Example:
        ```python
        x = np.zeros((20, 8, 8, 1), "float32")
        examples = tfopt.data.examples_of(x, np.arange(20) % 2, source="squares")
        print(examples.kind, examples.task, examples.parts.shape)  # image classification (8, 8, 1)
        ```
    """

    x: Nest = None
    kind: Kind = "other"
    parts: Any = None
    shape: tuple[int, ...] = ()
    other_targets: dict[Any, np.ndarray] = field(default_factory=dict)
    target_place: str | int | None = None
    series: "Series | None" = None

    def take(self, rows: np.ndarray) -> tuple[Nest, Any]:
        """Return `(x, y)` of these rows; `y` as the source gave it, class labels as codes."""
        return each(lambda array: array[rows], self.x), self.with_target(self.target, rows)

    def with_target(self, target: np.ndarray, rows: np.ndarray) -> Any:
        """Return the targets of these rows, `target` in its place among the others."""
        if self.target_place is None:
            return target[rows]
        others = {place: array[rows] for place, array in self.other_targets.items()}
        return joined({**others, self.target_place: target[rows]})


def joined(targets: dict[Any, Any]) -> Any:
    """Return targets by name as a dict, those by place as a tuple."""
    if all(isinstance(place, int) for place in targets):
        return tuple(targets[place] for place in sorted(targets))
    return targets


def each(function: Any, *nests: Nest) -> Nest:
    """Return the nest of what a function makes of each array, or of those of several nests in the same place."""
    first = nests[0]
    if isinstance(first, dict):
        return {name: function(*(nest[name] for nest in nests)) for name in first}
    if isinstance(first, tuple):
        return tuple(function(*arrays) for arrays in zip(*nests, strict=True))
    return function(*nests)


def named(nest: Nest) -> list[tuple[str, Any]]:
    """Return what a nest holds with its names: keys, places, or an empty name for the only one."""
    if isinstance(nest, dict):
        return [(str(name), value) for name, value in nest.items()]
    if isinstance(nest, tuple):
        return [(str(place), value) for place, value in enumerate(nest)]
    return [("", nest)]


def parts_of(x: Nest, kind: Kind) -> Any:
    """Return what each array is."""
    names = iter([name for name, _ in named(x)])
    return each(lambda array: _part(next(names), array, kind), x)


def kind_of(x: Nest) -> Kind:
    """Return what the examples are, by shape and type."""
    if isinstance(x, dict | tuple):
        return "other"
    if x.dtype.kind == "O":
        return "text"
    if x.ndim == 4 and (x.dtype == np.uint8 or x.shape[-1] in (1, 3, 4)):
        return "image"
    return "sequence" if x.ndim == 3 else "other"


def _part(name: str, array: np.ndarray, kind: Kind) -> InputPart:
    if array.dtype.kind == "O":
        split: Literal["whitespace", "character"] = "character" if lack_spaces(array) else "whitespace"
        words = [text.lower().split() if split == "whitespace" else list(text.lower()) for text in array]
        known = len({word for text in words for word in text})
        lengths = np.array([len(text) for text in words])
        length = int(np.clip(np.ceil(np.percentile(lengths, 95)), 1, _LONGEST_TEXT))
        return InputPart(name, (), "string", "text", min(known + 2, _MOST_WORDS), length, split)
    own: Kind = "image" if kind == "other" and array.dtype == np.uint8 and array.ndim == 4 else kind
    own = "other" if own == "text" or (own == "sequence" and array.dtype.kind != "f") else own
    return InputPart(name, array.shape[1:], str(array.dtype), own)


def lack_spaces(texts: Iterable[str]) -> bool:
    """Return whether texts are mostly of a script that puts no spaces between words: Chinese, Japanese, Thai."""
    letters = "".join(itertools.islice(texts, _TEXTS_LOOKED_AT))
    return 2 * len(_SPACELESS.findall(letters)) > len("".join(letters.split()))


def columns_of(x: Nest) -> tuple[pd.DataFrame, tuple[Column, ...]]:
    """Return the examples' numbers and texts as a table; one without columns where an example has very many numbers."""
    arrays = named(x)
    rows = len(arrays[0][1])
    width = sum(1 if array.dtype.kind == "O" else int(np.prod(array.shape[1:])) for _, array in arrays)
    if width > MOST_COLUMNS:
        return pd.DataFrame(index=pd.RangeIndex(rows)), ()
    frames, columns = [], []
    for name, array in arrays:
        if array.dtype.kind == "O":
            frames.append(pd.DataFrame({name or "text": pd.Series(array, dtype="str")}))
            columns.append(Column(name or "text", "text", has_missing=bool((array == "").any())))
        else:
            names = element_names(name or "x", array.shape[1:])
            frames.append(pd.DataFrame(array.reshape(rows, -1), columns=names))
            columns += [Column(each_name, "numeric") for each_name in names]
    return (frames[0] if len(frames) == 1 else pd.concat(frames, axis=1)), tuple(columns)


def digest_of(arrays: Sequence[np.ndarray]) -> str:
    """Return the hash of arrays: types, shapes and values."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update("\0".join(array.ravel().tolist()).encode() if array.dtype.kind == "O" else array.tobytes())
    return digest.hexdigest()


def put_together(
    x: Nest,
    target: np.ndarray,
    *,
    name: str,
    source: str,
    task: Task,
    classes: Sequence[str],
    kind: Kind,
    target_name: str,
    shape: tuple[int, ...] = (),
    other_targets: dict[Any, np.ndarray] | None = None,
    target_place: str | int | None = None,
    test_rows: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    notes: Sequence[str] = (),
) -> ExampleSet:
    """Return the examples of arrays that are as they should be: `tfopt.data.examples_of` makes them so."""
    features, columns = columns_of(x)
    others = other_targets or {}
    arrays = [array for _, array in named(x)] + [target, *others.values()]
    width = 1 if target.ndim == 1 else target.shape[1]
    names = (target_name,) if width == 1 else tuple(f"{target_name}_{place}" for place in range(width))
    return ExampleSet(
        name=name,
        source=source,
        sha256=digest_of(arrays),
        task=task,
        features=features,
        columns=columns,
        target=target,
        target_names=names,
        target_columns=tuple(_target_column(each_name, task) for each_name in names),
        classes=tuple(classes),
        weights=weights,
        notes=list(notes),
        source_columns=(*(str(column) for column in features), *names),
        x=x,
        kind=kind,
        parts=parts_of(x, kind),
        shape=shape,
        other_targets=others,
        target_place=target_place,
        test_rows=test_rows,
    )


def _target_column(name: str, task: Task) -> Column:
    return Column(name, "categorical" if task == "classification" else "numeric")


def leaves(parts: Any) -> Iterator[InputPart]:
    """Yield the parts of a nest."""
    yield from (part for _, part in named(parts))


def plain_inputs(examples: ExampleSet) -> dict[str, Any]:
    """Return what the inputs are as plain values."""
    series = {} if examples.series is None else {"series": asdict(examples.series)}
    return {**plain_parts(examples.parts), **series}


def plain_parts(parts: Any) -> dict[str, Any]:
    """Return parts as plain values, which tell a dict from a tuple and from one part alone."""
    form = "dict" if isinstance(parts, dict) else "tuple" if isinstance(parts, tuple) else "one"
    return {"form": form, "parts": [{**asdict(part), "shape": list(part.shape)} for part in leaves(parts)]}


def read_parts(config: Mapping[str, Any]) -> Any:
    """Return the parts that `plain_parts` gave."""
    parts = [InputPart(**{**part, "shape": tuple(part["shape"])}) for part in config["parts"]]
    if config["form"] == "dict":
        return {part.name: part for part in parts}
    return tuple(parts) if config["form"] == "tuple" else parts[0]


def in_words(examples: ExampleSet) -> str:
    """Return what the examples are, with the shape of each input."""
    listed = ", ".join(
        f"{part.name}{': ' * bool(part.name)}{'text' if part.dtype == 'string' else _shape(part.shape)}"
        for part in leaves(examples.parts)
    )
    kinds = {"image": "images", "sequence": "sequences", "text": "texts", "other": "examples"}
    return f"{kinds[examples.kind] if examples.series is None else 'windows'} ({listed})"


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "a number"
