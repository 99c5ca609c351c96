"""Names: those that a package loads late, and what tutorials call things, so that an error can say what is meant."""

import functools
import importlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from tfopt.errors import nearest

# Arguments: names elsewhere to names here, of which the first that a class has is meant.
_START = ("initial_learning_rate", "maximal_learning_rate", "learning_rate")
_STEPS = ("decay_steps", "total_steps", "first_decay_steps", "cycle_steps", "anneal_steps", "step_size")
_END = ("end_learning_rate", "alpha", "min_factor", "minimum")
_STRENGTH = ("strength", "l2", "l1")
ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("lr", "learning_rate", "base_lr", "init_lr", "initial_lr", "init_value", "start_lr"), _START),
    **dict.fromkeys(("initial_learning_rate", "peak_value", "max_value"), ("maximal_learning_rate", "learning_rate")),
    **dict.fromkeys(("max_lr", "peak_lr", "max_learning_rate"), ("maximal_learning_rate", *_START)),
    **dict.fromkeys(("total_steps", "max_steps", "num_steps", "num_training_steps", "transition_steps"), _STEPS),
    **dict.fromkeys(("T_max", "total_iters", "steps", "step_size", "period", "first_steps", "max_iter", "T_0"), _STEPS),
    **dict.fromkeys(("T_mult", "t_mult"), ("t_mul",)),
    **dict.fromkeys(("step_size_up", "half_cycle"), ("step_size",)),
    **dict.fromkeys(("eta_min", "min_lr", "end_lr", "final_lr", "lr_end", "end_value"), _END),
    **dict.fromkeys(("final_learning_rate", "min_learning_rate", "minimum_learning_rate", "target_lr"), _END),
    **dict.fromkeys(("gamma", "drop", "drop_rate", "decay"), ("decay_rate", "factor", "gamma")),
    "factor": ("decay_rate", "gain"),
    **dict.fromkeys(("num_warmup_steps", "warmup", "total_warmup_steps"), ("warmup_steps",)),
    **dict.fromkeys(("pct_start", "warmup_ratio", "warmup_proportion"), ("warmup_fraction",)),
    "div_factor": ("initial_divisor",),
    "final_div_factor": ("final_divisor",),
    "anneal_strategy": ("shape",),
    **dict.fromkeys(("weight_decay", "wd", "lambda_", "lam", "lambd", "lmbda", "alpha", "C", "strength"), _STRENGTH),
    **dict.fromkeys(("p", "drop_prob", "dropout", "dropout_rate", "keep_prob"), ("rate",)),
    **dict.fromkeys(("std", "sigma"), ("stddev",)),
    **dict.fromkeys(("features", "out_features", "hidden_units", "num_units"), ("units",)),
    **dict.fromkeys(("rng", "random_state", "generator"), ("seed",)),
    **dict.fromkeys(("max_norm", "max_value", "c"), ("radius", "high")),
    **dict.fromkeys(("min_value", "low_value"), ("low",)),
    **dict.fromkeys(("freq", "every_n", "interval", "log_every", "frequency"), ("every",)),
    **dict.fromkeys(("filename", "filepath", "log_dir", "file"), ("path",)),
    **dict.fromkeys(("x", "data", "validation_data", "inputs"), ("probe",)),
}

# Arguments that stand elsewhere, and what to do.
_REMEDIES: Mapping[str, str] = {
    **dict.fromkeys(
        ("warmup_steps", "warmup_target", "num_warmup_steps", "warmup", "warmup_ratio", "warmup_epochs"),
        "Warm up around any schedule: tfopt.schedules.Warmup(schedule, warmup_steps=…).",
    ),
    **dict.fromkeys(
        ("optimizer", "last_epoch", "verbose"),
        "Give the schedule to the optimizer: keras.optimizers.Adam(learning_rate=schedule).",
    ),
    **dict.fromkeys(
        ("epochs", "steps_per_epoch", "decay_epochs", "total_epochs"),
        "Schedules count optimizer steps: tfopt.schedules.num_updates(data, epochs, batch_size) says how many.",
    ),
}
# What is measured in other units here than elsewhere.
_NOTES: Mapping[str, str] = {"alpha": " It is the end value as a fraction of the initial one."}

# Classes and functions: names elsewhere, in small letters without underscores, to names here.
NAMES: Mapping[str, str] = {
    "steplr": "StepDecay",
    "multisteplr": "MultiStepDecay",
    "exponentiallr": "ExponentialDecay",
    "linearlr": "LinearDecay",
    "linearschedule": "LinearDecay",
    "polynomiallr": "PolynomialDecay",
    "constantlr": "Constant",
    "constantschedule": "Constant",
    "cosineannealinglr": "CosineDecay",
    "cosineannealing": "CosineDecay",
    "cosineannealingwarmrestarts": "CosineRestarts",
    "cosinedecayrestarts": "CosineRestarts",
    "sgdr": "CosineRestarts",
    "onecyclelr": "OneCycle",
    "onecyclescheduler": "OneCycle",
    "cycliclr": "Cyclical",
    "cyclicallearningrate": "Cyclical",
    "triangularcyclicallearningrate": "Cyclical",
    "sequentiallr": "Sequence",
    "chainedscheduler": "Product",
    "piecewiseconstantdecay": "PiecewiseConstant",
    "piecewiselinear": "PiecewiseInterpolation",
    "noamlr": "NoamDecay",
    "noamschedule": "NoamDecay",
    "inversesqrt": "InverseSquareRootDecay",
    "rsqrt": "InverseSquareRootDecay",
    "inversesqrtdecay": "InverseSquareRootDecay",
    "linearwarmup": "Warmup",
    "warmupcosine": "Warmup",
    "warmupcosinedecay": "Warmup",
    "getlinearschedulewithwarmup": "Warmup",
    "getcosineschedulewithwarmup": "Warmup",
    "wsd": "WarmupStableDecay",
    "trapezoidal": "WarmupStableDecay",
    "reducelronplateau": "PlateauScale",
    "learningratescheduler": "HyperparameterScheduler",
    "learningratemonitor": "LearningRateLogger",
    "terminateonnan": "NonFiniteGuard",
    "swa": "StochasticWeightAveraging",
    "averagedmodel": "StochasticWeightAveraging",
    "pinball": "QuantileLoss",
    "pinballloss": "QuantileLoss",
    "lrfinder": "find_learning_rate",
    "learningratefinder": "find_learning_rate",
    "lasso": "L1",
    "ridge": "L2",
    "weightdecay": "L2",
    "tikhonov": "L2",
    "spectralnorm": "Spectral",
    "nuclearnorm": "Nuclear",
    "kaiming": "He",
    "kaimingnormal": "He",
    "kaiminguniform": "He",
    "xavier": "Glorot",
    "xaviernormal": "Glorot",
    "xavieruniform": "Glorot",
    "lecunnormal": "LeCun",
    "maxnorm": "L2Ball",
    "unitnorm": "L2Ball",
}


def flat(name: str) -> str:
    """Return a name in small letters without underscores."""
    return name.replace("_", "").lower()


def known_as(name: str, here: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for what `name` stands for elsewhere, or is most like, of the names `here`."""
    here = list(here)
    meant = flat(NAMES.get(flat(name), ""))
    alike = [each for each in here if flat(each) in (meant, flat(name))] if meant or name else []
    if not alike and meant:  # in snake case, a family's name may leave out its end: "step" is StepDecay
        alike = [each for each in here if meant in (flat(each) + ending for ending in ("decay", "regularizer"))]
    return f" Did you mean {alike[0]!r}?" if alike else nearest(name, here)


def argument_hint(name: str, owner: str, known: Iterable[str]) -> str:
    """Return what to say of an argument that `owner` does not have."""
    known = list(known)
    meant = next((each for each in ARGUMENTS.get(name, ()) if each in known), None)
    if meant is not None:
        hint = f" Did you mean {meant!r}?{_NOTES.get(meant, '')}"
    elif name in _REMEDIES:
        hint = f" {_REMEDIES[name]}"
    else:
        hint = nearest(name, known)
    return f"{owner} has no argument {name!r}.{hint} It has: {', '.join(known)}."


def explain(classes: Iterable[type]) -> None:
    """Have these classes name the right argument in the error that a wrong one makes."""
    for cls in classes:
        for base in cls.__mro__:
            init = vars(base).get("__init__")
            if base.__module__.startswith("tfopt.") and inspect.isfunction(init) and not hasattr(init, "__wrapped__"):
                base.__init__ = _explained(init)  # type: ignore[misc]


def _explained(init: Any) -> Any:
    parameters = list(inspect.signature(init).parameters.values())[1:]
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    known = [parameter.name for parameter in parameters if parameter.kind not in variable]
    # What others than these it may have, its base class knows.
    is_open = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)

    @functools.wraps(init)
    def explained(self: Any, *args: Any, **kwargs: Any) -> None:
        for name in kwargs:
            meant = {*ARGUMENTS.get(name, ())} & {*known}
            if name not in known and (meant or not is_open):
                raise TypeError(argument_hint(name, type(self).__name__, known))
        init(self, *args, **kwargs)

    # Keras's layers look at their constructor without following `__wrapped__`.
    explained.__signature__ = inspect.signature(init)  # type: ignore[attr-defined]
    return explained


def missing_attribute(module: str, name: str, here: Iterable[str]) -> AttributeError:
    """Return the error for a name that a module does not have."""
    hint = "" if name.startswith("__") else known_as(name, here)
    return AttributeError(f"module {module!r} has no attribute {name!r}.{hint}")


def loaded(module: str, homes: Mapping[str, str], name: str) -> Any:
    """Return a name of a package from the module that holds it, which is imported at the name's first use."""
    if name not in homes:
        raise missing_attribute(module, name, homes)
    home = homes[name]
    return getattr(importlib.import_module(home if "." in home else f"{module}.{home}"), name)
