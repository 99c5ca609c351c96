"""What every recipe does in the same way."""

import json
import math
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt

from tfopt.comparison import mean_interval
from tfopt.errors import UserError
from tfopt.report import evidence, recipe

DOC = """Is it so?

How the claims are tested.

Claims:
    toy-is-so: It is
        so
"""
TWO = f"{DOC}    toy-is-more: It is more\n"
EVIDENCE = {"toy-is-so": recipe.fact(True, "{} against {}, 3 seeds", "1.0 ± 0.1", "0.0 ± 0.1")}


@pytest.fixture
def parse(monkeypatch, tmp_path):
    """Return what `arguments` makes of words on a recipe's command line."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # put back afterwards
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.py").write_text("pass")

    def parsed(*words, data=None):
        monkeypatch.setattr(sys, "argv", ["toy.py", *words])
        return recipe.arguments(DOC, str(tmp_path / "toy.py"), data=data)

    return parsed


def test_arguments_have_defaults_and_the_folder_is_made(parse):
    arguments = parse()
    assert (arguments.smoke, arguments.block, arguments.seed) == (False, 0, 0)
    assert (arguments.name, arguments.question) == ("toy", "Is it so?")
    assert arguments.out == Path("runs/toy")
    assert arguments.out.is_dir()
    assert not hasattr(arguments, "data")
    assert matplotlib.get_backend().lower() == "agg"


def test_a_table_is_an_argument_only_where_it_makes_sense(parse, capsys):
    assert parse("--data", "mine.csv", "--target", "y", data="digits").data == "mine.csv"
    assert parse(data="digits").data == "digits"
    with pytest.raises(SystemExit):
        parse("--data", "mine.csv")
    assert "--data" in capsys.readouterr().err


def test_blocks_share_no_seed(parse, capsys):
    blocks = [recipe.seeds(parse("--seed", str(block)), smoke=2, default=40) for block in (0, 1, 39)]
    derived = [{1000 * seed + place for seed in block for place in range(1000)} for block in blocks]
    assert len(set().union(*blocks)) == 120
    assert not derived[1] & derived[2]
    assert max(derived[2]) < 2**32
    for wrong in ("-1", "40", "x"):
        with pytest.raises(SystemExit):
            parse("--seed", wrong)
    assert "--seed" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made(parse, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match=r"no results can be written into taken"):
        parse("--out", "taken")


@pytest.mark.parametrize(("words", "value"), [([], 2), (["--smoke"], 1)])
def test_by_mode(parse, words, value):
    assert recipe.by_mode(parse(*words), smoke=1, default=2) == value


def test_table_of_an_embedded_set(parse, capsys):
    x, y = recipe.table(parse(data="digits"))
    assert x.shape == (1797, 61)
    assert x.max() == 16  # as read
    assert sorted(set(y)) == list(range(10))
    assert "dropped as constant: pixel_0_0" in capsys.readouterr().out


def test_table_of_a_file(parse, tmp_path, capsys):
    (tmp_path / "mine.csv").write_text("size,colour,same,price\n1,red,7,10.5\n,blue,7,11.5\n3,red,7,9.25\n5,blue,7,8\n")
    x, y = recipe.table(parse("--data", "mine.csv", "--target", "price", data="diabetes"), task="regression")
    np.testing.assert_array_equal(y, [10.5, 11.5, 9.25, 8])
    # the size with its median, the two colours, whether the size was missing; nothing for a third colour
    np.testing.assert_array_equal(x, [[1, 0, 1, 0], [3, 1, 0, 1], [3, 0, 1, 0], [5, 1, 0, 0]])
    printed = capsys.readouterr().out
    assert "mine: 4 rows, 4 features, target 'price'" in printed
    assert "same" in printed


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("iris", "regression", r"needs a table for regression.*3 classes.*--data iris"),
        ("diabetes", "classification", r"needs a table for classification.*numbers without classes"),
        ("linnerud", None, "needs one target"),
    ],
)
def test_table_of_the_wrong_kind(parse, name, task, message):
    with pytest.raises(UserError, match=message):
        recipe.table(parse(data=name), task=task)


def test_interval_is_students():
    # t(0.975, 3) = 3.182446; the standard deviation of 1, 2, 3, 4 is 1.290994
    mean, half = recipe.interval([1, 2, 3, 4])
    assert mean == 2.5
    assert half == pytest.approx(3.182446 * 1.290994 / 2, rel=1e-6)
    expected = mean_interval(np.array([1.0, 2, 3, 4]), test_to_train=0.25)
    assert recipe.interval([1, 2, 3, 4], test_to_train=0.25)[1] == pytest.approx(expected.high - expected.mean)


def test_interval_of_a_stack_is_that_of_each_place():
    values = np.random.default_rng(0).normal(size=(5, 3))
    mean, half = recipe.interval(values)
    for place in range(3):
        assert (mean[place], half[place]) == pytest.approx(recipe.interval(values[:, place]))


def test_the_interval_covers_as_often_as_it_says():
    values = np.random.default_rng(0).normal(size=(5, 20_000))
    mean, half = recipe.interval(values)
    assert np.mean(np.abs(mean) <= half) == pytest.approx(0.95, abs=0.006)  # four standard errors


def test_one_value_has_no_interval():
    mean, half = recipe.interval([0.5])
    assert mean == 0.5
    assert math.isnan(half)
    assert recipe.plus_minus([0.5]) == "0.500"
    assert recipe.plus_minus([-0.0004, 0.0002]) == "0.000 ± 0.004"  # and not -0.000
    assert recipe.plus_minus([8000, 9000], ",.0f").startswith("8,500 ±")
    assert evidence.verdicts({"a": recipe.above([0.5])}) == {"a": "can't be told here"}


def test_plus_minus():
    assert recipe.plus_minus([1, 2, 3, 4], ".2f") == "2.50 ± 2.05"


@pytest.mark.parametrize(
    ("is_so", "verdict"), [(True, "holds"), (False, "does not hold"), (None, "can't be told here")]
)
def test_a_fact_is_settled(is_so, verdict):
    assert evidence.verdicts({"a": evidence.fact(is_so, "{} of {}", 1, 2)}) == {"a": verdict}
    assert str(evidence.fact(is_so, "{} of {}", 1, 2)) == "1 of 2"


def finished(parse, words=(), claims=EVIDENCE, results=None):
    arguments = parse(*words)
    figure, axes = plt.subplots(figsize=(2, 2))
    axes.plot([0, 1])
    recipe.finish(arguments, claims, {} if results is None else results, figure)
    return arguments.out


def test_finish_leaves_a_picture_and_a_result(parse, capsys):
    plt.close("all")
    out = finished(parse, ["--smoke", "--seed", "3", "--out", "elsewhere"])
    result = json.loads((out / "toy.json").read_text(encoding="utf-8"))
    assert set(result) == {
        "recipe", "question", "command", "source", "mode", "block", "seconds", "environment", "claims", "results"
    }  # fmt: skip
    assert result["command"] == "python recipes/toy.py --smoke --seed 3"
    assert (result["recipe"], result["question"], result["mode"]) == ("toy", "Is it so?", "smoke")
    assert {"python", "tfopt", "tensorflow", "keras", "scikit-learn"} <= set(result["environment"]["versions"])
    assert result["environment"]["cores"] >= 1
    (claim,) = result["claims"]
    numbers = [["{} against {}, 3 seeds", ["1.0 ± 0.1", "0.0 ± 0.1"]]]
    assert claim == {"id": "toy-is-so", "claim": "It is so", "verdict": "holds", "numbers": numbers}
    assert (out / "toy.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "holds: It is so (1.0 ± 0.1 against 0.0 ± 0.1, 3 seeds)" in printed
    assert "elsewhere" in printed
    assert not plt.get_fignums()


def test_the_verdicts_are_printed_where_no_file_can_be_written(parse, capsys, monkeypatch):
    """A recipe takes minutes: a full disk at its end must not take them all."""

    def write_text(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recipe, "write_text", write_text)
    with pytest.raises(UserError, match=r"cannot be written into runs/toy: No space left on device\..*--out"):
        finished(parse, [])
    assert "holds: It is so" in capsys.readouterr().out


def test_claims_are_kept_in_the_order_of_the_docstring(parse):
    arguments = parse()
    arguments.doc = TWO
    figure, _ = plt.subplots()
    recipe.finish(arguments, {"toy-is-more": recipe.fact(True, "1"), **EVIDENCE}, {}, figure)
    found = json.loads((arguments.out / "toy.json").read_text(encoding="utf-8"))["claims"]
    assert [claim["id"] for claim in found] == ["toy-is-so", "toy-is-more"]


def test_the_picture_is_the_same_each_time(parse):
    pictures = [(finished(parse, ["--out", str(i)]) / "toy.svg").read_bytes() for i in range(2)]
    assert pictures[0] == pictures[1]
    assert pictures[0].startswith(b"<?xml")


def test_results_of_numpy_become_plain(parse):
    results = {
        "array": np.array([[1.0, np.nan], [np.inf, 1 / 3]]),
        ("a", 0.5): np.float32(0.1),
        1: {"flag": np.bool_(True), "count": np.int64(3), "path": Path("x"), "nothing": None},
    }
    out = finished(parse, results=results)
    assert json.loads((out / "toy.json").read_text())["results"] == {
        "array": [[1.0, None], [None, 0.333333]],
        "a, 0.5": 0.1,
        "1": {"flag": True, "count": 3, "path": "x", "nothing": None},
    }


@pytest.mark.parametrize(
    ("claims", "match"),
    [
        ({}, "Received alone: .'toy-is-so'"),
        (EVIDENCE | {"toy-is-not": recipe.fact(True, "1")}, "Received alone: .'toy-is-not'"),
        ({"toy-is-so": recipe.fact(True, "")}, "numbers"),
        ({"toy-is-so": recipe.fact(True, "{}", "1\n2")}, "numbers"),
    ],
)
def test_claims_and_evidence_belong_together(parse, claims, match):
    with pytest.raises(ValueError, match=match):
        finished(parse, claims=claims)


@pytest.mark.long("KeyError-1-Traceback")
@pytest.mark.slow
@pytest.mark.parametrize(("error", "code", "line"), [("UserError", 2, "error: no"), ("KeyError", 1, "Traceback")])
def test_what_the_user_did_wrong_is_one_line(tmp_path, error, code, line):
    script = tmp_path / "toy.py"
    script.write_text(
        '"""Is it so?"""\nfrom tfopt.errors import UserError\nfrom tfopt.report import recipe\n'
        f'recipe.arguments(__doc__, __file__)\nraise {error}("no")\n'
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, script, "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(root), "TFOPT_LAZY": "1", "HOME": str(tmp_path)},
    )
    assert done.returncode == code
    assert line in done.stderr.splitlines()[0]
    assert (len(done.stderr.splitlines()) == 1) == (error == "UserError")


def test_a_table_is_as_wide_as_its_cells(capsys):
    rows = {"a long name of a row": [[1.0, 2.0, 3.0], "yes"], "short": [5.0]}
    recipe.show("The title", ["test loss|.1f", "a head that is longer than any cell"], rows)
    assert capsys.readouterr().out.splitlines() == [
        "",
        "The title",
        "                      test loss  a head that is longer than any cell",
        "a long name of a row  2.0 ± 2.5                                  yes",
        "short                       5.0",
    ]


def test_steps_yield_everything_and_say_how_far_they_are(capsys, monkeypatch):
    clock = iter(range(0, 100, 6))
    monkeypatch.setattr(recipe.time, "perf_counter", lambda: next(clock))
    assert list(recipe.steps("abc", "letters")) == ["a", "b", "c"]
    assert capsys.readouterr().err == "letters: 1 of 3\nletters: 2 of 3\n"


def test_dots_and_curves_show_means_and_intervals():
    values = {"first": [1.0, 2.0, 3.0, 4.0], "second": [0.0, 0.0, 0.0, 1.0]}
    with recipe.panels(2) as (figure, (left, right)):
        recipe.dots(left, values, "Title", "loss")
        recipe.curves(right, [1, 2], {"a": np.transpose(list(values.values()))}, "Title", "x", "y")
    (dots, _, (bars,)) = left.containers[0]
    np.testing.assert_allclose(np.asarray(dots.get_xdata(), float), [2.5, 0.25])
    mean, half = recipe.interval(values["first"])
    np.testing.assert_allclose(bars.get_segments()[0][:, 0], [mean - half, mean + half])
    assert [label.get_text() for label in left.get_yticklabels()] == ["first", "second"]
    np.testing.assert_allclose(np.asarray(right.containers[0][0].get_ydata(), float), [2.5, 0.25])
    plt.close(figure)
