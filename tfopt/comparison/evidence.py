"""When a comparison draws a conclusion: one rule for guessing, better, worse and the same.

A conclusion is drawn where its error probability, corrected for how many models it was chosen from, is at most
1 - `EVIDENCE`; from a hold-out, whose bootstrap is a little too sure, at most 1 - `HOLDOUT_EVIDENCE`. How often that is
wrong, and how often it is right, is simulated: `docs/evidence.md`.
"""

from typing import Any

import numpy as np

EVIDENCE = 0.95
HOLDOUT_EVIDENCE = 0.96


def clear(error_probability: Any, holdout: bool = False) -> Any:
    """Whether a conclusion of this error probability is drawn; never of NaN.

    Args:
        error_probability: Of the conclusion.
        holdout: Whether the scores are of one test part only.
    """
    return np.asarray(error_probability) <= 1 - (HOLDOUT_EVIDENCE if holdout else EVIDENCE) + 1e-12


def error_of_all(probabilities: Any) -> Any:
    """Return the error probability of "this holds against each of them".

    The least sure comparison decides, and none need be corrected (intersection-union test: R. Berger, Technometrics
    24, 1982): it is as if only that one had been made.

    Args:
        probabilities: (models, …) posterior probability that it holds against each.
    """
    return 1 - np.min(probabilities, axis=0)


def error_of_any(probabilities: Any) -> Any:
    """Return the error probability of "this holds against one of them", against whichever it holds most surely.

    That one was chosen by looking at all of them, so that its error probability is multiplied by their number
    (Bonferroni, which is Holm's first step).

    Args:
        probabilities: (models, …) posterior probability that it holds against each.
    """
    return np.minimum(1.0, len(probabilities) * (1 - np.max(probabilities, axis=0)))
