"""`tfopt plot-schedule`."""

import csv
import io

import numpy as np
import pytest

from tfopt import schedules
from tfopt.cli.plot_schedule import sparkline


def test_sparkline_by_hand():
    assert sparkline(np.linspace(0, 1, 8), 8) == "▁▂▃▄▅▆▇█"
    assert sparkline(np.zeros(3), 10) == "▁▁▁"


def test_a_name_prints_one_line(tfopt):
    code, out, err = tfopt("plot-schedule", "linear", "--steps", 100, "--learning-rate", 0.5)
    assert (code, err) == (0, "")
    assert out.startswith("linear  ██")
    assert out.endswith("▁  0.5 … 0.5 … 0\n")


def test_list_has_every_name_with_a_sparkline(tfopt):
    code, out, _ = tfopt("plot-schedule", "--list")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert [name for name, _ in lines] == schedules.names()
    assert all(len(line) == 40 for _, line in lines)


def test_csv_holds_the_curves(tfopt):
    words = ["warmup(5) + cosine(alpha=0.1)", "--compare", "rex", "--steps", 20, "--csv"]
    code, out, _ = tfopt("plot-schedule", *words)
    rows = list(csv.reader(io.StringIO(out)))
    assert code == 0
    assert rows[0] == ["step", words[0], "rex"]
    values = np.array(rows[1:], dtype=float)
    np.testing.assert_array_equal(values[:, 0], np.arange(21))
    expected = schedules.Warmup(schedules.CosineDecay(1.0, 15, 0.1), 5).curve(21)
    np.testing.assert_array_equal(values[:, 1], expected)


@pytest.mark.long("words1")
@pytest.mark.slow
@pytest.mark.parametrize("words", [["linear", "--compare", "rex", "cosine"], ["--gallery"]])
def test_pictures_are_the_same_each_time(tfopt, tmp_path, words):
    texts = []
    for name in ("a.svg", "b.svg"):
        code, out, _ = tfopt("plot-schedule", *words, "-o", tmp_path / name)
        assert code == 0
        assert out.strip() == str(tmp_path / name)
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    assert "<svg" in texts[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cosin"], "unknown schedule 'cosin'. Did you mean 'cosine'?"),
        (["cosine", "-p", "alhpa=1"], "Did you mean 'alpha'?"),
        (["cosine", "-p", "alpha"], "-p takes name=value (received 'alpha')"),
        ([], "which schedule?"),
        (["--gallery"], "--gallery needs a file"),
        (["cosine", "--steps", "0"], "--steps must be >= 1"),
        (["cosine", "-o", "x.jpg"], "End the name in .svg, .png or .pdf"),
        (["cosine", "-o", "nowhere/x.svg"], "there is no folder 'nowhere'"),
    ],
)
def test_mistakes_are_one_line(tfopt, words, message):
    code, out, err = tfopt("plot-schedule", *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
