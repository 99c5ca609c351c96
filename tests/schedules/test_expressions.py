"""Schedules in one line."""

import numpy as np
import pytest

from tfopt import schedules
from tfopt.errors import UserError
from tfopt.schedules.expressions import parse

S = schedules


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cosine", lambda: S.CosineDecay(0.5, 100)),
        ("cosine(60, alpha=0.1)", lambda: S.CosineDecay(0.5, 60, 0.1)),
        ("warmup(20) + cosine(80)", lambda: S.Warmup(S.CosineDecay(0.5, 80), 20)),
        ("warmup(20, shape='cosine') + cosine", lambda: S.Warmup(S.CosineDecay(0.5, 80), 20, shape="cosine")),
        (
            "linear(30) + constant(20) + rex",
            lambda: S.Sequence([S.LinearDecay(0.5, 30), 0.5, S.RexDecay(0.5, 50)], [30, 50]),
        ),
        (
            "linear(30) + warmup(10) + rex",
            lambda: S.Sequence([S.LinearDecay(0.5, 30), S.Warmup(S.RexDecay(0.5, 60), 10)], [30]),
        ),
        ("0.1 * linear", lambda: S.LinearDecay(0.05, 100)),
        ("linear * step(decay_steps=50)", lambda: S.Product([S.LinearDecay(0.5, 100), S.StepDecay(0.5, 50)])),
        ("warmup_linear", lambda: S.Warmup(S.LinearDecay(0.5, 90), 10)),
        ("warmup(10)", lambda: S.Warmup(0.5, 10)),
        ("linear + rex", lambda: S.Sequence([S.LinearDecay(0.5, 50), S.RexDecay(0.5, 50)], [50])),
    ],
)
def test_expressions(text, expected):
    np.testing.assert_allclose(parse(text, 0.5, 100).curve(120), expected().curve(120), atol=1e-15)


def test_parameters_go_to_the_parts_that_know_them():
    schedule = parse("warmup_cosine", 1.0, 100, {"warmup_steps": 20, "alpha": 0.2, "shape": "cosine"})
    expected = S.Warmup(S.CosineDecay(1.0, 80, 0.2), 20, shape="cosine")
    np.testing.assert_allclose(schedule.curve(120), expected.curve(120))
    np.testing.assert_allclose(parse("step", 1.0, 100, {"decay_rate": 0.5}).curve([34]), [0.5])


@pytest.mark.parametrize("name", schedules.names())
def test_every_name_alone_and_warmed_up(name):
    np.testing.assert_array_equal(parse(name, 0.3, 50).curve(60), S.from_name(name, 0.3, 50).curve(60))
    np.testing.assert_allclose(
        parse(f"warmup_{name}", 0.3, 50).curve(60), S.from_name(f"warmup_{name}", 0.3, 50).curve(60)
    )


@pytest.mark.parametrize(
    ("text", "parameters", "message"),
    [
        ("cosin", {}, "Did you mean 'cosine'"),
        ("warmup(5) + cosnie(5)", {}, "Did you mean 'cosine'"),
        ("cosine(alhpa=0.1)", {}, "Did you mean 'alpha'"),
        ("cosine", {"alhpa": 0.1}, "has an argument 'alhpa'. Did you mean 'alpha'"),
        ("cosine +", {}, "cannot read the schedule"),
        ("cosine - linear", {}, "cannot read 'cosine - linear'"),
        ("cosine(10, 20)", {}, "one length in steps"),
        ("cosine(0.5)", {}, "one length in steps"),
        ("cosine(alpha=open('x'))", {}, "is not a plain value"),
        ("cosine(90) + linear(20) + rex", {}, "take 110 steps of 100"),
        ("step(decay_rate=-1)", {}, "must be > 0"),
    ],
)
def test_mistakes(text, parameters, message):
    with pytest.raises(UserError, match=message.replace("(", r"\(").replace(".", r"\.")):
        parse(text, 1.0, 100, parameters)
