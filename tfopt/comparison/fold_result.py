"""What one model reports about one outer fold, network and baseline alike."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

# The baseline that guesses.
DUMMY = "dummy"


@dataclass
class FoldResult:
    """One tuned model on one outer fold. Scores are higher-is-better.

    Args:
        model: The family, such as `"ridge"` or `"network"`.
        kind: Which side of the comparison it stands on.
        fold: Index of the outer split.
        score: Outer test score; for a network the mean over refit seeds.
        inner_score: Best mean inner validation score, the one it was chosen by; NaN where nothing was tuned.
        default_score: Outer test score of the family's untuned default; NaN where there is none.
        chosen: The hyperparameters chosen inside this fold.
        num_configurations: Configurations tried inside this fold.
        tune_seconds: Wall seconds spent on choosing.
        fit_seconds: Wall seconds of one fit with the chosen hyperparameters.
        predict_seconds: Wall seconds of predicting the outer test rows.
        prediction: (test rows,) labels or values, (test rows, classes) probabilities where the objective needs them,
            or (test rows, targets).
        outputs: All that it says about the test rows: (test rows,) or (test rows, targets) values, (test rows, classes)
            probabilities whatever the objective needs, or (test rows,) class codes where it gives no probabilities;
            of a network the first seed's.
        seed_scores: Outer test score of each refit seed (networks only); `score` is their mean.
        seed_predictions: The prediction of each refit seed (networks only); `prediction` is the first of them.
        num_members: Fits whose predictions are averaged; above 1 it is an ensemble.
        num_unconverged: Fits of this fold whose solver stopped at its iteration limit.

    Example:
        ```python
        fold = tfopt.comparison.FoldResult("ridge", "sklearn", fold=0, score=0.48, chosen={"alpha": 1.0})
        print(fold.model, fold.score)  # ridge 0.48
        ```
    """

    model: str
    kind: Literal["keras", "sklearn"]
    fold: int
    score: float
    inner_score: float = float("nan")
    default_score: float = float("nan")
    chosen: dict[str, Any] = field(default_factory=dict)
    num_configurations: int = 1
    tune_seconds: float = 0.0
    fit_seconds: float = 0.0
    predict_seconds: float = 0.0
    prediction: np.ndarray = field(default_factory=lambda: np.empty(0))
    outputs: np.ndarray = field(default_factory=lambda: np.empty(0))
    seed_scores: list[float] = field(default_factory=list)
    seed_predictions: list[np.ndarray] = field(default_factory=list)
    num_members: int = 1
    num_unconverged: int = 0
