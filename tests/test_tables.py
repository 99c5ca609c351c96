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
