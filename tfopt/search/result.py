"""What a search found, as an object for Python and notebooks: read from the run folder, now or later."""

import functools
import html
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tfopt.errors import UserError, nearest
from tfopt.search.config import GIVEN_TABLE
from tfopt.search.run_folder import check_existing
from tfopt.search.saved import NETWORK, NETWORK_FILE, TRIALS, choose_model, load_model, model_file, outputs_of, promises

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class SearchResult:
    """What a search found: the verdict, the leaderboard, and the models to predict with.

    `tfopt.search.run` returns one, and `tfopt.load` reads it from the run folder of any search, the command line's too.

    Args:
        folder: The run folder.
        custom_objects: Classes of your own that the network holds, by name.

    Raises:
        UserError: It is not a run folder, or a file in it is damaged.

    Example:
        ```python
        result = tfopt.load("runs/iris")  # the run folder of a search
        print(result.best in result.leaderboard["model"].tolist())  # True
        print(result.predict("new.csv"))  # ['setosa' 'setosa']
        result.plot().savefig("leaderboard.png")
        ```
    """

    def __init__(self, folder: str | os.PathLike[str], custom_objects: Mapping[str, type] | None = None):
        from tfopt.report.run import load_run

        self._run = load_run(folder)
        self._custom_objects = dict(custom_objects or {})
        self._models: dict[str, Any] = {}

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._run.folder

    @property
    def verdict(self) -> str:
        """Which model to use, in words."""
        return str(self._run.result.get("verdict") or self._unfinished())

    @property
    def leaderboard(self) -> pd.DataFrame:
        """A row for each model, the best first; empty while the search has not ended."""
        return pd.DataFrame(self._run.leaderboard)

    @property
    def summary(self) -> dict[str, Any]:
        """All that `tfopt search --format json` prints."""
        return self._run.result

    @property
    def config(self) -> dict[str, Any]:
        """Every setting of the search, with what was chosen where none was given."""
        return self._run.config

    @property
    def notes(self) -> list[str]:
        """What was guessed about the table, or dropped from it."""
        return list(self._run.result.get("notes", ()))

    @functools.cached_property
    def best(self) -> str:
        """The leaderboard's name of the model that the verdict recommends; the network's while there is no verdict."""
        return choose_model(self.folder)[0]

    @property
    def best_model(self) -> Any:
        """The recommended model, trained on all rows, with its preprocessing: it takes raw columns."""
        return self.model()

    @property
    def best_params(self) -> dict[str, Any]:
        """The hyperparameters of the recommended model."""
        return self.params()

    def params(self, name: str | None = None) -> dict[str, Any]:
        """Return the hyperparameters of a model, named as for `model`."""
        model_name = self._named(name)
        if model_file(model_name).endswith(".skops"):
            return dict(self.model(model_name).parameters)
        if model_name == TRIALS:
            return {"members": self._run.result["ensemble"]}
        final = self._run.final()
        if final is None:
            raise UserError(self._no_network())
        return dict(final["values"])

    @property
    def trials(self) -> pd.DataFrame:
        """A row for each configuration of the network in each fold: its hyperparameters, score and how it ended."""
        records = self._run.of_kind("trial")
        facts = ("fold", "trial_id", "status", "score", "seconds")
        return pd.DataFrame([{**{key: each.get(key) for key in facts}, **each["values"]} for each in records])

    def model(self, name: str | None = None) -> Any:
        """Return a model of the run, trained on all rows.

        Args:
            name: `"network"`, `"ensemble"` (of its seeds), `"trials"` (the ensemble of trials), `"baseline"` (the
                best), or a family's name; None for what is recommended.

        Returns:
            A `tfopt.data.TableModel`, which is a Keras model, or a `tfopt.baselines.TableBaseline`.

        Raises:
            UserError: There is no such model.
        """
        name = self._named(name)
        if name == NETWORK and not (self.folder / NETWORK_FILE).exists():
            raise UserError(self._no_network())
        if name not in self._models:
            self._models[name] = load_model(self.folder, name, self._custom_objects)
        return self._models[name]

    def predict(self, rows: Any, model: str | None = None) -> np.ndarray:
        """Return the prediction for each row.

        Args:
            rows: A data frame or a file with the columns of the training table, or an array of them in their order.
            model: As for `model`: the recommended one by default.

        Returns:
            The numbers, (rows,) or (rows, targets), or the class labels as the training table has them.
        """
        chosen = self.model(model)
        outputs = outputs_of(chosen, self._frame(rows, chosen))
        if chosen.task == "classification":
            return self.classes[outputs if outputs.ndim == 1 else outputs.argmax(axis=1)]
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def predict_interval(self, rows: Any, confidence: float = 0.9, model: str | None = None) -> np.ndarray:
        """Return the interval, or the set of classes, that holds each row's target as often as asked.

        Conformal prediction from the errors on the outer folds' test rows: see `tfopt.comparison.conformal`.

        Args:
            rows: As for `predict`.
            confidence: Share of the targets that are to be held, between 0 and 1.
            model: As for `predict`.

        Returns:
            For a regression the lower and upper ends, (rows, 2) or (rows, targets, 2). For classes whether each is in
            the set, (rows, classes), in the order of `classes`.

        Raises:
            UserError: The run does not tell, for this model or for so high a confidence.
        """
        if not 0 < confidence < 1:
            raise UserError(f"confidence must be between 0 and 1. Received: {confidence!r}.")
        chosen = self.model(model)
        outputs = outputs_of(chosen, self._frame(rows, chosen))
        band, *_ = promises(self.folder, self._named(model), confidence, chosen.task == "classification")
        if band.classes:
            return band.sets(outputs)
        ends = np.stack(band.bounds(outputs), axis=-1)
        return ends[:, 0] if ends.shape[1] == 1 else ends

    def predict_proba(self, rows: Any, model: str | None = None) -> np.ndarray:
        """Return the probability of each class for each row, in the order of `classes`.

        Args:
            rows: As for `predict`.
            model: As for `predict`.

        Raises:
            UserError: It is a regression, or the model gives no probabilities.
        """
        chosen = self.model(model)
        if chosen.task == "regression":
            raise UserError(f"{self._run.name} is a regression: there are no classes. Use predict.")
        outputs = outputs_of(chosen, self._frame(rows, chosen))
        if outputs.ndim == 1:
            raise UserError(f"{chosen.family} gives no class probabilities. Use predict, or model='network'.")
        return outputs

    @property
    def classes(self) -> np.ndarray:
        """The class labels; numbers where the target column holds numbers. Empty for a regression."""
        labels = np.array(self.model().classes, dtype=object)
        columns = self._run.environment.get("data", {}).get("target_columns") or [{}]
        if columns[0].get("kind") == "numeric" and len(labels):
            numbers = labels.astype(float)
            return numbers.astype(int) if (numbers == numbers.round()).all() else numbers
        if columns[0].get("kind") == "boolean" and set(labels) <= {"True", "False"}:
            return labels == "True"
        return labels.astype(str)

    def plot(self, name: str | None = None) -> "Figure":
        """Return a figure of the run that `tfopt report` draws, by the name of its file; None for the first.

        That one shows the difference of each model to the best baseline, where there is one.
        """
        from tfopt.report.write import draw_figures

        figures = draw_figures(self._run)
        name = name or next(iter(figures), "")
        if name not in figures:
            raise UserError(f"there is no figure {name!r}.{nearest(name, figures)} There are {', '.join(figures)}.")
        return figures[name].figure

    def report(self) -> Path:
        """Write `report.html`, one page with everything, into the run folder, and return its path."""
        from tfopt.report.write import write_report

        return write_report(self.folder)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a copy, of the network for a path that ends in `.keras`, else of the run folder for `tfopt.load`.

        Raises:
            UserError: There is something already.
        """
        copy = Path(path)
        if copy.exists():
            raise UserError(f"{copy} exists already. Name another path.")
        if copy.suffix == ".keras":
            check_existing(self.folder, NETWORK_FILE)
            return Path(shutil.copyfile(self.folder / NETWORK_FILE, copy))
        return Path(shutil.copytree(self.folder, copy))

    def _frame(self, rows: Any, model: Any) -> Any:
        """Return the rows with the names of their columns."""
        if "inputs" in (trained := self._run.environment.get("data", {})):
            from tfopt.data.new_examples import inputs_for  # a second of import that tables do without

            return inputs_for(model, rows, trained["inputs"], self._run.config)
        used = [column.name for column in model.columns]
        if isinstance(rows, str | os.PathLike):
            from tfopt.data.rows import read_rows

            return read_rows(os.fspath(rows), model.columns)
        if hasattr(rows, "keys"):
            return rows
        array = rows.toarray() if hasattr(rows, "toarray") else np.asarray(rows)
        if array.ndim == 0:
            raise UserError(f"Argument `rows` must be a table. Received: {array!r}.")
        array = array.reshape(len(array), -1)
        whole = self._run.environment.get("data", {}).get("source_columns", used)
        features = [name for name in whole if name not in model.target_names]
        names = features if array.shape[1] == len(features) else used
        if array.shape[1] != len(names):
            raise UserError(
                f"Argument `rows` must have the {len(features)} columns of the training table beside the target. "
                f"Received: {array.shape[1]}. Give a data frame, which names its columns."
            )
        return pd.DataFrame(array, columns=names).infer_objects()

    def _named(self, name: str | None) -> str:
        """Return the leaderboard's name of a model."""
        try:
            return choose_model(self.folder, name)[0]
        except UserError as error:
            raise UserError(str(error).replace("--model ", "model=")) from None

    def _unfinished(self) -> str:
        data = "data, " if self._run.config.get("data") == GIVEN_TABLE else ""
        return f"The search has not ended. Go on with tfopt.search.run({data}resume={str(self.folder)!r})."

    def _no_network(self) -> str:
        failure = self._run.result.get("final_failure")
        return f"{self.folder} holds no network: {failure}" if failure else self._unfinished()

    def __repr__(self) -> str:
        return f"SearchResult({str(self.folder)!r}): {self.verdict}"

    def _repr_html_(self) -> str:
        from tfopt.report.board import Board
        from tfopt.report.headline import headline

        board = Board(self._run.result)
        parts = [
            f"<p><strong>{html.escape(headline(self._run.result))}</strong></p>",
            f"<p>{html.escape(self.verdict)}</p>",
        ]
        if board.rows:
            cells = {column.heading: [column.cell(row) for row in board.rows] for column in board.columns()}
            parts.append(pd.DataFrame(cells).to_html(index=False, border=0))
            parts.append(f"<p><small>{html.escape(board.legend)}</small></p>")
        return "\n".join([*parts, f"<p><code>{html.escape(str(self.folder))}</code></p>"])


def load(folder: str | os.PathLike[str], custom_objects: Mapping[str, type] | None = None) -> SearchResult:
    """Return what a search found, from its run folder.

    Args:
        folder: The run folder of `tfopt.search.run` or `tfopt search`; of a search that has not ended, what there is.
        custom_objects: Classes of your own that the network holds, by name.

    Raises:
        UserError: It is not a run folder, or a file in it is damaged.

    Example:
        ```python
        result = tfopt.load("runs/iris")  # the run folder of a search
        print(result.verdict)  # …
        ```
    """
    return SearchResult(folder, custom_objects)
