"""Functions and factories take any argument: it is refused by its name, or the result is finite."""

import inspect
import re

import keras
import numpy as np
import pytest

from tfopt import initializers, models, regularizers, schedules

NONSENSE = [1j, float("nan"), float("inf"), -1, 0, 2**63, 10**400, True, "x", b"x", [], {}, [[]], object(), None, len]
NONSENSE += [np.array(["a"]), np.array([]), 1e300, -0.5, "0.1"]
ROWS = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
STEPS = {"data": 100, "epochs": 2, "batch_size": 10}
FACTORY = {"columns": ["number"] * 3, "task": "regression", "units": 4}


BUILDS = ("lsuv", "from_data", "jacobian_penalty", "sparsity", "mlp", "realmlp", "tabm")  # networks


def network():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])


CALLS = {
    "gain": (initializers.gain, {"activation": "relu"}),
    "compute_fans": (initializers.compute_fans, {"shape": (3, 4)}),
    "for_activation": (initializers.for_activation, {"activation": "relu"}),
    "mup": (initializers.mup_learning_rate_factor, {"role": "hidden", "width": 8, "base_width": 4}),
    "quantile_bins": (initializers.quantile_bins, {"x": ROWS}),
    "lsuv": (lambda **given: initializers.lsuv(network(), **given), {"x": ROWS}, initializers.lsuv),
    "from_data": (lambda **given: initializers.from_data(network(), **given), {"x": ROWS}, initializers.from_data),
    "jacobian_penalty": (
        lambda **given: regularizers.jacobian_penalty(network(), **given),
        {"x": ROWS},
        regularizers.jacobian_penalty,
    ),
    "sparsity": (lambda **given: regularizers.sparsity(network(), **given), {}, regularizers.sparsity),
    "num_updates": (schedules.num_updates, STEPS),
    "for_fit": (schedules.for_fit, {"schedule": "cosine", "learning_rate": 0.1, **STEPS}),
    "from_name": (schedules.from_name, {"name": "cosine", "learning_rate": 0.1, "total_steps": 20}),
    "refine": (schedules.refine, {"gradient_norms": [1.0, 0.5, 0.25]}),
    "mlp": (models.mlp, {**FACTORY, "total_steps": 20}),
    "realmlp": (models.realmlp, {**FACTORY, "total_steps": 20}),
    "tabm": (models.tabm, {**FACTORY, "num_members": 2, "num_bins": None}),
}  # fmt: skip


def numbers_of(result):
    if isinstance(result, schedules.Schedule):
        return result.curve(20)
    if isinstance(result, keras.Model):
        return result(ROWS)
    if isinstance(result, keras.initializers.Initializer):
        return result((3, 4))
    return result if isinstance(result, int | float | np.ndarray | tuple) else 0.0


@pytest.mark.long("mlp", "lsuv", "realmlp", "tabm")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in BUILDS else name for name in CALLS]
)
def test_arguments_are_refused_by_name_or_give_numbers(name):
    function, given, *signature = CALLS[name]
    faults = []
    inputs = ("x", "y") if signature else ()  # of a network, which may be of any form
    for parameter in inspect.signature(*signature or [function]).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD or parameter.name in ("model", "metrics", *inputs):
            continue
        for value in NONSENSE:
            what = f"{parameter.name}={value!r:.40}"
            try:
                result = function(**{**given, parameter.name: value})
            except (TypeError, ValueError) as error:
                if f"{parameter.name}`" not in str(error) and not re.match(
                    "Unknown schedule|There would be no update", str(error)
                ):
                    faults.append(f"{what}: refused as {str(error)[:100]!r}")
                continue
            except Exception as error:
                faults.append(f"{what}: {type(error).__name__} {str(error)[:100]}")
                continue
            if not np.isfinite(np.asarray(numbers_of(result), "float64")).all():
                faults.append(f"{what}: accepted, and gives no number")
    assert not faults, "\n".join(faults)
