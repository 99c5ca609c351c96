"""All rules on one run."""

import dataclasses
from typing import Any

from tfopt.diagnosis.rules import RULES, Finding
from tfopt.diagnosis.run import Run
from tfopt.errors import UserError

# What each key of a log makes visible, for the sentence about what was not looked at.
_WATCHED = {
    "grad_norm": "gradients (GradientNorms(log_layers=True))",
    "val_loss": "overfitting (validation_data)",
    "dead_units": "dead units (ActivationStats)",
    "weight_norm": "weights and penalties (WeightStats)",
    "dropout_gap": "dropout (DropoutEffects)",
    "learning_rate": "the schedule (LearningRateLogger)",
}


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a training run, and what could not be judged.

    Attributes:
        source: Where the run came from.
        num_epochs: Epochs in it.
        findings: What is wrong, the gravest first.
        unseen: What could not be judged, because its numbers were not logged.

    Example:
        ```python
        losses = {"loss": [0.7, 0.4, 0.2, 0.1, 0.05], "val_loss": [0.7, 0.6, 0.7, 0.9, 1.2]}
        found = tfopt.diagnose(losses)
        print(found.num_epochs, found.names)  # 5 ['overfitting']
        ```
    """

    source: str
    num_epochs: int
    findings: tuple[Finding, ...]
    unseen: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Names of the faults, the gravest first."""
        return [finding.name for finding in self.findings]

    def __str__(self) -> str:
        lines = [f"{self.source}: {self.num_epochs} epoch{'s' if self.num_epochs != 1 else ''}"]
        for number, finding in enumerate(self.findings, 1):
            lines += [
                f"{number}. {finding.name}: {finding.sentence}",
                f"   Try: {finding.advice} ({finding.reference})",
            ]
        if not self.findings:
            lines.append("Nothing wrong was found.")
        if self.unseen:
            lines.append(f"Not judged, for it was not logged: {'; '.join(self.unseen)}.")
        return "\n".join(lines)


def diagnose(run: Any) -> Diagnosis:
    """Say in plain sentences what is wrong with a training run and what to try.

    It reads numbers that callbacks put into the logs, and says which it missed. With `GradientNorms(log_layers=True,
    update_ratio=True)`, `ActivationStats`, `WeightStats` and `DropoutEffects` in front of `RunLog` it sees all.

    Args:
        run: Path of a `RunLog`, `CSVLogger` or JSON file or of a folder with one, a `keras.callbacks.History`, a
            mapping of lists, or a pandas frame with a row an epoch.

    Returns:
        The findings; `print` shows them.

    Raises:
        tfopt.errors.UserError: If there is nothing to read, or nothing that a rule knows.

    Example:
        ```python
        losses = {"loss": [0.7, 0.4, 0.2, 0.1, 0.05], "val_loss": [0.7, 0.6, 0.7, 0.9, 1.2]}
        print(tfopt.diagnose(losses).names)  # ['overfitting']
        ```
    """
    loaded = Run.load(run)
    findings = tuple(finding for rule in RULES if (finding := rule(loaded)) is not None)
    unseen = tuple(what for key, what in _WATCHED.items() if loaded.get(key) is None)
    if not findings and not any(key.partition("/")[0] in {"loss", *_WATCHED} for key in loaded.keys):
        raise UserError(
            f"Nothing that is logged is known here ({loaded.source}: {', '.join(loaded.keys[:6])}). The log of a "
            "training has a `loss` for each epoch: give what RunLog or CSVLogger wrote."
        )
    return Diagnosis(loaded.source, loaded.num_epochs, findings, unseen)
