"""Every recipe runs small, and ends in a verdict on each of its claims, a picture and a result of one form."""

import ast
import inspect
import json
import re
import sys
import tomllib
import types
import xml.etree.ElementTree
from pathlib import Path

import pytest

from tfopt.report import catalogue

RECIPES = Path(__file__).parents[2] / "recipes"
VERDICTS = {"holds", "does not hold", "can't be told here"}
KEYS = {
    "recipe", "question", "command", "source", "mode", "block", "seconds", "environment", "claims", "results"
}  # fmt: skip
NAMES = sorted(path.stem for path in RECIPES.glob("*.py"))


@pytest.fixture(scope="session")
def chinese():
    return tomllib.loads((RECIPES / "zh-CN.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_it_begins_and_asks_libraries_only_for_what_they_have(name, chinese, tmp_path, monkeypatch, capsys):
    """It is read, imports and reads its command line; what it will call later is there and takes those keywords."""
    text = (RECIPES / f"{name}.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    names = {"__name__": "__main__", "__doc__": ast.get_docstring(tree, clean=False), "__file__": f"{name}.py"}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        exec(compile(text, f"{name}.py", "exec"), names)
    assert ended.value.code == 0
    assert f"usage: {name}.py" in capsys.readouterr().out

    claims = catalogue.claims_of(names["__doc__"])
    assert claims
    assert set(claims) <= set(chinese["claims"])
    assert chinese["questions"][name].endswith("？")
    written = [  # an f-string may stand for several
        "".join(re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in node.values)
        if isinstance(node, ast.JoinedStr)
        else re.escape(str(node.value))
        for statement in tree.body[1:]
        for node in ast.walk(statement)
        if isinstance(node, ast.Constant | ast.JoinedStr)
    ]
    written = [pattern for pattern in written if pattern != ".+"]
    assert [key for key in claims if not any(re.fullmatch(each, key) for each in written)] == [], "without evidence"

    def value(node):
        """Return what a dotted name stands for, where all but its end are modules."""
        if isinstance(node, ast.Name):
            return names.get(node.id)
        owner = value(node.value) if isinstance(node, ast.Attribute) else None
        return getattr(owner, node.attr) if isinstance(owner, types.ModuleType) else None

    checked = 0
    for node in ast.walk(tree):
        found = value(node.func if isinstance(node, ast.Call) else node)
        own = inspect.isfunction(found) or (inspect.isclass(found) and "__init__" in vars(found))
        if isinstance(node, ast.Call) and own and found.__module__.startswith("tfopt."):
            taken = inspect.signature(found).parameters.values()
            if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in taken):
                unknown = {each.arg for each in node.keywords if each.arg} - {parameter.name for parameter in taken}
                assert not unknown, f"line {node.lineno}: {ast.unparse(node.func)} takes no {unknown}"
                checked += 1
    assert checked >= 3


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_small_and_ends_in_verdicts(name, smoke, chinese):
    done = smoke(name)
    assert {path.name for path in done.folder.iterdir()} == {"out"}  # nothing is left beside the results
    out = done.folder / "out"

    text = (out / f"{name}.json").read_text(encoding="utf-8")
    assert "NaN" not in re.sub(r'"(\\.|[^"\\])*"', "", text)  # JSON has no such number
    result = json.loads(text)
    assert set(result) == KEYS
    assert (result["recipe"], result["mode"]) == (name, "smoke")
    assert result["command"] == f"python recipes/{name}.py --smoke --seed 1"
    assert result["seconds"] > 0
    assert result["results"]
    docstring = ast.get_docstring(ast.parse((RECIPES / f"{name}.py").read_text(encoding="utf-8")))
    assert result["question"] == docstring.splitlines()[0]
    assert result["question"].endswith("?")

    assert all(100_000 <= seed < 200_000 for seed in done.seeds), "a seed is of another block"

    assert result["claims"]
    assert len({claim["id"] for claim in result["claims"]}) == len(result["claims"])
    for claim in result["claims"]:
        assert claim["verdict"] in VERDICTS
        numbers = catalogue.said(claim["numbers"])
        assert f"{claim['verdict']}: {claim['claim']} ({numbers})\n" in done.printed
        assert re.search(r"\d", numbers), f"no number carries {claim['id']}"

    picture = (out / f"{name}.svg").read_text(encoding="utf-8")
    assert xml.etree.ElementTree.fromstring(picture).tag.endswith("svg")
    assert "<dc:date>" not in picture
    assert len(picture) < 150_000
    assert (out / f"{name}.png").stat().st_size > 10_000

    assert chinese["questions"].get(name, "").endswith("？")
    missing = {claim["id"] for claim in result["claims"]} - set(chinese["claims"])
    assert not missing, f"recipes/zh-CN.toml has no line for {sorted(missing)}"

    committed = catalogue.load(RECIPES)[name]
    ids = [claim["id"] for claim in result["claims"]]
    if len(committed.blocks) == catalogue.BLOCKS:
        assert [claim.id for claim in committed.claims] == ids
    else:
        assert {claim.id for claim in committed.claims} <= set(ids)


def test_the_chinese_texts_are_chinese_and_sorted(chinese):
    assert list(chinese["questions"]) == sorted(chinese["questions"])
    for text in [*chinese["questions"].values(), *chinese["claims"].values()]:
        assert re.search("[\u4e00-\u9fff]", text)


@pytest.mark.parametrize("name", NAMES)
def test_no_seed_is_a_number_of_the_recipes_own(name):
    """Every seed comes from `--seed`: no literal stands for one."""
    for node in ast.walk(ast.parse((RECIPES / f"{name}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = [keyword.value for keyword in node.keywords if keyword.arg in ("seed", "random_state")]
            given += node.args[:1] if called in ("default_rng", "set_random_seed", "RandomState") else []
            for value in given:
                assert not isinstance(value, ast.Constant), f"line {node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value in ("seed", "random_state"):
                    assert not isinstance(value, ast.Constant), f"line {node.lineno}: {ast.unparse(node)}"
