"""A search in MLflow: one run, with a nested run for each trial and each tuned baseline."""

import logging
import math
import os
import time
from pathlib import Path
from typing import Any

from tfopt._files import write_text
from tfopt.errors import UserError, one_line
from tfopt.search.journal import Record
from tfopt.search.plan import Plan

_log = logging.getLogger("tfopt")
_LONGEST = 500  # characters of a parameter's value


class MlflowTracker:
    """Logs what a search finishes to MLflow, and its result at the end.

    A server that can no longer be reached ends the tracking, which is logged once, and not the search.

    Args:
        uri: Tracking URI: a folder, `sqlite:///FILE` or `http://HOST:PORT`; empty for MLflow's own default.
        plan: The search; the experiment has the name of its data.
        folder: The run folder, which remembers the run for a search that is continued.

    Raises:
        UserError: MLflow is not installed, or there is no such store.
    """

    def __init__(self, uri: str, plan: Plan, folder: Path):
        try:
            import mlflow  # a package that most do without
            from mlflow.entities import Metric, Param, RunTag
        except ImportError:
            raise UserError(
                "--track mlflow needs MLflow, which is not installed: pip install 'tfopt[track]'."
            ) from None
        self._entities = Metric, Param, RunTag
        remembered = folder / "mlflow-run"
        try:
            self._client = mlflow.MlflowClient(uri or None)
            experiment = self._client.get_experiment_by_name(plan.table.name)
            self._experiment = (
                experiment.experiment_id if experiment else self._client.create_experiment(plan.table.name)
            )
            if remembered.exists():
                self._parent = remembered.read_text(encoding="utf-8")
                self._client.get_run(self._parent)
            else:
                self._parent = self._client.create_run(self._experiment, run_name=folder.name).info.run_id
                write_text(remembered, self._parent)
                settings = {name: value for name, value in plan.config.to_dict().items() if value not in (None, "", [])}
                self._log(self._parent, settings, [], {"run_folder": os.fspath(folder.absolute())})
        except Exception as error:  # MLflow's own, a database's, or the network's
            raise UserError(f"--track mlflow:{uri}: {one_line(error)}. Name a store that can be written.") from None
        self._failed = False

    def told(self, record: Record) -> None:
        """Log a line of the journal: a trial or a tuned baseline."""
        if record["kind"] == "trial":
            name, values = f"fold {record['fold']} trial {record['trial_id']}", record["values"]
            metrics = [("score", record["score"], 0)]
            for key, curve in record["curve"].items():
                metrics += [(key, value, epoch) for epoch, value in enumerate(curve, start=1)]
            status = "FINISHED" if record["status"] == "COMPLETED" else "FAILED"
        elif record["kind"] == "baseline":
            name, values, status = f"fold {record['fold']} {record['model']}", record["chosen"], "FINISHED"
            metrics = [(key, record[key], 0) for key in ("score", "inner_score", "fit_seconds", "tune_seconds")]
        else:
            return
        tags = {"mlflow.parentRunId": self._parent, "kind": record["kind"], "fold": str(record["fold"])}
        self._guarded(lambda: self._nested(name, values, metrics, tags, status))

    def ended(self, result: dict[str, Any], folder: Path) -> None:
        """Log the scores, the verdict and the leaderboard, and end the run."""
        scores = [(f"score {row['model']}", row["score"], 0) for row in result["leaderboard"]]

        def log() -> None:
            self._log(self._parent, {}, [(_plain(name), value, step) for name, value, step in scores], {})
            self._client.set_tag(self._parent, "verdict", str(result["verdict"]))
            for name in ("leaderboard.csv", "result.json"):
                if (folder / name).exists():
                    self._client.log_artifact(self._parent, str(folder / name))
            self._client.set_terminated(self._parent)

        self._guarded(log)

    def _nested(self, name: str, values: dict[str, Any], metrics: list, tags: dict[str, str], status: str) -> None:
        run = self._client.create_run(self._experiment, run_name=name, tags=tags).info.run_id
        self._log(run, values, metrics, {})
        self._client.set_terminated(run, status)

    def _log(self, run: str, values: dict[str, Any], metrics: list, tags: dict[str, str]) -> None:
        metric, param, tag = self._entities
        now = int(1000 * time.time())
        found = [
            metric(name, float(value), now, step)
            for name, value, step in metrics
            if value is not None and math.isfinite(value)
        ]
        params = [param(_plain(name), str(value)[:_LONGEST]) for name, value in values.items()]
        for start in range(0, max(len(found), 1), 900):  # MLflow takes 1000 at once
            self._client.log_batch(
                run, found[start : start + 900], params if not start else [], [tag(*t) for t in tags.items()]
            )

    def _guarded(self, log: Any) -> None:
        if self._failed:
            return
        try:
            log()
        except Exception as error:
            self._failed = True
            _log.warning("MLflow is no longer told, the search goes on: %s", one_line(error))


def _plain(name: str) -> str:
    """Return a name with the letters that MLflow allows."""
    return "".join(letter if letter.isalnum() or letter in "_-. /" else "_" for letter in name)
