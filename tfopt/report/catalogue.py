"""The recipes that there are: their questions, their committed results, and the tables of `recipes/README*.md`.

Nothing here imports a recipe, NumPy or TensorFlow: a recipe is its file, its docstring and its JSON results, one for
each block of seeds that it was run with.
"""

import ast
import hashlib
import json
import re
import shutil
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfopt._files import write_text
from tfopt.errors import UserError, nearest

HOLDS, DOES_NOT_HOLD, CANNOT_TELL = VERDICTS = ("holds", "does not hold", "can't be told here")
NOT_REPEATED = "not repeated yet"
BLOCKS = 3  # of seeds, that a claim is tested with
LANGUAGES = {"en": "README.md", "zh": "README.zh-CN.md"}
_SIGNS = dict(zip(VERDICTS, "✓✗?", strict=True))
_FIGURES, _RESULTS = "figures", "results"
_COUNT = re.compile(r"(?<=<!-- recipes -->).*?(?=<!-- -->)", re.DOTALL)  # in the project's READMEs


@dataclass(frozen=True)
class Claim:
    """A claim with what each block of seeds says.

    Args:
        id: Its id.
        text: The claim in a sentence.
        repeats: The verdict of each block.
        numbers: The numbers of each block: forms and values, or text of an older recipe.
    """

    id: str
    text: str
    repeats: list[str]
    numbers: list[Any]

    @property
    def verdict(self) -> str:
        """What all blocks say; where they differ it can't be told."""
        if len(self.repeats) < BLOCKS:
            return NOT_REPEATED
        return self.repeats[0] if len(set(self.repeats)) == 1 else CANNOT_TELL


@dataclass(frozen=True)
class Recipe:
    """One recipe.

    Args:
        name: The stem of its file.
        path: The file.
        doc: Its docstring.
        blocks: Its committed JSON results, one for each block of seeds.
    """

    name: str
    path: Path
    doc: str
    blocks: list[dict[str, Any]]

    @property
    def question(self) -> str:
        """The first line of its docstring."""
        return self.doc.partition("\n")[0]

    @property
    def command(self) -> str:
        """What to type in the source tree to get the result of the first block."""
        return f"python recipes/{self.name}.py"

    @property
    def seconds(self) -> float | None:
        """How long a run takes: its fastest block, which other programs held up least; None if there was none yet."""
        return min((block["seconds"] for block in self.blocks), default=None)

    @property
    def claims(self) -> list[Claim]:
        """The claims of its docstring, with what each block says of them; those that no block has met are left out."""
        found = [{claim["id"]: claim for claim in block["claims"]} for block in self.blocks]
        return [
            Claim(key, text, [one[key]["verdict"] for one in found], [one[key]["numbers"] for one in found])
            for key, text in claims_of(self.doc).items()
            if found and key in found[0]
        ]

    @property
    def counts(self) -> dict[str, int]:
        """How many of its claims got each verdict."""
        counted = Counter(claim.verdict for claim in self.claims)
        return {verdict: counted[verdict] for verdict in (*VERDICTS, NOT_REPEATED) if counted[verdict]}


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
        blocks = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else []
        found[path.stem] = Recipe(path.stem, path, documentation, blocks if isinstance(blocks, list) else [blocks])
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


def said(numbers: Any, words: dict[str, Any] | None = None) -> str:
    """Return numbers as text.

    Args:
        numbers: Forms, each with the values that stand in its braces; or the text of an older recipe, which is English
            and left out in another language.
        words: `numbers` (forms) and `words` (values) in another language; None for English.
    """
    if isinstance(numbers, str):
        return numbers if words is None else ""
    if words is None:
        return "; ".join(form.format(*values) for form, values in numbers)
    parts = [words["numbers"].get(form, form).format(*(words["words"].get(value, value) for value in values))
             for form, values in numbers]  # fmt: skip
    return "；".join(parts)


def advice(doc: str) -> str:
    """Return what a recipe's docstring says that the reader should do, in its paragraph "So: …"; "" if it has none."""
    found = re.search(r"^So: (.+?)(?:\n\s*\n|\Z)", doc, flags=re.DOTALL | re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def claims_of(doc: str) -> dict[str, str]:
    """Return the claims that a recipe's docstring lists below "Claims:", each as `id: sentence`, by their ids."""
    section = re.search(r"^Claims:\n((?:[ \t]+\S.*\n?)+)", doc, flags=re.MULTILINE)
    found: dict[str, str] = {}
    for line in section[1].splitlines() if section else ():
        key, colon, sentence = line.strip().partition(": ")
        if colon and re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", key):
            found[key] = sentence
        elif found:
            found[list(found)[-1]] += f" {line.strip()}"
    return found


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of what a script finds out: its text without docstring, comments, spacing and picture."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if ast.get_docstring(tree) is not None:
        del tree.body[0]
    tree.body = [each for each in tree.body if not ast.unparse(each).startswith("with recipe.panels(")]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


def block_folder(runs: Path, name: str, block: int) -> Path:
    """Return the folder of a recipe's run with a block of seeds."""
    return runs / name / f"seed-{block}"


def finished(recipe: Recipe, runs: Path, block: int) -> dict[str, Any] | None:
    """Return the result of a whole run of the recipe as it is now, with a block of seeds; None if there is none."""
    file = block_folder(runs, recipe.name, block) / f"{recipe.name}.json"
    if not file.is_file():
        return None
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    own = result["command"] == recipe.command + f" --seed {block}" * (block > 0)
    return result if own and result.get("source") == fingerprint(recipe.path) and result["mode"] == "default" else None


def collect(runs: Path, where: Path, names: Iterable[str] | None = None) -> list[str]:
    """Put the results and the first block's picture of recipes whose blocks are all done among the committed ones.

    Args:
        runs: The folder that `tfopt recipes replicate` writes.
        where: The recipes' folder.
        names: Which recipes; None for all.

    Returns:
        The names of the recipes whose results were taken over.
    """
    taken = []
    for name, recipe in load(where).items():
        blocks = [finished(recipe, runs, block) for block in range(BLOCKS)]
        if (names is not None and name not in names) or None in blocks:
            continue
        for kind in (_RESULTS, _FIGURES):
            (where / kind).mkdir(exist_ok=True)
        write_text(where / _RESULTS / f"{name}.json", json.dumps(blocks, indent=1, ensure_ascii=False) + "\n")
        picture = f"{name}.svg"
        shutil.copyfile(block_folder(runs, name, 0) / picture, where / _FIGURES / picture)
        taken.append(name)
    return taken


def write_pages(where: Path) -> list[Path]:
    """Write both pages of the recipes, and their numbers into the project's READMEs; return the files."""
    files = []
    for language, name in LANGUAGES.items():
        write_text(where / name, readme(language, where))
        files.append(where / name)
    for language, name in LANGUAGES.items():
        front = where.parent / name
        if front.is_file() and _COUNT.search(text := front.read_text(encoding="utf-8")):
            write_text(front, _COUNT.sub(in_short(language, where), text))
            files.append(front)
    return files


def in_short(language: str, where: Path) -> str:
    """Return how many claims the recipes test, and how many got each verdict, in a sentence."""
    words, recipes = page_words(language, where), load(where).values()
    counts: Counter[str] = Counter()
    for recipe in recipes:
        counts.update(recipe.counts)
    each = [f"{words['verdicts'][told]}{words['colon']}{counts[told]}" for told in words["verdicts"] if counts[told]]
    return str(words["in_short"]).format(
        claims=sum(counts.values()), recipes=len(recipes), counts=words["comma"].join(each)
    )


def page_words(language: str, where: Path | None = None) -> dict[str, Any]:
    """Return the words of a page, `"en"` or `"zh"`: of verdicts, headings and columns."""
    where = folder() if where is None else where
    words: dict[str, Any] = tomllib.loads((where / "readme.toml").read_text(encoding="utf-8"))[language]
    return words


def in_chinese(where: Path | None = None) -> dict[str, Any]:
    """Return the Chinese texts: questions, claims, so, numbers and words."""
    return tomllib.loads(((folder() if where is None else where) / "zh-CN.toml").read_text(encoding="utf-8"))


def search(word: str, where: Path | None = None) -> list[tuple[Recipe, Claim | None]]:
    """Return the recipes and claims that a word, an identifier or a formula is about, English or Chinese.

    A claim is found by its texts, and by what the tutorials say that it tests; a recipe by its file.

    Returns:
        Recipes with a claim each; with None where only the recipe's file has the word.
    """
    where = folder() if where is None else where
    chinese = in_chinese(where)
    wanted = _plain(word)
    said_of: dict[str, list[str]] = {}
    for row in coverage(where):
        for key in row["tested_by"]:
            said_of.setdefault(key, []).extend((row["en"], row["zh"]))
    found: list[tuple[Recipe, Claim | None]] = []
    for recipe in load(where).values():
        own: list[Claim | None] = [
            claim
            for claim in recipe.claims
            if wanted in _plain(claim.id, claim.text, chinese["claims"].get(claim.id, ""), *said_of.get(claim.id, ()))
        ]
        file = recipe.path.read_text(encoding="utf-8")
        if not own and wanted in _plain(recipe.name, file, chinese["questions"].get(recipe.name, "")):
            own = [None]
        found += [(recipe, claim) for claim in own]
    return found


def _plain(*texts: str) -> str:
    """Return texts without case, spaces, code marks and the variants of signs."""
    text = unicodedata.normalize("NFKC", "\n".join(texts)).casefold().replace("−", "-").replace("×", "x")
    return re.sub(r"[ `_]", "", text)


def readme(language: str, where: Path) -> str:
    """Return the text of `recipes/README.md` (`"en"`) or `recipes/README.zh-CN.md` (`"zh"`)."""
    words = page_words(language, where)
    chinese = in_chinese(where) if language == "zh" else None
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
    lines = [_row(words["overview"]), _row(["---", "---", "---", "---:"])]
    for recipe in recipes.values():
        counts = [f"{words['verdicts'][verdict]}{words['colon']}{n}" for verdict, n in recipe.counts.items()]
        cells = [
            f"[{recipe.name}](#{recipe.name})",
            _question(recipe, chinese),
            words["comma"].join(counts) or words["not_run"],
            "" if recipe.seconds is None else f"{recipe.seconds:.0f}",
        ]
        lines.append(_row(cells))
    return lines


def _section(recipe: Recipe, words: dict[str, Any], chinese: dict[str, Any] | None, where: Path) -> list[str]:
    lines = [f"### {recipe.name}", "", f"[{_question(recipe, chinese)}]({recipe.name}.py)"]
    if not recipe.blocks:
        return [*lines, "", f"{words['not_run'].capitalize()}{words['colon']}`{recipe.command}`"]
    lines += ["", _row(words["table"]), _row(["---", "---", "---"])]
    for claim in recipe.claims:
        text = chinese["claims"].get(claim.id, claim.text) if chinese else claim.text
        verdict = words["verdicts"][claim.verdict]
        repeats = [f"{_SIGNS[told]} {_cell(said(numbers, chinese))}".rstrip()
                   for told, numbers in zip(claim.repeats, claim.numbers, strict=True)]  # fmt: skip
        if len(set(repeats)) == 1 < len(repeats):
            repeats = [f"{_SIGNS[claim.verdict] * len(repeats)}{repeats[0][1:]}"]
        lines.append(_row([f'<a id="{claim.id}"></a>{_cell(text)}', f"**{verdict}**", "<br>".join(repeats)]))
    environment = recipe.blocks[0]["environment"]
    done = words["done"].format(
        seconds=f"{recipe.seconds:.0f}",
        command=recipe.command,
        cores=environment["cores"],
        tensorflow=environment["versions"]["tensorflow"],
    )
    so = chinese["so"].get(recipe.name, "") if chinese else advice(recipe.doc)
    lines += ["", done, *(["", f"**{words['so']}**{words['colon']}{so}"] if so else [])]
    if (where / _FIGURES / f"{recipe.name}.svg").is_file():
        lines += ["", f"![{recipe.name}]({_FIGURES}/{recipe.name}.svg)"]
    return lines


def _coverage(recipes: dict[str, Recipe], words: dict[str, Any], language: str, where: Path) -> list[str]:
    verdicts = {claim.id: words["verdicts"][claim.verdict] for recipe in recipes.values() for claim in recipe.claims}
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
