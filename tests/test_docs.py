"""The documentation site: its pages are all found, its programs run, its notebooks give what they show."""

import contextlib
import copy
import functools
import importlib
import json
import os
import re
import sys
import types
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

import tfopt

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


def programs(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


# Pages whose programs run one after another, and what each writes there that is smaller here.
TUTORIALS: dict[str, dict[str, str]] = {
    "callbacks": {}, "from-kerastuner": {}, "from-pytorch": {}, "resume": {}, "teaching": {}, "gpu": {},
    "pieces": {"epochs=20": "epochs=3", "epochs=50": "epochs=2"},
    "first-search": {},
    "python": {"epochs=30": "epochs=2", "cv=5": "cv=2", ', "svm"]': "]"},
    "tracking": {"max_trials=10": "max_trials=2", "epochs=5": "epochs=1"},
    "workers": {
        "workers=4": "workers=1", "epochs=20": "epochs=1", "folds=5": "folds=2",
        'backend="dask", address="tcp://10.0.0.1:8786"': "1",
    },
}  # fmt: skip
ELSEWHERE = {
    "README": "test_readme.py", "search": "test_readme.py", "defects": "test_defects.py",
    "use-the-model": "cli/test_predict.py", "tabular-networks": "models/test_models.py",
    "any-data": "search/test_example_search.py",
}  # fmt: skip


def test_every_program_of_a_page_is_run():
    with_programs = {page.stem for page in [ROOT / "README.md", *DOCS.glob("*.md")] if programs(page)}
    assert with_programs == TUTORIALS.keys() | ELSEWHERE.keys(), "name the page in TUTORIALS"


@pytest.fixture
def small_searches(tmp_path, monkeypatch):
    """Every `tfopt.search.run` is a small one, in a folder with the table that the pages speak of."""
    run = tfopt.search.run
    small = {
        "space": "small", "max_trials": 1, "epochs": 2, "folds": 2, "inner_folds": 2, "seeds": 1, "workers": 1,
        "baselines": "ridge", "progress": False,
    }  # fmt: skip
    monkeypatch.setattr(tfopt.search, "run", lambda *args, **settings: run(*args, **(small | settings)))
    monkeypatch.chdir(tmp_path)
    size, age = np.random.default_rng(0).normal(100, 20, (2, 40)).round(1)
    pd.DataFrame({"size": size, "age": age, "price": 3 * size - age}).to_csv("houses.csv", index=False)


@pytest.fixture
def wandb(monkeypatch):
    """Stand in for Weights & Biases' client; return what runs were begun with."""
    begun: list[dict] = []

    def init(**settings):
        begun.append(settings)
        return contextlib.nullcontext()

    for name, content in {
        "wandb": {"init": init}, "wandb.integration": {},
        "wandb.integration.keras": {"WandbMetricsLogger": keras.callbacks.Callback},
    }.items():  # fmt: skip
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return begun


def worker_names() -> dict[str, Any]:
    """Return what the page on workers takes as given."""
    x, y = np.random.default_rng(0).normal(size=(40, 3)).astype("float32"), np.arange(40) % 2

    def build(hp):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, "sigmoid")])
        model.compile(keras.optimizers.SGD(hp.Choice("rate", [0.01, 0.1])), "binary_crossentropy")
        return model

    tuner = tfopt.search.RandomSearch(build, "val_loss", max_trials=2, directory="runs", seed=0)
    return {"tfopt": tfopt, "x": x, "y": y, "build": build, "rates": [{"rate": 0.01}, {"rate": 0.1}], "tuner": tuner}


@pytest.mark.slow
@pytest.mark.parametrize("name", TUTORIALS)
def test_the_programs_of_a_page_run_one_after_another(name, small_searches, wandb):
    page = DOCS / f"{name}.md"
    names = worker_names() if name == "workers" else {}

    def small(program):
        for written, here in TUTORIALS[name].items():
            program = program.replace(written, here)
        return program

    models = []
    for program in programs(page):
        exec(small(program), names)
        models.append(names.get("model"))
    if name == "tracking":
        names |= dict(zip("xy", load_digits(return_X_y=True), strict=True))
        [search] = re.findall(r"`(tfopt\.\S+\(Digits\(\).*?)`", page.read_text(encoding="utf-8"))
        exec(small(f"import tfopt; {search}"), names)
        assert [settings["project"] for settings in wandb] == ["digits"] * 2
        assert all(set(settings["config"]) == {"units", "learning_rate"} for settings in wandb)
    if name == "pieces":
        assert {"grad_norm", "dropout_gap", "dropout", "learning_rate"} <= set(models[0].history.history)
        assert models[1].compiled
    if name in ("first-search", "python"):
        assert names["result"].verdict


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_shows_what_it_gave(path):
    assert path.stat().st_size < 200_000
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), "run it whole, from the top"
    assert sum(bool(cell["outputs"]) for cell in cells) > len(cells) / 2
    assert not [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]


# What the notebooks write that is smaller here.
SMALL_CELLS = {
    "epochs=8": "epochs=2", "range(8)": "range(2)", "steps=300": "steps=3", "steps=600": "steps=3",
    "max_trials=4": "max_trials=1", "epochs=20": "epochs=2", "folds=3": "folds=2", ', "random_forest"]': "]",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.long("callbacks_and_diagnosis", "search_and_verdict")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_the_same_kinds_of_things(path, tmp_path, monkeypatch):
    """Digits, and so the order of like models, are the machine's."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.delenv("MPLBACKEND", raising=False)  # a notebook draws in the page
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    shown = nbformat.read(path, 4)
    for cell in shown.cells:
        for written, here in SMALL_CELLS.items():
            cell.source = cell.source.replace(written, here)
    found = copy.deepcopy(shown)
    nbclient.NotebookClient(found, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert [(cell.source, kinds(cell)) for cell in found.cells] == [(cell.source, kinds(cell)) for cell in shown.cells]


def kinds(cell) -> list[str]:
    outputs = [output for output in cell.get("outputs", ()) if output.get("name") != "stderr"]
    return [" ".join([output["output_type"], *sorted(output.get("data", ()))]) for output in outputs]
