"""Each program of docs/defects.md shows its defect; one that does not has been mended upstream."""

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "docs" / "defects.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^### ([^\n]+)\n(?:(?!^###).)*?```python\n(.*?)```", TEXT, flags=re.DOTALL | re.MULTILINE)


def test_every_defect_has_a_program_that_states_it():
    assert len(PROGRAMS) == len(re.findall("^### ", TEXT, flags=re.MULTILINE)) >= 30
    assert all("assert" in program for _, program in PROGRAMS)


@pytest.mark.filterwarnings("ignore")  # of the defective libraries
@pytest.mark.parametrize("program", [pytest.param(text, id=title) for title, text in PROGRAMS])
def test_the_defect_is_there(program):
    exec(compile(program, "docs/defects.md", "exec"), {"__name__": "defects"})
