"""The models of a search: how they are built, which are kept, in what files, and how they come back."""

import copy
import json
import traceback
from pathlib import Path
from typing import Any

import keras
import keras_tuner
from keras_tuner.engine.trial import Trial

from tfopt._files import replace
from tfopt._private.keras_names import names_from_the_start
from tfopt._private.keras_tuner import TunerMethods
from tfopt._private.tensorflow_graphs import variables_alike
from tfopt.errors import one_line
from tfopt.search.tuners import space
from tfopt.search.tuners.files import KeptStates, write_state
from tfopt.search.tuners.oracle import BatchOracle
from tfopt.training.fits import Engine, FitRequest, State, set_state
from tfopt.training.own_layers import layers_to_adapt

# What stays with the search: trials, files, and what is shown.
_LEFT_OUT = ("oracle", "states", "fitter", "logger", "_display")


class KeepsModels(TunerMethods, keras_tuner.Tuner):
    """The part of a tuner that builds, keeps and hands out models.

    Each state is written in a fast format when its trial ends; KerasTuner's checkpoints are written once, at the end.
    """

    oracle: BatchOracle
    states: KeptStates
    keep_models: int
    fitter: Engine | None
    raised: dict[space.Key, tuple[Exception, str]]
    one_by_one = False  # whether KerasTuner's own run_trial fits the trials
    constructed = False

    # Called by KerasTuner, or where it would

    def find_space(self) -> None:
        """Find the space by building models. Called by the constructor; here also before a search is resumed."""
        if self.hypermodel is None:
            return
        hp = self.oracle.get_space()
        self.hypermodel.declare_hyperparameters(hp)
        self.oracle.update_space(hp)
        hp = self.oracle.get_space()
        space.complete(hp)
        space.explore(hp, self.hypermodel.build)
        self.oracle.update_space(hp)

    def tuner_file(self) -> Path:
        """Return the tuner's own file; while it is constructed one that never exists, as `reload` is left to us."""
        return Path(self.project_dir, f"{self.tuner_id}.json" if self.constructed else ".not-yet")

    def begun(self, model: Any, hp: keras_tuner.HyperParameters) -> Any:
        """Return a model in the state that a promoted trial goes on from.

        KerasTuner loads the best epoch's weights into an optimizer without variables, which loses its state.
        """
        state = self.past_state(hp) if self.one_by_one else None
        if state is not None:
            self.complete_model(model, hp.values["tuner/trial_id"])
            set_state(model, state)
        return model

    def past_state(self, hp: keras_tuner.HyperParameters) -> State | None:
        """Return the state that a promoted trial goes on from."""
        past = hp.values.get("tuner/trial_id")
        return None if past is None else self.states.read(past, 0)

    def complete_model(self, model: Any, trial_id: str) -> None:
        """Make all variables of a model and of its optimizer, by the shapes that were noted for a trial."""
        if not model.built:
            model.build_from_config(json.loads(self.build_config_path(trial_id).read_text()))
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)

    def checkpoint_path(self, trial_id: str) -> Path:
        """Return where KerasTuner's own class looks for a trial's weights."""
        return Path(self.get_trial_dir(trial_id), "checkpoint.weights.h5")

    def build_config_path(self, trial_id: str) -> Path:
        """Return where it looks for the shapes that a model is built with."""
        return Path(self.get_trial_dir(trial_id), "build_config.json")

    def copies(self, callbacks: list) -> list:
        """Return deep copies of callbacks, or KerasTuner's error that they cannot be copied."""
        try:
            return copy.deepcopy(list(callbacks))
        except Exception as error:
            raise keras_tuner.errors.FatalValueError(
                "All callbacks used during a search must be deep-copyable, as each trial gets its own. It is not "
                f"possible to do `copy.deepcopy({callbacks})`."
            ) from error

    # Models

    def build_for_engine(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Build a model for an engine, and remember why it could not be built."""
        try:
            with names_from_the_start():  # so that every trial logs `val_auc`; KerasTuner clears the session
                model = self.build_model(hp)
            if not isinstance(model, keras.Model):
                raise keras_tuner.errors.FatalTypeError(
                    f"`build` must return a compiled keras.Model. Received: {type(model).__name__}."
                )
            refuse_unadapted(model)
            if self.max_model_size and model.built and model.count_params() > self.max_model_size:
                raise keras_tuner.errors.FailedTrialError(
                    f"Oversized model: {model.count_params()} weights, more than max_model_size={self.max_model_size}."
                )
        except Exception as error:
            self.raised[space.key(hp.values)] = (error, traceback.format_exc())
            raise
        return model

    def error_of(self, trial: Trial) -> Exception | None:
        """Return why a trial's model could not be built; None if it could."""
        return self.raised.get(space.key(trial.hyperparameters.values), (None, ""))[0]

    def load_model(self, trial: Trial) -> keras.Model:
        """Return a trial's model in the state of its best epoch.

        Raises:
            ValueError: That state is not kept.
        """
        state = self.states.read(trial.trial_id)
        if state is None:
            path = self.checkpoint_path(trial.trial_id)
            if path.exists():
                model = self._made(trial)
                model.load_weights(path)
                return model
            raise ValueError(
                f"The model of trial {trial.trial_id} is not kept: only those of the {self.keep_models} best trials "
                "are. Pass a larger `keep_models` to the tuner, or train the model again."
            )
        if self.fitter is not None:
            return self.fitter.model(FitRequest(trial.hyperparameters.copy(), 0, 1), state)
        model = self._made(trial)
        set_state(model, state)
        return model

    def _made(self, trial: Trial) -> keras.Model:
        """Return a trial's model with all its variables and its optimizer's, at their initial values."""
        model = self.build_for_engine(trial.hyperparameters.copy())
        self.complete_model(model, trial.trial_id)
        return model

    def get_best_models(self, num_models: int = 1) -> list[keras.Model]:
        """Return the trained models of the best trials, each after its best epoch, the best first.

        With folds or several seeds that is the model of the trial's best fit. For use, train the best hyperparameters
        again on all data.

        Raises:
            RuntimeError: No trial was completed.
            ValueError: More models are asked for than were kept.
        """
        return [self.load_model(trial) for trial in self._best(num_models)]

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[keras_tuner.HyperParameters]:
        """Return the hyperparameters of the best completed trials, the best first.

        Raises:
            RuntimeError: No trial was completed.
        """
        return [trial.hyperparameters for trial in self._best(num_trials)]

    def _best(self, count: int) -> list[Trial]:
        best = self.oracle.get_best_trials(count)
        if not best:
            raise RuntimeError(self.none_completed())
        return best

    def none_completed(self) -> str:
        """Return that no trial was completed, how many failed, and why the first did."""
        failed = [trial for trial in self.oracle.trials.values() if trial.status == "FAILED"]
        why = f" {len(failed)} failed, the first: {one_line(failed[0].message or '')}" if failed else ""
        return f"No trial was completed.{why}"

    def results_summary(self, num_trials: int = 10) -> None:
        """Print the best trials, and how many failed and why."""
        super().results_summary(num_trials)
        failed = [trial for trial in self.oracle.trials.values() if trial.status == "FAILED"]
        if failed:
            print(f"\n{len(failed)} trials failed. Trial {failed[0].trial_id}: {one_line(failed[0].message or '')}")

    def save(self) -> None:
        """Write the oracle's and the tuner's files, each whole or not at all."""
        self.oracle.save()
        write_state(self.tuner_file(), self.get_state())

    def reload(self) -> None:
        """Take over what the project folder holds."""
        self.oracle.reload()

    def _ids_to_keep(self) -> set[str]:
        """Return the ids of the best trials, and of those that they were continued from."""
        trials = self.oracle.get_best_trials(self.keep_models)
        parents = [trial.hyperparameters.values.get("tuner/trial_id") for trial in trials]
        return {trial.trial_id for trial in trials} | {parent for parent in parents if parent is not None}

    def prune(self, ended: bool = False) -> None:
        """Delete the states that no one will ask for."""
        last = set() if ended else self.oracle.continued()
        # While trials may still be continued, any of them may end among the best.
        self.states.prune(self._ids_to_keep() | last, last)

    def write_checkpoints(self) -> None:
        """Write the weights of the best trials where KerasTuner's own class reads them."""
        models: dict[str, keras.Model] = {}  # one for all trials of a structure
        for trial_id in sorted(self._ids_to_keep()):
            path, state = self.checkpoint_path(trial_id), self.states.read(trial_id)
            if path.exists() or state is None:
                continue
            trial = self.oracle.get_trial(trial_id)
            structure = None if self.fitter is None else self.fitter.structure(trial.hyperparameters)
            model = models.get(structure or "")
            if model is None:
                with variables_alike():
                    model = self.load_model(trial)
                if structure is not None:
                    models[structure] = model
            else:
                set_state(model, state)
            write_state(self.build_config_path(trial_id), model.get_build_config())
            replace(path, model.save_weights, synced=False)


class Builder:
    """Builds the models of a tuner as it does; can be sent to another process, where the tuner itself cannot.

    Args:
        tuner: The tuner. What its `build_for_engine` notes of errors in this process is noted in the tuner itself.
    """

    def __init__(self, tuner: KeepsModels):
        self._tuner = copy.copy(tuner)
        for name in _LEFT_OUT:
            self._tuner.__dict__.pop(name, None)

    def __call__(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Return the model of a configuration."""
        return self._tuner.build_for_engine(hp)

    @property
    def errors(self) -> dict[Any, tuple[Exception, str]]:
        """Why models could not be built, by configuration: the exception and its traceback."""
        return self._tuner.raised


def refuse_unadapted(model: keras.Model) -> None:
    """Raise KerasTuner's error where a layer has learned nothing from rows yet; engines adapt a `Normalization`."""
    if lost := [layer for layer in layers_to_adapt(model) if not isinstance(layer, keras.layers.Normalization)]:
        raise keras_tuner.errors.FatalTypeError(
            f"layer {lost[0].name!r} ({type(lost[0]).__name__}) has not been adapted, and what it would learn "
            "in a trial is not kept with the weights. Adapt it in `build`, to the training rows."
        )
