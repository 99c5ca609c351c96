"""The recipes' tables are what their results say, and every claim of the tutorials has its test."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tfopt.report import catalogue

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*.py"))
ROWS = catalogue.coverage(RECIPES)
ENTRIES = catalogue.load(RECIPES)
CLAIMS = [claim for entry in ENTRIES.values() for claim in entry.claims]
IDS = [key for entry in ENTRIES.values() for key in catalogue.claims_of(entry.doc)]
SECTIONS = {"A": 6, "B": 11, "C": 6, "D": 9, "E": 5}  # rows of the list of what the tutorials say


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_tables_are_up_to_date(language):
    """If not: `tfopt recipes table`."""
    assert (RECIPES / catalogue.LANGUAGES[language]).read_text(encoding="utf-8") == catalogue.readme(language, RECIPES)


def test_code_is_the_same_in_both_languages():
    texts = [(RECIPES / name).read_text(encoding="utf-8") for name in catalogue.LANGUAGES.values()]
    for pattern in (r"```.*?```", r"`tfopt recipes[^`]*`"):
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
    recipe = ENTRIES[name]
    for block, result in enumerate(recipe.blocks):
        assert (result["recipe"], result["mode"]) == (name, "default")
        assert result["command"] == f"python recipes/{name}.py" + f" --seed {block}" * (block > 0)
        assert result["question"] == recipe.question
        assert result["seconds"] <= 600
    assert (RECIPES / "figures" / f"{name}.svg").stat().st_size < 150_000


def test_claims_have_ids_of_their_own():
    assert len(IDS) == len(set(IDS))


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
            assert test in IDS, f"no recipe has the claim {test!r}"


def test_chinese_texts_are_of_claims_that_exist():
    chinese = tomllib.loads((RECIPES / "zh-CN.toml").read_text(encoding="utf-8"))
    assert sorted(chinese["questions"]) == NAMES
    for claim in chinese["claims"]:
        assert claim in IDS, f"no recipe has the claim {claim!r}"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_front_page_says_how_many_claims_hold(language):
    """If not: `tfopt recipes table`."""
    text = (ROOT / catalogue.LANGUAGES[language]).read_text(encoding="utf-8")
    assert f"<!-- recipes -->{catalogue.in_short(language, RECIPES)}<!-- -->" in text


@pytest.mark.parametrize(
    ("repeats", "verdict"),
    [
        (["holds"] * 3, "holds"),
        (["does not hold"] * 3, "does not hold"),
        (["holds", "holds", "can't be told here"], "can't be told here"),
        (["holds", "does not hold", "holds"], "can't be told here"),
        (["holds"], "not repeated yet"),
    ],
)
def test_a_claim_holds_only_where_all_blocks_agree(repeats, verdict):
    assert catalogue.Claim("a-b", "It is so.", repeats, ["1"] * len(repeats)).verdict == verdict


@pytest.mark.parametrize(
    ("word", "recipe", "claim"),
    [
        ("LinearDecay", "learning_rate_schedules", "schedules-keras-has-linear-decay"),
        ("lineardecay", "learning_rate_schedules", "schedules-keras-has-linear-decay"),
        ("optimizer.lr", "learning_rate_schedules", "schedules-optimizer-lr"),
        ("1 - 1/n", "dropout", "dropout-rate-formula"),
        ("1 − 1/n", "dropout", "dropout-rate-formula"),
        ("1-1/n", "dropout", "dropout-rate-formula"),
        ("学习率", "batch_size", "batch-rate-grows"),
        ("dropout-rate-formula", "dropout", "dropout-rate-formula"),
        ("DropoutEffects", "dropout", None),
    ],
)
def test_a_word_finds_recipe_and_claim(word, recipe, claim):
    found = [(entry.name, one and one.id) for entry, one in catalogue.search(word)]
    assert (recipe, claim) in found
    assert len(found) < len(CLAIMS) / 3


def test_numbers_are_said_in_chinese():
    words = {"numbers": {"{} against {}, {} {}": "{0}，对比 {1}，{2} {3}"}, "words": {"seeds": "个种子"}}
    numbers = [["{} against {}, {} {}", ["0.1", "0.2", "6", "seeds"]]]
    assert catalogue.said(numbers) == "0.1 against 0.2, 6 seeds"
    assert catalogue.said(numbers * 2, words) == "0.1，对比 0.2，6 个种子；0.1，对比 0.2，6 个种子"
    assert catalogue.said("0.1 against 0.2", words) == ""  # an older recipe's, in English


REPEATED = [entry for entry in ENTRIES.values() if len(entry.blocks) == catalogue.BLOCKS]


@pytest.mark.parametrize("entry", REPEATED, ids=lambda entry: entry.name)
def test_a_repeated_recipe_is_chinese_throughout(entry):
    chinese = catalogue.in_chinese(RECIPES)
    for form, values in (part for claim in entry.claims for block in claim.numbers for part in block):
        assert not re.search(r"[a-z]{2}", form) or form in chinese["numbers"], form
        for value in values:
            if re.search(r"[A-Za-z]{2}", re.sub("`.*?`", "", value)):
                assert value in chinese["words"], value
    assert bool(chinese["so"].get(entry.name)) == bool(catalogue.advice(entry.doc))


def test_advice_is_a_paragraph():
    assert catalogue.advice("Is it?\n\nSo: do\nthis.\n\n    python x.py") == "do this."
    assert catalogue.advice("Is it?\n\nSo, no.") == ""


def test_what_a_script_does_has_a_fingerprint(tmp_path):
    """Words, spacing and the picture change nothing in it; a number does."""

    def of(text):
        (tmp_path / "toy.py").write_text(text)
        return catalogue.fingerprint(tmp_path / "toy.py")

    first = of('"""Is it so?"""\nrate = 0.1  # of SGD\n')
    assert of('"""Is it\n\nother?"""\n\nrate = (0.1)\n') == first
    assert of('"""Is it so?"""\nrate = 0.1\nwith recipe.panels(2) as (figure, axes):\n    draw(axes)\n') == first
    assert of('"""Is it so?"""\nrate = 0.2\n') != first
