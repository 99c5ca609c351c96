"""The inner methods by which KerasTuner's tuners and oracles call each other, as read in KerasTuner 1.4.8."""

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from tfopt._private.needs import Need, available, expect

_METHODS = "methods of KerasTuner"


class OracleMethods:
    """Comes before KerasTuner's `Oracle`: where a tuner tells its oracle the project folder."""

    folder: Path  # of the project

    def _set_project_dir(self, directory: str, project_name: str) -> None:
        self.place(Path(directory, project_name))

    def place(self, folder: Path) -> None:
        """Keep the project in this folder."""
        self.folder = folder
        self._directory, self._project_name = str(folder.parent), folder.name  # for what KerasTuner itself does


class TunerMethods:
    """Comes before KerasTuner's `Tuner`, and gives its inner methods names of our own.

    A subclass defines `find_space`, `tuner_file` and `begun`.
    """

    hypermodel: Any
    optimizer: Any
    loss: Any
    metrics: Any

    def find_space(self) -> None:
        """Find the hyperparameters; called by the constructor."""
        raise NotImplementedError

    def tuner_file(self) -> Path:
        """Return the tuner's own file; the constructor prints and reloads if it exists."""
        raise NotImplementedError

    def begun(self, model: Any, hp: Any) -> Any:
        """Return a model just built, in the state that its training goes on from."""
        raise NotImplementedError

    def build_model(self, hp: Any) -> Any:
        """Return the compiled model of a configuration: `build`, then the tuner's own optimizer, loss and metrics.

        Raises:
            keras_tuner.errors.FatalRuntimeError: It has such ones, and this KerasTuner has another way to apply them.
        """
        import keras_tuner  # here, as `import tfopt` does without

        if available(_METHODS):
            return self._build_hypermodel(hp)
        if any(own is not None for own in (self.optimizer, self.loss, self.metrics)):
            raise keras_tuner.errors.FatalRuntimeError(
                "Arguments `optimizer`, `loss` and `metrics` of a tuner need another KerasTuner: see `tfopt doctor`. "
                "Leave them out, and compile the model where it is built."
            )
        return self.begun(self.hypermodel.build(hp), hp)

    def place_logs(self, callbacks: list, trial: Any, execution: int = 0) -> None:
        """Give TensorBoard callbacks a folder for each trial; KerasTuner imports tensorboard even without one."""
        watched = any(type(callback).__name__ == "TensorBoard" for callback in callbacks)
        if watched and importlib.util.find_spec("tensorboard") is not None and available(_METHODS):
            super()._configure_tensorboard_dir(callbacks, trial, execution)  # type: ignore[misc]

    def _populate_initial_space(self) -> None:
        self.find_space()

    def _get_tuner_fname(self) -> str:
        return str(self.tuner_file())

    def _configure_tensorboard_dir(self, callbacks: list, trial: Any, execution: int = 0) -> None:
        self.place_logs(callbacks, trial, execution)

    def _build_hypermodel(self, hp: Any) -> Any:
        return self.begun(super()._build_hypermodel(hp), hp)  # type: ignore[misc]


def _check_methods() -> None:
    import keras_tuner

    asked = []

    class Oracle(keras_tuner.oracles.RandomSearchOracle):
        def _set_project_dir(self, *folder: str) -> None:
            asked.append("_set_project_dir")
            super()._set_project_dir(*folder)

    class Tuner(keras_tuner.Tuner):
        def _populate_initial_space(self) -> None:
            asked.append("_populate_initial_space")

        def _get_tuner_fname(self) -> str:
            asked.append("_get_tuner_fname")
            return super()._get_tuner_fname()

    oracle = Oracle(objective=keras_tuner.Objective("loss", "min"), max_trials=1, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        tuner = Tuner(oracle, lambda hp: asked, directory=folder, project_name="check")
    expect(set(asked) == {"_set_project_dir", "_populate_initial_space", "_get_tuner_fname"}, "the constructor")
    expect((oracle._directory, oracle._project_name) == (folder, "check"), "Oracle._set_project_dir")
    for method in (oracle._set_project_dir, tuner._populate_initial_space, tuner._get_tuner_fname):
        expect(callable(method), "the constructor")
    expect(tuner._build_hypermodel(keras_tuner.HyperParameters()) is asked, "Tuner._build_hypermodel")
    tuner._configure_tensorboard_dir([], None, 0)


NEEDS = (
    Need(
        _METHODS,
        (
            "keras_tuner:Oracle._set_project_dir",
            "keras_tuner:Oracle._directory",
            "keras_tuner:Oracle._project_name",
            "keras_tuner:Tuner._populate_initial_space",
            "keras_tuner:Tuner._get_tuner_fname",
            "keras_tuner:Tuner._configure_tensorboard_dir",
            "keras_tuner:Tuner._build_hypermodel",
        ),
        "tuners",
        "They take no optimizer, loss or metrics of their own, and TensorBoard gets one folder for all trials",
        _check_methods,
    ),
)
