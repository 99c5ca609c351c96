"""Many fits of one kind of model at once: configurations, seeds and folds as members of a population."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import keras
import numpy as np

from tfopt.training.distribution import OneEngine, trained
from tfopt.training.fits import Build, Engine, FitRequest, FitResult, Monitor
from tfopt.training.population_engine import PopulationEngine
from tfopt.training.rows import Arrays, Examples, folds_of
from tfopt.training.workers import Workers

Folds = int | Iterable[tuple[Any, Any]]


@dataclass(frozen=True)
class PopulationMember:
    """One trained fit of a population: a configuration with a seed and a fold.

    Args:
        configuration: Index of its hyperparameters in the list given.
        seed: Its seed.
        fold: Index of the fold that was held out; None if it was trained on all rows.
        result: What its fit did.
        request: What was asked of it.

    Example:
        ```python
        def build(hp):
            model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(1)])
            model.compile(keras.optimizers.Adam(hp["learning_rate"]), "mse")
            return model

        x, y = np.ones((12, 2)), np.ones(12)
        rates = [{"learning_rate": rate} for rate in (1e-3, 1e-2, 1e-1)]
        result = tfopt.training.Population(build, rates).fit(x, y, folds=3, seeds=(0, 1), epochs=2)
        print(result[1].configuration, result[1].seed, result[1].fold)  # 0 0 1
        print(len(result[1].history["loss"]))  # 2, one for each epoch
        ```
    """

    configuration: int
    seed: int
    fold: int | None
    result: FitResult
    request: FitRequest

    @property
    def history(self) -> dict[str, list[float]]:
        """The logs, a list each, with the keys of `model.fit`'s history."""
        return self.result.history


class PopulationResult:
    """The members of a trained population, in the order configuration, seed, fold.

    `tfopt.training.Population.fit` returns it: scores and predictions as arrays, members as Keras models.

    Args:
        members: The trained members.
        engine: What trained them.
        num_rows: Rows of the examples.

    Example:
        ```python
        def build(hp):
            model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(1)])
            model.compile(keras.optimizers.Adam(hp["learning_rate"]), "mse")
            return model

        x, y = np.ones((12, 2)), np.ones(12)
        rates = [{"learning_rate": rate} for rate in (1e-3, 1e-2, 1e-1)]
        result = tfopt.training.Population(build, rates).fit(x, y, folds=3, seeds=(0, 1), epochs=2)
        print(len(result), result.scores("val_loss").shape)  # 18 (3, 2, 3)
        ```
    """

    def __init__(self, members: Sequence[PopulationMember], engine: Engine, num_rows: int):
        self.members, self._engine, self._num_rows = list(members), engine, num_rows

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: int) -> PopulationMember:
        return self.members[index]

    def model(self, member: int | PopulationMember, best: bool = False) -> keras.Model:
        """Return a member as an ordinary compiled Keras model.

        Args:
            member: The member or its index.
            best: Whether to take the weights after its best epoch, of a fit with a monitor.
        """
        member = self.members[member] if isinstance(member, int) else member
        state = member.result.best_state if best else member.result.state
        if state is None:
            raise ValueError(f"There are no {'best ' if best else ''}weights. {member.result.failure or ''}".strip())
        return self._engine.model(member.request, state)

    def predictions(self) -> Any:
        """Return the outputs for each row from the members that did not see it.

        Returns:
            An array (configurations, seeds, rows, …), or a nest of them; NaN for rows that were never held out.
        """
        seeds = list(dict.fromkeys(member.seed for member in self.members))
        shape = (1 + max(member.configuration for member in self.members), len(seeds), self._num_rows)
        parts = [member for member in self.members if member.result.outputs is not None]
        if not parts:
            raise ValueError("There are no predictions: no rows were held out. Give `folds` to `fit`.")

        def gathered(*outputs: np.ndarray) -> np.ndarray:
            whole = np.full((*shape, *outputs[0].shape[1:]), np.nan, outputs[0].dtype)
            for member, own in zip(parts, outputs, strict=True):
                whole[member.configuration, seeds.index(member.seed), member.request.predict] = own
            return whole

        return keras.tree.map_structure(gathered, *(member.result.outputs for member in parts))

    def scores(self, name: str, best: bool = False) -> np.ndarray:
        """Return a log of every member, such as `"val_accuracy"`: (configurations, seeds, folds).

        Args:
            name: Key in the histories.
            best: Whether to take the best epoch of a fit with a monitor instead of the last; NaN where a fit failed.
        """
        values = []
        for member in self.members:
            epoch = member.result.best_epoch if best else -1
            log = member.history.get(name, [])
            values.append(log[epoch] if log and epoch is not None and member.result.failure is None else np.nan)
        seeds = len({member.seed for member in self.members})
        return np.array(values).reshape(1 + max(member.configuration for member in self.members), seeds, -1)


class Population:
    """Trains configurations of a model together: every configuration, seed and fold is a member of one stacked graph.

    The members of one structure share a graph with an axis over members; only values differ (learning rates, schedule
    numbers, penalties, dropout rates, weight decay, seeds, rows). Each is what `keras.utils.set_random_seed(seed)`,
    `build(hyperparameters)` and `fit` on its rows give, within rounding. Use it for many small networks: a grid, seeds
    for an error bar, cross-validation. Structures form stacks of their own; what cannot be stacked (Lamb, a
    `train_step` of one's own) is trained by another engine, and `result.reason` says why.

    Args:
        build: Returns a compiled model of given hyperparameters, as for KerasTuner.
        hyperparameters: What `build` is called with, an element a configuration.
        memory: Bytes that a stack may take; None for no bound. When memory runs out the stack is halved.
        grad_norm: Whether histories get `grad_norm`, the mean norm of each epoch's gradients before clipping.

    Raises:
        TypeError: The hyperparameters are no list.
        ValueError: There are none.

    Example:
        ```python
        def build(hp):
            model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(1)])
            model.compile(keras.optimizers.Adam(hp["learning_rate"]), "mse")
            return model

        x, y = np.ones((12, 2)), np.ones(12)
        rates = [{"learning_rate": rate} for rate in (1e-3, 1e-2, 1e-1)]
        result = tfopt.training.Population(build, rates).fit(x, y, folds=3, seeds=(0, 1), epochs=2)
        print(result.scores("val_loss").shape)  # (3, 2, 3): configurations, seeds, folds
        print(result.predictions().shape)  # (3, 2, 12, 1), each row by the members that did not see it
        result.model(0).save("first.keras")
        ```
    """

    def __init__(
        self, build: Build, hyperparameters: Sequence[Any], *, memory: int | None = None, grad_norm: bool = False
    ):
        if isinstance(hyperparameters, Mapping | str):
            raise TypeError(
                "Argument `hyperparameters` must be a list with an element for each configuration. Received: "
                f"{hyperparameters!r}. Put it into a list."
            )
        self._build, self._hyperparameters = build, list(hyperparameters)
        if not self._hyperparameters:
            raise ValueError("Argument `hyperparameters` must hold at least one configuration. Received: none.")
        self._memory, self._grad_norm = memory, grad_norm

    def fit(
        self,
        x: Arrays,
        y: Arrays,
        *,
        folds: Folds | None = None,
        seeds: Sequence[int] = (0,),
        epochs: int = 1,
        batch_size: int = 32,
        sample_weight: np.ndarray | None = None,
        class_weight: Mapping[int, float] | None = None,
        validation_data: Sequence[Any] | None = None,
        monitor: str | None = None,
        mode: Literal["min", "max"] = "min",
        patience: int | None = None,
        shuffle: bool = True,
        workers: int | Workers = 1,
    ) -> PopulationResult:
        """Train every configuration with every seed on every fold.

        Args:
            x: Inputs: an array, or a list, tuple or dict of arrays.
            y: Targets, likewise.
            folds: Number of folds, of rows in an order drawn from seed 0; or `(train, test)` index arrays, as a
                scikit-learn splitter's `split` gives. Each member is validated on the fold held out. None trains on
                all rows.
            seeds: Seeds of initial weights, row order and dropout.
            epochs: Epochs of each fit.
            batch_size: Rows a step.
            sample_weight: A weight a row.
            class_weight: A weight for each class of integer or one-hot targets, times `sample_weight`; in training
                only, as in `model.fit`.
            validation_data: `(x, y)` or `(x, y, sample_weight)` to validate on where there are no folds.
            monitor: Log that says which epoch is best, such as `"val_loss"`.
            mode: Whether a smaller (`"min"`) or larger (`"max"`) one is better.
            patience: Epochs without a better value after which a member ends early.
            shuffle: Whether rows come in a new order in every epoch.
            workers: Processes that train, this one among them, or a `tfopt.training.Workers`, which may belong to a
                cluster. Members are the same for any number.

        Raises:
            ValueError: `folds` or `seeds` are empty, `patience` has no `monitor`, or the arrays differ in rows.
        """
        examples = Examples(x, y)
        splits = [(None, None)] if folds is None else folds_of(folds, examples.y, 0, by_class=False)
        if not len(seeds):
            raise ValueError("Argument `seeds` must hold at least one seed. Received: none.")
        if patience is not None and monitor is None:
            raise ValueError(f"Argument `patience` needs a `monitor`. Received: patience={patience}, monitor=None.")
        watch = None if monitor is None else Monitor(monitor, mode, patience)
        engine_of = OneEngine(
            PopulationEngine, self._build, x, y, sample_weight, validation_data if folds is None else None, shuffle,
            class_weight, memory=self._memory, grad_norm=self._grad_norm,
        )  # fmt: skip
        places, requests = [], []
        for (index, hyperparameters), seed, (fold, (rows, held)) in product(
            enumerate(self._hyperparameters), seeds, enumerate(splits)
        ):
            places.append((index, seed, None if folds is None else fold))
            requests.append(FitRequest(hyperparameters, seed, epochs, batch_size, rows, held, held, watch))
        results = trained(engine_of, requests, workers)
        members = [
            PopulationMember(*place, result, request)
            for place, result, request in zip(places, results, requests, strict=True)
        ]
        return PopulationResult(members, engine_of(), len(examples))
