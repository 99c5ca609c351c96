"""Every public name says what it does in one form, names each of its arguments, and has an example that runs.

The form is Keras's: what it does in one line, when to use it, the formula, then the sections below in this order.
"""

import ast
import contextlib
import dataclasses
import importlib
import inspect
import io
import re
import sys
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.datasets import load_iris

import tfopt

ROOT = Path(tfopt.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
SECTIONS = ["Logs", "Args", "Call arguments", "Attributes", "Returns", "Raises", "Warns", "Example", "References"]


def public() -> dict[str, Any]:
    """Return the classes and functions that `__all__` of any public module names, each once, by its shortest name."""
    files = [file for file in FILES if "\n__all__ = " in file.read_text("utf-8")]
    modules = [
        ".".join(("tfopt", *file.relative_to(ROOT).with_suffix("").parts))
        for file in files
        if file.parent.name != "cli"
    ]
    homes = [tfopt, *(importlib.import_module(name.removesuffix(".__init__")) for name in modules)]
    names = {"tfopt": list(tfopt._FUNCTIONS)}
    found: dict[int, tuple[str, Any]] = {}
    for home in homes:
        for name in names.get(home.__name__, vars(home).get("__all__", ())):
            thing = getattr(home, name)
            if (inspect.isclass(thing) or inspect.isfunction(thing)) and thing.__module__.startswith("tfopt"):
                found.setdefault(id(thing), (f"{home.__name__}.{name}", thing))
    return dict(found.values())


PUBLIC = public()


def parts(thing: Any) -> dict[str, str]:
    return sections(inspect.getdoc(thing) or "")


def sections(text: str) -> dict[str, str]:
    """Return the text of a docstring's sections by their titles, what stands before them under an empty one."""
    found = {"": ""}
    title = ""
    lines = text.splitlines() or [""]
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if (match := re.fullmatch(r"([A-Z][A-Za-z ]+):", line)) and below.startswith("    "):
            title = match[1]
            found[title] = ""
        elif title and line and not line.startswith(" "):
            title = ""
        else:
            found[title] += line + "\n"
    return found


def entries(section: str) -> list[str]:
    """Return what the entries of a section begin with, before their colons."""
    return re.findall(r"^    (\S[^:\n]*): ", section, re.MULTILINE)


def parameters(thing: Any) -> dict[str, inspect.Parameter]:
    found = inspect.signature(thing).parameters
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return {f"{stars.get(one.kind, '')}{name}": one for name, one in found.items()}


def checks_arguments(thing: Any) -> bool:
    """Whether the code of a function, or what makes an object of a class, raises or asks `_arguments` to."""
    module = vars(importlib.import_module(thing.__module__))
    making = [vars(thing).get(name) for name in ("__init__", "__post_init__")] if inspect.isclass(thing) else [thing]
    plain = [inspect.unwrap(part) for part in making if inspect.isfunction(part)]
    written = [part for part in plain if part.__code__.co_filename != "<string>"]  # by a person, not by `dataclass`
    code = [ast.parse(textwrap.dedent(inspect.getsource(part))) for part in written]
    called = {ast.unparse(node.func) for tree in code for node in ast.walk(tree) if isinstance(node, ast.Call)}
    checks = {name for name in called if getattr(module.get(name), "__module__", "") == "tfopt._arguments"}
    raised = [node for tree in code for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    return bool(raised) or any(name in checks for name in called if re.search("number|num_|argument|flag", name))


@pytest.mark.parametrize("thing", PUBLIC.values(), ids=PUBLIC)
def test_its_docstring_has_the_form(thing):
    """Of a result the attributes may be named instead; `**settings` may stand for all arguments that follow."""
    found, names = parts(thing), list(parameters(thing))
    first, *rest = inspect.getdoc(thing).splitlines()
    assert first.endswith((".", ":"))
    assert not rest or not rest[0], "a blank line after the first"
    is_piece = inspect.isclass(thing) and not dataclasses.is_dataclass(thing)
    assert not is_piece or len(found[""].splitlines()) > 2, "say when to use it"

    titles = [title for title in found if title]
    assert titles == [title for title in SECTIONS if title in titles]

    said = entries(found.get("Args", "" if "Attributes" not in found or not names else found["Attributes"]))
    if said and said[-1] == "**settings":
        said, names = said[:-1], names[: len(said) - 1]
    assert said == names

    if inspect.isfunction(thing) and inspect.signature(thing).return_annotation not in (None, "None"):
        assert "Returns" in found or found[""].startswith("Return ")
    assert "Raises" in found or not checks_arguments(thing)

    for entry in filter(None, re.split(r"\n(?=    \S)", found.get("References", ""))):
        assert re.search(r"\(\d{4}\)", entry), entry
        assert "https://" in entry, entry


def statements(code: str) -> list[tuple[str, list[str]]]:
    """Return each statement of a program with the comments behind it, which say what it prints."""
    starts = [node.lineno for node in ast.parse(code).body]
    found: list[tuple[str, list[str]]] = []
    lines = code.splitlines()
    for start, end in zip(starts, [*starts[1:], len(lines) + 1], strict=True):
        text = "\n".join(lines[start - 1 : end - 1])
        tokens = tokenize.generate_tokens(io.StringIO(text + "\n").readline)
        found.append((text, [one.string[1:].removeprefix(" ") for one in tokens if one.type == tokenize.COMMENT]))
    return found


def is_promised(line: str, promise: str) -> bool:
    """Whether a printed line is what the comment says: … is anything, and a remark may follow `,` or `:`."""
    pattern = re.escape(promise).replace("…", ".*")
    return bool(re.fullmatch(pattern, line)) or promise.startswith((f"{line},", f"{line}:"))


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A folder in which somebody searched, with new rows beside the run."""
    folder = tmp_path_factory.mktemp("searched")
    settings = {"space": "small", "max_trials": 2, "epochs": 3, "holdout": 0.3, "inner_folds": 2, "seeds": 1}
    out = folder / "runs" / "iris"
    tfopt.search.run("iris", **settings, baselines=["ridge_classifier"], workers=1, out=str(out), progress=False)
    load_iris(as_frame=True).data.head(2).to_csv(folder / "new.csv", index=False)
    return folder


def example_of(name: str, thing: Any) -> Any:
    searches = re.search(r"search\.run\(|runs/iris|\.Tuned", parts(thing).get("Example", ""))
    return pytest.param(thing, id=name, marks=[pytest.mark.slow] if searches else [])


@pytest.mark.slow
@pytest.mark.long("tfopt.sklearn.TunedNetworkRegressor")  # is the classifier's
@pytest.mark.parametrize("thing", [example_of(name, thing) for name, thing in PUBLIC.items()])
def test_its_example_runs_and_prints_what_it_says(thing, tmp_path, monkeypatch, request):
    """An example begins with `import keras, numpy as np, tfopt`."""
    example = parts(thing)["Example"]
    monkeypatch.chdir(request.getfixturevalue("searched") if "runs/iris" in example else tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)  # a recipe's example sets both
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    keras.utils.set_random_seed(0)
    blocks = re.findall(r"```python\n(.*?)```", example, re.DOTALL)
    assert blocks
    names: dict[str, Any] = {"keras": keras, "np": np, "tfopt": tfopt}
    for block in blocks:
        for text, promises in statements(textwrap.dedent(block)):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(text, "example", "exec"), names)
            lines = printed.getvalue().splitlines()
            assert len(lines) <= len(promises), f"say what is printed: {lines}"
            for line, promise in zip(lines, promises, strict=False):
                assert is_promised(line, promise), f"{text}\nprints {line}"


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in tree.body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        yield from (one for one in inner if isinstance(one, ast.FunctionDef))


@pytest.mark.slow
def test_arguments_that_any_function_describes_are_its_own():
    """Methods, and what is not public, need not describe theirs."""
    wrong = []
    for path in FILES:
        for function in functions(ast.parse(path.read_text("utf-8"))):
            said = entries(sections(ast.get_docstring(function) or "").get("Args", ""))
            own = function.args
            names = [one.arg for one in own.posonlyargs + own.args if one.arg not in ("self", "cls")]
            names += [f"*{own.vararg.arg}"] if own.vararg else []
            names += [one.arg for one in own.kwonlyargs] + ([f"**{own.kwarg.arg}"] if own.kwarg else [])
            if said not in ([], names):
                wrong.append(f"{path.relative_to(ROOT)}:{function.lineno} {function.name} has {names} and says {said}")
    assert not wrong


def test_no_file_keeps_another_form():
    """Doctest's prompts, and sections that are not indented."""
    for path in FILES:
        other = re.search(r"^ +(>>> |References?: |Reference:|Example:\n\n)", path.read_text("utf-8"), re.MULTILINE)
        assert other is None, f"{path}: {other}"
