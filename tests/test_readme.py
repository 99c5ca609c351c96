"""What the README shows is what there is: its commands parse, its Python runs."""

import importlib
import re
import shlex
from pathlib import Path

import keras
import keras_tuner
import pytest

from tfopt.cli.main import VERBS, verb_parser
from tfopt.search.problem import Problem

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    found = [part.strip() for line in lines for part in line.split("&&") if part.strip().startswith("tfopt ")]
    return [
        *found,
        *(line.partition("#")[2].strip() for line in README.splitlines() if re.match(r"# \S+\.py +tfopt", line)),
    ]


def test_there_are_commands_and_programs_to_check():
    assert len(commands()) >= 7
    assert len(blocks("python")) >= 2


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("tfopt")])
def test_a_command_of_the_readme_parses(command):
    words = shlex.split(command, comments=True)
    words = words[: words.index(">")] if ">" in words else words
    assert words[1] in VERBS
    module = importlib.import_module(f"tfopt.cli.{words[1].replace('-', '_')}")
    verb_parser(words[1], module).parse(words[2:])


def test_every_command_is_in_the_readmes_table():
    for verb in VERBS:
        assert f"| `tfopt {verb}" in README


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.split("\n")[0][:30])
def test_the_readmes_python_compiles(block):
    compile(block, "README.md", "exec")


def test_the_readmes_space_builds_a_model():
    (block,) = [block for block in blocks("python") if "def build(hp, problem)" in block]
    names: dict = {}
    exec(block, names)
    problem = Problem("classification", num_features=4, num_outputs=3, num_rows=90, epochs=2, table_rows=100)
    model = names["build"](keras_tuner.HyperParameters(), problem)
    assert isinstance(model, keras.Model)
    assert model.output_shape == (None, 3)


@pytest.mark.parametrize("piece", ["tfopt.callbacks.GradientNorms()", "tfopt.regularizers.from_sklearn("])
def test_the_readmes_pieces_run(piece):
    (block,) = [block for block in blocks("python") if piece in block]
    names: dict = {}
    exec(block.replace("epochs=20", "epochs=3"), names)
    assert names["model"].compiled
    if "x" in names:
        logs = names["model"].history.history
        assert {"grad_norm", "dropout_gap", "dropout", "learning_rate"} <= set(logs)


def test_the_readmes_search_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = [block for block in blocks("python") if "RandomSearch(" in block]
    names: dict = {}
    exec(block.replace("max_trials=6", "max_trials=2").replace("epochs=5", "epochs=1"), names)
    assert len(names["tuner"].oracle.trials) == 2
    assert names["model"].predict(names["x"][:3] / 16, verbose=0).shape == (3, 10)
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
