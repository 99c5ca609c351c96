"""How long `tfopt --help` and every `tfopt X --help` take: `python tests/benchmarks/bench_cli_start.py`.

The commands take turns, so that a busy machine slows all of them alike.
"""

import statistics
import subprocess
import sys
import time

from tfopt.cli.main import VERBS

ROUNDS = 9


def main() -> None:
    commands = [["--help"], *([verb, "--help"] for verb in VERBS)]
    seconds: dict[str, list[float]] = {" ".join(command): [] for command in commands}
    for _ in range(ROUNDS):
        for command in commands:
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-m", "tfopt", *command], stdout=subprocess.DEVNULL, check=True)
            seconds[" ".join(command)].append(time.perf_counter() - begun)
    for name, times in seconds.items():
        print(f"tfopt {name:<22} {statistics.median(times):.3f} s (median of {ROUNDS}, worst {max(times):.3f})")


if __name__ == "__main__":
    main()
