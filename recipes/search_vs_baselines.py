"""Is a tuned network better than tuned scikit-learn models on this table?

The claims: "a neural network, tuned, beats the simple models"; "tuning beats the defaults"; and what every leaderboard
takes for granted, that the score by which a search chose its winner is the one that new rows will show. Both sides are
tuned inside the same outer folds and judged on rows that neither has seen; the intervals account for the folds' shared
training rows (Nadeau and Bengio 2003), and a difference within the region of practical equivalence is none.

What goes wrong in the usual program: the best of many scores on the validation rows is reported as the result (the
winner's curse, below), and the network is tuned while the baselines keep their defaults.

So: tune the simple models as carefully as the network, judge both on outer folds, and report the score of new rows, not
the best one of the search.

Claims:
    search-network-beats-baselines: On this table a tuned network is better than the best tuned scikit-learn model
    search-tuning-beats-defaults: Tuning makes the network better than its default settings do
    search-winner-keeps-its-score: The score by which the network was chosen is reached on new rows

    python recipes/search_vs_baselines.py                                    # a minute and a half on two cores
    python recipes/search_vs_baselines.py --data wine
    python recipes/search_vs_baselines.py --data houses.csv --target price
"""

import time

import numpy as np

import tfopt
from tfopt.report import best_so_far, leaderboard, load_run, recipe
from tfopt.search import Progress

arguments = recipe.arguments(__doc__, __file__, data="diabetes")
FOLDS = recipe.by_mode(arguments, smoke=2, default=5)
TRIALS = recipe.by_mode(arguments, smoke=3, default=16)  # network configurations in each outer fold
REFITS = recipe.by_mode(arguments, smoke=1, default=3)  # seeds of the chosen network


class Lines(Progress):
    """A line for each finished trial and baseline."""

    def note(self, text: str) -> None:
        print(text)

    def advance(self, phase: str, text: str = "", amount: int = 1) -> None:
        print(f"  {text}")


result = tfopt.search.run(
    arguments.data,
    arguments.target,
    space="mlp",  # schedule, optimizer, penalties, dropout, normalisation and shape of an MLP
    tuner="random",
    max_trials=TRIALS,
    folds=FOLDS,
    epochs=recipe.by_mode(arguments, smoke=5, default=None),  # None: by the number of rows
    baselines=recipe.by_mode(arguments, smoke="dummy,knn", default="fast"),
    seeds=REFITS,
    seed=arguments.seed,
    out=arguments.out / f"run-{time.strftime('%Y%m%d-%H%M%S')}",
    progress=Lines(),
)

columns = ["rank", "model", "score", "low", "high", "default_score", "optimism", "difference", "p_better", "p_worse"]
print(f"\n{result.leaderboard[columns].to_string(index=False, float_format='{:.3f}'.format)}\n\n{result.verdict}")

# By fold: the network's best score inside it, and on its test rows after tuning and with the default settings.
finished = load_run(result.folder)
inner, tuned, untuned = [], [], []
for fold in range(FOLDS):
    refits = [record for record in finished.of_kind("refit") if record["fold"] == fold]
    trials = [record for record in finished.of_kind("trial") if record["fold"] == fold]
    best = max((record for record in trials if record["status"] == "COMPLETED"), key=lambda record: record["score"])
    default = next(record for record in trials if record["trial_id"] == "default")
    of_best, of_default = (
        next(record["scores"] for record in refits if record["values"] == trial["values"]) for trial in (best, default)
    )
    inner.append(best["score"])
    tuned.append(np.mean(of_best))
    untuned.append(of_default[0])
inner, tuned, untuned = (np.array(scores) for scores in (inner, tuned, untuned))
shared = {"test_to_train": 1 / (FOLDS - 1), "of": "folds"}
rows = {row["model"]: row for row in finished.leaderboard}
network, baseline = rows[result.summary["network"]], rows[result.summary["best_baseline"]]
outcome = {"better": True, "undecided": None}.get(result.summary["outcome"], False)
found = [
    f"{network['score']:.3f}",
    f"`{baseline['model']}`",
    f"{baseline['score']:.3f}",
    f"{network['difference']:+.3f}",
    f"{network['difference_low']:+.3f}",
    f"{network['difference_high']:+.3f}",
    FOLDS,
]
claims = {
    "search-network-beats-baselines": recipe.fact(
        outcome, "score {} against {} with {}, difference {} [{}, {}], {} folds", *found
    ),
    "search-tuning-beats-defaults": recipe.more(tuned, untuned, "score", **shared),
    "search-winner-keeps-its-score": recipe.more(tuned, inner, "score on new rows, and inside the search", **shared),
}

with recipe.panels(2, width=7, height=4.8) as (figure, (left, right)):
    leaderboard(finished.leaderboard, objective=finished.scale, rope=finished.rope, ax=left)
    inside = finished.baseline_inner_score(baseline["model"])
    best_so_far(
        finished.of_kind("trial"),
        objective=finished.scale,
        baseline=None if inside is None else (baseline["model"], inside),
        ax=right,
    )

results = {
    "leaderboard": finished.leaderboard,
    "verdict": result.verdict,
    "inner": inner,
    "tuned": tuned,
    "untuned": untuned,
    "run_folder": result.folder.name,
}
recipe.finish(arguments, claims, results, figure)
