"""The documentation site: its pages are all found, its programs run, its notebooks give what they show."""

import contextlib
import functools
import importlib
import json
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CONFIG = (DOCS / "site" / "mkdocs.yml").read_text(encoding="utf-8")
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = [re.sub(r"[^\w\s-]", "", title).strip().lower() for title in re.findall(r"^#+ (.*)", text, re.MULTILINE)]
    return {re.sub(r"[\s]+", "-", title) for title in titles} | set(re.findall(r'<a id="([^"]+)"', text))


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(DOCS.glob("*.md"))], ids=lambda page: page.stem)
def test_links_lead_to_headings_that_are_there(page):
    for link in re.findall(r"\]\(([^)\s]*#[^)\s]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = link.partition("#")
        if "://" not in file:
            assert anchor in headings((page.parent / file) if file else page), link


def exists(name: str) -> bool:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        with contextlib.suppress(ImportError, AttributeError):
            functools.reduce(getattr, parts[length:], importlib.import_module(".".join(parts[:length])))
            return True
    return False


def test_names_that_are_written_in_full_are_there():
    files = [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *(ROOT / "tfopt").rglob("*.py")]
    texts = "\n".join(file.read_text(encoding="utf-8") for file in files)
    names = sorted(set(re.findall(r"`(tfopt(?:\.\w+)+)[`(]", texts)))
    assert len(names) > 50
    assert [name for name in names if not exists(name)] == []


def test_every_page_is_on_the_site():
    shown = re.findall(r"^ +- .*?: (\S+\.md)$", CONFIG, re.MULTILINE)
    written = {page.name for page in DOCS.glob("*.md")} | {f"notebooks/{path.stem}.md" for path in NOTEBOOKS}
    assert sorted(set(shown)) == sorted(shown)
    assert written <= set(shown), "name it in `nav` of docs/site/mkdocs.yml"
    made = {page for page in shown if page.startswith(("reference/", "recipes/")) or (ROOT / page).exists()}
    assert set(shown) - written == made


@pytest.mark.slow
@pytest.mark.parametrize("name", ["callbacks", "from-kerastuner", "from-pytorch", "resume", "teaching", "gpu"])
def test_the_programs_of_a_tutorial_run_one_after_another(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    programs = re.findall(r"```python\n(.*?)```", (DOCS / f"{name}.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    for program in programs:
        exec(program, names)
    assert programs


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_shows_what_it_gave(path):
    assert path.stat().st_size < 200_000
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), "run it whole, from the top"
    assert sum(bool(cell["outputs"]) for cell in cells) > len(cells) / 2
    assert not [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_the_same_kinds_of_things(path, tmp_path, monkeypatch):
    """Digits, and so the order of models that are as good as each other, are the machine's."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.delenv("MPLBACKEND", raising=False)  # a notebook draws in the page
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    shown, found = nbformat.read(path, 4), nbformat.read(path, 4)
    nbclient.NotebookClient(found, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert [kinds(cell) for cell in found.cells] == [kinds(cell) for cell in shown.cells]


def kinds(cell) -> list[str]:
    outputs = [output for output in cell.get("outputs", ()) if output.get("name") != "stderr"]
    return [" ".join([output["output_type"], *sorted(output.get("data", ()))]) for output in outputs]
