"""What a search will do, settled before TensorFlow is imported: table, metric, folds and baselines."""

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from tfopt.baselines import Family, left_out_families, select_families, unweighted_families
from tfopt.comparison.folds import Split, check_split, inner_splits, outer_splits
from tfopt.comparison.forward import gap_of
from tfopt.comparison.objective import Objective, get_objective
from tfopt.data import Table, load_table
from tfopt.data.cautions import cautions
from tfopt.data.example_columns import examples_of_column
from tfopt.data.example_folders import is_folder_of_classes
from tfopt.data.example_sources import load_examples, load_series
from tfopt.data.examples import ExampleSet, Kind
from tfopt.data.files import absolute, files_of
from tfopt.data.raw import stem
from tfopt.data.repeats import kept_together, repeated_rows
from tfopt.data.stream import Stream, blocks_of, expected_bytes
from tfopt.data.user_file import absolute_name, names_python
from tfopt.data.windows import windows_of
from tfopt.devices import free_ram, num_cores
from tfopt.errors import UserError, nearest
from tfopt.search.config import DEFAULT_TRIALS, GIVEN_TABLE, KINDS, SearchConfig
from tfopt.search.progress import Progress, Units
from tfopt.search.tries import MOST_LIKED, best_of, parsed

# Above this many rows one hold-out tells models apart as well as folds do, for a fraction of the time.
LARGE_TABLE = 20_000
READING = "rows read"


@dataclass(frozen=True)
class Fold:
    """Where one search takes place: rows to train on, the inner splits that choose, and rows to be judged by.

    Args:
        key: Index of the outer split, or `"final"` for all rows, on which the exported model is chosen and trained.
        train: Rows that are searched over and refitted on.
        test: Rows of the outer test part; empty for all rows.
        inner: Splits of `train`.
    """

    key: int | str
    train: np.ndarray
    test: np.ndarray
    inner: tuple[Split, ...]


@dataclass(frozen=True)
class Plan:
    """A search, ready to run.

    Args:
        config: The configuration with every automatic value resolved.
        table: The data.
        objective: What chooses and scores.
        outer: The outer folds.
        final: All rows.
        families: The baselines.
        liked: The best configurations of the earlier run that the search begins with.
        stream: All rows, where the table is a sample of them and the rows to test by.
        started: From when a time limit counts, by `time.monotonic()`.
    """

    config: SearchConfig
    table: Table
    objective: Objective
    outer: tuple[Fold, ...]
    final: Fold
    families: tuple[Family, ...]
    liked: tuple[str, ...] = ()
    stream: Stream | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def splits(self) -> list[Split]:
        """The outer splits."""
        return [Split(fold.train, fold.test) for fold in self.outer]


def stream_of(config: SearchConfig, frame: pd.DataFrame | None = None) -> Stream | None:
    """Return the rows of a search whose data are read in blocks; None where they are read whole.

    Raises:
        UserError: They cannot be read in blocks.
    """
    if config.stream != "yes":
        return None
    if frame is not None or config.data == GIVEN_TABLE:
        raise UserError("--stream reads files, and this table is in memory already. Leave it out.")
    reading = {"header": config.header, "encoding": config.encoding, "separator": config.separator}
    return Stream(blocks_of(config.data, **reading), config.sample, config.seed)


def table_of(
    config: SearchConfig,
    frame: pd.DataFrame | None = None,
    stream: Stream | None = None,
    progress: Progress | None = None,
) -> Table:
    """Return the table that a search is about; of a stream the rows that it has drawn.

    Raises:
        UserError: It cannot be read, or was given in Python and is not at hand.
    """
    stream = stream or stream_of(config, frame)
    if stream is not None:
        drawn = stream.table(
            target=list(config.target) or None, task=config.task, drop=config.drop, columns=config.column_kinds()
        )
        return _checked(stream, _weighed(drawn, config), progress or Progress())
    if frame is None and config.data == GIVEN_TABLE:
        raise UserError(
            "the table of this run was given in Python, which the run folder does not hold. Go on from Python: "
            f"tfopt.search.run(data, resume={config.resume or 'RUN'!r})."
        )
    examples = frame if isinstance(frame, ExampleSet) else None
    of_function = config.window is not None and frame is None and names_python(config.data)
    own_targets: tuple[str, ...] = ()
    if of_function:
        frame, own_targets = load_series(config.data)
    elif frame is None and config.window is None and config.image_column is None and config.text_column is None:
        examples = load_examples(
            config.data,
            target=config.target,
            task=config.task,
            drop=config.drop,
            as_image=config.as_image,
            image_size=config.image_size,
            max_unpacked=config.max_unpacked,
        )
    if examples is not None:
        return _told_alike(examples, config)
    told = config.column_kinds()
    if (column := config.image_column or config.text_column) is not None:
        told[column] = "text"
    table = load_table(
        config.data if frame is None else frame,
        target=list(config.target or own_targets) or None,
        task=config.task if config.window is None else "regression",
        drop=config.drop,
        group=config.group,
        weights=config.weights,
        time=config.time,
        columns=told,
        header=config.header,
        encoding=config.encoding,
        separator=config.separator,
        max_unpacked=config.max_unpacked,
        featureless=config.window is not None,
    )
    if of_function:
        table = replace(table, name=stem(config.data.rpartition(":")[0]), source=config.data)
    if config.window is not None:
        table = windows_of(table, config.window, config.horizon)
    elif column is not None:
        folder = Path() if frame is not None else Path(files_of(config.data)[0]).parent
        kind: Kind = "text" if config.image_column is None else "image"
        table = examples_of_column(table, column, kind, folder, config.image_size)
    return _weighed(table, config)


def _checked(stream: Stream, drawn: Table, progress: Progress) -> Table:
    """Return the rows that a stream has drawn, once all of its rows were read."""
    units = Units(progress, READING, stream.blocks.num_rows - stream.num_tested)
    table = stream.check(drawn, units.advance)
    progress.finish(READING)
    table.notes += [note for note in stream.notes if note not in table.notes]
    return table


def _weighed(table: Table, config: SearchConfig) -> Table:
    if config.class_weight != "none" and table.task == "regression":
        raise UserError(f"--class-weight {config.class_weight} is for classes, but the target is for regression.")
    table.class_weight = config.class_weight
    return table


_OF_TABLES = ("column", "group", "weights", "time", "header", "encoding", "separator")


def _told_alike(examples: ExampleSet, config: SearchConfig) -> Table:
    """Return examples as the configuration has them; complain about what it says of columns, which they have not."""
    for name in _OF_TABLES:
        if getattr(config, name) != getattr(SearchConfig(), name):
            flag = "--" + name.replace("_", "-")
            raise UserError(f"{flag} is for tables, and {examples.source} holds other examples. Leave it out.")
    return _weighed(examples, config)


def prepare(config: SearchConfig, progress: Progress | None = None, frame: pd.DataFrame | None = None) -> Plan:
    """Read the table, draw the folds and choose the baselines; say what was guessed.

    Raises:
        UserError: The table, the folds or a name cannot be used as asked.
    """
    started = time.monotonic()
    progress = progress or Progress()
    config.validate()
    for text in config.tries:
        parsed(text)
    max_trials = config.max_trials or (DEFAULT_TRIALS if config.tuner in {"random", "bayesian"} else None)
    liked: tuple[str, ...] = ()
    if config.like is not None and config.resume is None:  # else the stored tries hold them
        liked = best_of(config.like, max(min(MOST_LIKED, (max_trials or DEFAULT_TRIALS) // 2), 1))
    config, why = _streamed_or_not(config, frame)
    stream = stream_of(config, frame)
    table = table_of(config, frame, stream, progress)
    for note in table.notes:
        progress.note(note)

    def say(note: str) -> None:
        table.notes.append(note)
        progress.note(note)

    if why:
        say(why)
    if stream is not None:
        config = replace(config, seeds=1, ensemble=0)
        say(
            f"read in blocks: of {stream.blocks.num_rows:,} rows {stream.num_sampled:,} "
            f"are searched (--sample) and {stream.num_tested:,} are held out to test by; one network, the one chosen, "
            f"is trained on {stream.num_trained:,}, all but those held out (--seeds 1, --ensemble 0)"
        )
    elif config.sample != SearchConfig.sample:
        say("the table is read whole, and --sample is of tables in blocks (--stream reads it so)")

    objective = get_objective(config.objective, table.task)
    holdout = config.holdout
    is_table = not isinstance(table, ExampleSet)
    for note in cautions(table, objective.name, columns=is_table):
        say(note)
    if holdout is None and table.num_rows > LARGE_TABLE and table.test_rows is None:
        if config.repeats > 1:
            raise UserError(f"--repeats does not go with the hold-out of a table over {LARGE_TABLE:,} rows.")
        holdout = 0.2
        say(f"{table.num_rows:,} rows: one hold-out of 20 % and bootstrap intervals instead of folds.")
    if holdout is not None or table.test_rows is None:
        table = _with_copies_together(table, config, say)
    try:
        outer, final = _folds(table, replace(config, holdout=holdout))
    except UserError as error:
        if config.window is not None:
            raise UserError(
                f"{error} There are {table.num_rows} windows, and each training part ends {config.horizon} rows, the "
                "horizon, before its test part; --holdout 0.2 leaves the most of them."
            ) from None
        if table.groups is None or (config.group is not None and table.times is None):
            raise
        why = (
            "Groups are copies of a row here; --duplicates anywhere lets them fall apart."
            if table.times is None
            else "Rows of groups that are tested are not learned from; without --group a group's own past is."
        )
        raise UserError(f"{error} {why}") from None
    _check_scored((*outer, final), objective)
    if table.times is not None and table.groups is not None:
        earlier = sum(int((table.times < table.times[fold.test].min()).sum()) for fold in outer)
        learned = sum(len(fold.train) for fold in outer)
        if 2 * learned < earlier:
            say(
                f"groups go on over time: of {earlier} earlier rows, {learned} are learned from, those of groups that "
                "are not tested; without --group a group's own past is learned from"
            )
    kind = _kind_of(table) if config.window is None else "forecast"
    kind = kind if table.columns else "other"  # of very many numbers none are columns
    num_rows = table.num_rows if stream is None else stream.num_sampled
    families = select_families(config.baselines, table.task, objective, num_rows, kind)
    if config.baseline:
        from tfopt.baselines.own import own_families  # with scikit-learn, which takes seconds to start

        families += own_families(config.baseline, table.task, objective)
    for reason in dict.fromkeys(left_out_families(config.baselines, table.task, objective, num_rows).values()):
        say(reason)
    if config.patience:
        say(
            "--patience ends a trial by the rows that score it, so networks' inner scores and optimism flatter them; "
            "outer scores do not: refits train for as many epochs, whatever the test rows say."
        )
    unweighted = unweighted_families(families, table)
    if unweighted:
        say(f"{', '.join(unweighted)}: trained without the weights, which they cannot take.")
    resolved = replace(
        config,
        data=_absolute(config.data) if frame is None else config.data,
        baseline=tuple(map(absolute_name, config.baseline)),
        space=_space_for(config, table),
        backbone=config.backbone and absolute(config.backbone),
        target=table.target_names if is_table or config.window is not None else config.target,
        task=table.task,
        objective=objective.name,
        holdout=holdout,
        max_trials=max_trials,
        like=config.like and os.path.abspath(config.like),
        epochs=config.epochs or default_epochs(num_rows),
        workers=config.workers or (num_cores() if config.backend == "loky" else None),
    )
    return Plan(resolved, table, objective, outer, final, families, liked, stream, started)


def _streamed_or_not(config: SearchConfig, frame: pd.DataFrame | None) -> tuple[SearchConfig, str]:
    """Return the configuration with whether the data are read in blocks, and why, where that was not said."""
    if config.stream != "auto":
        return config, ""
    free, is_file = free_ram(), frame is None and not is_folder_of_classes(config.data)
    needed = expected_bytes(config.data) if is_file and free is not None else 0
    if free is None or needed <= free:
        return replace(config, stream="no"), ""
    sizes = f"searched whole the data take about {needed / 1e9:.3g} GB of memory, and {free / 1e9:.3g} are free"
    if flag := config.unstreamed:
        return replace(config, stream="no"), f"{sizes}; they cannot be read in blocks, as {flag} needs all of them"
    return replace(config, stream="yes"), f"{sizes}: they are read in blocks (--no-stream reads them whole)"


def _kind_of(table: Table) -> str:
    return table.kind if isinstance(table, ExampleSet) else "table"


def _space_for(config: SearchConfig, table: Table) -> str:
    """Return the space, the default one where the examples have one of their own, or complain that it takes others."""
    kind, space = _kind_of(table), config.space
    if config.backbone is not None and (kind != "image" or space not in ("default", "cnn")):
        raise UserError("--backbone is for images in space cnn. Leave it out, or give images (--as-image).")
    if config.backbone is not None and not Path(config.backbone).is_file():
        siblings = [str(path) for path in Path(config.backbone).parent.glob("*")]
        raise UserError(f"no file {config.backbone} for --backbone.{nearest(config.backbone, siblings)}")
    if space == "default":
        return next((own for own, taken in KINDS.items() if taken == kind), space)
    if KINDS.get(space, kind) != kind:
        holds = {"other": "other examples"}.get(kind, f"{kind}s")
        raise UserError(f"--space {space} takes {KINDS[space]}s, and {table.source} holds {holds}. Leave it out.")
    return os.path.abspath(space) if ".py:" in space else space


def _absolute(data: str) -> str:
    return absolute_name(data) if names_python(data) else absolute(data)


def _with_copies_together(table: Table, config: SearchConfig, say: Callable[[str], None]) -> Table:
    """Return the table with copies of a row in one group, unless it was asked otherwise; say what there is."""
    codes = repeated_rows(table)
    if codes is None:
        return table
    counts = np.bincount(codes)
    num_copies = int((counts - 1).sum())
    copies = f"{num_copies} rows are copies of others" if num_copies > 1 else "1 row is a copy of another"
    said = f"{copies}, in every feature and the target"
    if table.times is not None:
        say(f"{said}: later ones stay where they are in time")
        return table
    if config.duplicates == "anywhere":
        say(f"{said}: a model may be tested on a row that it has learned (--duplicates anywhere)")
        return table
    say(f"{said}: copies stay together in one fold (--duplicates anywhere lets them fall apart)")
    return replace(table, groups=kept_together(table.groups, codes))


def default_epochs(num_rows: int) -> int:
    """Return 100 epochs for small tables, 10 for large ones; the steps in all grow as the root of the rows."""
    return min(max(round(1500 / math.sqrt(num_rows)), 10), 100)


def _folds(table: Table, config: SearchConfig) -> tuple[tuple[Fold, ...], Fold]:
    """Return the outer folds, and all rows, each with its inner splits."""
    gap = gap_of(config.gap, table) if config.window is None else float(config.horizon)

    def fold(key: int | str, train: np.ndarray, test: np.ndarray) -> Fold:
        inner = inner_splits(table, train, folds=config.inner_folds, seed=config.seed, gap=gap)
        return Fold(key, train, test, tuple(inner))

    apart = table.test_rows
    if apart is not None and config.holdout is None:
        train = np.setdiff1d(np.arange(table.num_rows), apart)
        check_split(table, Split(train, apart), np.arange(table.num_rows), what="parts")
        return (fold(0, train, apart),), fold("final", np.arange(table.num_rows), np.arange(0))
    splits = outer_splits(
        table,
        folds=config.folds,
        repeats=config.repeats,
        seed=config.seed,
        holdout=config.holdout,
        gap=gap,
        first_times=config.inner_folds + 1,
    )
    outer = tuple(fold(index, split.train, split.test) for index, split in enumerate(splits))
    return outer, fold("final", np.arange(table.num_rows), np.arange(0))


def _check_scored(folds: Sequence[Fold], objective: Objective) -> None:
    """Complain about test parts that a metric says nothing of: of one row, where it compares rows with one another."""
    parts = [part for fold in folds for part in (fold.test, *(split.test for split in fold.inner)) if len(part)]
    if objective.compares_rows and min(map(len, parts)) < 2:
        raise UserError(
            f"{objective.name} needs two rows or more in each test part, and there is one of a single row. Use fewer "
            "--folds or --inner-folds, a larger --holdout, or --objective rmse."
        )
