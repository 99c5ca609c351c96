"""The list of bugs fits the tree: `python tests/mutation/run.py` says whether the tests notice them."""

import ast
import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("mutation_run", Path(__file__).with_name("run.py"))
RUN = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(RUN)


def test_every_bug_can_be_put_in_and_its_tests_are_there():
    wrong, files, tests = [], {}, {}
    for bug in RUN.mutations():
        text = files.setdefault(bug["file"], (ROOT / bug["file"]).read_text(encoding="utf-8"))
        if text.count(bug["old"]) != 1 or bug["old"] == bug["new"]:
            wrong.append(f"{bug['file']}: {text.count(bug['old'])} times {bug['old']!r}")
            continue
        ast.parse(text.replace(bug["old"], bug["new"]))
        for test in bug["tests"]:
            file, _, function = test.partition("::")
            content = tests.setdefault(file, (ROOT / "tests" / file).read_text(encoding="utf-8"))
            if function and f"def {function.partition('[')[0]}(" not in content:
                wrong.append(f"no test {test}")
    assert not wrong, "\n".join(wrong)
    assert len(RUN.mutations()) >= 150
