"""Every name inside KerasTuner 1.4.8 that is not public and is used here; a test names the version."""

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import keras_tuner

from tfopt.search.tuners import space


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

    def build_model(self, hp: keras_tuner.HyperParameters) -> Any:
        """Return the compiled model of a configuration: `build`, then the tuner's own optimizer, loss and metrics."""
        return self._build_hypermodel(hp)  # type: ignore[attr-defined]

    def checkpoint_path(self, trial_id: str) -> Path:
        """Return where KerasTuner's own class looks for a trial's weights."""
        return Path(self._get_checkpoint_fname(trial_id))  # type: ignore[attr-defined]

    def build_config_path(self, trial_id: str) -> Path:
        """Return where it looks for the shapes that a model is built with."""
        return Path(self._get_build_config_fname(trial_id))  # type: ignore[attr-defined]

    def copies(self, callbacks: list) -> list:
        """Return deep copies of callbacks, or KerasTuner's error that they cannot be copied."""
        return self._deepcopy_callbacks(list(callbacks))  # type: ignore[attr-defined]
