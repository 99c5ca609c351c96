"""Tables and other examples: embedded data sets, files, and their encoding.

Names load on first use: `import tfopt` imports this package, and should not pay for pandas and scikit-learn.
"""

from typing import Any

from tfopt._names import loaded

_HOMES = {
    "Column": "column",
    "ExampleModel": "example_model",
    "InputPart": "examples",
    "Table": "table",
    "TableEncoder": "encoder",
    "TableEnsemble": "table_ensemble",
    "TableModel": "table_model",
    "TablePreprocessing": "table_model",
    "examples_of": "given_examples",
    "load_table": "load",
    "read_rows": "rows",
    "to_inputs": "rows",
}

__all__ = list(_HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    return loaded(__name__, _HOMES, name)
