"""What a tuner and its oracle do where KerasTuner calls their inner methods."""

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import keras_tuner

from tfopt._private.keras_tuner import OracleMethods, TunerMethods
from tfopt.search.tuners import space
from tfopt.search.tuners.files import KeptStates
from tfopt.training.fits import State, set_state


class OracleInside(OracleMethods):
    """What KerasTuner's own oracles read in the files of a project."""

    @staticmethod
    def hash_of(values: dict[str, Any]) -> str:
        """Return KerasTuner's hash of a configuration, by which its own oracles know what was tried."""
        skipped = {"tuner/epochs", "tuner/initial_epoch", "tuner/bracket", "tuner/round"}
        text = "".join(f"{name}={values[name]}" for name in sorted(values) if name not in skipped)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


class TunerInside(TunerMethods):
    """The space, the files and the models of a tuner."""

    oracle: Any
    project_dir: str
    tuner_id: str
    states: KeptStates
    one_by_one = False  # whether KerasTuner's own run_trial fits the trials
    constructed = False

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
        return None if past is None else self.states.last(past, 0)

    def complete_model(self, model: Any, trial_id: str) -> None:
        """Make all variables of a model and of its optimizer, by the shapes that were noted for a trial."""
        if not model.built:
            model.build_from_config(json.loads(self.build_config_path(trial_id).read_text()))
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)

    def checkpoint_path(self, trial_id: str) -> Path:
        """Return where KerasTuner's own class looks for a trial's weights."""
        return Path(self.get_trial_dir(trial_id), "checkpoint.weights.h5")  # type: ignore[attr-defined]

    def build_config_path(self, trial_id: str) -> Path:
        """Return where it looks for the shapes that a model is built with."""
        return Path(self.get_trial_dir(trial_id), "build_config.json")  # type: ignore[attr-defined]

    def copies(self, callbacks: list) -> list:
        """Return deep copies of callbacks, or KerasTuner's error that they cannot be copied."""
        try:
            return copy.deepcopy(list(callbacks))
        except Exception as error:
            raise keras_tuner.errors.FatalValueError(
                "All callbacks used during a search must be deep-copyable, as each trial gets its own. It is not "
                f"possible to do `copy.deepcopy({callbacks})`."
            ) from error
