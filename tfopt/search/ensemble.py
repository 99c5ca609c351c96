"""The ensemble over trials: configurations whose predictions for inner rows, averaged, were best.

Weights come from the greedy selection with replacement of Caruana, Niculescu-Mizil, Crew and Ksikes (2004, "Ensemble
selection from libraries of models"), bagged as there against overfitting. What it lowers is the mean squared error of
the averaged prediction, of classes that of the probabilities (the Brier score), whatever the objective is: accuracy on
a few hundred rows has too many ties to climb by, and a squared error needs the rows once, for the products of errors.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tfopt.comparison.fold_result import FoldResult
from tfopt.data.table import Table
from tfopt.errors import one_line
from tfopt.search.coding import for_objective
from tfopt.search.journal import Record
from tfopt.search.plan import Fold
from tfopt.search.saved import TRIALS
from tfopt.search.tuners.oracle import Member

if TYPE_CHECKING:
    from tfopt.search.nested import NetworkSearch

_BAGS, _SHARE, _STEPS = 20, 0.5, 25
_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Weighted:
    """A configuration of an ensemble with its weight; those of one ensemble sum to 1."""

    values: dict[str, Any]
    weight: float


def greedy_weights(products: np.ndarray, seed: int, most: int) -> np.ndarray:
    """Return the weights of models, at most `most` of them above 0, whose mean prediction has a small squared error.

    Args:
        products: (models, models) sums over all rows of the product of two models' errors.
        seed: Of the bags.
        most: Models that may have a weight.

    Formula: of each of 20 bags that hold half of the models, the model is added again and again (25 times) that lowers
    |Σ c e|² / (Σ c)² most, where c counts; a bag's weights are the counts with the smallest error on the way. Their
    mean is cut to its largest.
    """
    random = np.random.default_rng(seed)
    number = len(products)
    total = np.zeros(number)
    for _ in range(_BAGS):
        bag = random.permutation(number)[: max(1, round(_SHARE * number))]
        total[bag] += _climb(products[np.ix_(bag, bag)])
    kept = np.argsort(-total, kind="stable")[:most]
    weights = np.zeros(number)
    weights[kept] = total[kept] / total[kept].sum()
    return weights


def _climb(products: np.ndarray) -> np.ndarray:
    """Return the weights of the best ensemble on the way, by the products of the models' errors."""
    counts, sums, own = np.zeros(len(products)), np.zeros(len(products)), np.diag(products)
    best, weights = np.inf, counts
    for step in range(1, _STEPS + 1):
        chosen = int(np.argmin(2 * sums + own))
        counts[chosen] += 1
        sums += products[chosen]
        loss = float(counts @ sums) / step**2
        if loss < best:
            best, weights = loss, counts / step
    return weights


def in_spread(values: np.ndarray, table: Table, train: np.ndarray) -> np.ndarray:
    """Return what errors are measured on: targets or predictions in the spread of the training targets, or classes.

    Regression gives (rows, targets) in standard deviations from the mean, so that float32 keeps what matters of it.
    Classes give (rows, classes) probabilities, of codes 0 and 1.
    """
    if table.task == "classification":
        return np.eye(table.num_outputs)[values] if values.ndim == 1 else values
    target = table.target[train].reshape(len(train), -1)
    spread = target.std(axis=0)
    return (values.reshape(len(values), -1) - target.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def merged(parts: Iterable[Weighted], most: int | None = None) -> list[Weighted]:
    """Return one member for each configuration, the heaviest first and at most so many, with weights that sum to 1."""
    held: dict[str, Weighted] = {}
    for part in parts:
        key = json.dumps(part.values, sort_keys=True)
        held[key] = Weighted(part.values, part.weight + (held[key].weight if key in held else 0.0))
    found = sorted((part for part in held.values() if part.weight > 0), key=lambda part: -part.weight)[:most]
    total = sum(part.weight for part in found)
    return [Weighted(part.values, part.weight / total) for part in found]


class TrialsEnsemble:
    """The ensembles of a search: one of each outer fold's trials, and one for use."""

    def __init__(self, search: "NetworkSearch"):
        self._search = search
        self._members: dict[int | str, list[Weighted]] = {}

    def __bool__(self) -> bool:
        """Whether there is one of several configurations."""
        return any(len(members) > 1 for members in self._members.values())

    def choose(self, in_time: bool = True) -> None:
        """Choose the members of each fold's ensemble, by what its trials predicted for its inner test rows alone."""
        search = self._search
        self._members = {}
        for fold in search.plan.outer if in_time and search.config.ensemble else ():
            trials = [record for record in search.to_choose_from(fold) if "predictions" in record]
            if trials:
                self._members[fold.key] = self._selected(fold, trials)

    def _selected(self, fold: Fold, trials: Sequence[Record]) -> list[Weighted]:
        """Return the ensemble of a fold's trials by what they predicted for its inner test rows, split by split."""
        search, table = self._search, self._search.table
        rows = np.concatenate([split.test for split in fold.inner])
        target = in_spread(table.target[rows], table, fold.train)
        files = [np.load(search.folder / trial["predictions"], mmap_mode="r") for trial in trials]
        products = np.zeros((len(files), len(files)))
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            errors = np.stack([file[part] for file in files]) - target[part]
            if table.weights is not None:
                errors *= np.sqrt(table.weights[rows[part]])[:, None]
            # By no library whose threads would change the last digit.
            products += np.einsum("iro,jro->ij", errors, errors)
        weights = greedy_weights(products, search.config.seed + int(fold.key), search.config.ensemble)
        return merged(Weighted(trial["values"], float(weight)) for trial, weight in zip(trials, weights, strict=True))

    def members(self, fold: Fold) -> list[Weighted]:
        """Return the members of a fold's ensemble, the heaviest first; none where nothing was chosen."""
        return self._members.get(fold.key, [])

    def outer_result(self, fold: Fold, common: dict[str, Any]) -> FoldResult:
        """Return what a fold's ensemble scored on its test rows, without members whose refit failed."""
        search = self._search
        weights, outputs, seconds = [], [], 0.0
        for member in self.members(fold):
            refit = search.refitted(fold, member.values)
            assert refit is not None
            prediction = np.load(search.folder / refit["predictions"])[0]
            if np.isfinite(prediction).all():
                weights.append(member.weight)
                outputs.append(prediction)
                seconds += refit["fit_seconds"] or 0.0
        mean = np.full((len(fold.test), search.num_outputs), np.nan)
        if outputs:
            mean = np.average(outputs, axis=0, weights=weights)
        own = {"inner_score": math.nan, "chosen": {}, "predict_seconds": common["predict_seconds"] * len(outputs)}
        return FoldResult(
            model=TRIALS,
            score=search.score(mean, fold.test),
            fit_seconds=seconds,
            prediction=for_objective(mean, search.table, search.objective),
            outputs=mean,
            num_members=len(outputs),
            **(common | own),
        )

    def for_use(self) -> list[Weighted]:
        """Return the mean of the folds' ensembles, cut to its heaviest members."""
        parts = [part for members in self._members.values() for part in members]
        return merged(parts, self._search.config.ensemble) if self else []

    def train(self, members: Sequence[Weighted]) -> tuple[keras.Model | None, list[Member]]:
        """Train an ensemble on all rows, each member from the first of the network's seeds.

        Returns the model, without members that could not be trained, and how the fits went; None if the time is up or
        none could be trained.
        """
        search = self._search
        if search.time_is_up:
            search.say("The time limit leaves out the ensemble of trials for use.")
            return None, []
        fold = search.plan.final
        tasks = [(member, search.task_of_all(fold, member.values)) for member in members]
        fits = []
        for member, task in tasks:
            try:
                fits.append((member, task, search.fitting.fit(member.values, task, Member(task.seed))))
            except Exception as error:  # of the user's own space
                self._say_not_trained(error)
        networks = []
        for (member, task, _), result in zip(fits, search.train([fit for _, _, fit in fits]), strict=True):
            if result.failure is not None:
                self._say_not_trained(result.failure)
                continue
            network: keras.Model = search.fitting.trained(member.values, task, result)
            networks.append((network, search.fitting.scaling(member.values), member.weight))
        together = search.coder.exported_together(networks, fold.train) if networks else None
        return together, [fit.member for _, _, fit in fits]

    def _say_not_trained(self, error: Exception | str) -> None:
        self._search.say(f"A network of the ensemble of trials could not be trained: {one_line(error)}")
