"""The verdict for a colleague: which model to keep, in words without statistics."""

from collections.abc import Mapping
from typing import Any

# Baselines as a sentence names them; those that are missing have a name that people say.
_CALLED = {
    "dummy": "guessing",
    "elastic_net": "the elastic net",
    "hist_gradient_boosting": "gradient boosting",
    "knn": "nearest neighbours",
    "lasso": "the lasso",
    "linear": "linear regression",
    "logistic": "logistic regression",
    "mlp": "scikit-learn's network",
    "random_forest": "the random forest",
    "ridge": "ridge regression",
    "ridge_classifier": "the ridge classifier",
    "svm": "the support vector machine",
}


def called(model: str) -> str:
    """Return a model as a sentence names it: `the support vector machine` for `svm`."""
    return _CALLED.get(model, "the network" if model == "network" else model)


def headline(result: Mapping[str, Any]) -> str:
    """Return one sentence that says which model to keep and what the other one costs.

    Args:
        result: What `result.json` holds.
    """
    rows = {row["model"]: row for row in result.get("leaderboard", ())}
    network, baseline = rows.get(result.get("network")), rows.get(result.get("best_baseline"))
    keep = called(baseline["model"]) if baseline else ""
    cost = _cost(network, baseline)
    match result.get("outcome"):
        case "better":
            return f"Use the network: it is better than {keep}{_then(cost, ', but ', ', and it ')}."
        case "worse":
            return f"Keep {keep}: the network is worse{_then(cost, ', and ', ', though it ')}."
        case "equivalent" if cost.startswith("fits"):
            return f"Either will do: {keep} is simpler, the network is as good and {cost}."
        case "equivalent":
            return f"Keep {keep}: the network is not better{_then(cost, ', and ', ', though it ')}."
        case "only the network learns":
            return "Use the network: it alone is clearly better than guessing."
        case "undecided":
            why = "whether the network is better or worse cannot be told from these data"
            return f"Keep {keep} for now: {why}{_then(cost, ', and it ', ', though it ')}."
        case "guessing":
            return "Use none of these models: nothing is clearly better than guessing."
        case "only baselines":
            return f"Use {keep}: it is the best that was tried, and no network was compared with it."
        case "only networks":
            return "Do not decide yet: no simpler model was compared with the network."
        case "only dummy":
            return "Do not decide yet: the network beats guessing, but no simpler model was compared with it."
        case "nothing":
            return "There is no model to use: none has a score on every fold."
    return "The search has not ended: what has finished so far is below."


def _then(cost: str, costly: str, fast: str) -> str:
    """Return the cost with what leads to it, by whether the network is the costlier or the faster one."""
    return f"{fast if cost.startswith('fits') else costly}{cost}" if cost else ""


def _cost(network: Mapping[str, Any] | None, baseline: Mapping[str, Any] | None) -> str:
    """Return what a fit of the network costs, in fits of the baseline; nothing where they are about equal."""
    if network is None or baseline is None or baseline["model"] == "dummy":
        return ""
    ours, theirs = network.get("fit_seconds") or 0.0, baseline.get("fit_seconds") or 0.0
    if not (ours > 0 and theirs > 0) or 2 / 3 < ours / theirs < 3 / 2:
        return ""
    return f"costs {_times(ours / theirs)} as much to fit" if ours > theirs else f"fits {_times(theirs / ours)} as fast"


def _times(ratio: float) -> str:
    """Return a ratio as one says it: `1.5 times`, `20 times`, `300 times`."""
    return f"{float(f'{ratio:.2g}') if ratio >= 9.75 else round(2 * ratio) / 2:g} times"
