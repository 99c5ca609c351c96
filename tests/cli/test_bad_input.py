"""What a user can get wrong: exit 2, one line that says what, where and what to do, and nothing left behind."""

import json
import os
import shlex

import pytest

GOOD = "size,colour,price\n" + "".join(f"{n},{'red' if n % 2 else 'blue'},{3 * n}.5\n" for n in range(1, 31))
CLASSES = "size,kind\n" + "".join(f"{n},{'ab'[n % 2]}\n" for n in range(1, 31))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Work in a folder with a good table and spaces of the user's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "houses.csv").write_text(GOOD)
    (tmp_path / "kinds.csv").write_text(CLASSES)
    (tmp_path / "negative.py").write_text("def build(hp):\n    hp.Float('learning_rate', -0.1, 0.1)\n")
    (tmp_path / "broken.py").write_text("def build(hp) return 1\n")
    (tmp_path / "file").write_text("")
    return tmp_path


@pytest.fixture
def refused(folder, tfopt):
    """Run `tfopt` with something wrong, check the manners of its refusal, return the error."""

    def run(*words):
        before = sorted(folder.rglob("*"))
        code, out, err = tfopt(*words)
        assert (code, out) == (2, ""), err
        *notes, error = err.splitlines()
        assert all(line.startswith("note: ") for line in notes)
        assert error.startswith("error: ")
        assert error.endswith((".", "?"))
        left = [path for path in folder.rglob("*") if path not in before and "__pycache__" not in path.parts]
        assert left == []
        return error

    return run


@pytest.mark.parametrize(
    ("content", "words", "told"),
    [
        (b"", [], ["the file is empty", "t.csv"]),
        (b"size,price\n", [], ["no rows", "t.csv"]),
        (bytes(range(256)) * 4, [], ["not a text file", "t.csv"]),
        (b"a,b,y\n1,2,3\n4,5,6,7\n8,9,1\n", [], ["line 3 has 4 fields", "header has 3", "t.csv"]),
        (b"a,a,y\n1,2,3\n4,5,6\n", [], ["two columns are named 'a'", "t.csv"]),
        (b"a,y\n1,2.5\n2,\n3,4.5\n", [], ["'y'", "t.csv", "line 3"]),
        (b"a,y\n1,x\n2,x\n3,x\n", [], ["one class only", "t.csv", "'x'"]),
        (b"a,y\n1,2.5\n2,old\n3,4.5\n", ["--task", "regression"], ["'y'", "'old'", "t.csv", "line 3"]),
        (b"a,y\n1,2.5\n2,inf\n3,4.5\n", ["--task", "regression"], ["infinite", "'y'", "t.csv", "line 3"]),
        (b"a,y\n1,2.5\n2,3.5\n3,4.5\n", ["--drop", "a"], ["no feature column is left", "t.csv"]),
        (b"a,y\n1,2.5\n2,3.5\n3,4.5\n", ["--folds", "9"], ["more folds than rows", "9", "3"]),
        (b"a,y\n1,2.5\n2,2.5\n3,2.5\n", ["--task", "regression"], ["'y'", "2.5"]),
    ],
    ids=lambda value: value[:12].decode("latin1") if isinstance(value, bytes) else None,
)
def test_table_that_cannot_be_used(content, words, told, folder, refused):
    (folder / "t.csv").write_bytes(content)
    error = refused("search", "t.csv", *words)
    for text in told:
        assert text.lower() in error.lower()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["hosues.csv"], ["'hosues.csv'", "Did you mean 'houses.csv'?"]),
        (["."], ["differ in their columns", "Several files of one table have the same columns"]),
        (["diabetis"], ["Did you mean 'diabetes'?"]),
        (
            ["houses.csv", "--target", "prize"],
            ["'prize'", "houses.csv", "Did you mean 'price'?", "size, colour, price"],
        ),
        (["houses.csv", "--drop", "color"], ["'color'", "Did you mean 'colour'?"]),
        (["houses.csv", "--group", "sise"], ["'sise'", "Did you mean 'size'?"]),
        (["houses.csv", "--objective", "acuracy"], ["acuracy"]),
        (["houses.csv", "--baselines", "ridge,laso"], ["'laso'", "Did you mean 'lasso'?"]),
        (["houses.csv", "--encoding", "klingon"], ["klingon"]),
        (["houses.csv", "--max-trials", "0"], ["--max-trials must be at least 1", "0"]),
        (["houses.csv", "--holdout", "1.5"], ["--holdout", "1.5"]),
        (["houses.csv", "--device", "gpu:0"], ["no GPU for device gpu:0"]),
        (["houses.csv", "--out", "file"], ["file is a file"]),
        (["houses.csv", "--out", "file/run"], ["file is a file"]),
        (["houses.csv", "--space", "negative.py:build"], ["learning_rate", "-0.1"]),
        (["houses.csv", "--space", "negative.py:bild"], ["'bild'", "Did you mean 'build'?"]),
        (["houses.csv", "--space", "negativ.py:build"], ["Did you mean 'negative.py'?"]),
        (["houses.csv", "--space", "broken.py:build"], ["broken.py", "SyntaxError"]),
        (["kinds.csv", "--target", "size,kind"], ["kind"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_request_that_cannot_be_met(words, told, refused):
    error = refused("search", *words)
    for text in told:
        assert text in error


def test_output_folder_without_permission(refused, folder, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    assert "no permission" in refused("search", "houses.csv", "--out", "run")


@pytest.mark.slow
def test_run_folder_of_other_data(refused, folder):
    run = folder / "run"
    run.mkdir()
    config = {"data": str(folder / "houses.csv"), "target": ["price"], "task": "regression"}
    (run / "config.json").write_text(json.dumps(config))
    environment = {"data": {"name": "houses", "source": "houses.csv", "sha256": "0" * 64, "rows": 30}}
    (run / "environment.json").write_text(json.dumps(environment))
    assert "run is a run on" in refused("search", "diabetes", "--resume", "run")
    assert "made from other data" in refused("search", "--resume", "run")


@pytest.mark.parametrize(
    ("asked", "again"),
    [
        ({"space": "/theirs/mark.py:build"}, ["--space", "/theirs/mark.py:build"]),
        ({"data": "/theirs/mark.py:rows"}, ["/theirs/mark.py:rows"]),
        ({"backend": "dask", "address": "tcp://theirs:1"}, ["--backend", "dask", "--address", "tcp://theirs:1"]),
        ({"track": "mlflow:http://theirs"}, ["--track", "mlflow:http://theirs"]),
    ],
)
def test_a_run_folder_has_no_code_run_and_no_machine_called(asked, again, folder, tfopt, monkeypatch):
    mark, run = folder / "mark.py", folder / "run"
    mark.write_text("open('marked', 'w')\ndef build(hp): ...\nrows = build\n")
    run.mkdir()
    here = {name: value.replace("/theirs", str(folder)) for name, value in asked.items()}
    (run / "config.json").write_text(json.dumps({"data": "diabetes", **here}))
    (run / "environment.json").write_text("{}")
    monkeypatch.setattr("tfopt.cli.search._search", lambda config, arguments: config)
    code, _, err = tfopt("search", "--resume", run)
    assert (code, (folder / "marked").exists()) == (2, False)
    words = [word.replace("/theirs", str(folder)) for word in again]
    *_, command = err.strip().rpartition("name that again: tfopt ")
    assert sorted(shlex.split(command)) == sorted(["search", "--resume", str(run), *words])
    config = tfopt(*shlex.split(command))[0]
    assert {name: getattr(config, name) for name in asked} == here
    if "address" in asked:
        assert tfopt("search", "--resume", run, "--backend", "loky")[0].address is None


def test_space_that_always_raises_ends_with_3_and_its_last_line(folder, tfopt):
    (folder / "raises.py").write_text("def build(hp):\n    raise ValueError('units must be positive')\n")
    words = ["--space", "raises.py:build", "--baselines", "none", "--max-trials", 2, "--folds", 2, "--inner-folds", 2]
    code, out, err = tfopt("search", "houses.csv", *words, "--out", "run")
    assert (code, out) == (3, "")
    last = err.splitlines()[-1]
    assert last.startswith("error: none of ")
    assert last.endswith("the first failed with: ValueError: units must be positive")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_space_that_sometimes_raises_goes_on(folder, tfopt):
    (folder / "sometimes.py").write_text(
        "import keras\n"
        "def build(hp, problem):\n"
        "    if hp.Choice('broken', [False, True]):\n"
        "        raise ValueError('broken on purpose')\n"
        "    model = keras.Sequential([keras.Input((problem.num_features,)), keras.layers.Dense(1)])\n"
        "    model.compile(optimizer=keras.optimizers.Adam(0.1), loss='mse')\n"
        "    return model\n"
    )
    words = ["--space", "sometimes.py:build", "--baselines", "dummy", "--tuner", "grid", "--epochs", 2]
    words += ["--folds", 2, "--inner-folds", 2, "--seeds", 1, "--workers", 1, "--out", "run", "--format", "json"]
    code, out, err = tfopt("search", "houses.csv", *words)
    assert code == 0
    assert {row["kind"] for row in json.loads(out)["leaderboard"]} == {"keras", "sklearn"}
    assert "ValueError: broken on purpose" in err
    assert "run folder: run" in err


@pytest.mark.long
def test_a_build_that_hangs_fails_by_itself_and_the_search_goes_on(folder, tfopt):
    (folder / "hangs.py").write_text(
        "import time, keras\n"
        "def build(hp, problem):\n"
        "    if hp.Choice('hangs', [False, True]):\n"
        "        time.sleep(1000)\n"  # without an end, as far as a test can tell
        "    model = keras.Sequential([keras.Input((problem.num_features,)), keras.layers.Dense(1)])\n"
        "    model.compile('sgd', 'mse')\n"
        "    return model\n"
    )
    words = ["--space", "hangs.py:build", "--baselines", "none", "--tuner", "grid", "--epochs", 2, "--seeds", 1]
    words += ["--holdout", 0.3, "--inner-folds", 2, "--workers", 1, "--out", "run", "--trial-timeout", "3s"]
    code, _, err = tfopt("search", "houses.csv", *words)
    assert code == 0, err
    assert "1 trial failed; the first: TookTooLong: building and training took longer than 3 s" in err
