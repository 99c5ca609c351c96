"""What the marks promise: the quick run looks at every part."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
WHOLE_ONLY = {  # files that the quick run leaves out, each with its reason
    "attacks/test_every_file_event.py": "whole searches, ended at each write",
    "attacks/test_faults.py": "whole searches, in the long profile alone",
    "attacks/test_memory.py": "a process with little memory",
    "attacks/test_signals.py": "whole searches, in the long profile alone",
    "callbacks/test_gradient_norms_replicas.py": "two replicas are made in a fresh process only",
    "cli/test_search_workers.py": "searches on several processes",
    "report/test_in_browser.py": "starts a browser",
    "search/test_damaged_runs.py": "damages what a search has left",
    "sklearn/test_contract.py": "scikit-learn's own battery, which fits hundreds of networks",
    "test_backends.py": "each of Keras's backends is a process",
    "training/test_clusters.py": "starts Ray or Dask",
}


def test_every_file_has_a_test_in_the_quick_run(request):
    """Of the files that were collected; a recipe is run, or it is not looked at."""
    slow: dict[str, bool] = {}
    for item in request.session.items:
        file = item.path.relative_to(TESTS).as_posix()
        slow[file] = slow.get(file, True) and item.get_closest_marker("slow") is not None
    all_slow = {file for file, every in slow.items() if every and not file.startswith("recipes/")}
    assert all_slow <= set(WHOLE_ONLY), "leave one test of each without the mark `slow`"


def test_no_test_sleeps_without_a_reason():
    """A wait for a condition is a loop; anything else says beside it what the time is for."""
    found = []
    for path in TESTS.rglob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r"^.*\bsleep\([\d.]+\)[^\n#]*$", text, re.MULTILINE):
            before = text[: match.start()].rstrip().rpartition("\n")[2]
            if not before.strip().startswith("while ") and path != Path(__file__):
                found.append(f"{path.relative_to(TESTS)}: {match[0].strip()}")
    assert not found
