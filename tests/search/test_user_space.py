"""A space of the user's own: every form that works, and what is said of those that do not."""

import keras_tuner
import pytest

from tfopt.errors import UserError
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
