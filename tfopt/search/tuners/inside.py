"""Every name inside KerasTuner 1.4.8 that is not public and is used here; a test names the version."""

import hashlib
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import keras_tuner

from tfopt.search.tuners import space
from tfopt.search.tuners.states import KeptStates
from tfopt.training.fits import State, set_state


class OracleInside:
    """Where KerasTuner's tuner tells its oracle the project folder."""

    _directory: str
    _project_name: str

    def _set_project_dir(self, directory: str, project_name: str) -> None:
        self._directory, self._project_name = str(directory), project_name

    def project_folder(self) -> Path:
        """Return the project folder."""
        return Path(self._directory, self._project_name)

    @staticmethod
    def hash_of(values: dict[str, Any]) -> str:
        """Return KerasTuner's hash of a configuration, by which its own oracles know what was tried."""
        skipped = {"tuner/epochs", "tuner/initial_epoch", "tuner/bracket", "tuner/round"}
        text = "".join(f"{name}={values[name]}" for name in sorted(values) if name not in skipped)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


class TunerInside:
    """KerasTuner's inner methods that its search, its checkpoints and its reloading go through."""

    oracle: Any
    hypermodel: Any
    project_dir: str
    tuner_id: str
    states: KeptStates
    one_by_one = False  # whether KerasTuner's own run_trial fits the trials

    def _populate_initial_space(self) -> None:
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

    def _get_tuner_fname(self) -> str:
        # The constructor prints and reloads if this file exists; here reloading is left to the class that inherits.
        constructed = getattr(self, "constructed", False)
        return os.path.join(str(self.project_dir), f"{self.tuner_id}.json" if constructed else ".not-yet")

    def _configure_tensorboard_dir(self, callbacks: list, trial: Any, execution: int = 0) -> None:
        """Give TensorBoard callbacks a folder for each trial; KerasTuner imports tensorboard even without one."""
        watched = any(type(callback).__name__ == "TensorBoard" for callback in callbacks)
        if watched and importlib.util.find_spec("tensorboard") is not None:
            super()._configure_tensorboard_dir(callbacks, trial, execution)  # type: ignore[misc]

    def _build_hypermodel(self, hp: keras_tuner.HyperParameters) -> Any:
        model = super()._build_hypermodel(hp)  # type: ignore[misc]
        state = self.past_state(hp) if self.one_by_one else None
        if state is not None:
            # KerasTuner loads the best epoch's weights into an optimizer without variables, which loses its state.
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

    def build_model(self, hp: keras_tuner.HyperParameters) -> Any:
        """Return the compiled model of a configuration: `build`, then the tuner's own optimizer, loss and metrics."""
        return self._build_hypermodel(hp)

    def checkpoint_path(self, trial_id: str) -> Path:
        """Return where KerasTuner's own class looks for a trial's weights."""
        return Path(self._get_checkpoint_fname(trial_id))  # type: ignore[attr-defined]

    def build_config_path(self, trial_id: str) -> Path:
        """Return where it looks for the shapes that a model is built with."""
        return Path(self._get_build_config_fname(trial_id))  # type: ignore[attr-defined]

    def copies(self, callbacks: list) -> list:
        """Return deep copies of callbacks, or KerasTuner's error that they cannot be copied."""
        return self._deepcopy_callbacks(list(callbacks))  # type: ignore[attr-defined]
