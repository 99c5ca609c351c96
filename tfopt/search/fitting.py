"""Fits of configurations on splits of a table: what the nested comparison has trained, in the engines' terms."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import keras_tuner
import numpy as np

from tfopt import devices
from tfopt._private.tensorflow_graphs import variables_alike
from tfopt.comparison.folds import Split
from tfopt.data import table as tables
from tfopt.data.examples import each
from tfopt.search.coding import Output, SplitCoder, TargetForm, decode, output_kind, target_form
from tfopt.search.config import SearchConfig
from tfopt.search.example_coding import ENCODED, RAW
from tfopt.search.loop import Fit
from tfopt.search.problem import Problem
from tfopt.search.spaces import SPACES, Space
from tfopt.search.tuners.oracle import Member
from tfopt.training.choose import engine_for
from tfopt.training.fits import Engine, FitRequest, FitResult, Monitor, UnpenalizedLoss, checked, complete, set_state
from tfopt.training.own_layers import adapt, inputs_of, layers_to_adapt
from tfopt.training.plain import PlainEngine
from tfopt.training.rows import Examples
from tfopt.training.timeout import limited

# Rows in whole batches that a configuration is trained on; its schedule depends on them.
_NUM_ROWS = "tuner/num_rows"
_UNPENALIZED = "unpenalized_loss"
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Task:
    """One fit of a configuration."""

    split: Split
    seed: int
    epochs: int


@dataclass(frozen=True)
class _Forms:
    """What a configuration's network takes and gives."""

    output: Output
    target: TargetForm
    takes_texts: bool
    adapts: bool


class Fitting:
    """Trains configurations of a space on splits, all rows of which are encoded up front in one table.

    Args:
        table: The data.
        coder: Encodes the rows of a split.
        space: The networks.
        problem: What they are to learn.
        hyperparameters: The space's hyperparameters.
        splits: Every split that will be trained on.
        config: Says by which engine, within which memory, with which patience and timeout.
    """

    def __init__(
        self, table: tables.Table, coder: SplitCoder, space: Space, problem: Problem,
        hyperparameters: keras_tuner.HyperParameters, splits: Sequence[Split], config: SearchConfig,
    ):  # fmt: skip
        self._table, self._coder, self._space, self._problem = table, coder, space, problem
        self._hyperparameters, self._config = hyperparameters, config
        self._timeout = config.trial_timeout or math.inf  # of a trial's fit, and of the build of any
        self._splits = list({id(split): split for split in splits}.values())
        ends = np.cumsum([0, *(len(s.train) + len(s.test) for s in self._splits)])
        self._starts = {id(split): int(start) for split, start in zip(self._splits, ends[:-1], strict=True)}
        self._engines: dict[tuple[str, Any, bool], Engine] = {}
        self._known_forms: dict[str, _Forms] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the engines out: whatever process needs one makes its own."""
        return self.__dict__ | {"_engines": {}}

    def model(self, values: dict[str, Any], num_rows: int) -> keras.Model:
        """Return a fresh model of a configuration for so many training rows."""
        return checked(self._built_by_space(self._request_values(values, num_rows)))

    def fit(self, values: dict[str, Any], task: Task, member: Member, of_trial: bool = False) -> Fit:
        """Return the fit that a trainer is to be given; patience and the timeout are for those of trials alone."""
        forms = self._forms(values, len(task.split.train))
        key = (self.scaling(values), forms.target, forms.adapts)
        return Fit(member, self._request(values, task, of_trial), key)

    def scaling(self, values: dict[str, Any]) -> str:
        """Return how a configuration's inputs are encoded: `scaling_of` it, or what its network takes of examples."""
        if self._problem.parts is None:
            return scaling_of(values)
        return RAW if self._forms(values, self._problem.num_rows).takes_texts else ENCODED

    def prediction(self, values: dict[str, Any], task: Task, result: FitResult) -> np.ndarray | None:
        """Return what a fit predicted for its split's test rows, in the table's units; None where it failed."""
        if result.failure is not None or result.outputs is None:
            return None
        outputs = self._coder.compared(result.outputs)
        outputs = outputs.reshape(len(outputs), -1)
        kind = self._forms(values, len(task.split.train)).output
        return decode(outputs, kind, self._coder.scaler(task.split.train))

    def predictor(self, values: dict[str, Any], task: Task, model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
        """Return what predicts encoded rows, in the table's units, by a model that `trained` returned."""
        output = self._forms(values, len(task.split.train)).output
        scaler = self._coder.scaler(task.split.train)

        def predict(rows: np.ndarray) -> np.ndarray:
            parts = np.split(rows, range(_ROWS_AT_ONCE, len(rows), _ROWS_AT_ONCE))
            return decode(np.concatenate([model(part, training=False) for part in parts]), output, scaler)

        return predict

    def engine(self, name: tuple[str, Any, bool]) -> Engine:
        """Return the engine over all splits' rows, scaled and with their targets in the form that a `Fit` names."""
        if name not in self._engines:
            self._engines[name] = self._make_engine(*name)
        return self._engines[name]

    def trained(self, values: dict[str, Any], task: Task, result: FitResult) -> keras.Model:
        """Return the ordinary Keras model that a fit ended with."""
        model = self._completed(self._build(self._request(values, task, False).hyperparameters), values, task)
        assert result.state is not None
        set_state(model, result.state)
        return model

    def untrained(self, values: dict[str, Any], task: Task, num_rows: int) -> tuple[keras.Model, TargetForm]:
        """Return a model that is to be trained on so many rows, not those of its split, and the form of its targets."""
        keras.utils.set_random_seed(task.seed)
        model = self._completed(self.model(values, num_rows), values, task)
        return model, self._forms(values, len(task.split.train)).target

    def _completed(self, model: keras.Model, values: dict[str, Any], task: Task) -> keras.Model:
        """Return a model of a configuration once its weights are made, what it adapts to being a split's rows."""
        features, _ = self._coder.features(task.split.train, task.split.train[:1], self.scaling(values))
        if self._forms(values, len(task.split.train)).adapts:
            adapt(model, features)
        complete(model, Examples(each(lambda array: array[:1], features), np.zeros(1)))
        return model

    def _forms(self, values: dict[str, Any], num_rows: int) -> "_Forms":
        """Return what the configuration's network takes and emits, and how its loss wants the targets."""
        key = repr(sorted(values.items()))
        if key not in self._known_forms:
            with limited(self._timeout), variables_alike():
                model = self.model(values, num_rows)
                takes_texts = any(getattr(tensor, "dtype", "") == "string" for tensor in inputs_of(model))
                adapts = bool(layers_to_adapt(model))
                if adapts:
                    train = self._splits[0].train
                    of_examples = RAW if takes_texts else ENCODED
                    scaling = scaling_of(values) if self._problem.parts is None else of_examples
                    adapt(model, self._coder.features(train, train[:1], scaling)[0])
                shape = self._coder.compared(model(self._problem.blank(takes_texts))).shape
            output = output_kind(model, int(np.prod(shape[1:])), self._table, self._coder.place)
            form = target_form(model, output, self._coder.place)
            self._known_forms[key] = _Forms(output, form, takes_texts, adapts)
        return self._known_forms[key]

    def _request_values(self, values: dict[str, Any], num_rows: int) -> dict[str, Any]:
        # In whole batches, so that splits of as many steps have the same configuration.
        batch_size = batch_size_of(values)
        return {**values, _NUM_ROWS: self._problem.with_rows(num_rows).steps_per_epoch(batch_size) * batch_size}

    def _request(self, values: dict[str, Any], task: Task, of_trial: bool) -> FitRequest:
        patient = of_trial and self._config.patience > 0
        train, test = len(task.split.train), len(task.split.test)
        if self._coder.is_fixed(self.scaling(values)):
            rows, predicted = task.split.train, task.split.test
        else:
            start = self._starts[id(task.split)]
            rows, predicted = np.arange(start, start + train), np.arange(start + train, start + train + test)
        return FitRequest(
            self._request_values(values, train),
            task.seed,
            task.epochs,
            batch_size_of(values),
            rows=rows,
            validation=predicted if patient else None,
            predict=predicted if test else None,
            monitor=Monitor(f"val_{_UNPENALIZED}", "min", self._config.patience) if patient else None,
            timeout=self._timeout if of_trial else math.inf,
        )

    def hyperparameters(self, values: dict[str, Any]) -> keras_tuner.HyperParameters:
        """Return a configuration as KerasTuner has it."""
        hp = self._hyperparameters.copy()
        hp.values = {name: value for name, value in values.items() if name != _NUM_ROWS}
        return hp

    def _built_by_space(self, values: dict[str, Any]) -> Any:
        with limited(self._timeout):
            return self._space.build(self.hyperparameters(values), self._problem.with_rows(values[_NUM_ROWS]))

    def _build(self, values: dict[str, Any]) -> keras.Model:
        model = checked(self._built_by_space(values))
        if self._config.patience:
            if isinstance(model.loss, dict | list):
                raise ValueError("--patience watches the loss of one output; this network has several. Leave it out.")
            loss = keras.losses.get(model.loss)
            model.compile(model.optimizer, model.loss, weighted_metrics=[UnpenalizedLoss(loss, _UNPENALIZED)])
        return model

    def _make_engine(self, scaling: str, form: Any, adapts: bool) -> Engine:
        x, y, weights = self._rows(scaling, form)
        if self._space.fit is not None:
            fit = self._space.fit
            own = lambda values, *args, **kwargs: fit(self.hyperparameters(values), *args, **kwargs)  # noqa: E731
            return PlainEngine(self._build, x, y, weights, fit=own)
        if devices.shares_batches():
            why = "Keras divides each batch among the GPUs"
            return PlainEngine(devices.on_every_gpu(self._build), x, y, weights, reason=why)
        if adapts or scaling == RAW:
            # What such layers have learned is no variable, so each fit has a graph of its own.
            why = "its own preprocessing layers learn from each training part" if adapts else "it takes texts itself"
            return PlainEngine(self._build, x, y, weights, reason=why)
        probe = self._space.name not in SPACES  # tfopt's own spaces hide nothing
        return engine_for(
            self._config.engine, self._build, x, y, weights, memory=self._config.memory, probe=probe, measure=False
        )

    def _rows(self, scaling: str, form: Any) -> tuple[Any, Any, np.ndarray]:
        """Return inputs, targets and weights: of each split, one after another, or of all rows where none differs."""
        if self._coder.is_fixed(scaling):
            rows = np.arange(self._table.num_rows)
            return self._coder.all_inputs(scaling), self._coder.targets(rows, form, None), self._coder.weights(rows)
        parts = []
        for split in self._splits:
            scaler = self._coder.scaler(split.train)
            both = self._coder.features(split.train, split.test if len(split.test) else split.train[:1], scaling)
            for rows, features in zip((split.train, split.test), both, strict=True):
                if len(rows):
                    parts.append((features, self._coder.targets(rows, form, scaler), self._coder.weights(rows)))
        x, y, weights = (each(lambda *arrays: np.concatenate(arrays), *nests) for nests in zip(*parts, strict=True))
        return x, y, weights


def batch_size_of(values: dict[str, Any]) -> int:
    """Return a configuration's rows a step."""
    return int(values.get("batch_size", 32))


def scaling_of(values: dict[str, Any]) -> str:
    """Return how a configuration scales numeric columns."""
    return str(values.get("scaling", "standard"))


def learning_rates(model: keras.Model, num_epochs: int, steps_per_epoch: int) -> list[float]:
    """Return the rate at each epoch's first step, of a model that is not trained any more."""
    rates = []
    for epoch in range(num_epochs):
        model.optimizer.iterations.assign(epoch * steps_per_epoch)
        rates.append(float(model.optimizer.learning_rate))
    return rates
