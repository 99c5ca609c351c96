"""A run's model as a program: scikit-learn code that trains a baseline anew, Keras code that loads the network."""

import importlib
import os
import pprint
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfopt._escape import docstring
from tfopt.baselines import family_names, select_families
from tfopt.baselines.table_baseline import TableBaseline
from tfopt.baselines.tree_encoder import TreeEncoder
from tfopt.comparison.fold_result import DUMMY
from tfopt.comparison.objective import get_objective
from tfopt.data.spelling import TRUTH_VALUES
from tfopt.data.table import Table
from tfopt.data.unpacking import MAX_UNPACKED
from tfopt.errors import UserError
from tfopt.search.code_parts import EXAMPLES_NETWORK, FUNCTIONS, HEAD, NETWORK, PLAIN_READ, TAIL, TFOPT_READ
from tfopt.search.config import SearchConfig

_HELPERS = {
    "ColumnTransformer": "sklearn.compose",
    "FunctionTransformer": "sklearn.preprocessing",
    "OneHotEncoder": "sklearn.preprocessing",
    "OrdinalEncoder": "sklearn.preprocessing",
    "Pipeline": "sklearn.pipeline",
    "SimpleImputer": "sklearn.impute",
    "StandardScaler": "sklearn.preprocessing",
    "compute_sample_weight": "sklearn.utils",
    "make_pipeline": "sklearn.pipeline",
}
_SCALERS = {"standard": "StandardScaler()", "robust": "RobustScale()", "common": "CommonScale()", "none": ""}
_SEPARATORS = {".csv": (",", ";", "\t", "|"), ".tsv": ("\t",), ".txt": ("\t", ";", ",", "|")}


def network_code(file: Path, task: str, data: str, space: str, reading: Mapping[str, Any] | None = None) -> str:
    """Return a program that predicts with a network's file; `reading` is for `load_inputs`, where there is no table."""
    own, objects = "", ""
    if space:
        own = f"from tfopt.search.user_space import own_classes\n\nCLASSES = own_classes({os.path.abspath(space)!r})\n"
        objects = ", custom_objects=CLASSES"
    result = "predictions = pd.DataFrame(predicted, columns=model.target_names)"
    if task == "classification":
        result = (
            'predictions = pd.DataFrame(predicted, columns=[f"probability_{name}" for name in model.classes])\n'
            'predictions.insert(0, "prediction", np.array(model.classes, object)[predicted.argmax(axis=1)])'
        )
    path = repr(os.path.abspath(file))
    title = f"The network for {docstring(data)}, found by tfopt search."
    words = {"title": title, "own": own, "path": path, "objects": objects, "result": result}
    if reading is None:
        return NETWORK.format(**words)
    given = "".join(f", {name}={value!r}" for name, value in reading.items() if value)
    return EXAMPLES_NETWORK.format(**words, reading=given)


def baseline_code(baseline: TableBaseline, table: Table, config: SearchConfig) -> str:
    """Return a program that trains a baseline as the search did, and so predicts the same, without tfopt.

    Only where pandas would read the file otherwise, or where a column is text, the program uses tfopt for that part.
    """
    if baseline.family not in family_names(table.task):
        raise UserError(f"{baseline.family} is a baseline of your own, and --code writes tfopt's. Look into its file.")
    families = select_families(baseline.family, table.task, get_objective(None, table.task), table.num_rows)
    # The dummy guesses by the classes' own shares.
    classes = table.class_weight != "none" and baseline.family != DUMMY
    weighted = families[-1].weights and (table.weights is not None or classes)
    for reading in _plain_readings(table, config, weighted):
        code = _program(baseline, table, reading)
        if _reads_alike(code, table, weighted):
            return code
    return _program(baseline, table, _tfopt_reading(table, config, weighted))


class _Reading:
    """How a program reads: the names that it needs, and its functions `read` and `training`."""

    def __init__(self, names: Mapping[str, Any], code: str, weighted: bool, imports: tuple[str, ...] = ()):
        self.names, self.code, self.weighted, self.imports = names, code, weighted, imports


def _plain_readings(table: Table, config: SearchConfig, weighted: bool) -> Iterator[_Reading]:
    """Yield the ways in which pandas might read the table as tfopt did."""
    path, read = Path(table.source), (*table.columns, *table.target_columns)
    both_weights = weighted and table.weights is not None and table.class_weight != "none"
    if path.suffix not in _SEPARATORS or not path.is_file() or both_weights or any(column.unit for column in read):
        return
    targets, own = list(table.target_names), [config.weights] if weighted and config.weights else []
    names = {
        "TABLE": os.path.abspath(path),
        "NUMBERS": [*_of_kind(table, "numeric"), *(targets if table.task == "regression" else ()), *own],
        "BOOLEANS": _of_kind(table, "boolean"),
        "DATES": {column.name: column.date_format for column in table.columns if column.kind == "date"},
        **({"TRUTH": TRUTH_VALUES} if _of_kind(table, "boolean") else {}),
    }
    target = 'np.array(frame[TARGETS], float, order="C")' + ("" if table.target.ndim == 2 else "[:, 0]")
    if table.task == "classification":
        target = "frame[TARGETS[0]].map({name: code for code, name in enumerate(CLASSES)}).to_numpy()"
    weights = f", frame[{own[0]!r}].to_numpy()" if own else f', compute_sample_weight("balanced", {target})'
    encoding = "utf-8-sig" if config.encoding == "auto" else config.encoding
    for separator in _SEPARATORS[path.suffix]:
        for decimal in sorted({column.decimal for column in read if column.kind == "numeric"} or {"."}):
            code = PLAIN_READ.format(
                sep=repr(separator),
                encoding=repr(encoding),
                missing=sorted({text for column in read for text in column.missing_text}),
                decimal="" if decimal == "." else '.str.replace(".", "").str.replace(",", ".")',
                and_weights=" and the weights" if weighted else "",
                returned=f"frame, {target}{weights if weighted else ''}",
            )
            yield _Reading(names, code, weighted)


def _tfopt_reading(table: Table, config: SearchConfig, weighted: bool) -> _Reading:
    given = {name: getattr(config, name) for name in ("drop", "group", "weights", "time")}
    given |= {name: getattr(config, name) for name in ("header", "encoding", "separator")}
    given |= {"max_unpacked": config.max_unpacked if config.max_unpacked != MAX_UNPACKED else None}
    settings = {
        "target": list(table.target_names),
        "task": table.task,
        **{name: value for name, value in given.items() if value and value != "auto"},
        **({"columns": config.column_kinds()} if config.column else {}),
    }
    weights = ", table.training_weights(np.arange(table.num_rows))" if weighted else ""
    code = TFOPT_READ.format(
        class_weight=f"    table.class_weight = {table.class_weight!r}\n" if table.class_weight != "none" else "",
        and_weights=" and the weights" if weighted else "",
        returned=f"table.features, table.target{weights}",
    )
    names = {"TABLE": config.data, "SETTINGS": settings}
    return _Reading(names, code, weighted, ("from tfopt.data import load_table, read_rows",))


def _reads_alike(code: str, table: Table, weighted: bool) -> bool:
    """Whether a program reads the training table as tfopt did."""
    names: dict[str, Any] = {"__name__": "read"}
    try:
        exec(code, names)
        features, target, *weights = names["training"]()
        for column in table.columns:
            theirs, mine = features[column.name], table.features[column.name]
            if column.kind in ("numeric", "boolean"):
                np.testing.assert_allclose(theirs.to_numpy(float), mine.to_numpy(float), rtol=1e-13)
            elif column.kind == "date":
                np.testing.assert_array_equal(theirs.to_numpy("datetime64[s]"), mine.to_numpy("datetime64[s]"))
            elif theirs.astype(object).fillna("").tolist() != mine.astype(object).fillna("").tolist():
                return False
        np.testing.assert_allclose(target, table.target, rtol=1e-13)
        if weighted:
            own = np.asarray(table.training_weights(np.arange(table.num_rows)))
            np.testing.assert_allclose(weights[0], own, rtol=1e-9)
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError):  # of pandas, for a file of another form
        return False
    return True


def _program(baseline: TableBaseline, table: Table, reading: _Reading) -> str:
    names = {
        **reading.names,
        "FEATURES": [column.name for column in table.columns],
        "TARGETS": list(table.target_names),
    }
    imports, filled = list(reading.imports), {}
    functions: list[str] = []
    of_trees = isinstance(baseline.encoder, TreeEncoder)
    if table.task == "classification":
        names["CLASSES"] = list(table.classes)
    if _of_kind(table, "text"):
        names["COLUMNS"] = list(table.columns)
        encode = f"TableEncoder(COLUMNS, scaling={baseline.encoder.scaling!r})"
        imports.append(f"from tfopt.data import Column{'' if of_trees else ', TableEncoder'}")
        if of_trees:
            encode = "TreeEncoder(COLUMNS)"
            imports.append("from tfopt.baselines.tree_encoder import TreeEncoder")
    else:
        encode, functions = _for_trees(table) if of_trees else _column_transformer(table, baseline.encoder.scaling)
        if baseline.levels:
            names["LEVELS"] = {name: list(levels) for name, levels in baseline.levels.items()}
            names["GAPS"] = [
                column.name for column in table.columns if column.kind == "categorical" and column.has_missing
            ]
            every = {level for levels in baseline.levels.values() for level in levels}
            filled = {word: repr(_unlike(f"({word})", every)) for word in ("other", "gap")}
    if not of_trees:
        functions.append("digits")
    tail = TAIL.format(
        encode=encode,
        digits="" if of_trees else '    ("digits", FunctionTransformer(digits)),\n',
        model=_expression(baseline.model),
        weights=", weights" if reading.weighted else "",
        fit_weights=", model__sample_weight=weights" if reading.weighted else "",
        result=_result(baseline, table),
    )
    bodies = [FUNCTIONS[name].format(**filled) if name == "known" else FUNCTIONS[name] for name in functions]
    body = "".join([reading.code, *bodies, tail])
    head = HEAD.format(
        title=f"{baseline.family} for {docstring(table.name)}, found by tfopt search.",
        rows=table.num_rows,
        imports="\n".join(sorted([*imports, *_imports(baseline.model, body)])),
        names="\n".join(
            f"{name} = {pprint.pformat(value, width=100, sort_dicts=False)}" for name, value in names.items()
        ),
    )
    return head + body


def _result(baseline: TableBaseline, table: Table) -> str:
    if table.task == "regression":
        return "predictions = pd.DataFrame(predicted.reshape(len(predicted), -1), columns=TARGETS)"
    result = 'predictions = pd.DataFrame({"prediction": np.array(CLASSES, object)[predicted]})'
    if hasattr(baseline.model, "predict_proba"):
        result += (
            "\n    shares = model.predict_proba(rows)\n"
            "    for place, code in enumerate(model.classes_):\n"
            '        predictions[f"probability_{CLASSES[code]}"] = shares[:, place]'
        )
    return result


def _column_transformer(table: Table, scaling: str) -> tuple[str, list[str]]:
    """Return the code of a ColumnTransformer that does what `TableEncoder` does, and which functions it needs."""
    scaler = _SCALERS[scaling]
    gap_filled = 'SimpleImputer(strategy="median", keep_empty_features=True)'
    scaled = ", ".join(filter(None, [scaler, gap_filled]))
    of_dates = scaled.replace("CommonScale", "StandardScaler")
    numbers, dates, booleans = (_of_kind(table, kind) for kind in ("numeric", "date", "boolean"))
    gaps = [
        c.name for kind in ("numeric", "date", "boolean") for c in table.columns if c.kind == kind and c.has_missing
    ]
    most = 'SimpleImputer(strategy="most_frequent", keep_empty_features=True)'
    one_hot = "OneHotEncoder(categories=listed_levels(), sparse_output=False)"
    steps = [
        ("numbers", f"make_pipeline({scaled})", numbers),
        ("dates", f"make_pipeline(FunctionTransformer(days), {of_dates})", dates),
        ("booleans", most, booleans),
        ("cycles", "FunctionTransformer(cycles)", dates),
        ("levels", f"make_pipeline(FunctionTransformer(known), {one_hot})", _of_kind(table, "categorical")),
        ("gaps", "FunctionTransformer(gaps)", gaps),
    ]
    functions = {
        "RobustScale": scaling == "robust" and bool(numbers or dates),
        "CommonScale": scaling == "common" and bool(numbers),
        "days": bool(dates),
        "cycles": bool(dates),
        "known": any(column.kind == "categorical" for column in table.columns),
        "gaps": bool(gaps),
    }
    return _columns(steps), [name for name, needed in functions.items() if needed]


def _for_trees(table: Table) -> tuple[str, list[str]]:
    """Return the code of a ColumnTransformer that does what `TreeEncoder` does, and which functions it needs."""
    dates, levels = _of_kind(table, "date"), _of_kind(table, "categorical")
    known = "make_pipeline(FunctionTransformer(known), OrdinalEncoder(categories=listed_levels()))"
    steps = [
        ("numbers", '"passthrough"', _of_kind(table, "numeric")),
        ("dates", "FunctionTransformer(days)", dates),
        ("booleans", '"passthrough"', _of_kind(table, "boolean")),
        ("cycles", "FunctionTransformer(cycles)", dates),
        ("levels", known, levels),
    ]
    return _columns(steps), [*(["days", "cycles"] if dates else []), *(["known"] if levels else [])]


def _columns(steps: list[tuple[str, str, list[str]]]) -> str:
    lines = [f"        ({name!r}, {code}, {columns!r}),\n" for name, code, columns in steps if columns]
    return f"ColumnTransformer([\n{''.join(lines)}    ])"


def _expression(value: Any) -> str:
    """Return the code that makes a model of its class and of the arguments that are not as they would be anyway."""
    if not hasattr(value, "get_params"):
        return repr(value)
    try:
        plain = type(value)().get_params(deep=False)
    except TypeError:  # there are arguments that must be given
        plain = {}
    given = {name: _expression(each) for name, each in value.get_params(deep=False).items()}
    changed = [
        f"{name}={text}" for name, text in given.items() if name not in plain or text != _expression(plain[name])
    ]
    return f"{type(value).__name__}({', '.join(changed)})"


def _imports(model: Any, body: str) -> list[str]:
    """Return the import lines of the classes that a model consists of, and of what else the program names."""
    estimators = [model, *(value for value in model.get_params().values() if hasattr(value, "get_params"))]
    homes = {type(each).__name__: _home(type(each)) for each in estimators}
    homes |= {name: home for name, home in _HELPERS.items() if f"{name}(" in body}
    if "(TransformerMixin" in body:
        homes |= {"BaseEstimator": "sklearn.base", "TransformerMixin": "sklearn.base"}
    for name, home in homes.items():
        getattr(importlib.import_module(home), name)  # a class that has moved is found here, not by the user
    names = {home: sorted(name for name in homes if homes[name] == home) for home in homes.values()}
    return [f"from {home} import {', '.join(names[home])}" for home in names]


def _home(kind: type) -> str:
    """Return the public module of a class: the package itself, where it has the class."""
    package = kind.__module__.partition(".")[0]
    whole = getattr(importlib.import_module(package), kind.__name__, None) is kind
    return package if whole else kind.__module__.split("._")[0]


def _of_kind(table: Table, kind: str) -> list[str]:
    return [column.name for column in table.columns if column.kind == kind]


def _unlike(word: str, others: set[str]) -> str:
    return word if word not in others else _unlike(f"{word}'", others)
