"""A run folder, read back."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfopt.search.journal import proposed_before, read_lines, to_choose_from
from tfopt.search.run_folder import check_existing, read_json

Record = dict[str, Any]


@dataclass
class SearchRun:
    """The contents of a run folder.

    Args:
        folder: Where it is.
        config: Every setting.
        environment: Versions, devices, data and command.
        result: What `--format json` printed; empty while the search has not ended.
        records: The lines of `trials.jsonl`, in order.

    Example:
        ```python
        run = tfopt.report.load_run("runs/iris")  # the run folder of a search
        print(run.objective, len(run.leaderboard), len(run.failures()))  # accuracy 4 0
        ```
    """

    folder: Path
    config: Record
    environment: Record
    result: Record = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The data set's name."""
        return str(self.result.get("data") or Path(str(self.config.get("data", ""))).name or self.folder.name)

    @property
    def objective(self) -> str:
        """The metric that chose and scored."""
        return str(self.result.get("objective") or self.config.get("objective") or "score")

    @property
    def scale(self) -> str:
        """What the scores are: the metric, said to be negated where it is an error."""
        return f"negated {self.objective}" if self.result.get("negated") else self.objective

    @property
    def leaderboard(self) -> list[Record]:
        """One row a model, the best first; empty while the search has not ended."""
        return list(self.result.get("leaderboard", []))

    @property
    def rope(self) -> float | None:
        """Half-width of the region of practical equivalence that the verdict used."""
        return self.result.get("rope", self.config.get("rope"))

    def of_kind(self, kind: str) -> list[Record]:
        """Return the records of one kind, trials in the order in which they were proposed."""
        records = [record for record in self.records if record.get("kind") == kind]
        return sorted(records, key=proposed_before) if kind == "trial" else records

    def best_baseline(self) -> Record | None:
        """Return the leaderboard's best scikit-learn row."""
        rows = (row for row in self.leaderboard if row.get("kind") == "sklearn" and row.get("score") is not None)
        return next(rows, None)

    def baseline_inner_score(self, model: str) -> float | None:
        """Return a baseline's best inner score, averaged over the folds that recorded one."""
        scores = [
            record["inner_score"]
            for record in self.of_kind("baseline")
            if record.get("model") == model and record.get("inner_score") is not None
        ]
        return sum(scores) / len(scores) if scores else None

    def final(self) -> Record | None:
        """Return the record of the network in `best.keras`: a search that was continued may have made another."""
        return next(reversed(self.of_kind("final")), None)

    @property
    def of_all_rows(self) -> bool:
        """Whether rows were read in blocks, and the network was trained on all but those held out."""
        return bool(self.result.get("stream")) and "predictions" in (self.final() or {})

    def best_trials(self) -> list[Record]:
        """Return each fold's completed trial with the best score, of those that were trained the longest."""
        of_fold: dict[Any, list[Record]] = {}
        for trial in self.of_kind("trial"):
            of_fold.setdefault(trial["fold"], []).append(trial)
        chosen_from = filter(None, map(to_choose_from, of_fold.values()))
        return [max(trials, key=lambda trial: trial["score"]) for trials in chosen_from]

    def network_scores(self) -> dict[Any, float]:
        """Return the mean score of the refits of each outer fold's chosen network; without failed ones."""
        chosen = {trial["fold"]: trial["values"] for trial in self.best_trials()}
        return {
            record["fold"]: sum(record["scores"]) / len(record["scores"])
            for record in self.of_kind("refit")
            if record["values"] == chosen.get(record["fold"]) and None not in record["scores"]
        }

    def failures(self) -> list[Record]:
        """Return the failed trials."""
        return [record for record in self.of_kind("trial") if record.get("status") == "FAILED"]


def load_run(folder: str | os.PathLike[str]) -> SearchRun:
    """Read a run folder; a run that is still going, or was interrupted, is read as far as it got.

    Args:
        folder: The run folder.

    Returns:
        The run's settings, records and result.

    Raises:
        UserError: It is not a run folder, or a file in it is damaged.

    Example:
        ```python
        run = tfopt.report.load_run("runs/iris")
        print(run.name)  # iris
        ```
    """
    path = check_existing(folder)
    journal = path / "trials.jsonl"
    return SearchRun(
        folder=path,
        config=read_json(path / "config.json"),
        environment=read_json(path / "environment.json"),
        result=read_json(path / "result.json"),
        records=[record for record in read_lines(journal)[1] if record is not None] if journal.exists() else [],
    )
