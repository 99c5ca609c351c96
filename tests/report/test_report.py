import html.parser
import json
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from tfopt import report
from tfopt.comparison import objective_names
from tfopt.errors import UserError
from tfopt.report import load_run, write_report
from tfopt.report.page import Picture
from tfopt.report.run import SearchRun
from tfopt.report.sections import meaning
from tfopt.search.config import GIVEN_TABLE


class Page(html.parser.HTMLParser):
    """Collects a page's text and everything that it would load, and checks that its tags are closed."""

    void = frozenset({"meta", "br", "img", "link", "input"})

    def __init__(self, text):
        super().__init__()
        self.words, self.loads, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        if tag not in self.void:
            self.open.append(tag)
        for name, value in attributes:
            if name in {"src", "href", "xlink:href", "srcset"} and not (value or "").startswith(("#", "data:")):
                self.loads.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def tfopt(capsys):
    from tfopt.cli import main

    def run(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def undrawn(monkeypatch):
    """Draw no figures, where a page's text is what matters."""
    monkeypatch.setattr(Picture, "svg", "<svg></svg>")
    monkeypatch.setattr("tfopt.report.write.save", lambda *arguments: None)
    monkeypatch.setattr(Picture, "drawn", "")


def test_run_reads_what_the_search_wrote(run_folder):
    run = load_run(run_folder)
    assert (run.name, run.objective, run.rope) == ("diabetes", "r2", 0.01)
    assert [row["model"] for row in run.leaderboard][:2] == ["svm", "ridge"]
    assert run.best_baseline()["model"] == "svm"
    assert run.baseline_inner_score("svm") == pytest.approx(0.509)
    assert run.baseline_inner_score("nobody") is None
    assert len(run.failures()) == 3
    assert run.final()["values"]["optimizer"] == "adamw"


@pytest.mark.slow
def test_report_is_one_page_with_everything_in_it(run_folder, tfopt):
    code, out, err = tfopt("report", run_folder)
    assert (code, out, err) == (0, f"{run_folder / 'report.html'}\n", "")
    source = (run_folder / "report.html").read_text(encoding="utf-8")
    page = Page(source)
    assert page.open == []
    assert page.loads == []
    assert not re.search(r"url\((?!#)|@import", source)
    assert source.count("<svg") == 8
    for text in (
        "Keep the support vector machine: the network is worse, and costs 20 times as much to fit.",
        "Keep svm: the network is worse.",
        "random_forest",
        "r2 is 1 where every prediction is right",
        "0.429 … 0.569",
        "regression · 442 rows · scored by r2 · 2 folds · seed 0 · 61 s",
        "The last column, 'target', is the target.",
        "3 of 18 trials failed",
        "3 × DivergedError: loss is NaN",
        "optimizer adamw",
        "keras 3.15.1",
        "tfopt search '<x> & y'",  # escaped in the source, as it was typed in the text
    ):
        assert text in page.text
    places = [page.text.index(text) for text in ("Keep the support", "Keep svm", "random_forest", "How to repeat it")]
    assert places == sorted(places)
    names = {path.name for path in (run_folder / "figures").iterdir()}
    stems = ("differences", "leaderboard", "best_so_far", "training", "residuals")
    assert names >= {f"{stem}.{end}" for stem in stems for end in ("png", "svg")}


@pytest.mark.slow
def test_inline_figures_take_the_pages_colours_and_the_report_is_the_same_bytes_every_time(run_folder):
    first = write_report(run_folder).read_bytes()
    source = (run_folder / "report.html").read_text(encoding="utf-8")
    drawing = source[source.index("<svg") :]
    assert "var(--ink)" in drawing
    assert "var(--accent)" in drawing
    assert "#1a1a1a" not in drawing
    assert "prefers-color-scheme: dark" in source
    assert "#1a1a1a" in (run_folder / "figures" / "leaderboard.svg").read_text()
    assert write_report(run_folder).read_bytes() == first


@pytest.mark.usefixtures("undrawn")
def test_unfinished_run_is_reported_as_far_as_it_got(run_folder, tfopt):
    (run_folder / "result.json").unlink()
    with (run_folder / "trials.jsonl").open("a") as file:
        file.write('{"kind": "tri')  # killed while it wrote
    assert tfopt("report", run_folder)[0] == 0
    page = Page((run_folder / "report.html").read_text(encoding="utf-8"))
    assert "The search has not ended" in page.text
    assert "Scores" not in page.text
    assert "How the search went" in page.text


@pytest.mark.usefixtures("undrawn")
def test_search_that_python_began_has_a_command_too(run_folder):
    environment = json.loads((run_folder / "environment.json").read_text())
    (run_folder / "environment.json").write_text(json.dumps({**environment, "command": ["notebook.py", "x"]}))
    config = {**json.loads((run_folder / "config.json").read_text()), "target": ["a b", "c"], "deterministic": True}
    (run_folder / "config.json").write_text(json.dumps(config))
    page = Page(write_report(run_folder).read_text(encoding="utf-8"))
    assert "tfopt search diabetes --target 'a b,c' --task regression --folds 2 --deterministic" in page.text
    (run_folder / "config.json").write_text(json.dumps({**config, "data": GIVEN_TABLE}))
    assert "The command" not in Page(write_report(run_folder).read_text(encoding="utf-8")).text


@pytest.mark.usefixtures("undrawn")
def test_hold_out_is_called_so(run_folder):
    config = json.loads((run_folder / "config.json").read_text())
    (run_folder / "config.json").write_text(json.dumps({**config, "holdout": 0.2}))
    page = Page(write_report(run_folder).read_text(encoding="utf-8"))
    assert "20 % held out" in page.text
    assert "bootstrap of these rows" in page.text
    assert "folds" not in page.text.split("Scores")[0].partition(" · ")[2].partition("Keep")[0]


@pytest.mark.usefixtures("undrawn")
def test_choices_that_differ_between_folds_are_shown(run_folder):
    lines = (run_folder / "trials.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    for record in records:
        if record["kind"] == "trial" and record["fold"] == 1:
            record["values"]["units"] = 32
    (run_folder / "trials.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    page = Page(write_report(run_folder).read_text(encoding="utf-8"))
    # Each fold's best of the trials is the fifth; only `units` differs. The final network's trials are not a fold's.
    assert "on all rows chosen in 2 folds learning_rate 0.01 0.01 units 64 64 (1 ×), 32 (1 ×)" in page.text


@pytest.mark.usefixtures("undrawn")
def test_baselines_choices_are_shown_by_their_range_or_their_counts(run_folder):
    first = json.loads((run_folder / "trials.jsonl").read_text().splitlines()[0])  # a baseline's
    with (run_folder / "trials.jsonl").open("a") as file:
        for fold, strength in enumerate([0.1, 0.3, 1, 30]):
            chosen = {"alpha": strength, "scaling": "robust" if fold else "standard"}
            file.write(json.dumps({**first, "model": "lasso", "fold": fold, "chosen": chosen}) + "\n")
    page = Page(write_report(run_folder).read_text(encoding="utf-8"))
    assert "the lasso chosen in 4 folds alpha 0.1 to 30, median 1 scaling robust (3 ×), standard (1 ×)" in page.text


def test_run_that_has_just_begun(tmp_path):
    (tmp_path / "config.json").write_text('{"data": "wine", "folds": 5, "seed": 0}')
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert page.text.startswith("wine – tfopt")
    assert not (tmp_path / "figures").exists()


def test_markdown_and_json_are_printed(run_folder, tfopt):
    code, out, _ = tfopt("report", run_folder, "--format", "md")
    assert code == 0
    assert out.startswith("## diabetes\n\n| model | kind | score | 95% interval | vs best |")
    assert out.endswith("\n\nKeep svm: the network is worse.\n")
    out = tfopt("report", run_folder, "--format", "json")[1]
    assert json.loads(out) == json.loads((run_folder / "result.json").read_text())
    assert len(json.loads(tfopt("report", run_folder, run_folder, "--format", "json")[1])) == 2
    assert not (run_folder / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("config.json", "{", "config.json is damaged (JSONDecodeError"),
        ("result.json", "[]", "result.json is damaged (it must be an object, not [])"),
    ],
)
def test_damaged_files_are_named(name, content, told, run_folder, tfopt):
    (run_folder / name).write_text(content)
    code, out, err = tfopt("report", run_folder)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err


@pytest.mark.slow
def test_folder_that_cannot_be_written(run_folder):
    (run_folder / "figures").write_text("in the way")
    with pytest.raises(UserError, match="the report cannot be written into"):
        write_report(run_folder)


def test_no_run_is_needed_to_be_told_so(tfopt, tmp_path):
    assert "no run folder" in tfopt("report", tmp_path / "nothing")[2]
    assert "is missing" in tfopt("report")[2]


def test_every_metric_is_explained():
    for name in (*objective_names("regression"), *objective_names("classification")):
        assert meaning(SimpleNamespace(objective=name, result={})).startswith(f"{name} is "), name


def test_templates_are_installed_with_the_package():
    root = Path(report.__file__).parents[2]
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["tfopt.report"]
    home = root / "tfopt" / "report"
    templates = {path for path in home.rglob("*") if path.is_file() and path.suffix in {".html", ".css", ".js"}}
    assert templates
    assert templates <= {path for pattern in patterns for path in home.glob(pattern)}


def test_a_short_trial_of_hyperbands_is_not_the_best():
    trials = [
        {"kind": "trial", "fold": 0, "trial_id": str(epochs), "values": {"tuner/epochs": epochs}, "status": "COMPLETED",
         "score": score}
        for epochs, score in ((3, 0.9), (9, 0.5), (9, 0.4))
    ]  # fmt: skip
    [best] = SearchRun(Path("run"), {}, {}, records=trials).best_trials()
    assert best["score"] == 0.5
    whole = {**trials[0], "trial_id": "default", "values": {}, "score": 0.6}  # of no rung: as long as the longest
    assert SearchRun(Path("run"), {}, {}, records=[*trials, whole]).best_trials() == [whole]
