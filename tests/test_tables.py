"""Numbers in the docs are those of the raw output that is committed beside them."""

import importlib
import shutil
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "benchmarks"))
write_tables = importlib.import_module("write_tables")


def test_every_table_is_what_its_raw_output_says():
    assert not write_tables.stale(), "python tests/benchmarks/write_tables.py"


def test_a_table_that_was_changed_by_hand_is_named(tmp_path, monkeypatch):
    docs = shutil.copytree(write_tables.DOCS, tmp_path / "docs")
    for readme in ("README.md", "README.zh-CN.md"):
        shutil.copy(write_tables.DOCS.parent / readme, tmp_path)
    monkeypatch.setattr(write_tables, "DOCS", docs)
    page = docs / "reading-tables.md"
    page.write_text(page.read_text(encoding="utf-8").replace("| regular, 42 MB | 0.28 |", "| regular, 42 MB | 0.20 |"))
    assert write_tables.stale() == ["reading-tables.md: reading"]


def test_the_goals_of_the_networks_for_tables_are_judged_by_their_scores():
    bench_tables = importlib.import_module("bench_tables")
    level = {contestant: [0.5, 0.6, 0.7] for contestant in bench_tables.CONTESTANTS}

    def said(*tables: dict) -> list[str]:
        found = {f"table {place}": bench_tables.Found("r2", 100, level | own) for place, own in enumerate(tables)}
        return bench_tables.goals(found).splitlines()[2:]

    ahead = {"ensemble": [0.8, 0.9, 1.0], "portfolio": [0.6, 0.7, 0.8]}
    behind = {"ensemble": [0.1, 0.1, 0.1], "scikit-learn": [0.7, 0.8, 0.9]}
    first, second, third = said(*[ahead] * 9, behind)
    assert ": met, it is number 1 of 9" in first
    assert "**not met**, on 9 of 10, table 9 lost by 0.200" in second
    assert ": met, better on 9, level on 1, worse on 0; its ensemble is better on 9, level on 0, worse on 1" in third
    first, second, third = said(behind | {"scikit-learn": [0.4, 0.8, 0.6]})
    assert "**not met**, it is number 9 of 9" in first
    assert ": met, on 1 of 1" in second
    assert "**not met**, better on 0" in third
