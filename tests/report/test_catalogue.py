"""The recipes' tables are what their results say, and every claim of the tutorials has its test."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest

from tfopt.report import catalogue, recipe

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*.py"))
ROWS = catalogue.coverage(RECIPES)
RESULTS = [entry.result for entry in catalogue.load(RECIPES).values() if entry.result]
IDS = [claim["id"] for result in RESULTS for claim in result["claims"]]
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in RECIPES.glob("*.py"))
SECTIONS = {"A": 6, "B": 11, "C": 6, "D": 9, "E": 5}  # rows of the list of what the tutorials say


def test_the_verdicts_are_those_of_recipes():
    assert catalogue.VERDICTS == recipe.VERDICTS


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_tables_are_up_to_date(language):
    """If not: `tfopt recipes table`."""
    assert (RECIPES / catalogue.LANGUAGES[language]).read_text(encoding="utf-8") == catalogue.readme(language, RECIPES)


def test_code_is_the_same_in_both_languages():
    texts = [(RECIPES / name).read_text(encoding="utf-8") for name in catalogue.LANGUAGES.values()]
    for pattern in (r"```.*?```", r"`python [^`]*`"):
        english, chinese = (re.findall(pattern, text, flags=re.DOTALL) for text in texts)
        assert english == chinese
        assert english


def test_every_picture_and_file_that_a_table_links_to_is_there():
    for name in catalogue.LANGUAGES.values():
        text = (RECIPES / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert (RECIPES / target).is_file(), target
        anchors = set(re.findall(r'<a id="([^"]+)">', text)) | set(re.findall(r"^### (\w+)$", text, flags=re.MULTILINE))
        assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_has_a_committed_result_of_a_whole_run(name):
    result = json.loads((RECIPES / "results" / f"{name}.json").read_text(encoding="utf-8"))
    assert (result["recipe"], result["mode"]) == (name, "default")
    assert result["command"] == f"python recipes/{name}.py"
    assert result["seconds"] <= 120
    assert result["environment"]["cores"] == 2
    docstring = ast.get_docstring(ast.parse((RECIPES / f"{name}.py").read_text(encoding="utf-8")))
    assert result["question"] == docstring.splitlines()[0]
    assert (RECIPES / "figures" / f"{name}.svg").stat().st_size < 150_000


def test_claims_have_ids_of_their_own():
    ids = [
        claim["id"] for entry in catalogue.load(RECIPES).values() if entry.result for claim in entry.result["claims"]
    ]
    assert len(ids) == len(set(ids))


def test_every_row_of_the_tutorials_is_listed():
    assert {section: sum(row["section"] == section for row in ROWS) for section in SECTIONS} == SECTIONS
    assert [row["section"] for row in ROWS] == sorted(row["section"] for row in ROWS)
    for row in ROWS:
        assert set(row) == {"section", "en", "zh", "tested_by"}


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['section']}{place}" for place, row in enumerate(ROWS)])
def test_every_claim_of_the_tutorials_is_tested(row):
    assert row["tested_by"]
    for test in row["tested_by"]:
        if "::" in test:
            file, _, function = test.partition("::")
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        else:
            assert test in IDS or f'"{test}"' in SOURCES, f"no recipe has the claim {test!r}"


def test_chinese_texts_are_of_claims_that_exist():
    chinese = tomllib.loads((RECIPES / "zh-CN.toml").read_text(encoding="utf-8"))
    assert sorted(chinese["questions"]) == NAMES
    for claim in chinese["claims"]:
        assert claim in IDS or f'"{claim}"' in SOURCES, f"no recipe has the claim {claim!r}"
