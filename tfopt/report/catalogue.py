"""The recipes that there are: their questions, their committed results, and the tables of `recipes/README*.md`.

Nothing here imports a recipe or TensorFlow: a recipe is its file, its docstring and its JSON result.
"""

import ast
import json
import shutil
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfopt.errors import UserError, nearest

VERDICTS = ("holds", "does not hold", "can't be told here")
LANGUAGES = {"en": "README.md", "zh": "README.zh-CN.md"}
_FIGURES, _RESULTS = "figures", "results"


@dataclass(frozen=True)
class Recipe:
    """One recipe.

    Args:
        name: The stem of its file.
        path: The file.
        question: The first line of its docstring.
        result: Its committed JSON result; None if there is none yet.
    """

    name: str
    path: Path
    question: str
    result: dict[str, Any] | None

    @property
    def command(self) -> str:
        """What to type in the source tree to get its result."""
        return f"python recipes/{self.name}.py"

    @property
    def counts(self) -> dict[str, int]:
        """How many of its claims got each verdict."""
        counted = Counter(claim["verdict"] for claim in self.result["claims"]) if self.result else Counter()
        return {verdict: counted[verdict] for verdict in VERDICTS if counted[verdict]}


def folder() -> Path:
    """Return where the recipes are: beside `tfopt/` in the source tree, inside it once it is installed.

    Raises:
        UserError: They are in neither place.
    """
    package = Path(__file__).parents[1]
    for place in (package / "recipes", package.parent / "recipes"):
        if (place / "zh-CN.toml").is_file():
            return place
    raise UserError(f"this tfopt has no recipes ({package}). Install it again: pip install --force-reinstall .")


def load(where: Path | None = None) -> dict[str, Recipe]:
    """Return all recipes by name, in alphabetical order.

    Args:
        where: Their folder; None for tfopt's own.
    """
    where = folder() if where is None else where
    found = {}
    for path in sorted(where.glob("*.py")):
        documentation = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        result = where / _RESULTS / f"{path.stem}.json"
        found[path.stem] = Recipe(
            path.stem,
            path,
            documentation.partition("\n")[0],
            json.loads(result.read_text(encoding="utf-8")) if result.is_file() else None,
        )
    return found


def find(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        UserError: There is none; the nearest name is in the message.
    """
    recipes = load()
    plain = name.removesuffix(".py").replace("-", "_")
    if plain not in recipes:
        raise UserError(f"no recipe {name!r}.{nearest(plain, recipes)} `tfopt recipes` lists them.")
    return recipes[plain]


def collect(runs: Path, where: Path) -> list[str]:
    """Copy results and pictures of whole runs, as recipes leave them in `runs/NAME/`, among the committed ones.

    Args:
        runs: The folder that holds one folder for each recipe.
        where: The recipes' folder.

    Returns:
        The names of the recipes whose results were copied.

    Raises:
        UserError: A result is of `--smoke` or `--full`, or there is none at all.
    """
    copied = []
    for name in load(where):
        result, picture = (runs / name / f"{name}.{ending}" for ending in ("json", "svg"))
        if not result.is_file():
            continue
        mode = json.loads(result.read_text(encoding="utf-8"))["mode"]
        if mode != "default":
            raise UserError(f"{result} is of --{mode}, and the table shows runs without it. Run the recipe again.")
        for source, kind in ((result, _RESULTS), (picture, _FIGURES)):
            (where / kind).mkdir(exist_ok=True)
            shutil.copyfile(source, where / kind / source.name)
        copied.append(name)
    if not copied:
        raise UserError(f"no recipe's result in {runs}: it should hold NAME/NAME.json.")
    return copied


def readme(language: str, where: Path) -> str:
    """Return the text of `recipes/README.md` (`"en"`) or `recipes/README.zh-CN.md` (`"zh"`)."""
    words: dict[str, Any] = tomllib.loads((where / "readme.toml").read_text(encoding="utf-8"))[language]
    chinese = tomllib.loads((where / "zh-CN.toml").read_text(encoding="utf-8")) if language == "zh" else None
    recipes = load(where)
    parts = [words["head"].strip(), "", words["how_to_run"].strip(), "", *_overview(recipes, words, chinese)]
    for recipe in recipes.values():
        parts += ["", *_section(recipe, words, chinese, where)]
    parts += ["", *_coverage(recipes, words, language, where)]
    return "\n".join(parts) + "\n"


def coverage(where: Path) -> list[dict[str, Any]]:
    """Return what the tutorials say, as rows with `section`, `en`, `zh` and `tested_by` (ids of claims, or tests)."""
    rows: list[dict[str, Any]] = tomllib.loads((where / "claims.toml").read_text(encoding="utf-8"))["row"]
    return rows


def _overview(recipes: dict[str, Recipe], words: dict[str, Any], chinese: dict[str, Any] | None) -> list[str]:
    lines = [_row(words["overview"]), _row(["---", "---", "---", "---:", "---"])]
    for recipe in recipes.values():
        counts = [f"{words['verdicts'][verdict]}{words['colon']}{n}" for verdict, n in recipe.counts.items()]
        seconds = f"{recipe.result['seconds']:.0f}" if recipe.result else ""
        cells = [
            f"[{recipe.name}](#{recipe.name})",
            _question(recipe, chinese),
            words["comma"].join(counts) or words["not_run"],
            seconds,
            f"`{recipe.command}`",
        ]
        lines.append(_row(cells))
    return lines


def _section(recipe: Recipe, words: dict[str, Any], chinese: dict[str, Any] | None, where: Path) -> list[str]:
    lines = [f"### {recipe.name}", "", f"[{_question(recipe, chinese)}]({recipe.name}.py)"]
    if recipe.result is None:
        return [*lines, "", f"{words['not_run'].capitalize()}{words['colon']}`{recipe.command}`"]
    lines += ["", _row(words["table"]), _row(["---", "---", "---"])]
    for claim in recipe.result["claims"]:
        text = chinese["claims"].get(claim["id"], claim["claim"]) if chinese else claim["claim"]
        verdict = words["verdicts"][claim["verdict"]]
        lines.append(_row([f'<a id="{claim["id"]}"></a>{_cell(text)}', f"**{verdict}**", _cell(claim["numbers"])]))
    environment = recipe.result["environment"]
    done = words["done"].format(
        seconds=f"{recipe.result['seconds']:.0f}",
        command=recipe.result["command"],
        cores=environment["cores"],
        tensorflow=environment["versions"]["tensorflow"],
    )
    lines += ["", done]
    if (where / _FIGURES / f"{recipe.name}.svg").is_file():
        lines += ["", f"![{recipe.name}]({_FIGURES}/{recipe.name}.svg)"]
    return lines


def _coverage(recipes: dict[str, Recipe], words: dict[str, Any], language: str, where: Path) -> list[str]:
    verdicts = {
        claim["id"]: words["verdicts"][claim["verdict"]]
        for recipe in recipes.values()
        if recipe.result
        for claim in recipe.result["claims"]
    }
    lines = [words["coverage"].strip()]
    section = None
    for row in coverage(where):
        if row["section"] != section:
            section = row["section"]
            lines += ["", f"### {section}. {words['sections'][section]}", ""]
            lines += [_row(words["coverage_table"]), _row(["---", "---"])]
        tests = []
        for test in row["tested_by"]:
            if "::" in test:
                file, _, function = test.partition("::")
                tests.append(f"[{function}](../{file})")
            elif test in verdicts:
                tests.append(f"[{test}](#{test}){words['colon']}{verdicts[test]}")
            else:
                tests.append(f"{test}{words['colon']}{words['not_run']}")
        lines.append(_row([_cell(row[language]), "<br>".join(tests)]))
    return lines


def _question(recipe: Recipe, chinese: dict[str, Any] | None) -> str:
    return chinese["questions"].get(recipe.name, recipe.question) if chinese else recipe.question


def _cell(text: str) -> str:
    """Return text that does not end its cell."""
    return text.replace("|", "\\|")


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
