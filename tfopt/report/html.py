"""One self-contained HTML page about a run: the verdict on top, figures inline, nothing loaded from anywhere."""

import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape as escape_markup
from typing import Any

from matplotlib.figure import Figure

from tfopt._escape import printable
from tfopt.report.run import SearchRun
from tfopt.report.style import ACCENT, GREY, INK, PALE, PAPER, house_style

_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1a1a1a; --grey: #6a6a6a; --pale: #d5d5d5;
  --accent: #0072b2; --panel: #f5f6f8; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --ink: #e8e8e8; --grey: #a0a0a0; --pale: #3c4248;
  --accent: #56b4e9; --panel: #1d2126; } }
body { background: var(--paper); color: var(--ink); margin: 2rem auto; max-width: 80rem; padding: 0 1rem;
  font: 16px/1.5 system-ui, "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
.facts, .note { color: var(--grey); } .facts { margin: .2rem 0 1.2rem; }
.verdict { background: var(--panel); border-left: 4px solid var(--accent); border-radius: 4px; font-size: 1.15rem;
  padding: .9rem 1.1rem; margin: 0; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .93rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; white-space: nowrap; vertical-align: top; }
th { border-bottom: 1px solid var(--pale); font-weight: 600; } th.text, td.text { text-align: left; }
td.long { white-space: normal; overflow-wrap: anywhere; }
tr.keras td { color: var(--accent); font-weight: 600; }
figure { margin: 0; } figure svg { max-width: 100%; height: auto; } figcaption { color: var(--grey); }
code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .9em; }
details { margin: .6rem 0; } summary { cursor: pointer; } ul { padding-left: 1.2rem; }
"""

# The figures' colours, by the page's variables, so that one SVG serves a light and a dark page.
_VARIABLES = {PAPER: "none", INK: "var(--ink)", GREY: "var(--grey)", PALE: "var(--pale)", ACCENT: "var(--accent)"}


def escape(text: str) -> str:
    """Return a text for a page."""
    return escape_markup(printable(text))


def render(
    run: SearchRun, table: Sequence[Sequence[str]], legend: str, figures: Mapping[str, tuple[str, Figure]]
) -> str:
    """Return the page.

    Args:
        run: The run.
        table: The leaderboard as text, headings first; the first column holds the model, as in `run.leaderboard`.
        legend: What its columns mean.
        figures: For each title a caption and a figure.
    """
    verdict = run.result.get("verdict") or "The search has not ended; what has finished so far is below."
    parts = [
        f"<h1>{escape(run.name)}</h1>",
        f'<p class="facts">{escape(_facts(run))}</p>',
        f'<p class="verdict">{escape(str(verdict))}</p>',
    ]
    if len(table) > 1:
        parts.append(_section("Leaderboard", _leaderboard(run, table) + f'<p class="note">{escape(legend)}</p>'))
    for title, (caption, figure) in figures.items():
        parts.append(
            _section(title, f"<figure>{_svg(figure, title)}<figcaption>{escape(caption)}</figcaption></figure>")
        )
    final = run.final()
    if final:
        parts.append(_section("The network in best.keras", _mapping(final.get("values", {}))))
    parts += [_choices(run), _notes(run), _failures(run)]
    parts.append(
        _section(
            "How to repeat it",
            _details("configuration", _mapping(run.config)) + _details("environment", _mapping(run.environment)),
        )
    )
    body = "\n".join(part for part in parts if part)
    head = f"<title>{escape(run.name)} – tfopt</title>\n<style>{_STYLE}</style>"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _facts(run: SearchRun) -> str:
    result, config = run.result, run.config
    rows = result.get("rows") or run.environment.get("data", {}).get("rows")
    if config.get("holdout"):
        plan = f"{100 * config['holdout']:g} % held out"
    else:
        repeats = f" × {config['repeats']}" if config.get("repeats", 1) > 1 else ""
        plan = f"{config.get('folds')} folds{repeats}"
    facts = [
        str(result.get("task") or config.get("task")),
        f"{rows:,} rows" if rows else "",
        f"scored by {run.objective}",
        plan,
        f"seed {config.get('seed')}",
        f"{result['seconds']:.0f} s" if result.get("seconds") else "",
        str(result.get("method") or ""),
    ]
    return " · ".join(fact for fact in facts if fact)


def _leaderboard(run: SearchRun, table: Sequence[Sequence[str]]) -> str:
    headings, rows = table[0], table[1:]
    text = {index for index, heading in enumerate(headings) if heading in ("model", "kind")}
    lines = ["<tr>" + "".join(_cell("th", h, index in text) for index, h in enumerate(headings)) + "</tr>"]
    for row, record in zip(rows, run.leaderboard, strict=True):
        cells = "".join(_cell("td", cell, index in text) for index, cell in enumerate(row))
        lines.append(f'<tr class="{escape(str(record.get("kind", "")))}">{cells}</tr>')
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _cell(tag: str, text: str, is_text: bool) -> str:
    attribute = ' class="text"' if is_text else ""
    return f"<{tag}{attribute}>{escape(text)}</{tag}>"


def _mapping(values: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><td class="text">{escape(str(name))}</td>'
        f'<td class="text long"><code>{escape(_plain(value))}</code></td></tr>'
        for name, value in values.items()
    )
    return f'<div class="wide"><table>{rows}</table></div>'


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return " ".join(value)
    return json.dumps(value, ensure_ascii=False)


def _choices(run: SearchRun) -> str:
    """Show what each fold's search chose: choices that differ from fold to fold matter little, or are not sure."""
    best = run.best_trials()
    names = list(dict.fromkeys(name for trial in best for name in trial["values"]))
    varying = [name for name in names if len({json.dumps(trial["values"].get(name)) for trial in best}) > 1]
    if len(best) < 2 or not varying:
        return ""
    lines = ["<tr>" + "".join(_cell("th", name, True) for name in ("fold", "inner score", *varying)) + "</tr>"]
    for trial in best:
        fold = "all rows" if trial["fold"] == "final" else str(trial["fold"])
        values = [_plain(trial["values"].get(name, "")) for name in varying]
        cells = "".join(_cell("td", cell, True) for cell in (fold, f"{trial['score']:.3f}", *values))
        lines.append(f"<tr>{cells}</tr>")
    return _section("What each fold chose", f'<div class="wide"><table>{"".join(lines)}</table></div>')


def _notes(run: SearchRun) -> str:
    return _section("Notes", _list(run.result.get("notes", []))) if run.result.get("notes") else ""


def _failures(run: SearchRun) -> str:
    failures = run.failures()
    if not failures:
        return ""
    reasons: dict[str, int] = {}
    for failure in failures:
        lines = str(failure.get("message") or "no reason was recorded").strip().splitlines()
        reasons[lines[-1]] = reasons.get(lines[-1], 0) + 1
    total = len(run.of_kind("trial"))
    return _section(f"{len(failures)} of {total} trials failed", _list(f"{n} × {why}" for why, n in reasons.items()))


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(str(item))}</li>" for item in items) + "</ul>"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _details(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def _svg(figure: Figure, title: str) -> str:
    """Return a figure as inline SVG in the page's own colours."""
    buffer = io.StringIO()
    with house_style():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
