"""What the site holds beside `docs/*.md`: a reference from docstrings and parsers, the recipes, the raw numbers."""

import importlib
import inspect
import json
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe
from mkdocs.structure.files import File, Files

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tfopt
from tfopt.cli.main import VERBS, verb_parser
from tfopt.comparison import get_objective, objective_names
from tfopt.report import catalogue

ROOT = Path(__file__).parents[2]
PACKAGES = [
    *(
        "schedules",
        "regularizers",
        "constraints",
        "losses",
        "initializers",
        "layers",
        "callbacks",
        "diagnosis",
        "devices",
    ),
    *("models", "sklearn", "training", "search", "data", "baselines", "comparison", "report", "report.recipe"),
]
PROJECT = ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
_PAGES: dict[str, str] = {}  # of each public name, the page with its anchor


class Logs(griffe.Extension):
    """Shows what a callback logs as a list: mkdocstrings knows no such section."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the section."""
        if obj.docstring and "\nLogs:\n" in obj.docstring.value:
            before, _, rest = obj.docstring.value.partition("\nLogs:\n")
            section, blank, after = rest.partition("\n\n")
            section = re.sub(r"^    (\S.*?): ", r"    - `\1`: ", section, flags=re.MULTILINE)
            obj.docstring.value = f"{before}\nLogs:\n{section}{blank}{after}"


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and files that are made here, or lie elsewhere in the tree."""
    texts = {"reference/tfopt.md": _names(tfopt, list(tfopt._FUNCTIONS))}
    for package in PACKAGES:
        module = importlib.import_module(f"tfopt.{package}")
        texts[f"reference/{package}.md"] = _names(module, module.__all__)
    texts["reference/options.md"] = "\n".join(["# Options of each command\n", *map(_command, VERBS)])
    texts["reference/metrics.md"] = _metrics()
    texts["recipes/gallery.md"] = _gallery()
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        texts[f"notebooks/{path.stem}.md"] = _notebook(path)
    for path, text in texts.items():
        files.append(File.generated(config, path, content=text))
    files.append(File.generated(config, "site.css", abs_src_path=str(Path(__file__).with_name("site.css"))))
    there = [
        "docs/notebooks/*.ipynb",
        "recipes/*.md",
        "recipes/*.py",
        "recipes/figures/*.svg",
        "tests/recipes/*.py",
        "tests/benchmarks/results/*.json",
    ]
    for path in sorted(found for pattern in [*there, *PROJECT] for found in ROOT.glob(pattern) if found.is_file()):
        place = path.relative_to(ROOT).as_posix().removeprefix("docs/")
        files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links out of `docs/`, and into it, to where things are on the site: all at the top."""
    if page.file.src_uri in PROJECT:
        return re.sub(r"\]\((?:docs/)", "](", markdown)
    return markdown if "/" in page.file.src_uri else markdown.replace("](../", "](")


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Link each public name that is written in full to its place in the reference."""

    def linked(match: re.Match[str]) -> str:
        target = _PAGES.get(match[1])
        if target is None:
            return match[0]
        where = posixpath.relpath(target, page.url or ".") if page.url else target
        return f'<a href="{where}">{match[0]}</a>'

    return re.sub(r"(?<!>)<code>(tfopt(?:\.\w+)+)</code>", linked, html)


def _names(module: Any, names: list[str]) -> str:
    """Return a page of a module's public classes and functions, in alphabetical order."""
    text = inspect.cleandoc(module.__doc__ or "")
    lines = [f"# {module.__name__}\n", text if module is not tfopt else "What stands at the top of the package.", ""]
    lines.append("Examples begin with `import keras, numpy as np, tfopt`.\n")
    page = f"reference/{module.__name__.removeprefix('tfopt.')}/"
    _PAGES[module.__name__] = page
    for name in sorted(names, key=str.lower):
        thing = getattr(module, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)) or not thing.__module__.startswith("tfopt"):
            continue
        full = f"{thing.__module__}.{thing.__qualname__}"
        if full in _PAGES:
            lines += [f"`{name}` is in the reference of `{thing.__module__.rpartition('.')[0]}`.\n"]
            continue
        _PAGES[full] = _PAGES[f"{module.__name__}.{name}"] = f"{page}#{full}"
        lines += [f"::: {full}", "    options:", f"      heading: {name}", f"      toc_label: {name}", ""]
    return "\n".join(lines)


def _command(verb: str) -> str:
    """Return the section of one command: what it does, examples, and a table for each group of its options."""
    module = importlib.import_module(f"tfopt.cli.{verb.replace('-', '_')}")
    parser = verb_parser(verb, module)
    what, _, examples = (parser.description or "").partition("\n\nexamples:\n")
    lines = [f"## tfopt {verb}\n", " ".join(what.split()), ""]
    if examples:
        lines += ["```text", inspect.cleandoc(examples), "```", ""]
    lines += ["| option | what it does |", "|---|---|"]
    for group in parser._action_groups:
        for action in group._group_actions:
            if action.help != "==SUPPRESS==":
                lines.append(f"| {_option(action)} | {_cell((action.help or '') % _shown(parser, action))} |")
    return "\n".join([*lines, ""])


def _option(action: Any) -> str:
    value = "" if action.nargs == 0 else action.metavar or (action.choices and "|".join(map(str, action.choices)))
    value = action.dest.upper() if value is None else value
    value = " ".join(value) if isinstance(value, tuple) else value
    return _cell(", ".join(f"`{f'{flag} {value}'.strip()}`" for flag in action.option_strings or [""]))


def _shown(parser: Any, action: Any) -> dict[str, Any]:
    return {**vars(action), "prog": parser.prog}


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _metrics() -> str:
    lines = [
        "# Metrics and their directions\n",
        "What `--objective` takes, the default of each kind of target first. A score is always higher-is-better: an",
        "error is negated, so that a score of -54.2 is an RMSE of 54.2. Keras's and scikit-learn's names are",
        "understood too.\n",
        "| metric | target | the metric itself | a prediction holds | scikit-learn's scorer |",
        "|---|---|---|---|---|",
    ]
    for task in ("regression", "classification"):
        for name in objective_names(task):
            objective = get_objective(name, task)
            better = "higher is better" if objective.greater_is_better else "lower is better"
            lines.append(f"| `{name}` | {task} | {better} | {objective.needs} | `{objective.scorer}` |")
    return "\n".join(lines) + "\n"


def _gallery() -> str:
    lines = [
        "# Recipes\n",
        "Claims of textbooks and tutorials, each tested on data by one file that ends in verdicts.",
        "`tfopt recipes run dropout` runs one. [All claims with their numbers](README.md), [中文](README.zh-CN.md).\n",
        '<div class="gallery" markdown>',
    ]
    lines += ["\n".join(_card(recipe)) for recipe in catalogue.load(ROOT / "recipes").values()]
    return "\n".join([*lines, "</div>", ""])


def _card(recipe: catalogue.Recipe) -> Iterator[str]:
    yield "<div markdown>\n"
    yield f"**[{recipe.question}](README.md#{recipe.name})**\n"
    yield f"[![{recipe.name}](figures/{recipe.name}.svg)](README.md#{recipe.name})\n"
    yield ", ".join(f"{verdict}: {count}" for verdict, count in recipe.counts.items())
    yield f"· [the program]({recipe.name}.py)\n"
    yield "</div>"


def _notebook(path: Path) -> str:
    """Return a notebook as a page: text, programs and what they gave."""
    lines = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            lines.append(source.replace("](../../", "](../"))
            continue
        lines.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {"text/plain": output.get("text", "")})
            if "image/png" in data:
                lines.append(f"![what the cell drew](data:image/png;base64,{''.join(data['image/png']).strip()})")
            else:
                lines.append(f"```text\n{''.join(data['text/plain']).rstrip()}\n```")
    return "\n\n".join([*lines, f"[The notebook]({path.name})", ""])
