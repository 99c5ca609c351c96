"""The package offers what it names, and the examples in its docstrings run."""

import doctest
import importlib

import pytest

import tfopt.data


def test_all_names_are_there():
    for name in tfopt.data.__all__:
        assert getattr(tfopt.data, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        tfopt.data.nothing  # noqa: B018


@pytest.mark.parametrize("module", ["encoder", "load", "table_model"])
def test_docstring_examples(module):
    result = doctest.testmod(importlib.import_module(f"tfopt.data.{module}"))
    assert result.attempted > 2
    assert result.failed == 0
