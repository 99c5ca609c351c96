"""What the README and docs/ show is what there is: commands parse, Python runs, links lead somewhere."""

import importlib
import re
import shlex
from pathlib import Path

import keras
import keras_tuner
import pytest

from tfopt.cli.main import VERBS, verb_parser
from tfopt.search.problem import Problem

ROOT = Path(__file__).parents[1]
PAGES = {
    path: path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.md"))]
}
TEXT = "\n".join(PAGES.values())


def blocks(language: str, text: str = TEXT) -> list[str]:
    """Return each block once: the Chinese README repeats the English one's."""
    return list(dict.fromkeys(re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)))


def commands() -> list[str]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    found = [part.strip() for line in lines for part in line.split("&&") if part.strip().startswith("tfopt ")]
    return [
        *found,
        *(line.partition("#")[2].strip() for line in TEXT.splitlines() if re.match(r"# \S+\.py +tfopt", line)),
    ]


def test_there_are_commands_and_programs_to_check():
    assert len(commands()) >= 7
    assert len(blocks("python")) >= 2


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("tfopt")])
def test_a_command_of_readme_or_docs_parses(command):
    words = shlex.split(command, comments=True)
    words = words[: words.index(">")] if ">" in words else words
    assert words[1] in VERBS
    module = importlib.import_module(f"tfopt.cli.{words[1].replace('-', '_')}")
    verb_parser(words[1], module).parse(words[2:])


def test_every_command_is_in_the_docs_table():
    for verb in VERBS:
        assert f"| `tfopt {verb}" in PAGES[ROOT / "docs" / "command-line.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#\s]+)", PAGES[page])
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def test_the_chinese_readme_shows_the_same_commands_programs_and_output():
    readmes = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")]
    english, chinese = (re.findall(r"```\w+\n.*?```", text, flags=re.DOTALL) for text in readmes)
    assert english == chinese
    english, chinese = (re.findall(r"\]\(([^)]+)\)", text) for text in readmes)
    assert set(english) ^ set(chinese) == {"README.md", "README.zh-CN.md"}


def test_the_readme_is_a_door():
    lines = PAGES[ROOT / "README.md"].splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) <= 200


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.split("\n")[0][:30])
def test_python_of_readme_and_docs_compiles(block):
    compile(block, "docs", "exec")


def test_the_readmes_space_builds_a_model():
    (block,) = [block for block in blocks("python") if "def build(hp, problem)" in block]
    names: dict = {}
    exec(block, names)
    problem = Problem("classification", num_features=4, num_outputs=3, num_rows=90, epochs=2, table_rows=100)
    model = names["build"](keras_tuner.HyperParameters(), problem)
    assert isinstance(model, keras.Model)
    assert model.output_shape == (None, 3)


@pytest.mark.slow
def test_the_readmes_callbacks_run():
    (block,) = [block for block in blocks("python", PAGES[ROOT / "README.md"]) if "norms.plot()" in block]
    names: dict = {}
    exec(block.replace("epochs=20", "epochs=3"), names)
    assert {"grad_norm", "learning_rate"} <= set(names["model"].history.history)


@pytest.mark.slow
def test_the_readmes_search_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = [block for block in blocks("python") if "tfopt.search.RandomSearch(" in block and "folds=5" in block]
    names: dict = {}
    exec(block.replace("max_trials=6", "max_trials=2").replace("epochs=5", "epochs=1"), names)
    assert len(names["tuner"].oracle.trials) == 2
    assert names["model"].predict(names["x"][:3] / 16, verbose=0).shape == (3, 10)
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
