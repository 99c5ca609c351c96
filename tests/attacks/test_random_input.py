"""Tables of random bytes, tables changed at random, random command lines: an answer or one line, nothing else.

`python -m pytest tests/attacks/test_random_input.py --hypothesis-profile long` draws thousands.
"""

import io
import warnings

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfopt.cli import main
from tfopt.cli.main import VERBS
from tfopt.data import load_table
from tfopt.errors import UserError
from tfopt.search.options import OPTIONS

here = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
WHOLE = b"size,colour,when,price\n" + b"".join(
    f"{n},{'red' if n % 2 else 'blue'},2024-01-{n:02d},{3 * n}.5\n".encode() for n in range(1, 25)
)
SCRAPS = [b'"', b",", b"\n", b"\r", b"\x00", b"\xff\xfe", b";", b"1e999", b"nan", b"\xef\xbb\xbf", b"'", b"\t", b"="]


@st.composite
def damaged(draw, whole=WHOLE):
    """Return a file with scraps put in, bytes changed and pieces cut out."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(content)))
        kind = draw(st.sampled_from(["put", "cut", "change"]))
        if kind == "put":
            content[place:place] = draw(st.sampled_from(SCRAPS) | st.binary(max_size=4))
        elif kind == "cut":
            del content[place : place + draw(st.integers(1, 40))]
        elif place < len(content):
            content[place] = draw(st.integers(0, 255))
    return bytes(content)


def archive(ending):
    frame = pd.read_csv(io.BytesIO(WHOLE))
    held = io.BytesIO()
    if ending == ".parquet":
        frame.to_parquet(held)
    elif ending == ".xlsx":
        frame.to_excel(held, index=False)
    else:
        frame.to_csv(held, index=False, compression="gzip")
    return held.getvalue()


def refusal(table):
    """Return what is said of a file or a frame that is no table, None of one that is; anything else is raised."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load_table(table)
    except UserError as error:
        return str(error)
    return None


def is_a_line(text):
    return text is None or ("\n" not in text and text.endswith((".", "?")))


@here
@given(content=st.binary(max_size=300) | damaged(), ending=st.sampled_from([".csv", ".tsv", ".jsonl", ".csv.gz"]))
def test_bytes_are_a_table_or_are_refused(content, ending, tmp_path):
    path = tmp_path / f"table{ending}"
    path.write_bytes(content)
    assert is_a_line(refusal(str(path)))


@pytest.mark.parametrize("ending", [".csv.gz", ".parquet", ".xlsx"])
def test_a_damaged_archive_is_a_table_or_is_refused(ending, tmp_path):
    path, whole = tmp_path / f"table{ending}", archive(ending)

    @here
    @given(content=damaged(whole))
    def attack(content):
        path.write_bytes(content)
        assert is_a_line(refusal(str(path)))

    path.write_bytes(whole)
    assert refusal(str(path)) is None
    attack()


CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8), st.dates(),
    st.binary(max_size=3), st.lists(st.integers(), max_size=2), st.complex_numbers(), st.decimals(),
    st.timedeltas(), st.datetimes(),
)  # fmt: skip


@pytest.mark.slow
@here
@given(columns=st.lists(st.lists(CELLS, min_size=12, max_size=12), min_size=2, max_size=4), data=st.data())
def test_typed_cells_are_a_table_or_are_refused(columns, data):
    names = data.draw(st.lists(st.text(max_size=3) | st.integers(), min_size=len(columns), max_size=len(columns)))
    frame = pd.DataFrame(dict(enumerate(columns)))
    frame.columns = pd.Index(names, dtype=object)
    assert is_a_line(refusal(frame))


WORDS = [option.flag for option in OPTIONS] + ["--dry-run", "--format", "--config", "--help", "--version", "--debug"]
VALUES = ["", "-", "--", "0", "-1", "1e999", "nan", "diabetes", "none", "/dev/null", "x" * 300, "\x1b[31m", "a=b", "é"]


@here
@given(
    verb=st.sampled_from([*VERBS, "searhc", ""]),
    words=st.lists(st.sampled_from(WORDS) | st.sampled_from(VALUES) | st.text(max_size=5), max_size=5),
)
def test_command_lines_are_done_or_refused(verb, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if verb in ("doctor", "recipes", "lr-find", "search") and "--help" not in words:
        words = [*words, "--print-config" if verb == "search" else "--nonsense"]  # nothing that takes long
    capsys.readouterr()
    code = main([verb, *words])
    error = capsys.readouterr().err
    assert code in (0, 2), (verb, words, error)
    if code == 2 and "--debug" not in words:
        assert error.splitlines()[-1].startswith("error: "), (verb, words, error)
        assert "\x1b" not in error, (verb, words)
