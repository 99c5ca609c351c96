"""Imports go down only, and private names of other libraries stay in `tfopt._private`."""

import ast
import contextlib
import functools
import importlib.metadata
import runpy
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1] / "tfopt"
FILES = sorted(ROOT.rglob("*.py"))

# From the bottom up: a module imports from its own line, from those above it in this list, and from itself.
FLOORS = [
    "_cuda _escape errors _names _words _files _layers _arguments _logged _private",
    "schedules regularizers constraints losses initializers layers callbacks devices learning_rate_finder uncertainty",
    "training",
    "data comparison baselines models search diagnosis",
    "sklearn report cli recipes __main__",
]
PARTS_IN_ORDER = " ".join(FLOORS).split()

# Within a floor everything may import what stands before it, except for these, which are to know nothing of each other.
STRANGERS = [
    ("initializers", "regularizers"),
    ("data", "training"),
    ("comparison", "training"),
    ("baselines", "training"),
]

# Imports that go up, or to strangers, each with its reason.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("search", "report"): "a result draws itself and writes its report",
}


@functools.cache
def trees() -> dict[Path, ast.Module]:
    """Return what each file says; parsed when a test first asks, as both processes of a run import this one."""
    return {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}


PARTS = {entry.stem for entry in ROOT.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").exists()}


def part_of(module: str) -> str:
    """Return the part of the package that a module belongs to; the package itself is `__init__`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in PARTS else "__init__"


def name_of(file: Path) -> str:
    return ".".join(("tfopt", *file.relative_to(ROOT).with_suffix("").parts))


def imported(tree: ast.AST) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, name.name) for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.lineno, f"{node.module}.{name.name}") for name in node.names]
    return found


def test_imports_go_down_only():
    order = PARTS_IN_ORDER
    wrong, used = [], set()
    for file, tree in trees().items():
        own = part_of(name_of(file))
        for line, module in imported(tree):
            other = part_of(module)
            if module.split(".")[0] != "tfopt" or other in (own, "__init__") or own == "__init__":
                continue
            assert own in order, f"say in FLOORS where {own} belongs"
            assert other in order, f"say in FLOORS where {other} belongs"
            if order.index(other) > order.index(own) or (own, other) in STRANGERS:
                used.add((own, other))
                if (own, other) not in EXCEPTIONS:
                    wrong.append(f"{file.relative_to(ROOT)}:{line} imports {module}")
    assert not wrong
    assert used == set(EXCEPTIONS), "exceptions that nothing needs any more"


def test_every_part_has_a_floor():
    assert set(PARTS_IN_ORDER) >= PARTS - {"__init__"}


@pytest.mark.slow
def test_the_picture_of_the_floors_is_up_to_date():
    draw = runpy.run_path(str(ROOT.parent / "docs" / "images" / "architecture.py"))["picture"]
    picture = (ROOT.parent / "docs" / "images" / "architecture.svg").read_text(encoding="utf-8")
    assert picture == draw(), "draw it again: python docs/images/architecture.py"


PRIVATE_MODULES = ("keras.src", "tensorflow.python", "keras_tuner.src", "sklearn.utils._", "joblib.externals")

# What stands where `_private` cannot serve, each with its reason.
OUTSIDE = {
    ("search/session.py", "joblib.externals.loky.get_reusable_executor"): "joblib's workers are stopped nowhere else",
    (
        "training/local_worker.py",
        "joblib.externals.loky.backend.get_context",
    ): "a queue to processes that joblib starts",
}


def test_private_modules_are_imported_in_their_place_only():
    found = {
        (file.relative_to(ROOT).as_posix(), module)
        for file, tree in trees().items()
        if file.parent != ROOT / "_private"
        for _, module in imported(tree)
        if module.startswith(PRIVATE_MODULES)
    }
    assert found <= set(OUTSIDE)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def own_names(tree: ast.AST) -> set[str]:
    """Return the private names that a file itself defines, or sets as attributes."""
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    stored = [node for node in ast.walk(tree) if isinstance(getattr(node, "ctx", None), ast.Store)]
    names |= {node.attr for node in stored if isinstance(node, ast.Attribute)}
    names |= {node.id for node in stored if isinstance(node, ast.Name)}
    return set(filter(is_private, names))


def private_uses(tree: ast.AST) -> list[tuple[int, str, str, str]]:
    """Return the line, the object, the private attribute and the text of each use, through `getattr` and such too."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.append((node.lineno, ast.unparse(node.value), node.attr, ast.unparse(node)))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("attr", "attr__")):
            names = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            found += [(node.lineno, ast.unparse(node.args[0]), name, ast.unparse(node)) for name in names]
    return [use for use in found if is_private(use[2])]


# Private names of Python's own library, each with its reason.
PYTHONS = {"_exit": "os._exit is documented", "_actions": "argparse tells nobody which options there are"}


@pytest.mark.slow
def test_private_attributes_are_used_in_their_place_only():
    """Of `self`, a private attribute is one that the package defines somewhere; of anything else, in the same file."""
    somewhere = set().union(*(own_names(tree) for file, tree in trees().items() if file.parent != ROOT / "_private"))
    wrong = []
    for file, tree in trees().items():
        here = own_names(tree)
        for line, owner, name, text in private_uses(tree):
            known = somewhere if owner in ("self", "cls", "super()") else here
            if file.parent != ROOT / "_private" and name not in known | set(PYTHONS):
                wrong.append(f"{file.relative_to(ROOT)}:{line}: {text}")
    assert not wrong


# Packages that others bring, and that are needed directly too.
BROUGHT = {"numpy": "tensorflow", "threadpoolctl": "scikit-learn", "cloudpickle": "joblib", "pillow": "matplotlib"}
DISTRIBUTIONS = {"sklearn": "scikit-learn", "keras_tuner": "keras-tuner", "mlflow": "mlflow-skinny", "PIL": "pillow"}
PROJECT = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DECLARED = {wanted.name: wanted for wanted in map(Requirement, PROJECT["dependencies"])}
EXTRAS = {Requirement(text).name for extra in PROJECT["optional-dependencies"].values() for text in extra}


def test_what_is_imported_is_declared_and_what_is_declared_is_imported():
    used = {module.split(".")[0] for tree in trees().values() for _, module in imported(tree)}
    used = {DISTRIBUTIONS.get(name, name) for name in used - set(sys.stdlib_module_names) - {"tfopt"}}
    assert used - EXTRAS <= set(DECLARED) | set(BROUGHT)
    assert set(DECLARED) <= used
    for name, owner in BROUGHT.items():
        needed = [Requirement(text) for text in importlib.metadata.requires(owner)]
        assert any(one.name == name and one.marker is None for one in needed)


@pytest.mark.parametrize("name", DECLARED)
def test_dependencies_are_bounded_by_what_is_tested(name):
    """The version installed, in which the tests run, is within the bounds, and the next minor one is not.

    Of the lowest versions, with which `.ci/versions` runs this too, the next major one may be.
    """
    for distribution in (name, f"{name}-cpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            version = Version(importlib.metadata.version(distribution))
    allowed = DECLARED[name].specifier
    assert version in allowed
    is_lowest = any(bound.operator == ">=" and Version(bound.version) == version for bound in allowed)
    next_major = Version(f"{version.major + 1 + is_lowest}")
    assert Version(f"{version.major}.{version.minor + 1}") not in allowed or next_major not in allowed


def test_no_name_stands_for_two_classes():
    homes: dict[str, list[str]] = {}
    for file, tree in trees().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(file.relative_to(ROOT).as_posix())
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}
