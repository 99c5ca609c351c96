"""What is written is also found: by name in its package, in Keras's registry, in the documentation's counts."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import keras
import pytest

import tfopt

ROOT = Path(__file__).parents[1]
PACKAGES = ["schedules", "regularizers", "initializers", "layers", "callbacks", "diagnosis"]
BASES = {"RandomInitializer"}  # what several classes share, and nobody makes


def written(package: str) -> dict[str, str]:
    """Return the public classes of a package's files, and the file of each."""
    found = {}
    for file in (ROOT / "tfopt" / package).glob("[!_]*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        names = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
        found |= {name: file.name for name in names if not name.startswith("_")}
    return found


def classes_of(package: str) -> list[type]:
    module = importlib.import_module(f"tfopt.{package}")
    return [thing for name in module.__all__ if inspect.isclass(thing := getattr(module, name))]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_class_is_public(package):
    named = set(importlib.import_module(f"tfopt.{package}").__all__)
    forgotten = {name: file for name, file in written(package).items() if name not in named | BASES}
    assert not forgotten, f"name them in `__all__` of tfopt/{package}/__init__.py"
    assert sorted(named) == sorted(set(named))


@pytest.mark.parametrize("package", ["schedules", "regularizers", "initializers", "layers"])
def test_every_class_is_registered_for_loading(package):
    kinds = (
        keras.optimizers.schedules.LearningRateSchedule,
        keras.regularizers.Regularizer,
        keras.initializers.Initializer,
        keras.layers.Layer,
    )
    for cls in classes_of(package):
        if issubclass(cls, kinds) and not inspect.isabstract(cls) and cls.__name__ not in ("Schedule", "Penalty"):
            assert keras.saving.get_registered_name(cls) == f"tfopt>{cls.__name__}", "decorate it as the others are"


def test_every_schedule_can_be_asked_for_by_name():
    for cls in classes_of("schedules"):
        if cls is not tfopt.schedules.Schedule:
            assert tfopt.schedules.get(cls.__name__) is cls, "name it in tfopt/schedules/registry.py"


def test_the_documentation_counts_what_there_is():
    page = (ROOT / "docs" / "pieces.md").read_text(encoding="utf-8")
    base = {"schedules": tfopt.schedules.Schedule, "regularizers": tfopt.regularizers.Penalty}
    base["initializers"] = keras.initializers.Initializer
    for package, parent in base.items():
        number = sum(issubclass(cls, parent) and cls is not parent for cls in classes_of(package))
        assert re.search(rf"\(`tfopt\.{package}`, {number}\b", page), f"{package}: {number} classes"


def test_what_contributors_are_sent_to_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:tests|tfopt|docs|recipes)/[\w./-]*?)(?:::\w+)?`", text)
    assert len(paths) > 10
    assert [path for path in paths if "NAME" not in path and not (ROOT / path).exists()] == []
    tests = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    names = re.findall(r"\b(test_\w+)`", text)
    assert [name for name in names if f"def {name}(" not in tests] == []
