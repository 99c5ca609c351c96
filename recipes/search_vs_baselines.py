"""Is a tuned network better than tuned scikit-learn models on this table?

The claim: "a neural network, tuned, beats the simple models". Both sides are tuned inside the same outer folds and
judged on rows that neither has seen; the intervals account for overlapping training parts (Nadeau & Bengio 2003).

    python recipes/search_vs_baselines.py                       # diabetes, about 90 s on two cores
    python recipes/search_vs_baselines.py --data wine
    python recipes/search_vs_baselines.py --data houses.csv --target price
"""

import argparse

from tfopt import devices
from tfopt.search import Progress, SearchConfig, run

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--data", default="diabetes", help="an embedded set or a file")
parser.add_argument("--target", action="append", default=[], help="column to predict (default: the last)")
parser.add_argument("--trials", type=int, default=16, help="network configurations in each outer fold")
parser.add_argument("--seed", type=int, default=0, help="folds, configurations and weights")
parser.add_argument("--out", help="run folder (default: a new one under runs/)")
parser.add_argument("--smoke", action="store_true", help="3 trials, 2 folds and two baselines, to see that it runs")
arguments = parser.parse_args()


class Lines(Progress):
    """A line for each finished trial and baseline."""

    def note(self, text: str) -> None:
        print(text)

    def advance(self, phase: str, text: str = "", amount: int = 1) -> None:
        print(f"  {text}")


config = SearchConfig(
    data=arguments.data,
    target=tuple(arguments.target),
    space="default",  # schedule, optimizer, penalties, dropout, normalisation and shape of an MLP
    tuner="random",
    max_trials=3 if arguments.smoke else arguments.trials,
    folds=2 if arguments.smoke else 5,
    epochs=5 if arguments.smoke else None,  # None: by the number of rows
    baselines="dummy,knn" if arguments.smoke else "fast",
    seeds=2 if arguments.smoke else 3,  # refits of the chosen network
    seed=arguments.seed,
    out=arguments.out,
)
devices.configure("auto", seed=arguments.seed)
outcome = run(config, Lines())
comparison = outcome.comparison

columns = ["rank", "model", "score", "low", "high", "default_score", "optimism", "difference", "p_better", "p_worse"]
print(comparison.leaderboard[columns].to_string(index=False, float_format="{:.3f}".format))
print()
print(comparison.verdict)

if comparison.outcome == "better":
    print("The claim holds here.")
elif comparison.outcome in {"worse", "equivalent", "guessing"}:
    print("The claim does not hold here.")
else:
    print("The claim can't be told here: these folds do not separate the two.")
print(f"Run folder: {outcome.run_folder}; figures: tfopt report {outcome.run_folder}")
