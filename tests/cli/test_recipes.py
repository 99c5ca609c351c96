"""`tfopt recipes`."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tfopt.cli import recipes
from tfopt.report import catalogue

ROOT = Path(__file__).parents[2]


def test_listing_shows_every_recipe(tfopt):
    code, out, _ = tfopt("recipes")
    assert code == 0
    heading, *lines = out.splitlines()
    assert heading.split()[:3] == ["recipe", "seconds", "holds"]
    assert [line.split()[0] for line in lines] == sorted(path.stem for path in (ROOT / "recipes").glob("*.py"))
    assert all(line.endswith("?") for line in lines)
    assert tfopt("recipes", "list")[1] == out


def test_listing_needs_neither_tensorflow_nor_numpy(fresh_python):
    program = (
        "import sys; from tfopt.cli import main; sys.argv[0] = 'tfopt'; code = main(['recipes'])\n"
        "assert not {'tensorflow', 'keras', 'numpy', 'matplotlib'} & set(sys.modules); sys.exit(code)"
    )
    done = fresh_python("-c", program, environment={"TFOPT_LAZY": "1"})
    assert done.returncode == 0, done.stderr
    assert "dropout" in done.stdout


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Return a folder of recipes with two in it, one of them with a result."""
    where = tmp_path / "tree" / "recipes"
    where.mkdir(parents=True)
    (where.parent / "pyproject.toml").write_text("")
    for name in ("zh-CN.toml", "readme.toml"):
        shutil.copy(ROOT / "recipes" / name, where)
    (where / "zh-CN.toml").write_text(
        '[questions]\nfirst = "是吗？"\n[claims]\nfirst-a = "甲成立。"\n[so]\nfirst = "用甲。"\n'
        '[numbers]\n"{} against {}" = "{0}，对比 {1}"\n[words]\n',
        encoding="utf-8",
    )
    (where / "claims.toml").write_text(
        '[[row]]\nsection = "A"\nen = "They say A"\nzh = "据说甲"\ntested_by = ["first-a", "tests/test_a.py::test_a"]\n'
        '[[row]]\nsection = "B"\nen = "They say B"\nzh = "据说乙"\ntested_by = ["second-b"]\n',
        encoding="utf-8",
    )
    (where / "first.py").write_text(
        '"""Is it so?\n\nMore.\n\nSo: take A.\n\n'
        'Claims:\n    first-a: A is so.\n    first-b: B | C.\n    first-c: C.\n"""\n'
        "import sys\nprint(sys.argv[1:])\n"
        "print('2026-01-01 00:00:00.1: I chatter', file=sys.stderr)\nprint('said', file=sys.stderr)\n"
        "sys.exit(7 if '--fail' in sys.argv else 0)\n"
    )
    (where / "second_one.py").write_text('"""And this?"""\n')
    (where / "results").mkdir()
    (where / "results" / "first.json").write_text(json.dumps([result(block) for block in range(3)]))
    monkeypatch.setattr(catalogue, "folder", lambda: where)
    return where


def result(block=0, name="first", **changes):
    """What a run of the first recipe leaves."""
    seed = f" --seed {block}" * (block > 0)
    verdicts = ["holds", "does not hold", "holds" if block < 2 else "can't be told here"]
    claims = [
        {
            "id": f"{name.partition('_')[0]}-{letter}",
            "claim": text,
            "verdict": verdict,
            "numbers": [["{} against {}", [f"{block}.5", "2"]]],
        }
        for letter, text, verdict in zip("abc", ("A is so.", "B | C.", "C."), verdicts, strict=True)
    ]
    return {
        "recipe": name, "question": "Is it so?", "command": f"python recipes/{name}.py{seed}", "mode": "default",
        "block": block, "seconds": 61.7, "environment": {"versions": {"tensorflow": "2.21.0"}, "cores": 2},
        "claims": claims, "results": {}, **changes,
    }  # fmt: skip


def test_listing_shows_seconds_and_verdicts(tfopt, toy):
    _, first, second = tfopt("recipes")[1].splitlines()
    assert first.split() == ["first", "62", "1", "1", "1", "Is", "it", "so?"]
    assert "not run yet  And this?" in second


def test_running_passes_arguments_and_exit_code_on(toy, capfd):
    assert recipes._run("first", ["--smoke", "--out", "x"], debug=False) == 0
    out, err = capfd.readouterr()
    assert "['--smoke', '--out', 'x']" in out
    assert err == "said\n"  # TensorFlow's chatter is held back
    assert recipes._run("first", ["--fail"], debug=True) == 7
    assert "chatter" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["recipes", "run", "frist"], "no recipe 'frist'. Did you mean 'first'?"),
        (["recipes", "run", "second-on"], "Did you mean 'second_one'?"),
        (["recipes", "run"], "which recipe?"),
        (["recipes", "rnu", "first"], "Did you mean 'run'?"),
        (["recipes", "list", "first"], "unexpected argument 'first'"),
        (["recipes", "table", "runs", "--smoke"], "--smoke comes too late. Options of tfopt stand before 'table'"),
        (["recipes", "replicate", "-q"], "-q comes too late"),
        (["recipes", "find"], "find what?"),
        (["recipes", "find", "nothing", "like", "it"], "no recipe is about 'nothing like it'"),
        (["recipes", "replicate", "frist"], "Did you mean 'first'?"),
    ],
)
def test_mistakes(tfopt, toy, words, message):
    code, out, err = tfopt(*words)
    assert code == 2
    assert message in err
    assert not out
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("words", [["replicate", "--help"], ["replicate", "first", "-h"], ["find", "it", "--help"]])
def test_help_is_all_that_help_does(tfopt, toy, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    code, out, _ = tfopt("recipes", *words)
    assert code == 0
    assert out.startswith("usage: tfopt recipes")
    assert not (tmp_path / "runs").exists()


def test_the_table_shows_claims_and_what_has_not_been_run(tfopt, toy):
    code, out, _ = tfopt("recipes", "table")
    assert code == 0
    assert "README.zh-CN.md" in out
    english = (toy / "README.md").read_text(encoding="utf-8")
    assert "| [first](#first) | Is it so? | holds: 1, does not hold: 1, can't be told here: 1 | 62 |" in english
    assert '| <a id="first-b"></a>B \\| C. | **does not hold** | ✗ 0.5 against 2<br>✗ 1.5 against 2<br>✗ 2.5' in english
    assert '| <a id="first-c"></a>C. | **can\'t be told here** | ✓ 0.5 against 2<br>✓ 1.5 against 2<br>? 2.5' in english
    assert "62 s on 2 cores, TensorFlow 2.21.0: `python recipes/first.py`" in english
    assert "**So**: take A." in english
    assert "| They say A | [first-a](#first-a): holds<br>[test_a](../tests/test_a.py) |" in english
    assert "| They say B | second-b: not run yet |" in english
    assert "### second_one" in english
    chinese = (toy / "README.zh-CN.md").read_text(encoding="utf-8")
    assert '| <a id="first-a"></a>甲成立。 | **成立** | ✓ 0.5，对比 2<br>✓ 1.5，对比 2<br>✓ 2.5，对比 2 |' in chinese
    assert "**所以**：用甲。" in chinese
    assert "| 据说甲 | [first-a](#first-a)：成立<br>" in chinese


def test_what_ran_once_is_shown_as_such(tfopt, toy):
    (toy / "results" / "first.json").write_text(json.dumps(result()))
    assert "not repeated yet  Is it so?" in tfopt("recipes")[1]
    tfopt("recipes", "table")
    english = (toy / "README.md").read_text(encoding="utf-8")
    assert '| <a id="first-a"></a>A is so. | **not repeated yet** | ✓ 0.5 against 2 |' in english
    assert "first-a): not repeated yet" in english


def test_finding_says_recipe_claim_and_verdict(tfopt, toy):
    assert tfopt("recipes", "find", "A", "is")[1] == "first: holds: A is so. (first-a)\n"
    assert tfopt("recipes", "find", "据说甲")[1] == "first: 成立：甲成立。 (first-a)\n"
    assert tfopt("recipes", "find", "sys.argv")[1] == "first: Is it so? (tfopt recipes run first)\n"


SCRIPT = '''"""Is it so?

Claims:
    second-a: A is so.
    second-b: B.
    second-c: C.
"""
import json, pathlib, sys
block = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
if block == 2 and not pathlib.Path("mended").exists():
    sys.exit(3)
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
out.mkdir(parents=True)
result = json.loads(pathlib.Path("result.json").read_text())[block]
(out / "second_one.json").write_text(json.dumps(result))
(out / "second_one.svg").write_text("<svg/>")
'''


def test_replicating_runs_what_is_not_done_and_writes_the_pages(tfopt, toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (toy.parent / "README.md").write_text("Before. <!-- recipes -->old<!-- --> After.")
    (toy / "second_one.py").write_text(SCRIPT)
    digest = catalogue.fingerprint(toy / "second_one.py")
    results = [result(block, "second_one", source=digest) for block in range(3)]
    (tmp_path / "result.json").write_text(json.dumps(results))
    code, out, err = tfopt("recipes", "replicate", "second_one")
    assert code == 2
    assert "3 of 3 runs to do" in out
    assert "1 runs failed: second_one (block 2)" in err
    assert not (toy / "results" / "second_one.json").exists()

    (tmp_path / "mended").touch()
    code, out, _ = tfopt("recipes", "replicate", "second_one")
    assert code == 0
    assert "1 of 3 runs to do" in out
    assert json.loads((toy / "results" / "second_one.json").read_text()) == results
    assert (toy / "figures" / "second_one.svg").read_text() == "<svg/>"
    assert "![second_one](figures/second_one.svg)" in (toy / "README.md").read_text(encoding="utf-8")
    front = (toy.parent / "README.md").read_text()
    counts = "holds: 2, does not hold: 2, can't be told here: 2"
    said = f"6 claims in 2 recipes, verdicts over three blocks of seeds: {counts}."
    assert front == f"Before. <!-- recipes -->{said}<!-- --> After."

    assert "0 of 3 runs to do" in tfopt("recipes", "replicate", "second_one")[1]
    (toy / "second_one.py").write_text(SCRIPT + "print()\n")
    (tmp_path / "mended").unlink()
    shutil.rmtree("runs")
    assert "3 of 3 runs to do" in tfopt("recipes", "replicate", "second_one")[1]


@pytest.mark.parametrize(
    "changes", [{"mode": "smoke"}, {"source": "another"}, {"command": "python recipes/first.py --data x"}]
)
def test_a_run_of_another_kind_is_not_taken_over(tfopt, toy, tmp_path, changes):
    digest = catalogue.fingerprint(toy / "second_one.py")
    for block in range(3):
        folder = tmp_path / "runs" / "second_one" / f"seed-{block}"
        folder.mkdir(parents=True)
        own = result(block, "second_one", source=digest)
        (folder / "second_one.json").write_text(json.dumps(own if block else {**own, **changes}))
        (folder / "second_one.svg").write_text("<svg/>")
    tfopt("recipes", "table", tmp_path / "runs")
    assert not (toy / "results" / "second_one.json").exists()


def test_an_installed_copy_has_no_table_to_write(tfopt, toy):
    (toy.parent / "pyproject.toml").unlink()
    code, _, err = tfopt("recipes", "table")
    assert code == 2
    assert "installed copy" in err


def test_every_package_is_installed():
    """The packages are named one by one, so that the recipes can be one of them; none may be forgotten."""
    import tomllib

    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "tfopt").rglob("__init__.py")}
    assert set(named) == {*found, "tfopt.recipes"}
    assert len(named) == len(set(named))


@pytest.mark.long  # in the default run: test_every_package_is_installed
def test_the_recipes_come_with_the_wheel(tmp_path):
    tree, site = tmp_path / "tree", tmp_path / "site"
    tree.mkdir()
    for name in ("tfopt", "recipes"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(tree)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=300)
    if "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("building a wheel needs setuptools from a package index")
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("tfopt-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        tops = {name.split("/")[0] for name in archive.namelist() if ".dist-info" not in name}
    assert tops == {"tfopt"}  # no package of the general name `recipes`

    def installed(*words):
        words = [sys.executable, "-m", "tfopt", "recipes", *words]
        return subprocess.run(
            words, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(site), "HOME": str(tmp_path)}
        )

    listed = installed().stdout.splitlines()[1:]
    assert [line.split()[0] for line in listed] == sorted(path.stem for path in (ROOT / "recipes").glob("*.py"))
    shown = installed("run", "dropout", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "usage: dropout.py" in shown.stdout
    missed = installed("run", "dropuot")
    assert missed.returncode == 2
    assert "Did you mean 'dropout'?" in missed.stderr
