"""What a run leaves for use: its models, which of them to use, and what each predicted for rows it had not learned."""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfopt._files import replace
from tfopt.comparison.conformal import Band, coverage
from tfopt.comparison.fold_result import FoldResult
from tfopt.errors import UserError, command, nearest, one_line
from tfopt.search.run_folder import check_existing, damaged, read_json

if TYPE_CHECKING:
    from tfopt.search.plan import Plan

NETWORK_FILE = "best.keras"
ENSEMBLE_FILE = "ensemble.keras"
TRIALS_FILE = "ensemble-of-trials.keras"
BASELINE_FILE = "best.skops"
PREDICTIONS_FILE = "predictions.npz"
IMPORTANCE_FILE = "importance.json"
NETWORK = "network"
TRIALS = f"{NETWORK} (ensemble of trials)"


def model_file(model: str) -> str:
    """Return where a model is within the run folder, by its name on the leaderboard."""
    if model.startswith(NETWORK):
        return {NETWORK: NETWORK_FILE, TRIALS: TRIALS_FILE}.get(model, ENSEMBLE_FILE)
    return f"models/{model}.skops"


@dataclass(frozen=True)
class OutOfFold:
    """What the models predicted for the outer folds' test rows; a row stands here once for each fold that tested it.

    Args:
        rows: Row of the table; of a search that read blocks, of the rows that were drawn.
        folds: Outer fold.
        target: (rows,) or (rows, targets) values, or class codes.
        predictions: By the model's name on the leaderboard: (rows, targets) values or (rows, classes) probabilities;
            class codes (rows,) of a model that gives no probabilities. Of a network those of its first seed.
    """

    rows: np.ndarray
    folds: np.ndarray
    target: np.ndarray
    predictions: dict[str, np.ndarray]


def write_oof(folder: Path, plan: "Plan", results: Sequence[FoldResult]) -> OutOfFold:
    """Write `predictions.npz`: the models that have a result on every fold."""
    found: dict[str, dict[int, np.ndarray]] = {}
    for result in results:
        found.setdefault(result.model, {})[result.fold] = result.outputs
    rows = np.concatenate([fold.test for fold in plan.outer])
    regression = plan.table.task == "regression"
    predictions = {}
    for model, parts in found.items():
        if len(parts) == len(plan.outer):
            outputs = np.concatenate([parts[int(fold.key)] for fold in plan.outer])
            if regression:
                predictions[model] = outputs.reshape(len(rows), -1)
            else:
                predictions[model] = outputs.astype(np.float32) if outputs.ndim == 2 else outputs
    folds = np.repeat(np.arange(len(plan.outer)), [len(fold.test) for fold in plan.outer])
    oof = OutOfFold(rows, folds, plan.table.target[rows], predictions)
    arrays = {"rows": oof.rows, "folds": oof.folds, "target": oof.target}
    arrays |= {f"prediction {name}": value for name, value in predictions.items()}
    replace(folder / PREDICTIONS_FILE, lambda beside: _save_arrays(beside, arrays))
    return oof


def _save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:  # NumPy would give the name another ending
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # NumPy's stub takes `allow_pickle` for one of them


def read_oof(run: str | Path) -> OutOfFold:
    """Return what `predictions.npz` of a run holds.

    Raises:
        UserError: The run has not got that far, or the file is damaged.
    """
    folder = check_existing(run, PREDICTIONS_FILE)
    try:
        with (folder / PREDICTIONS_FILE).open("rb") as file, np.load(file) as arrays:
            held = dict(arrays)
        lengths = {len(held[name]) for name in ("rows", "folds", "target")}
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        # NumPy's own words for most damages are on pickles, and how to load them unsafely.
        raise damaged(folder / PREDICTIONS_FILE, f"{type(error).__name__}: no archive of NumPy arrays") from None
    if len(lengths | {len(array) for array in held.values()}) > 1:
        raise damaged(folder / PREDICTIONS_FILE, "its arrays differ in length")
    named = {name.removeprefix("prediction "): held[name] for name in held if name.startswith("prediction ")}
    return OutOfFold(held["rows"], held["folds"], held["target"], named)


def promises(run: str | Path, model: str, confidence: float, classes: bool) -> tuple[Band, float, float]:
    """Return what may be promised about a model's predictions, the share of such promises kept, and their mean size.

    Raises:
        UserError: The run does not tell, for this model or for so high a confidence.
    """
    oof = read_oof(run)
    prediction = oof.predictions.get(model)
    if prediction is None or prediction.ndim == 1:
        why = "was not compared on every fold" if prediction is None else "gives no class probabilities"
        others = [other for other, found in oof.predictions.items() if found.ndim == 2 and "(" not in other]
        raise UserError(f"--interval: {model} {why}. Choose another with --model: {', '.join(others)}.")
    band = Band.fit(oof.target, prediction, confidence, classes)
    covered = coverage(oof.target, prediction, oof.rows, oof.folds, confidence, classes)
    return band, covered, band.size(prediction)


def read_importance(run: str | Path) -> dict[str, Any]:
    """Return what the columns matter, as `importance.json` of a run has it; empty where it was not measured.

    `columns`, sorted by the recommended model's: `column`, `kind` and, for `network` and `baseline` (the best one;
    `models` has their names), `mean`, `low` and `high` of how much the score falls when the column is shuffled.
    `effects` of the first few: `values` and, by model, the mean prediction there: (values, outputs), or None.

    Raises:
        UserError: The file is damaged.
    """
    path = check_existing(run) / IMPORTANCE_FILE
    found = read_json(path)
    for curve in found.get("effects", ()):
        wanted = [len(found["outputs"])] * len(curve["values"])
        if any(curve.get(role) is not None and [*map(len, curve[role])] != wanted for role in ("network", "baseline")):
            raise damaged(path, f"the effect of {curve['column']} is not of one row for each value")
    return found


def choose_model(run: str | Path, which: str | None = None) -> tuple[str, str]:
    """Return the name of a run's model on the leaderboard, and in a few words why it is that one.

    Args:
        run: The run folder.
        which: `"network"`, `"ensemble"` (of the network's seeds), `"trials"` (the ensemble over trials), `"baseline"`
            (the best), or a family's name; None for what the verdict recommends, and for the network where the search
            has not come to a verdict.

    Raises:
        UserError: There is no such model.
    """
    folder = check_existing(run)
    result = read_json(folder / "result.json")
    if which is None:
        recommended = result.get("recommended")
        return (recommended, result.get("why", "")) if recommended else (NETWORK, "the search has no verdict yet")
    if which == "baseline":
        best = result.get("best_baseline")
        if best is None:
            raise UserError(
                f"--model baseline: {folder} has no best baseline. See what there is: {command('show', folder)}"
            )
        return best, "the best baseline"
    several = [row["model"] for row in result.get("leaderboard", ()) if row.get("num_members", 1) > 1]
    ensembles = {"trials" if name == TRIALS else "ensemble": name for name in several}
    # The leaderboard shows what is in the brackets of a name.
    shown = {name.partition("(")[2].rstrip(")"): short for short, name in ensembles.items()}
    short = shown.get(which) or next((short for short, name in ensembles.items() if name == which), which)
    if short in ("ensemble", "trials"):
        ensemble = ensembles.get(short)
        if ensemble is None or not (folder / model_file(ensemble)).exists():
            why = "as of --seeds 1" if short == "ensemble" else "as of --ensemble 0 or a single trial"
            raise UserError(
                f"--model {which}: {folder} has no such ensemble, {why}. Use --model network, or search again."
            )
        return ensemble, "as asked"
    saved = [NETWORK, *sorted(path.stem for path in (folder / "models").glob("*.skops"))]
    if which not in saved:
        raise UserError(
            f"--model {which}: {folder} has no such model.{nearest(which, [*saved, 'baseline'])} It has "
            f"{', '.join(saved)}, and baseline for the best of them."
        )
    return which, "as asked"


def load_model(run: str | Path, which: str | None = None, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return a model of a run: a `tfopt.data.TableModel` for the network, else a `tfopt.baselines.TableBaseline`.

    Args:
        run: The run folder.
        which: As for `choose_model`.
        custom_objects: Classes and functions of the user's own that the network holds, or estimators' classes of
            packages that a baseline of the user's own is from, by name.

    Raises:
        UserError: There is no such model, or it cannot be read.
    """
    folder = Path(run)
    name, _ = choose_model(folder, which)
    path = check_existing(folder, model_file(name)) / model_file(name)
    if path.suffix == ".keras":
        return _load_network(path, custom_objects or {})
    from tfopt.baselines import TableBaseline  # scikit-learn and skops, which a network does without

    packages = {value.__module__.partition(".")[0] for value in (custom_objects or {}).values()}
    return TableBaseline.load(path, packages)


def outputs_of(model: Any, frame: Any) -> np.ndarray:
    """Return what either kind of model says: values (rows, targets), probabilities (rows, classes) or codes (rows,)."""
    return model.outputs(frame) if hasattr(model, "family") else model.predict(frame, verbose=0)


def _load_network(file: Path, custom_objects: Mapping[str, Any]) -> Any:
    import keras

    import tfopt  # noqa: F401  # registers the classes

    if not zipfile.is_zipfile(file):
        raise damaged(file, "it is no .keras archive")
    try:
        return keras.models.load_model(file, custom_objects=dict(custom_objects), compile=False)
    except MemoryError:
        raise
    except Exception as error:  # of a damaged archive anything may come
        if "Could not locate" not in str(error):
            raise damaged(file, one_line(error)) from error
        space = read_json(file.parent / "config.json").get("space", "")
        theirs = f" (the search's was {space.rpartition(':')[0]})" if ".py:" in space else ""
        raise UserError(
            f"{file} holds a class that is not known here ({one_line(error)[:200]}). Nothing is imported because a run "
            f"folder names it: name the file that defines it with --space FILE{theirs}, or in Python "
            "tfopt.load(folder, custom_objects={'Name': Name})."
        ) from error
