"""A space of the user's own: every form that works, and what is said of those that do not."""

import contextlib

import keras_tuner
import pytest

from tfopt.errors import UserError
from tfopt.search.oracles import discover
from tfopt.search.problem import Problem
from tfopt.search.spaces import SPACES
from tfopt.search.user_space import load_space

PROBLEM = Problem("regression", num_features=3, num_outputs=1, num_rows=90, epochs=4, table_rows=100)

FILE = """
import keras, keras_tuner
from helper_of_this_file import UNITS

def build(hp):
    model = keras.Sequential([keras.layers.Dense(hp.Choice("units", UNITS)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model

def build_for(hp, problem):
    model = keras.Sequential([keras.Input((problem.num_features,)), keras.layers.Dense(problem.num_outputs)])
    model.compile("sgd", "mse")
    return model

class Hyper(keras_tuner.HyperModel):
    def build(self, hp):
        return build(hp)

class Fitted(Hyper):
    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, **kwargs)

class NeedsArguments(Hyper):
    def __init__(self, width):
        super().__init__()

instance = Hyper()
number = 3
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "helper_of_this_file.py").write_text("UNITS = [4, 8]\n")
    (tmp_path / "mine.py").write_text(FILE)
    return tmp_path / "mine.py"


@pytest.mark.parametrize("name", ["build", "build_for", "Hyper", "instance", "Fitted"])
def test_functions_and_hypermodels_build_models(path, name):
    space = load_space(f"{path}:{name}")
    model = space.build(keras_tuner.HyperParameters(), PROBLEM)
    assert model.compiled
    assert (space.fit is not None) == (name == "Fitted")


@pytest.mark.parametrize("name", SPACES)
def test_the_spaces_of_tfopt_have_names(name):
    assert load_space(name).build is SPACES[name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "mine.py:biuld",
            r"has no 'biuld'\. Did you mean 'build'\? It has: build, build_for, Hyper, Fitted, .*, instance\.",
        ),
        ("mein.py:build", r"no file .*mein\.py\. Did you mean .*mine\.py"),
        ("mine.py:number", r"is no hypermodel \(int\)"),
        ("mine.py:NeedsArguments", "needs arguments"),
    ],
)
def test_what_cannot_be_a_space_is_said(path, name, message):
    with pytest.raises(UserError, match=message):
        load_space(str(path.parent / name))


def test_a_file_that_does_not_import_says_why(tmp_path):
    (tmp_path / "mine.py").write_text("import no_such_package\n")
    with pytest.raises(UserError, match="ModuleNotFoundError: No module named 'no_such_package'"):
        load_space(str(tmp_path / "mine.py:build"))


LAMBDAS = """
import keras

@keras.saving.register_keras_serializable("mine")
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x

class Unsaved(keras.layers.Layer):
    def __init__(self, function):
        super().__init__()

def twice(x):
    return 2 * x

def network(*layers):
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(1)])
    model.compile("sgd", lambda true, predicted: keras.ops.mean((true - predicted) ** 2))
    return model

def named(hp):
    return network(Twice(), keras.layers.Dense(3, activation=twice))

def in_a_layer(hp):
    return network(keras.layers.Lambda(lambda x: 2 * x, name="culprit"))

def as_activation(hp):
    return network(keras.layers.Dense(3, activation=lambda x: 2 * x, name="culprit"))

def within(hp):
    return network(keras.Sequential([keras.layers.Dense(3), keras.layers.Lambda(lambda x: x, name="culprit")]))

def in_one_branch(hp):
    if hp.Choice("kind", ["plain", "doubled"]) == "doubled":
        with hp.conditional_scope("kind", ["doubled"]):
            hp.Float("by", 1.0, 2.0)
            return in_a_layer(hp)
    with hp.conditional_scope("kind", ["doubled"]):
        hp.Float("by", 1.0, 2.0)
    return named(hp)

def without_config(hp):
    return network(Unsaved(lambda x: x))
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("named", None),
        *((name, "layer 'culprit' .*holds a lambda") for name in ("in_a_layer", "as_activation", "within")),
        ("in_one_branch", "layer 'culprit' .*holds a lambda"),
        ("without_config", r"cannot be saved .*get_config"),
    ],
)
def test_a_network_that_could_not_be_loaded_again_is_refused_before_the_search(tmp_path, name, message):
    (tmp_path / "lambdas.py").write_text(LAMBDAS)
    space = load_space(f"{tmp_path / 'lambdas.py'}:{name}")
    with pytest.raises(UserError, match=message) if message else contextlib.nullcontext():
        discover(space, PROBLEM)
