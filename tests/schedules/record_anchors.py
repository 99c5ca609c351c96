# ruff: noqa: B023
"""Write anchors.json: what other libraries say their schedules are. Run by hand, in an environment that has them.

    python -m venv /tmp/anchors && /tmp/anchors/bin/pip install torch==2.13.0 optax timm transformers pytorch_optimizer
    /tmp/anchors/bin/python tests/schedules/record_anchors.py > tests/schedules/anchors.json

Each entry: the library with its version, its call, tfopt's config of the same schedule, the steps, and the library's
values at them. A library that is not installed is left out, with a line on standard error.
"""

import contextlib
import importlib.metadata
import importlib.util
import json
import sys
import types
import warnings

warnings.filterwarnings("ignore")
T, W = 100, 10
STEPS = list(range(T + 1))
ENTRIES = []


def add(library, call, name, arguments, value, steps=STEPS):
    values = [float(value(step)) for step in steps]
    config = {"class_name": name, "config": arguments}
    label = f"{library} {importlib.metadata.version(library)}"
    ENTRIES.append({"library": label, "call": call, "tfopt": config, "steps": steps, "values": values})


def nested(name, **arguments):
    return {"class_name": f"tfopt>{name}", "config": arguments, "module": None, "registered_name": f"tfopt>{name}"}


def record_torch():
    import torch
    from torch.optim import lr_scheduler, swa_utils

    def rates(make, num_steps=T):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
        scheduler, found = make(optimizer), []
        for _ in range(num_steps + 1):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            with contextlib.suppress(ValueError):  # OneCycleLR refuses to go beyond its end
                scheduler.step()
        return found.__getitem__

    add(
        "torch",
        "LinearLR(1.0, 0.1, 100)",
        "LinearDecay",
        {"initial_learning_rate": 1.0, "decay_steps": T, "end_learning_rate": 0.1},
        rates(lambda o: lr_scheduler.LinearLR(o, 1.0, 0.1, T)),
    )
    add(
        "torch",
        "PolynomialLR(100, 2.0)",
        "PolynomialDecay",
        {"initial_learning_rate": 1.0, "decay_steps": T, "power": 2.0},
        rates(lambda o: lr_scheduler.PolynomialLR(o, T, 2.0)),
    )
    add(
        "torch",
        "ExponentialLR(0.97)",
        "ExponentialDecay",
        {"initial_learning_rate": 1.0, "decay_steps": 1, "decay_rate": 0.97},
        rates(lambda o: lr_scheduler.ExponentialLR(o, 0.97)),
    )
    add(
        "torch",
        "StepLR(30, 0.1)",
        "StepDecay",
        {"initial_learning_rate": 1.0, "decay_steps": 30, "decay_rate": 0.1},
        rates(lambda o: lr_scheduler.StepLR(o, 30, 0.1)),
    )
    add(
        "torch",
        "MultiStepLR([20, 70], 0.3)",
        "MultiStepDecay",
        {"initial_learning_rate": 1.0, "milestones": [20, 70], "decay_rate": 0.3},
        rates(lambda o: lr_scheduler.MultiStepLR(o, [20, 70], 0.3)),
    )
    add(
        "torch",
        "CosineAnnealingLR(100, 0.1)",
        "CosineDecay",
        {"initial_learning_rate": 1.0, "decay_steps": T, "alpha": 0.1},
        rates(lambda o: lr_scheduler.CosineAnnealingLR(o, T, 0.1)),
    )
    add(
        "torch",
        "CosineAnnealingWarmRestarts(10, 2, 0.05)",
        "CosineRestarts",
        {"initial_learning_rate": 1.0, "first_decay_steps": 10, "t_mul": 2.0, "alpha": 0.05},
        rates(lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 10, 2, 0.05)),
    )
    add(
        "torch",
        "ConstantLR(0.25, 10)",
        "Warmup",
        {
            "schedule": nested("Constant", learning_rate=1.0),
            "warmup_steps": 10,
            "initial_learning_rate": 0.25,
            "shape": "constant",
        },
        rates(lambda o: lr_scheduler.ConstantLR(o, 0.25, 10)),
    )
    add(
        "torch",
        "SequentialLR([LinearLR(0.1, 1, 10), CosineAnnealingLR(90)], [10])",
        "Warmup",
        {
            "schedule": nested("CosineDecay", initial_learning_rate=1.0, decay_steps=T - W),
            "warmup_steps": W,
            "initial_learning_rate": 0.1,
        },
        rates(
            lambda o: lr_scheduler.SequentialLR(
                o, [lr_scheduler.LinearLR(o, 0.1, 1.0, W), lr_scheduler.CosineAnnealingLR(o, T - W)], [W]
            )
        ),
    )
    add(
        "torch",
        "ChainedScheduler([LinearLR(1, 0.1, 100), StepLR(30, 0.5)])",
        "Product",
        {
            "schedules": [
                nested("LinearDecay", initial_learning_rate=1.0, decay_steps=T, end_learning_rate=0.1),
                nested("StepDecay", initial_learning_rate=1.0, decay_steps=30, decay_rate=0.5),
            ]
        },
        rates(
            lambda o: lr_scheduler.ChainedScheduler(
                [lr_scheduler.LinearLR(o, 1.0, 0.1, T), lr_scheduler.StepLR(o, 30, 0.5)]
            )
        ),
    )
    for mode in ("triangular", "triangular2", "exp_range"):
        add(
            "torch",
            f"CyclicLR(0.1, 1, 10, 15, {mode!r}, 0.98)",
            "Cyclical",
            {
                "initial_learning_rate": 0.1,
                "maximal_learning_rate": 1.0,
                "step_size": 10,
                "step_size_down": 15,
                "scale": mode,
                "gamma": 0.98,
            },
            rates(lambda o: lr_scheduler.CyclicLR(o, 0.1, 1.0, 10, 15, mode, 0.98)),
        )
    for shape, strategy in (("cosine", "cos"), ("linear", "linear")):
        for phases in (2, 3):
            arguments = {
                "maximal_learning_rate": 1.0,
                "total_steps": T,
                "warmup_fraction": 0.3,
                "shape": shape,
                "num_phases": phases,
                "reach_end": "last_step",
            }
            add(
                "torch",
                f"OneCycleLR(1.0, 100, anneal_strategy={strategy!r}, three_phase={phases == 3})",
                "OneCycle",
                arguments,
                rates(
                    lambda o: lr_scheduler.OneCycleLR(o, 1.0, T, anneal_strategy=strategy, three_phase=phases == 3),
                    T - 1,
                ),
                STEPS[:T],
            )

    def momenta(**arguments):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
        scheduler, found = lr_scheduler.OneCycleLR(optimizer, 1.0, T, **arguments), []
        for step in range(T):
            found.append(optimizer.param_groups[0]["momentum"])
            optimizer.step()
            if step < T - 1:
                scheduler.step()
        return found.__getitem__

    for phases in (2, 3):
        add(
            "torch",
            f"OneCycleLR(1.0, 100, three_phase={phases == 3}) momentum",
            "OneCycleMomentum",
            {"total_steps": T, "num_phases": phases, "reach_end": "last_step"},
            momenta(three_phase=phases == 3),
            STEPS[:T],
        )
    add(
        "torch",
        "SWALR(0.1, 20, 'cos') after 1.0",
        "Anneal",
        {
            "schedule": nested("Constant", learning_rate=1.0),
            "start_step": 0,
            "anneal_steps": 20,
            "end_learning_rate": 0.1,
        },
        rates(lambda o: swa_utils.SWALR(o, 0.1, 20, "cos")),
        STEPS[:19],
    )


def record_optax():
    import optax

    add(
        "optax",
        "linear_schedule(1, 0.1, 100)",
        "LinearDecay",
        {"initial_learning_rate": 1.0, "decay_steps": T, "end_learning_rate": 0.1},
        optax.linear_schedule(1.0, 0.1, T),
    )
    add(
        "optax",
        "polynomial_schedule(1, 0.1, 3, 60, 20)",
        "Offset",
        {
            "schedule": nested(
                "PolynomialDecay", initial_learning_rate=1.0, decay_steps=60, end_learning_rate=0.1, power=3.0
            ),
            "offset_steps": 20,
        },
        optax.polynomial_schedule(1.0, 0.1, 3, 60, 20),
    )
    add(
        "optax",
        "exponential_decay(1, 10, 0.5, end_value=0.1)",
        "ExponentialDecay",
        {"initial_learning_rate": 1.0, "decay_steps": 10, "decay_rate": 0.5, "end_learning_rate": 0.1},
        optax.exponential_decay(1.0, 10, 0.5, end_value=0.1),
    )
    add(
        "optax",
        "cosine_decay_schedule(1, 100, 0.1, 1.5)",
        "CosineDecay",
        {"initial_learning_rate": 1.0, "decay_steps": T, "alpha": 0.1, "exponent": 1.5},
        optax.cosine_decay_schedule(1.0, T, 0.1, 1.5),
    )
    add(
        "optax",
        "piecewise_constant_schedule(1, {20: 0.5, 70: 0.1})",
        "MultiStepDecay",
        {"initial_learning_rate": 1.0, "milestones": [20, 70], "decay_rate": [0.5, 0.1]},
        optax.piecewise_constant_schedule(1.0, {20: 0.5, 70: 0.1}),
    )
    for kind in ("linear", "cosine"):
        add(
            "optax",
            f"piecewise_interpolate_schedule({kind!r}, 1, {{40: 0.5, 100: 0.1}})",
            "PiecewiseInterpolation",
            {"steps": [0, 40, 100], "values": [1.0, 0.5, 0.05], "interpolation": kind},
            optax.piecewise_interpolate_schedule(kind, 1.0, {40: 0.5, 100: 0.1}),
        )
    add(
        "optax",
        "cosine_onecycle_schedule(100, 1)",
        "OneCycle",
        {"maximal_learning_rate": 1.0, "total_steps": T},
        optax.cosine_onecycle_schedule(T, 1.0),
    )
    add(
        "optax",
        "warmup_cosine_decay_schedule(0.1, 1, 10, 100, 0.05)",
        "Warmup",
        {
            "schedule": nested("CosineDecay", initial_learning_rate=1.0, decay_steps=T - W, alpha=0.05),
            "warmup_steps": W,
            "initial_learning_rate": 0.1,
        },
        optax.warmup_cosine_decay_schedule(0.1, 1.0, W, T, 0.05),
    )
    add(
        "optax",
        "warmup_constant_schedule(0, 1, 10)",
        "Warmup",
        {"schedule": nested("Constant", learning_rate=1.0), "warmup_steps": W},
        optax.warmup_constant_schedule(0.0, 1.0, W),
    )
    add(
        "optax",
        "join_schedules([linear_schedule(1, 0.5, 30), constant_schedule(0.2)], [40])",
        "Sequence",
        {
            "schedules": [
                nested("LinearDecay", initial_learning_rate=1.0, decay_steps=30, end_learning_rate=0.5),
                nested("Constant", learning_rate=0.2),
            ],
            "boundaries": [40],
        },
        optax.join_schedules([optax.linear_schedule(1.0, 0.5, 30), optax.constant_schedule(0.2)], [40]),
    )


def record_timm():
    import torch

    spec = importlib.util.find_spec("timm")
    package = types.ModuleType("timm")  # its __init__ wants a torchvision that fits; the schedulers want torch only
    package.__path__, package.__spec__ = list(spec.submodule_search_locations), spec
    sys.modules["timm"] = package
    from timm.scheduler.cosine_lr import CosineLRScheduler
    from timm.scheduler.poly_lr import PolyLRScheduler
    from timm.scheduler.step_lr import StepLRScheduler
    from timm.scheduler.tanh_lr import TanhLRScheduler

    def rates(cls, **arguments):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        scheduler = cls(optimizer, t_in_epochs=False, **arguments)

        def rate(step):
            scheduler.step_update(step)
            return optimizer.param_groups[0]["lr"]

        return rate

    warm = {"warmup_t": W, "warmup_lr_init": 0.1, "warmup_prefix": True}
    add(
        "timm",
        "CosineLRScheduler(90, lr_min=0.05, k_decay=1.5, warmup_prefix=True, …)",
        "Warmup",
        {
            "schedule": nested("CosineDecay", initial_learning_rate=1.0, decay_steps=T - W, alpha=0.05, k=1.5),
            "warmup_steps": W,
            "initial_learning_rate": 0.1,
        },
        rates(CosineLRScheduler, t_initial=T - W, lr_min=0.05, k_decay=1.5, **warm),
    )
    add(
        "timm",
        "PolyLRScheduler(100, 0.9, lr_min=0.05, k_decay=1.2)",
        "PolynomialDecay",
        {"initial_learning_rate": 1.0, "decay_steps": T, "end_learning_rate": 0.05, "power": 0.9, "k": 1.2},
        rates(PolyLRScheduler, t_initial=T, power=0.9, lr_min=0.05, k_decay=1.2),
    )
    add(
        "timm",
        "TanhLRScheduler(100, lr_min=0.05)",
        "TanhDecay",
        {"initial_learning_rate": 1.0, "decay_steps": T, "end_learning_rate": 0.05},
        rates(TanhLRScheduler, t_initial=T, lr_min=0.05),
    )
    add(
        "timm",
        "StepLRScheduler(30, 0.2)",
        "StepDecay",
        {"initial_learning_rate": 1.0, "decay_steps": 30, "decay_rate": 0.2},
        rates(StepLRScheduler, decay_t=30, decay_rate=0.2),
    )


def record_transformers():
    import torch
    from transformers import optimization

    def rates(make):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        return make(optimizer).lr_lambdas[0]

    def warm(name, **arguments):
        return {"schedule": nested(name, **arguments), "warmup_steps": W}

    add(
        "transformers",
        "get_constant_schedule_with_warmup(10)",
        "Warmup",
        warm("Constant", learning_rate=1.0),
        rates(lambda o: optimization.get_constant_schedule_with_warmup(o, W)),
    )
    add(
        "transformers",
        "get_linear_schedule_with_warmup(10, 100)",
        "Warmup",
        warm("LinearDecay", initial_learning_rate=1.0, decay_steps=T - W),
        rates(lambda o: optimization.get_linear_schedule_with_warmup(o, W, T)),
    )
    add(
        "transformers",
        "get_cosine_schedule_with_warmup(10, 100)",
        "Warmup",
        warm("CosineDecay", initial_learning_rate=1.0, decay_steps=T - W),
        rates(lambda o: optimization.get_cosine_schedule_with_warmup(o, W, T)),
    )
    add(
        "transformers",
        "get_cosine_schedule_with_warmup(10, 100, num_cycles=1.5)",
        "Warmup",
        warm("CosineWave", initial_learning_rate=1.0, decay_steps=T - W, num_cycles=1.5),
        rates(lambda o: optimization.get_cosine_schedule_with_warmup(o, W, T, 1.5)),
    )
    add(
        "transformers",
        "get_cosine_with_hard_restarts_schedule_with_warmup(10, 100, 3)",
        "Warmup",
        warm("CosineRestarts", initial_learning_rate=1.0, first_decay_steps=30, t_mul=1.0, num_cycles=3),
        rates(lambda o: optimization.get_cosine_with_hard_restarts_schedule_with_warmup(o, W, T, 3)),
    )
    add(
        "transformers",
        "get_polynomial_decay_schedule_with_warmup(10, 100, 0.01, 2)",
        "Warmup",
        warm("PolynomialDecay", initial_learning_rate=1.0, decay_steps=T - W, end_learning_rate=0.01, power=2.0),
        rates(lambda o: optimization.get_polynomial_decay_schedule_with_warmup(o, W, T, 0.01, 2.0)),
    )
    add(
        "transformers",
        "get_inverse_sqrt_schedule(10)",
        "Warmup",
        warm("InverseSquareRootDecay", initial_learning_rate=1.0, decay_steps=W),
        rates(lambda o: optimization.get_inverse_sqrt_schedule(o, W)),
    )
    for ours, theirs in (("linear", "linear"), ("cosine", "cosine"), ("1-sqrt", "1-sqrt")):
        add(
            "transformers",
            f"get_wsd_schedule(10, 20, num_stable_steps=70, decay_type={theirs!r}, min_lr_ratio=0.1)",
            "Warmup",
            {
                "schedule": nested(
                    "WarmupStableDecay",
                    learning_rate=1.0,
                    total_steps=T - W,
                    cooldown_steps=20,
                    end_learning_rate=0.1,
                    cooldown_shape=ours,
                ),
                "warmup_steps": W,
                "initial_learning_rate": 0.1,
            },
            rates(
                lambda o: optimization.get_wsd_schedule(
                    o, W, 20, num_stable_steps=70, decay_type=theirs, min_lr_ratio=0.1
                )
            ),
        )


def record_pytorch_optimizer():
    import torch
    from pytorch_optimizer.lr_scheduler import chebyshev, rex

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = rex.REXScheduler(optimizer, total_steps=T, max_lr=1.0, min_lr=0.0)
    rates = []
    for _ in range(T):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    # Its step 0 is at the lowest rate, 0: the scheduler sets the optimizer only after the first step.
    add(
        "pytorch_optimizer",
        "REXScheduler(100)",
        "RexDecay",
        {"initial_learning_rate": 1.0, "decay_steps": T},
        rates.__getitem__,
        STEPS[1:T],
    )
    rates_of_32 = chebyshev.get_chebyshev_perm_steps(32)
    add(
        "pytorch_optimizer",
        "get_chebyshev_perm_steps(32) / 20",
        "ChebyshevSteps",
        {"maximal_learning_rate": 1.0, "condition_number": 20.0, "cycle_steps": 32},
        lambda step: rates_of_32[step] / 20,
        STEPS[:32],
    )


for record in (record_torch, record_optax, record_timm, record_transformers, record_pytorch_optimizer):
    try:
        record()
    except ImportError as error:
        print(f"{record.__name__}: {error}", file=sys.stderr)
json.dump(ENTRIES, sys.stdout, indent=None, separators=(",", ":"))
