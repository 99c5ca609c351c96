"""What the report of a run says, section by section, as tables and lists; the figures are `tfopt.report.figures`."""

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfopt.comparison.fold_result import DUMMY
from tfopt.report import figures as draw
from tfopt.report.board import Board, shown_model
from tfopt.report.headline import called
from tfopt.report.hyperparameters import FEWEST, effects_of
from tfopt.report.page import PageTable, Section, picture
from tfopt.report.run import Record, SearchRun
from tfopt.search.config import GIVEN_SPACE, GIVEN_TABLE, SearchConfig
from tfopt.search.options import OPTIONS

_OF_COSTS = 5  # the rank from which on a column of the leaderboard is about tuning and costs

# For readers who have never met the metric.
_MEANINGS = {
    "r2": "1 where every prediction is right, 0 where they are no better than the target's mean, below 0 where worse",
    "explained_variance": "r2 for predictions that may all be off by the same amount",
    "mse": "the mean of the squared errors",
    "rmse": "the root of the mean squared error, in the target's unit; large errors count most",
    "mae": "the mean error, whichever way it goes, in the target's unit",
    "median_absolute_error": "half of the errors are smaller, in the target's unit",
    "mape": "the mean error as a share of the true value",
    "max_error": "the largest error, in the target's unit",
    "accuracy": "the share of rows whose class is right",
    "balanced_accuracy": "the share of each class's rows whose class is right, the mean of the classes",
    "f1": "how many of a class are found, and how many called so belong to it; the mean of the classes",
    "f1_weighted": "how many of a class are found, and how many called so belong to it; larger classes count more",
    "matthews_corrcoef": "the correlation of true and predicted classes: 1 where all are right, 0 where it is chance",
    "log_loss": "how far the probabilities are from the true classes; being sure and wrong costs most",
    "brier": "the mean squared error of the probabilities",
    "roc_auc": "how often a row of a class gets a higher probability of it than a row of another; 0.5 is chance",
    "average_precision": "how many of the rows thought most likely to be of a class are, over all thresholds",
}


def meaning(run: SearchRun) -> str:
    """Return in a sentence what the metric of a run tells, an empty one where it is not known."""
    told = _MEANINGS.get(run.objective)
    minus = " (with a minus, so that higher is better)" if run.result.get("negated") else ""
    return f"{run.objective} is {told}{minus}." if told else ""


def facts(run: SearchRun) -> str:
    """Return in a line what was searched and how."""
    result, config = run.result, run.config
    rows = result.get("rows") or run.environment.get("data", {}).get("rows")
    stream = result.get("stream")
    if stream:
        plan = f"{stream['sampled']:,} searched, {stream['held_out']:,} held out"
    elif config.get("holdout"):
        plan = f"{100 * config['holdout']:g} % held out"
    else:
        repeats = f" × {config['repeats']}" if config.get("repeats", 1) > 1 else ""
        plan = f"{config.get('folds')} folds{repeats}"
    said = [
        str(result.get("task") or config.get("task")),
        f"{rows:,} rows" if rows else "",
        f"scored by {run.objective}",
        plan,
        f"seed {config.get('seed')}",
        f"{result['seconds']:.0f} s" if result.get("seconds") else "",
        str(result.get("method") or ""),
    ]
    return " · ".join(fact for fact in said if fact)


def lead(run: SearchRun) -> Section | None:
    """Return the picture that the verdict is drawn from: paired differences to the best baseline."""
    best = run.result.get("best_baseline")
    if best is None or len(run.leaderboard) < 2:
        return None
    caption = (
        f"The score of each model minus that of {best} on the same held-out rows. A bar that crosses the line leaves "
        "open which of the two is better; inside the grey band the difference does not matter in practice."
    )
    axes = draw.differences(run.leaderboard, best, objective=run.scale, rope=run.rope)
    return Section("", pictures=[picture("differences", f"Difference to {best}, the best baseline", caption, axes)])


def scores(run: SearchRun) -> Section | None:
    """Return the leaderboard: scores and differences first, tuning and costs after them."""
    if not run.leaderboard:
        return None
    board = Board(run.result)
    columns = board.columns()
    marked = [place for place, row in enumerate(board.rows) if row.get("kind") == "keras"]

    def table(ranks: range) -> PageTable:
        chosen = [column for column in columns if column.rank in ranks or column.rank == 0]
        text = [place for place, column in enumerate(chosen) if not column.right]
        return PageTable(
            [c.heading for c in chosen], [[c.cell(row) for c in chosen] for row in board.rows], text, marked
        )

    costs = table(range(_OF_COSTS, 100))
    section = Section(
        "Scores",
        text=meaning(run),
        tables=[("", table(range(_OF_COSTS)))],
        note=f"{board.legend} {_rows_meant(run)}".strip(),
    )
    if len(costs.headings) > 1:
        section.folded.append(("tuning and costs", costs))
    caption = "Every model on the same outer folds. Intervals are corrected for overlapping training parts."
    if run.config.get("holdout") or run.result.get("stream"):
        caption = "Every model on the same held-out rows. Intervals are from a bootstrap of these rows."
    caption += " They are wide because rows differ; models are compared by their differences, above."
    axes = draw.leaderboard(run.leaderboard, objective=run.scale, rope=run.rope)
    section.pictures.append(picture("leaderboard", "Scores", caption, axes))
    return section


def _rows_meant(run: SearchRun) -> str:
    """Say which row the words of the verdict and the saved network stand for."""
    network = run.result.get("network")
    if network is None:
        return ""
    said = f"The network of the verdict is the row {shown_model(network)!r}"
    seeds = run.config.get("seeds", 1)
    if network == "network" and seeds > 1:
        said += f", the mean of {seeds} fits that differ in their seed"
    if run.of_all_rows:
        trained = run.result["stream"]["trained_on"]
        return f"{said}, trained on {trained:,} rows in blocks, all but those held out; it is in best.keras."
    return f"{said}; best.keras is one such fit, on all rows."


def chosen(run: SearchRun) -> Section | None:
    """Return what each family chose: for the model that is saved, and how the folds agree."""
    found: dict[str, list[Record]] = {}
    for trial in run.best_trials():
        if trial["fold"] != "final":
            found.setdefault("network", []).append(trial["values"])
    for record in run.of_kind("baseline"):
        if record.get("chosen") and record["model"] != DUMMY:
            found.setdefault(record["model"], []).append(record["chosen"])
    final = run.final()
    saved = {"network": final["values"]} if final else {}
    for model, values in run.result.get("chosen", {}).items():
        saved[model] = {name.rpartition("__")[2]: value for name, value in values.items()}  # paths of a Pipeline
    order = [row["model"] for row in run.leaderboard if row["model"] in found]
    section = Section("What each family chose")
    for model in dict.fromkeys([*order, *found]):
        table = _choices(found[model], saved.get(model, {}))
        if model in (run.result.get("network"), run.result.get("best_baseline")):
            section.tables.append((f"{called(model)[0].upper()}{called(model)[1:]}", table))
        else:
            section.folded.append((called(model), table))
    section.note = (
        "On all rows: what the saved models were trained with. Choices that differ from fold to fold matter little, or "
        "there are too few rows to be sure of them."
    )
    return section if found else None


def _choices(folds: Sequence[Record], saved: Record) -> PageTable:
    names = dict.fromkeys([*saved, *(name for values in folds for name in values)])
    rows = [[name, _agreement([values[name] for values in folds if name in values])] for name in names]
    headings = ["", f"chosen in {len(folds)} folds" if len(folds) > 1 else "chosen"]
    if saved:
        headings.insert(1, "on all rows")
        rows = [[name, plain(saved[name]) if name in saved else "", said] for name, said in rows]
    return PageTable(headings, rows, text=range(len(headings)), sortable=False)


def _agreement(values: Sequence[Any]) -> str:
    """Return the values that folds chose: each with how often, or the range of many numbers."""
    counts = Counter(map(_short, values)).most_common()
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(counts) > 3 and len(numbers) == len(values):
        middle = sorted(numbers)[len(numbers) // 2]
        return f"{_short(min(numbers))} to {_short(max(numbers))}, median {_short(middle)}"
    return counts[0][0] if len(counts) == 1 else ", ".join(f"{value} ({count} ×)" for value, count in counts)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else plain(value)


def hyperparameters(run: SearchRun) -> Section | None:
    """Return how the network's hyperparameters mattered, or why that cannot be told."""
    trials = [trial for trial in run.of_kind("trial") if trial["fold"] != "final"]
    if not trials:
        return None
    found = effects_of(trials)
    of = f"{found.num_configurations} configurations that differ in {found.num_varying} hyperparameters"
    section = Section("How the network's hyperparameters matter")
    if found.num_configurations < FEWEST:
        section.text = f"{of} are too few to tell: a search of at least {FEWEST} --max-trials is needed, better of 50."
    elif not found.effects:
        section.text = (
            f"{of} do not tell: from some of them the scores of the others cannot be predicted. More --max-trials may."
        )
    else:
        section.text = (
            f"From {of}; a forest predicts the scores of those that it has not seen with R² {found.explained:.2f}."
        )
        caption = (
            "Part of the differences in score that each explains alone, and two together beyond that (×), with a 90 % "
            "interval; a bar that reaches 0 may be chance. Only within the values that were tried."
        )
        drawn = found.effects[:12]
        section.pictures.append(picture("hyperparameters", section.title, caption, draw.shares(drawn)))
        rows = [
            [*effect.names, f"{100 * effect.share:.0f}%", effect.best] for effect in drawn if len(effect.names) == 1
        ]
        section.folded.append(("best values", PageTable(["hyperparameter", "explains", "best at"], rows, (0, 2))))
    return section


def search(run: SearchRun) -> Section | None:
    """Return the course of the search and of the last training, and what failed."""
    section = Section("How the search went")
    if trials := run.of_kind("trial"):
        axes = draw.best_so_far(trials, objective=run.scale, baseline=_baseline(run))
        caption = "The score by which configurations were chosen, on inner folds; one grey line for each outer fold."
        section.pictures.append(picture("best_so_far", "Best score so far", caption, axes))
    final = run.final()
    if final and final.get("curve", {}).get("loss"):
        upper, _ = draw.training_curves(final["curve"])
        rows = "all rows but those held out" if run.of_all_rows else "all rows"
        caption = f"The network in best.keras, trained on {rows}; the loss includes its penalties."
        section.pictures.append(picture("training", "Training of the best network", caption, upper))
    failures, total = run.failures(), len(run.of_kind("trial"))
    if failures:
        reasons: dict[str, int] = {}
        for failure in failures:
            lines = str(failure.get("message") or "no reason was recorded").strip().splitlines()
            reasons[lines[-1]] = reasons.get(lines[-1], 0) + 1
        section.text = f"{len(failures)} of {total} trials failed:"
        section.items = [f"{count} × {why}" for why, count in reasons.items()]
    section.note = str(run.result.get("engines") or "")
    return section if section.pictures or section.items else None


def _baseline(run: SearchRun) -> tuple[str, float] | None:
    """Return the best baseline's name and inner score."""
    best = run.best_baseline()
    inner = None if best is None else run.baseline_inner_score(best["model"])
    return None if best is None or inner is None else (best["model"], inner)


def use(run: SearchRun) -> Section | None:
    """Return the commands and the program that use what the run found."""
    if not (run.folder / "best.keras").exists():
        return None
    folder = shlex.quote(str(run.folder))
    recommended = run.result.get("recommended")
    inputs = run.environment.get("data", {}).get("inputs")
    examples = inputs is not None
    windows = examples and "series" in inputs
    new = "EXAMPLES" if examples and not windows else "new.csv"
    rows = "x" if examples else 'read_rows("new.csv", model.columns)'
    program = (
        "import keras, tfopt\n"
        + "from tfopt.data import read_rows\n" * (not examples)
        + f"\nmodel = keras.models.load_model({str(run.folder / 'best.keras')!r}, compile=False)\n"
        + f"predictions = model.predict({rows})"
    )
    return Section(
        "How to use it",
        text=f"tfopt predict uses {recommended} ({run.result.get('why')})." if recommended else "",
        code=[
            ("Predictions for the rows of a file:", f"tfopt predict {folder} {new} > predictions.csv"),
            (
                "With intervals, or sets of classes, that hold 9 of 10 rows:",
                f"tfopt predict {folder} {new} --interval 0.9",
            ),
            *([] if windows else [("The model as a program:", f"tfopt show {folder} --code")]),
            (f"The network in Python, which takes {'examples as they are' if examples else 'raw columns'}:", program),
        ],
    )


def repeat(run: SearchRun) -> Section:
    """Return the command, every setting and the environment."""
    section = Section("How to repeat it")
    environment = run.environment
    if command := _command(run):
        section.code.append(("The command:", command))
    if folder := run.folder:
        section.code.append(("This page again:", f"tfopt report {shlex.quote(str(folder))}"))
    settings = [
        [
            option.flag if option.name != "data" else "DATA",
            _setting(run.config[option.name], option.default_text),
            option.help,
        ]
        for option in OPTIONS
        if option.name in run.config
    ]
    if settings:
        section.folded.append(("every setting", PageTable(["setting", "value", "what it is"], settings, text=range(3))))
    about = [[f"{name}", str(version)] for name, version in environment.get("versions", {}).items()]
    about += [[name, str(environment[name])] for name in ("platform", "cores", "started") if environment.get(name)]
    about += [[f"SHA-256 of {file}", digest] for file, digest in environment.get("sources", {}).items()]
    about += [[name, plain(value)] for name, value in environment.get("device", {}).items()]
    if digest := environment.get("data", {}).get("sha256"):
        about.append(["SHA-256 of the data", digest])
    if about:
        section.folded.append(("versions and machine", PageTable((), about, text=(0, 1), sortable=False)))
    return section


def _command(run: SearchRun) -> str:
    """Return the command line of the search, from its settings where Python began it; empty for a table of Python's."""
    command = run.environment.get("command") or []
    if command and Path(command[0]).stem in ("tfopt", "__main__"):
        return shlex.join(["tfopt", *command[1:]])
    given, defaults = run.config, SearchConfig().to_dict()
    if not given.get("data") or GIVEN_TABLE in given["data"] or str(given.get("space", "")).startswith(GIVEN_SPACE):
        return ""
    words = ["tfopt", "search", given["data"]]
    for option in OPTIONS:
        value = given.get(option.name)
        if option.name in ("data", "like", "out", "overwrite", "resume") or value in (None, defaults[option.name]):
            continue
        words += option.words(value)
    return shlex.join(words)


def data(run: SearchRun) -> Section | None:
    """Return what was said of the data, and how each column was read."""
    about = run.environment.get("data", {})
    section = Section("The data", items=[str(note) for note in run.result.get("notes", [])])
    columns = [*about.get("columns", []), *({**c, "role": "target"} for c in about.get("target_columns", []))]
    if columns:
        rows = [
            [c["name"], c.get("role", "feature"), _kind(c), "yes" if c.get("has_missing") else "no"] for c in columns
        ]
        table = PageTable(["column", "role", "read as", "cells missing"], rows, text=range(4))
        section.folded.append((f"{len(columns)} columns", table))
    for what, names in (("not used", about.get("ignored")), ("name a row", about.get("identifiers"))):
        if names:
            section.items.append(f"columns that {what if what != 'not used' else 'are not used'}: {plain(names)}")
    return section if section.items or section.folded else None


def _kind(column: Mapping[str, Any]) -> str:
    kind = str(column.get("kind"))
    if column.get("num_levels"):
        return f"{kind}, {column['num_levels']} levels"
    more = [str(column[name]) for name in ("unit", "date_format") if column.get(name)]
    return ", ".join([kind, *more])


def _setting(value: Any, default: str | None) -> str:
    return (default or "not set") if value in (None, "", []) else plain(value)


def plain(value: Any) -> str:
    """Return a value of a JSON file as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {plain(item)}" for name, item in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
