"""The package offers what it names."""

import pytest

import tfopt.data


def test_all_names_are_there():
    for name in tfopt.data.__all__:
        assert getattr(tfopt.data, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        tfopt.data.nothing  # noqa: B018
