"""What people know from elsewhere is answered with what it is called here."""

import inspect
import pickle
from typing import Any

import keras
import pytest

import tfopt
from tfopt import _names

PACKAGES = ("schedules", "regularizers", "initializers", "constraints", "losses", "layers", "callbacks", "models")


@pytest.mark.parametrize(
    ("make", "meant"),
    [
        (lambda: tfopt.schedules.LinearDecay(0.1, total_steps=9), "decay_steps"),
        (lambda: tfopt.schedules.LinearDecay(0.1, 9, final_learning_rate=0.0), "end_learning_rate"),
        (lambda: tfopt.schedules.StepDecay(0.1, step_size=9), "decay_steps"),
        (lambda: tfopt.schedules.StepDecay(0.1, 9, gamma=0.5), "decay_rate"),
        (lambda: tfopt.schedules.CosineDecay(lr=0.1, decay_steps=9), "initial_learning_rate"),
        (lambda: tfopt.schedules.CosineDecay(0.1, T_max=9), "decay_steps"),
        (lambda: tfopt.schedules.CosineDecay(0.1, 9, eta_min=0.01), "alpha"),
        (lambda: tfopt.schedules.OneCycle(max_lr=0.1, total_steps=9), "maximal_learning_rate"),
        (lambda: tfopt.schedules.OneCycle(0.1, 9, pct_start=0.3), "warmup_fraction"),
        (lambda: tfopt.schedules.LinearDecay(0.1, decay_stesp=9), "decay_steps"),
        (lambda: tfopt.regularizers.L2(weight_decay=0.1), "l2"),
        (lambda: tfopt.regularizers.GroupLasso(lambda_=0.1), "strength"),
        (lambda: tfopt.layers.Dropout(p=0.5), "rate"),
        (lambda: tfopt.initializers.He(random_state=1), "seed"),
        (lambda: tfopt.constraints.L2Ball(max_norm=1), "radius"),
        (lambda: tfopt.callbacks.PlateauScale(gamma=0.5), "factor"),
        (lambda: tfopt.callbacks.RunLog(filename="log"), "path"),
    ],
)
def test_an_arguments_name_elsewhere_names_the_one_here(make, meant):
    with pytest.raises(TypeError, match=rf"has no argument '\w+'\. Did you mean '{meant}'\?.* It has: .*{meant}"):
        make()


def test_what_stands_elsewhere_is_said_where():
    with pytest.raises(TypeError, match=r"tfopt\.schedules\.Warmup\("):
        tfopt.schedules.CosineDecay(0.1, 9, warmup_steps=3)
    with pytest.raises(TypeError, match=r"num_updates\("):
        tfopt.schedules.LinearDecay(0.1, 9, epochs=3)


@pytest.mark.parametrize(
    ("call", "error", "meant"),
    [
        (lambda: tfopt.schedules.get("StepLR"), ValueError, "'step'"),
        (lambda: tfopt.schedules.get("CosineAnnealingLR"), ValueError, "'cosine'"),
        (lambda: tfopt.schedules.from_name("OneCycleLR", 0.1, 9), ValueError, "'one_cycle'"),
        (lambda: tfopt.schedules.get("linear", lr=0.1), ValueError, "'initial_learning_rate'"),
        (lambda: tfopt.regularizers.get("lasso"), ValueError, "'l1'"),
        (lambda: tfopt.initializers.get("kaiming_uniform"), ValueError, "'he'"),
        (lambda: tfopt.schedules.ExponentialLR, AttributeError, "'ExponentialDecay'"),
        (lambda: tfopt.callbacks.ReduceLROnPlateau, AttributeError, "'PlateauScale'"),
        (lambda: tfopt.LRFinder, AttributeError, "'find_learning_rate'"),
        (lambda: tfopt.CosineAnnealingLR, AttributeError, "'CosineDecay'"),
        (lambda: tfopt.shedules, AttributeError, "'schedules'"),
    ],
)
def test_a_name_elsewhere_names_the_one_here(call, error, meant):
    with pytest.raises(error, match=rf"Did you mean {meant}\?"):
        call()


def test_a_piece_that_is_looked_for_at_the_top_is_found():
    with pytest.raises(AttributeError, match=r"It is tfopt\.schedules\.LinearDecay\."):
        tfopt.LinearDecay  # noqa: B018


def test_every_name_of_the_tables_is_here():
    pieces = {name for package in PACKAGES for name in getattr(tfopt, package).__all__} | set(dir(tfopt))
    assert set(_names.NAMES.values()) <= pieces
    classes = [
        value for package in PACKAGES for value in vars(getattr(tfopt, package)).values() if inspect.isclass(value)
    ]
    arguments = {name for cls in classes for name in inspect.signature(cls).parameters}
    assert {name for meant in _names.ARGUMENTS.values() for name in meant} <= arguments


def test_what_a_class_takes_is_left_as_it_was():
    class Own(tfopt.layers.Dropout):
        def __init__(self, extra, **kwargs):
            super().__init__(0.5, **kwargs)
            self.extra = extra

    assert Own(3, name="mine").name == "mine"
    with pytest.raises(ValueError, match="nonsense"):
        tfopt.layers.Dropout(0.5, nonsense=1)  # Keras's own words
    assert list(inspect.signature(tfopt.schedules.StepDecay).parameters)[:2] == ["initial_learning_rate", "decay_steps"]
    schedule = pickle.loads(pickle.dumps(tfopt.schedules.StepDecay(0.1, 9)))
    assert isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule)
    assert not hasattr(tfopt.schedules, "nothing")


@pytest.mark.parametrize("package", ["search", "sklearn", "data", "report", "training", "comparison", "baselines"])
def test_dir_shows_what_there_is_and_all_of_it_loads(package):
    module = getattr(tfopt, package)
    assert set(module.__all__) <= set(dir(module))
    assert all(getattr(module, name) is not None for name in module.__all__)
    assert package in dir(tfopt)


@pytest.mark.parametrize("name", dir(tfopt))
def test_the_top_level_is_what_dir_says(name):
    assert getattr(tfopt, name) is not None


@pytest.mark.parametrize("name", [name for name in tfopt.schedules.__all__ if name[0].isupper()])
def test_the_arguments_of_a_schedule_say_what_they_take(name):
    for parameter in inspect.signature(getattr(tfopt.schedules, name)).parameters.values():
        assert parameter.annotation not in (inspect.Parameter.empty, Any), parameter
