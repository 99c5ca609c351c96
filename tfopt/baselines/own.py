"""Baselines of the user's own: an estimator, and a grid, that a function in a Python file returns."""

import contextlib
import functools
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sklearn.base import clone, is_classifier, is_regressor
from sklearn.utils.validation import has_fit_parameter

from tfopt.baselines.families import OwnFamily, family_names
from tfopt.baselines.setting import Setting, Tunable, each_target
from tfopt.comparison.objective import Objective
from tfopt.data.encoder import SCALINGS
from tfopt.data.table import Task
from tfopt.data.user_file import held, import_file, is_own_function
from tfopt.errors import UserError, nearest, one_line

OPTION = "--baseline"
_KIND = "baseline"  # of module: what is saved of a class in the file names it so
_MOST_TRIED = 64  # configurations of a grid; of a larger one as many are drawn


def own_families(sources: Iterable[str], task: Task, objective: Objective) -> tuple[OwnFamily, ...]:
    """Return the families of functions in Python files, each called once to see that it can be used.

    Args:
        sources: `PATH.py:function` of each; the function's name is the family's.
        task: The kind of target.
        objective: What they are tuned for.

    Raises:
        UserError: There is no such function, it raises, or it returns no estimator for this task, or no grid of it.
    """
    found: dict[str, OwnFamily] = {}
    for source in sources:
        path, _, name = source.rpartition(":")
        if name in family_names(task) or name in found:
            raise UserError(f"{OPTION} {source}: there is a baseline {name!r} already. Give the function another name.")
        estimator, _ = _returned(source)
        if not (is_regressor if task == "regression" else is_classifier)(estimator):
            raise UserError(f"{OPTION} {source} returns {type(estimator).__name__}, which is not for {task}.")
        if objective.needs == "probabilities" and not hasattr(estimator, "predict_proba"):
            raise UserError(
                f"{OPTION} {source} gives no class probabilities, which objective {objective.name!r} needs. Leave it "
                "out, or use an objective of labels such as accuracy."
            )
        found[name] = OwnFamily(
            name,
            task,
            f"{type(estimator).__name__} of {Path(path).name}",
            probabilities=hasattr(estimator, "predict_proba"),
            weights=has_fit_parameter(estimator, "sample_weight"),
            source=source,
            content=Path(path).read_bytes(),
        )
    return tuple(found.values())


def estimators_of(path: str) -> dict[str, type]:
    """Return the estimators' classes that a file defines or imports, so that a model of them may be loaded.

    Args:
        path: `PATH.py`, or `PATH.py:name`: a file that the user named, never one that a run folder names.
    """
    file = path if path.endswith(".py") else path.rpartition(":")[0]
    module = import_file(Path(file), "--space", _KIND)
    return {name: value for name, value in vars(module).items() if isinstance(value, type) and hasattr(value, "fit")}


def own_tunable(family: OwnFamily, setting: Setting) -> Tunable:
    """Return how a family of the user's own is fitted in `setting`."""
    with _present(family) as source:
        estimator, grids = _returned(source)
    seeds = {name: setting.seed for name, value in estimator.get_params().items() if _is_seed(name) and value is None}
    model, prefix = each_target(clone(estimator).set_params(**seeds), setting)

    def place(name: str) -> str:
        return "encode__scaling" if name == "scaling" else f"model__{prefix}{name}"

    placed = [{place(name): list(values) for name, values in grid.items()} for grid in grids]
    return Tunable(model, clone(model), [grid for grid in placed if grid], num_draws=_MOST_TRIED)


def _is_seed(name: str) -> bool:
    return name.rsplit("__", 1)[-1] == "random_state"


@contextlib.contextmanager
def _present(family: OwnFamily) -> Iterator[str]:
    """Yield the function's `PATH.py:function`, of a copy of the file where it is not there as it was."""
    path, _, name = family.source.rpartition(":")
    if Path(path).is_file() and Path(path).read_bytes() == family.content:
        yield family.source
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, Path(path).name)
        copy.write_bytes(family.content)
        yield f"{copy}:{name}"


@functools.lru_cache(maxsize=8)
def _returned(source: str) -> tuple[Any, list[dict[str, Any]]]:
    """Return the estimator and the grids that a function returns."""
    function = held(source, OPTION, _KIND, is_own_function, "a function that returns an estimator")
    if not callable(function):
        raise UserError(f"{OPTION} {source} is no function ({type(function).__name__}). Name one.")
    try:
        returned = function()
    except Exception as error:
        raise UserError(
            f"{OPTION} {source} raised {one_line(error)}. Mend the function; it takes no arguments."
        ) from error
    estimator, grid = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, {})
    if not all(hasattr(estimator, method) for method in ("fit", "predict", "get_params")) or isinstance(
        estimator, type
    ):
        raise UserError(
            f"{OPTION} {source} returns {type(estimator).__name__}, no estimator of scikit-learn's kind. Return one, "
            "such as Ridge(), or a pair of one and its grid, such as Ridge(), {'alpha': [0.1, 1, 10]}."
        )
    grids = grid if isinstance(grid, list) else [grid]
    known = [*estimator.get_params(), "scaling"]
    for each in grids:
        if not isinstance(each, dict):
            raise UserError(
                f"{OPTION} {source}: the grid must be a dict of lists, or a list of such. Received: {grid!r}."
            )
        for name, values in each.items():
            if name not in known:
                raise UserError(
                    f"{OPTION} {source}: the estimator has no parameter {name!r}.{nearest(str(name), known)}"
                )
            if isinstance(values, str) or not hasattr(values, "__len__") or not len(values):
                raise UserError(f"{OPTION} {source}: {name!r} needs a list of values. Received: {values!r}.")
            if name == "scaling" and (bad := [value for value in values if value not in SCALINGS]):
                raise UserError(f"{OPTION} {source}: 'scaling' is one of {', '.join(SCALINGS)}. Received: {bad[0]!r}.")
    return estimator, grids
