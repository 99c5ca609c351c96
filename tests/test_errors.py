import pytest

from tfopt.errors import nearest, one_line


def test_the_nearest_choice_is_named_when_one_is_close():
    assert nearest("rigde", ["ridge", "lasso"]) == " Did you mean 'ridge'?"
    assert nearest("Y", ["x", "y"]) == " Did you mean 'y'?", "short names that differ in case only"
    assert nearest("xyz", ["ridge", "lasso"]) == ""


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (ValueError("too few"), "ValueError: too few"),
        ("ValueError: too few\n", "ValueError: too few"),
        (
            "InternalError: Graph execution error:\n\n  File …\nout of memory\n",
            "InternalError: Graph execution error: … out of memory",
        ),
        ("", "no reason was recorded"),
    ],
)
def test_a_failure_is_told_in_one_line(failure, text):
    assert one_line(failure) == text
