"""Tables: embedded data sets, files, and their encoding.

Names load on first use: `import tfopt` imports this package, and should not pay for pandas and scikit-learn.
"""

import importlib
from typing import Any

_HOMES = {
    "Column": "column",
    "Table": "table",
    "TableEncoder": "encoder",
    "TableModel": "table_model",
    "TablePreprocessing": "table_model",
    "load_table": "load",
    "read_rows": "rows",
    "to_inputs": "rows",
}

__all__ = [
    "Column",
    "Table",
    "TableEncoder",
    "TableModel",
    "TablePreprocessing",
    "load_table",
    "read_rows",
    "to_inputs",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"tfopt.data.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'tfopt.data' has no attribute {name!r}")
