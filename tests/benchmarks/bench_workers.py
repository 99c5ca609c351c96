"""`tfopt search diabetes` on several workers: wall seconds, and what more workers would take, from measured calls.

    python tests/benchmarks/bench_workers.py wall --workers 1 2 --rounds 3  # whole searches, interleaved
    python tests/benchmarks/bench_workers.py calls --workers 1 8            # one process makes and times all calls
    python tests/benchmarks/bench_workers.py start --rounds 5               # until the first line of a search
    python tests/benchmarks/bench_workers.py table                          # Markdown, from the results kept

`calls` divides the fits as for so many workers, makes the calls one after another in this process and keeps the
processor seconds of each, which other work on the machine lengthens little. `table` hands them to 1, 2, 4 and 8 workers
on paper, the longest first as `Workers` does; refits begin when the last trial has ended, the final network when its
choice is made.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from results import RESULTS, environment, keep, markdown

from tfopt.training.workers import Call, Workers

SEARCH = ["search", "diabetes", "--seed", "0", "--no-progress"]


class Timed(Workers):
    """This process alone, which divides fits as for more workers, and takes down what each call takes.

    Args:
        number: Workers to divide for.
    """

    def __init__(self, number: int):
        super().__init__(1)
        self.number = number
        self.calls: list[dict] = []
        self._stage, self._pending = 0, 0

    def submit(self, call: Call) -> None:
        """Number the stages: fits that are asked for when none is left can only begin then."""
        if call.kind == "fits":
            self._stage += self._pending == 0
            self._pending += 1
        call.stage = self._stage if call.kind == "fits" else 0
        super().submit(call)

    def _called_here(self, call):
        before = time.process_time()
        value, error, _ = super()._called_here(call)
        seconds = time.process_time() - before
        self._pending -= call.kind == "fits"
        fits = len(call.made_arguments()[1]) if call.kind == "fits" else 1
        self.calls.append({"kind": call.kind, "stage": call.stage, "fits": fits, "seconds": round(seconds, 4)})
        return value, error, seconds


def calls(number: int) -> dict:
    """Search once and return what each call took."""
    from tfopt.search import session
    from tfopt.search.config import SearchConfig

    with tempfile.TemporaryDirectory() as folder, Timed(number) as workers:
        before = time.process_time()
        session.run(SearchConfig(data="diabetes", workers=number, out=f"{folder}/run"), workers=workers)
        return {"divided_for": number, "process_seconds": time.process_time() - before, "calls": workers.calls}


def on_paper(made: list[dict], number: int) -> float:
    """Return when the last of these calls ends on so many workers, each handed the longest that may begin."""
    free = [0.0] * number  # when each worker is
    waiting = sorted(made, key=lambda call: -call["seconds"])
    ended = {0: 0.0}  # when a stage's last call so far ends
    while waiting:
        worker = min(range(number), key=free.__getitem__)
        now = free[worker]
        unfinished = {call["stage"] for call in waiting}

        def begins(call: dict, unfinished: set[int] = unfinished) -> float:
            """When a call may begin: baselines (stage 0) and trials (1) at once, others after the stage before."""
            before = call["stage"] - 1
            return 0.0 if before < 1 else float("inf") if before in unfinished else ended[before]

        ready = [call for call in waiting if begins(call) <= now]
        if ready:
            waiting.remove(ready[0])
            free[worker] = now + ready[0]["seconds"]
            ended[ready[0]["stage"]] = max(ended.get(ready[0]["stage"], 0.0), free[worker])
        else:
            free[worker] = min(t for t in [*map(begins, waiting), *free] if t > now)
    return max(ended.values())


def wall(numbers: list[int], rounds: int) -> list[dict]:
    """Search with so many workers in turn, each time in a process of its own."""
    lines = []
    for turn in range(rounds):
        for number in numbers[turn % len(numbers) :] + numbers[: turn % len(numbers)]:
            with tempfile.TemporaryDirectory() as folder:
                words = [*SEARCH, "--workers", str(number), "--out", f"{folder}/run"]
                load, before, begun = os.getloadavg()[0], os.times(), time.perf_counter()
                done = subprocess.run(
                    [sys.executable, "-m", "tfopt", *words], capture_output=True, text=True, check=True
                )
                seconds, after = time.perf_counter() - begun, os.times()
            cpu = after.children_user + after.children_system - before.children_user - before.children_system
            lines.append(
                {"workers": number, "round": turn, "seconds": seconds, "cpu_seconds": cpu, "load_before": load,
                 "board": done.stdout.splitlines()[:11]}
            )  # fmt: skip
            print(f"{number} workers: {seconds:.1f} s wall, {cpu:.1f} s of processors, load {load:.1f}", flush=True)
    return lines


def start(rounds: int) -> list[dict]:
    """Time `import tensorflow`, `tfopt --help` and the first line of a search in turn."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", "import tensorflow"], capture_output=True, check=True)
            tensorflow = time.perf_counter() - begun
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-m", "tfopt", "--help"], capture_output=True, check=True)
            usage = time.perf_counter() - begun
            words = [*SEARCH, "--workers", "2", "--max-trials", "1", "--out", f"{folder}/{turn}"]
            begun = time.perf_counter()
            program = subprocess.Popen(
                [sys.executable, "-m", "tfopt", *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
            )
            said = next(iter(program.stderr)).strip()
            first = time.perf_counter() - begun
            program.terminate()
            program.communicate()
            lines.append({"tensorflow": tensorflow, "help": usage, "first_line": first, "line": said})
            print(lines[-1], flush=True)
    return lines


def _seconds(made: list[dict]) -> float:
    return sum(call["seconds"] for call in made)


def _baselines(made: list[dict]) -> float:
    return _seconds([call for call in made if call["kind"] != "fits"])


def table() -> str:
    """Return the tables of the results kept."""
    kept = json.loads((RESULTS / "workers.json").read_text())
    texts = []
    if "calls" in kept:
        by_number = {run["divided_for"]: run["calls"] for run in kept["calls"]["lines"]}
        whole, finest = by_number[1], by_number[max(by_number)]
        # Baselines are the same calls in both runs: what they took says how much slower the machine was in one of them.
        slower = _baselines(finest) / _baselines(whole)
        undivided, total = slower * _seconds(whole), _seconds(finest)
        rows = []
        for number in (1, 2, 4, 8):
            seconds = on_paper(finest, number)
            rows.append([str(number), f"{seconds:.1f}", f"{total / seconds:.2f}", f"{undivided / seconds:.2f}"])
        heading = ["workers", "seconds on paper", "over the same calls by one", "over one worker, undivided"]
        texts.append(markdown(heading, rows))
    if "wall" in kept:
        lines = kept["wall"]["lines"]
        rows = []
        for number in sorted({line["workers"] for line in lines}):
            own = [line for line in lines if line["workers"] == number]
            rows.append(
                [str(number), f"{median(line['seconds'] for line in own):.1f}",
                 f"{median(line['cpu_seconds'] for line in own):.1f}", str(len(own)),
                 f"{min(line['load_before'] for line in own):.1f}–{max(line['load_before'] for line in own):.1f}"]
            )  # fmt: skip
        texts.append(markdown(["workers", "wall s (median)", "processor s", "rounds", "load before"], rows))
    if "start" in kept:
        lines = kept["start"]["lines"]
        rows = []
        for name, text in (
            ("tensorflow", "`import tensorflow`"),
            ("help", "`tfopt --help`"),
            ("first_line", "first line of a search"),
        ):
            ratio = median(line[name] / line["tensorflow"] for line in lines)
            rows.append([text, f"{median(line[name] for line in lines):.2f}", f"{ratio:.2f}"])
        texts.append(markdown(["", "s (median)", "over `import tensorflow`"], rows))
    return "\n\n".join(texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("wall", "calls", "start", "table"))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.what == "table":
        print(table())
    elif arguments.what == "wall":
        keep("workers", "wall", {"environment": environment(), "lines": wall(arguments.workers, arguments.rounds)})
    elif arguments.what == "start":
        keep("workers", "start", {"environment": environment(), "lines": start(arguments.rounds)})
    else:
        lines = [calls(number) for number in arguments.workers]
        keep("workers", "calls", {"environment": environment(), "lines": lines})


if __name__ == "__main__":
    main()
