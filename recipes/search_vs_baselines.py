"""Is a tuned network better than tuned scikit-learn models on this table?

The claims: "a neural network, tuned, beats the simple models"; "tuning beats the defaults"; and what every leaderboard
takes for granted, that the score by which a search chose its winner is the one that new rows will show. Both sides are
tuned inside the same outer folds and judged on rows that neither has seen; the intervals account for the folds' shared
training rows (Nadeau and Bengio 2003), and a difference within the region of practical equivalence is none.

What goes wrong in the usual program: the best of many scores on the validation rows is reported as the result (the
winner's curse, below), and the network is tuned while the baselines keep their defaults.

    python recipes/search_vs_baselines.py                                    # a minute and a half on two cores
    python recipes/search_vs_baselines.py --full                             # more configurations
    python recipes/search_vs_baselines.py --data wine
    python recipes/search_vs_baselines.py --data houses.csv --target price
"""

import time
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

import tfopt
from tfopt.report import best_so_far, house_style, leaderboard, load_run, recipe
from tfopt.search import Progress

arguments = recipe.arguments(__doc__, __file__, data="diabetes")
FOLDS = recipe.by_mode(arguments, smoke=2, default=5, full=5)
TRIALS = recipe.by_mode(arguments, smoke=3, default=16, full=64)  # network configurations in each outer fold
REFITS = recipe.by_mode(arguments, smoke=1, default=3, full=5)  # seeds of the chosen network


class Lines(Progress):
    """A line for each finished trial and baseline."""

    def note(self, text: str) -> None:
        print(text)

    def advance(self, phase: str, text: str = "", amount: int = 1) -> None:
        print(f"  {text}")


result = tfopt.search.run(
    arguments.data,
    arguments.target,
    space="default",  # schedule, optimizer, penalties, dropout, normalisation and shape of an MLP
    tuner="random",
    max_trials=TRIALS,
    folds=FOLDS,
    epochs=recipe.by_mode(arguments, smoke=5, default=None, full=None),  # None: by the number of rows
    baselines=recipe.by_mode(arguments, smoke="dummy,knn", default="fast", full="fast"),
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
    refits = [record["scores"] for record in finished.of_kind("refit") if record["fold"] == fold]
    trials = [record for record in finished.of_kind("trial") if record["fold"] == fold]
    inner.append(max(record["score"] for record in trials if record["status"] == "COMPLETED"))
    tuned.append(np.mean(refits[0]))
    untuned.append(refits[-1][0])  # the only one if the default was chosen
inner, tuned, untuned = (np.array(scores) for scores in (inner, tuned, untuned))
shared = {"test_to_train": 1 / (FOLDS - 1)}

rows = {row["model"]: row for row in finished.leaderboard}
network, baseline = rows[result.summary["network"]], rows[result.summary["best_baseline"]]
folds = f"{FOLDS} folds"
metric = finished.objective
better = {"better": recipe.HOLDS, "undecided": recipe.CANNOT_TELL}
claims = {
    "search-network-beats-baselines": (
        f"On {Path(arguments.data).name} a tuned network is better than the best tuned scikit-learn model.",
        better.get(result.summary["outcome"], recipe.DOES_NOT_HOLD),
        f"{metric} {network['score']:.3f} against {baseline['model']}'s {baseline['score']:.3f}, difference "
        f"{network['difference']:+.3f} [{network['difference_low']:+.3f}, {network['difference_high']:+.3f}], {folds}",
    ),
    "search-tuning-beats-defaults": (
        "Tuning makes the network better than its default settings do.",
        recipe.judge(tuned - untuned, **shared),
        f"{metric} {recipe.plus_minus(tuned, **shared)} against {recipe.plus_minus(untuned, **shared)}, {folds}, "
        f"{TRIALS} configurations",
    ),
    "search-winner-keeps-its-score": (
        "The score by which the network was chosen is reached on new rows.",
        recipe.judge(tuned - inner, **shared),
        f"{metric} {recipe.plus_minus(inner, **shared)} inside, {recipe.plus_minus(tuned, **shared)} on new rows, "
        f"{recipe.plus_minus(inner - tuned, **shared)} less, {folds}",
    ),
}

with house_style():
    figure, (left, right) = plt.subplots(1, 2, figsize=(15, 4.8), layout="constrained", width_ratios=[3, 4])
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
