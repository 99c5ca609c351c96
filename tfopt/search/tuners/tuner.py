"""The tuners' base: KerasTuner's interface over the search loop."""

import inspect
import logging
import os
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial

from tfopt._arguments import count_argument
from tfopt._files import remove_leftovers
from tfopt.errors import nearest
from tfopt.search import loop
from tfopt.search.parallel import trainer_on
from tfopt.search.run_folder import refuse_links
from tfopt.search.tuners import space
from tfopt.search.tuners.completed_oracle import completed, proposes_at_once
from tfopt.search.tuners.files import KeptStates
from tfopt.search.tuners.fits import Fits, fits_of
from tfopt.search.tuners.models import Builder, KeepsModels, refuse_unadapted
from tfopt.search.tuners.oracle import BatchOracle, Member, number_of
from tfopt.search.tuners.study import TrialLines, TunerStudy, seed_of
from tfopt.training import ENGINES
from tfopt.training.choose import Kind, engine_for, free_memory
from tfopt.training.distribution import OneEngine
from tfopt.training.fits import Engine, history_value, state_of
from tfopt.training.plain import watches_batches
from tfopt.training.workers import Workers

_log = logging.getLogger("tfopt")

# Whoever overrides one of these wants each trial to go through KerasTuner's `run_trial`.
_HOOKS = (
    "run_trial", "_build_and_fit_model", "on_batch_begin", "on_batch_end", "on_epoch_begin", "on_epoch_end",
)  # fmt: skip


class Tuner(KeepsModels):
    """Searches with any oracle, and trains many trials at once; stands in for `keras_tuner.Tuner`.

    Where to use it: with an oracle of your own or of KerasTuner's, or as the base of a tuner with a `run_trial` of its
    own; the other tuners of this package are this one with an oracle of theirs. A search whose `HyperModel.fit`,
    `run_trial`, `_build_and_fit_model` or hooks for epochs and batches are the user's own, or whose data is not
    arrays of numbers, runs trial by trial through KerasTuner's `run_trial`.

    Args:
        oracle: Proposes the trials: a `keras_tuner.Oracle`. Its own random and grid search are asked for many trials
            at once, any other that is not tfopt's for one after another.
        hypermodel: `build(hp)` returning a compiled model, or a `keras_tuner.HyperModel`; None with a `run_trial`.
        engine: `"auto"`, `"population"`, `"shared"` or `"plain"`: how trials are fitted.
        memory: Bytes that the engine is to stay within; None for what is free.
        keep_models: How many of the best trials' trained models are kept.
        executions_per_trial: Fits of a trial, each from its own seed; its score is their mean, every curve is kept.
        overwrite: Whether a search in the project folder is deleted instead of gone on with.
        **kwargs: `directory`, `project_name`, `max_model_size`, `optimizer`, `loss`, `metrics`,
            `distribution_strategy`, `tuner_id`, as KerasTuner's.

    Raises:
        TypeError: A count is no whole number.
        ValueError: An argument is out of its range, or `oracle` is no oracle.
        RuntimeError: The project folder is that of a search of another kind.
        UserError: There is a link in the project folder, through which files elsewhere would be written or deleted.

    Example:
        ```python
        def build(hp):
            model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
            model.compile(keras.optimizers.SGD(hp.Float("learning_rate", 1e-3, 0.1, sampling="log")), "mse")
            return model

        x, y = np.ones((16, 2)), np.ones(16)
        oracle = tfopt.search.RandomSearchOracle("val_loss", max_trials=3, seed=1)
        tuner = tfopt.search.Tuner(oracle, build, directory="runs", project_name="mine")
        tuner.search(x, y, validation_split=0.25, epochs=2, verbose=0)
        print(len(tuner.oracle.trials))  # 3
        ```
    """

    oracle: BatchOracle

    def __init__(
        self,
        oracle: BatchOracle,
        hypermodel: Any = None,
        *,
        engine: Kind = "auto",
        memory: int | None = None,
        keep_models: int = 5,
        executions_per_trial: int = 1,
        overwrite: bool = False,
        **kwargs: Any,
    ):
        if engine not in ENGINES:
            known = ", ".join(map(repr, ENGINES))
            hint = nearest(str(engine), ENGINES)
            raise ValueError(f"Argument `engine` must be one of {known}. Received: {engine!r}.{hint}")
        makers = [vars(one)["__init__"] for one in type(self).__mro__ if "__init__" in vars(one)]
        own = {name for maker in makers for name in inspect.signature(maker).parameters}
        if unknown := sorted(set(kwargs) - own):
            hint = nearest(unknown[0], own - {"self", "kwargs"})
            raise ValueError(f"Unrecognized arguments {unknown} of `{type(self).__name__}`.{hint}")
        if "KERASTUNER_ORACLE_IP" in os.environ:
            raise RuntimeError("This tuner runs in one process. Unset KERASTUNER_ORACLE_IP, or use KerasTuner's own.")
        for name, value, minimum in (
            ("keep_models", keep_models, 0),
            ("executions_per_trial", executions_per_trial, 1),
            ("max_model_size", kwargs.get("max_model_size"), 1),
            ("memory", memory, 1),
        ):
            if value is not None or name in ("keep_models", "executions_per_trial"):
                count_argument(value, type(self).__name__, name, minimum)
        project = Path(kwargs.get("directory") or ".", kwargs.get("project_name") or "untitled_project")
        if project.is_dir():
            refuse_links(project, os.listdir(project))
        super().__init__(
            completed(oracle), hypermodel, overwrite=overwrite, executions_per_trial=executions_per_trial, **kwargs
        )  # fmt: skip
        self.constructed = True
        self.oracle.place(Path(self.project_dir))
        self.engine, self.memory, self.keep_models = engine, memory, keep_models
        self.states = KeptStates(Path(self.project_dir))
        self.raised: dict[space.Key, tuple[Exception, str]] = {}
        self.fitter: Engine | None = None
        if not overwrite:
            self.reload()

    # Search

    def search(
        self, *fit_args: Any, folds: Any = None, seeds: Any = None, workers: int | Workers = 1, **fit_kwargs: Any
    ) -> None:
        """Run trials until `max_trials` or the space's end.

        Args:
            *fit_args: As `model.fit` takes them: `x`, `y` …
            folds: Number of folds, `(train, validation)` pairs of row indices, or a scikit-learn splitter: each trial
                is cross-validated. Class labels are spread evenly over folds given by number.
            seeds: Fits of a trial and fold: their number, or a list of the seeds themselves; None for
                `executions_per_trial`.
            workers: Processes that train, this one among them, or a `tfopt.training.Workers`, which may belong to a
                cluster. Which engine is faster is then not measured but told by shape and number.
            **fit_kwargs: As `model.fit` takes them: `validation_data`, `epochs`, `batch_size`, `callbacks` …
                `verbose=0` prints nothing, any other value a line for each trial.

        Raises:
            ValueError: Arguments contradict each other, or the objective is not logged.
            RuntimeError: The trials fail one after another.
        """
        if not isinstance(workers, Workers):
            workers = count_argument(workers, type(self).__name__, "workers", 1)
        verbose, begun = fit_kwargs.get("verbose", 1), time.time()
        fits = None if self._fits_itself() else fits_of(fit_args, fit_kwargs, folds, self.oracle.seed)
        if fits is None and (folds is not None or seeds is not None):
            raise ValueError(
                "Arguments `folds` and `seeds` need arrays of numbers as data, the arguments of `model.fit`, and a "
                "model that Keras itself fits."
            )
        slow = self._why_plain(fits)
        if fits is not None:
            self.copies(fits.callbacks)  # raises at once what cannot be copied
        study = TunerStudy(self, fits, seeds, TrialLines(self.oracle, verbose), slow)
        self.on_search_begin()
        self.save()
        try:
            if fits is None:
                if workers != 1:
                    _log.warning("One trial after another is trained, by this process alone: %s.", slow)
                self._search_one_by_one(study, fit_args, fit_kwargs)
            else:
                engine_of = self._engine_of(fits, "plain" if slow else self.engine, workers)
                self.fitter = engine_of()
                with trainer_on(workers, engine_of, self.raised) as trainer:
                    self._run(study, trainer)
        finally:
            self.save()
            self.one_by_one = False
        self.prune(ended=True)
        remove_leftovers(Path(self.project_dir), begun)
        if fits is not None:
            self.write_checkpoints()
        study.progress.finished(study.trained)
        if not self.oracle.get_best_trials():
            _log.warning("%s", self.none_completed())  # fewer than end a search with an error may be all there are
        self.on_search_end()

    def _engine_of(self, fits: Fits, kind: str, workers: int | Workers) -> OneEngine:
        """Return what makes the engine of a search, in this process and in others."""
        alone, memory = workers == 1, self.memory
        if not alone:
            number = workers if isinstance(workers, int) else workers.number
            memory = (memory or free_memory() // 4) // number
        return OneEngine(
            engine_for, kind, self.build_for_engine if alone else Builder(self), *fits.examples.parts(),
            validation=fits.validation, class_weight=fits.class_weight, memory=memory, shuffle=fits.shuffle,
            measure=alone,
        )  # fmt: skip

    def _why_plain(self, fits: Fits | None) -> str:
        """Return why only Keras itself can do these fits; empty if any engine can."""
        if fits is None:
            return "the fit is the user's own" if self._fits_itself() else "the data is not arrays of numbers"
        several = "there are several objectives" if hasattr(self.oracle.objective, "objectives") else ""
        return watches_batches(fits.callbacks) or several

    def _run(self, study: TunerStudy, trainer: loop.Trainer) -> None:
        """Run the search; trials that were asked for before one that ends it are still trained, as KerasTuner's are."""
        limit = loop.LARGEST_BATCH if proposes_at_once(self.oracle) else 1
        try:
            loop.run([study], trainer, lambda: limit)
        except keras_tuner.errors.FatalError:
            if study.fatal is None:
                raise
            last = number_of(study.fatal)
            begun = [self.oracle.get_trial(trial_id) for trial_id in sorted(study.running)]
            trainer.drop()
            for trial in begun:
                if number_of(trial) < last:
                    study.begin(trial, trainer)
            while trainer.busy:
                trainer.wait()
            raise

    def on_trial_end(self, trial: Trial) -> None:
        """End a trial; its own file is written, the oracle's once a batch."""
        self.oracle.end_trial(trial)

    def _search_one_by_one(self, study: TunerStudy, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        self.one_by_one = True
        while trials := study.ask(1):
            [trial] = trials
            seed = seed_of(self.oracle.seed, number_of(trial), 0, getattr(trial, "attempts", 0))
            keras.utils.set_random_seed(seed)
            started = time.perf_counter()
            own = dict(kwargs)
            if "tuner/epochs" in trial.hyperparameters.values:
                own["epochs"] = trial.hyperparameters.values["tuner/epochs"]
                goes_on = self.past_state(trial.hyperparameters) is not None
                own["initial_epoch"] = trial.hyperparameters.values["tuner/initial_epoch"] if goes_on else 0
            try:
                results = self.run_trial(trial, *args, **own)
                if not trial.metrics.exists(self.oracle.objective.name):
                    histories = _histories_of(results, self.oracle.objective, "Tuner.run_trial()")
                    seconds = (time.perf_counter() - started) / len(histories)
                    members = [Member(seed, history=h, seconds=seconds, engine="run_trial") for h in histories]
                    for member in members:
                        study.take_down(member)
                    self.oracle.report(trial.trial_id, members)
                    failures = [member.failure for member in members if member.failure]
                    trial.message = failures[0] if failures else None
                trial.status = "COMPLETED"
            except keras_tuner.errors.FatalError:
                raise
            except keras_tuner.errors.FailedTrialError:
                trial.status, trial.message = "FAILED", traceback.format_exc()
            except Exception:
                trial.status, trial.message = "INVALID", traceback.format_exc()
            self.on_trial_end(trial)
            self.save()
            study.progress.ended(trial)

    def on_epoch_end(self, trial: Trial, model: keras.Model, epoch: int, logs: dict | None = None) -> None:
        """Keep what a trial that KerasTuner fits may go on from."""
        if self.oracle.may_continue(trial) and epoch + 1 == trial.hyperparameters.values["tuner/epochs"]:
            self.states.write(trial.trial_id, state_of(model), 0)

    def begun(self, model: Any, hp: keras_tuner.HyperParameters) -> Any:
        """Return a model just built, in the state that its training goes on from."""
        if self.one_by_one and isinstance(model, keras.Model) and not self._fits_itself():
            refuse_unadapted(model)
        return super().begun(model, hp)

    def _fits_itself(self) -> bool:
        """Return whether the user, not Keras, fits a trial."""
        if any(map(self._is_own, _HOOKS)):
            return True
        hypermodel = self.hypermodel
        fit = vars(hypermodel).get("fit", type(hypermodel).fit)
        return fit is not keras_tuner.HyperModel.fit or self.distribution_strategy is not None

    def _is_own(self, name: str) -> bool:
        """Return whether a method is the user's, of a class or put into this very tuner."""
        function = getattr(type(self), name)
        return name in vars(self) or not function.__module__.startswith(("keras_tuner.", "tfopt.search.tuners"))


def _histories_of(results: Any, objective: keras_tuner.Objective, function: str) -> list[dict[str, list[Any]]]:
    """Return a history for each execution.

    Raises:
        keras_tuner.errors.FatalTypeError: It is something else.
        keras_tuner.errors.FatalValueError: A dict lacks the objective.
    """
    if isinstance(results, list | tuple) and results:
        return [history for result in results for history in _histories_of(result, objective, function)]
    if isinstance(results, int | float | np.number):
        return [{objective.name: [float(results)]}]
    if results is None:
        raise keras_tuner.errors.FatalTypeError(
            f"The return value of {function} must be the score or a dict of metrics. Received: None. Did you forget "
            "to return it?"
        )
    is_dict, is_history = isinstance(results, dict), isinstance(results, keras.callbacks.History)
    names = getattr(objective, "name_to_direction", [objective.name])
    missing = [name for name in names if is_dict and name not in results]
    if (missing or is_history) and objective.name == "default_objective":
        raise keras_tuner.errors.FatalTypeError(
            f"Expected the return value of {function} to be a single float when `objective` is left unspecified. "
            f"Received: {results!r}. Pass `objective` to the tuner, or return the number to minimise."
        )
    if missing:
        raise keras_tuner.errors.FatalValueError(
            f"Expected the dict that {function} returns to hold the objective {missing[0]!r}. Received: {results!r}. "
            "Return it under that name, or pass another `objective` to the tuner."
        )
    if is_dict:
        return [{name: [history_value(value)] for name, value in results.items()}]
    if is_history:
        return [{name: [history_value(value) for value in values] for name, values in results.history.items()}]
    raise keras_tuner.errors.FatalTypeError(
        f"Expected the return value of {function} to be one of float, dict, keras.callbacks.History, or a list of "
        f"these. Received: {results!r}."
    )
