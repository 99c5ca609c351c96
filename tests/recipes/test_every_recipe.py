"""Every recipe runs small, and ends in a verdict on each of its claims, a picture and a result of one form."""

import ast
import json
import re
import tomllib
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
def test_it_runs_small_and_ends_in_verdicts(name, smoke, chinese):
    done = smoke(name)
    assert {path.name for path in done.folder.iterdir()} == {"out"}  # nothing is left beside the results
    out = done.folder / "out"

    text = (out / f"{name}.json").read_text(encoding="utf-8")
    assert "NaN" not in re.sub(r'"(\\.|[^"\\])*"', "", text)  # JSON has no such number
    result = json.loads(text)
    assert set(result) == KEYS
    assert (result["recipe"], result["mode"]) == (name, "smoke")
    assert result["command"] == f"python recipes/{name}.py --smoke"
    assert result["seconds"] > 0
    assert result["results"]
    docstring = ast.get_docstring(ast.parse((RECIPES / f"{name}.py").read_text(encoding="utf-8")))
    assert result["question"] == docstring.splitlines()[0]
    assert result["question"].endswith("?")

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

    committed = RECIPES / "results" / f"{name}.json"
    if committed.exists():
        old = catalogue.load(RECIPES)[name].claims
        assert [claim.id for claim in old] == [claim["id"] for claim in result["claims"]]


def test_the_chinese_texts_are_chinese_and_sorted(chinese):
    assert list(chinese["questions"]) == sorted(chinese["questions"])
    for text in [*chinese["questions"].values(), *chinese["claims"].values()]:
        assert re.search("[\u4e00-\u9fff]", text)
