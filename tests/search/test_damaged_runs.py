"""What a damaged run folder does: whatever a command needs and cannot read is one line, with the file and a remedy."""

import json
import random
import shutil

import pytest

from tfopt.cli import main
from tfopt.errors import UserError
from tfopt.report import load_run
from tfopt.search.result import load
from tfopt.search.saved import read_importance, read_oof
from tfopt.search.session import run


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of a whole run, for a test to damage."""
    return shutil.copytree(whole.run_folder, tmp_path / "run")


@pytest.fixture
def tfopt(capsys):
    """Run `tfopt` here; return its exit code, standard output and standard error."""

    def call(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def damages(content):
    yield from (b"", content[: len(content) // 2], b"{}", b"[]", b"null", b"[" * 9999, random.Random(1).randbytes(300))


def damage_each(path):
    """Damage a file in each way, the last as a folder in its place."""
    content = path.read_bytes()
    for damage in damages(content):
        path.write_bytes(damage)
        yield damage
    path.unlink()
    path.mkdir()
    yield "folder"
    path.rmdir()
    path.write_bytes(content)


COMMANDS = {
    "config.json": ("predict", "show --code", "report --format md"),
    "environment.json": ("predict", "show --code", "report --format md"),
    "result.json": ("predict", "show", "report --format md"),
    "models/ridge.skops": ("predict", "show --code"),
    "best.keras": ("predict --model network",),
    "ensemble.keras": ("predict --model ensemble",),
    "predictions.npz": ("predict --interval 0.8",),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_name_the_damaged_file_and_a_remedy(name, folder, tfopt, table_path):
    for damage in damage_each(folder / name):
        for command in COMMANDS[name]:
            verb, *options = command.split()
            if damage == b"{}" and name in ("config.json", "environment.json") and "--code" not in options:
                continue  # as of a run that has just begun
            code, out, err = tfopt(verb, folder, *([table_path] if verb == "predict" else []), *options)
            assert (code, out, err.count("\n")) == (2, "", 1), (damage, command, err)
            assert err.startswith(f"error: {folder / name} is damaged ("), (damage, command)
            assert "Restore it, or start a new search" in err or f"tfopt search --resume {folder}" in err
            assert "pickle" not in err


def test_python_reads_no_damaged_file(folder):
    readers = {
        "config.json": load,
        "environment.json": lambda run: load(run).model() if load(run).classes is not None else None,
        "result.json": load,
        "importance.json": read_importance,
        "predictions.npz": read_oof,
    }
    for name, read in readers.items():
        for damage in damage_each(folder / name):
            if damage == b"{}" and name in ("config.json", "environment.json"):
                continue
            with pytest.raises(UserError, match=f"{name} is damaged"):
                read(folder)


def every_place(value, path=()):
    for key, item in value.items() if isinstance(value, dict) else enumerate(value[:1]):
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from every_place(item, (*path, key))


def with_change(value, path, change):
    copy = json.loads(json.dumps(value))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    if change == "removed":
        del inner[path[-1]]
    else:
        inner[path[-1]] = change
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("name", ["config.json", "environment.json", "result.json"])
@pytest.mark.parametrize("change", ["removed", None, 7, "x", [1], {"a": [1]}])
def test_json_with_a_value_missing_or_of_another_kind_is_read_or_refused(name, change, folder, tfopt):
    held = json.loads((folder / name).read_text(encoding="utf-8"))
    commands = [["report", folder, "--format", "md"], *([["show", folder]] if name == "result.json" else [])]
    codes = set()
    for path in every_place(held):
        (folder / name).write_text(json.dumps(with_change(held, path, change)), encoding="utf-8")
        for words in commands:
            code, _, err = tfopt(*words)
            codes.add(code)
            assert code == 0 or (code == 2 and err.count("\n") == 1 and name in err), (path, words, err)
    assert 2 in codes or change == "removed"


@pytest.mark.parametrize("change", ["removed", None, 7, "x", [1], {"a": [1]}])
def test_importances_of_another_form_are_refused_before_they_are_drawn(change, folder):
    held = json.loads((folder / "importance.json").read_text(encoding="utf-8"))
    for path in (
        ("columns",),
        ("columns", 0),
        ("columns", 0, "column"),
        ("models",),
        ("effects", 0, "values"),
        ("effects",),
    ):
        (folder / "importance.json").write_text(json.dumps(with_change(held, path, change)), encoding="utf-8")
        if (path[-1] == "column" and change == "x") or (path[-1] == 0 and change == "removed"):
            continue  # of the right form
        with pytest.raises(UserError, match=r"importance\.json is damaged"):
            read_importance(folder)


def resumed(configure, folder):
    """Resume the run in a folder; return its result without what differs from time to time, and what it chose."""
    result = run(configure(folder, resume=str(folder))).result
    kept = {
        name: value for name, value in result.items() if name not in ("seconds", "run_folder", "leaderboard", "engines")
    }
    scores = {row["model"]: (row["score"], row["low"], row["high"], row["p_value"]) for row in result["leaderboard"]}
    return kept, scores, load_run(folder).best_trials()


@pytest.mark.slow
def test_damaged_lines_and_predictions_are_done_again_with_a_warning(whole, folder, configure, caplog):
    path = folder / "trials.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = [
        next(place for place, line in enumerate(lines) if f'"{kind}"'.encode() in line)
        for kind in ("trial", "baseline")
    ]
    for place in damaged:
        lines[place] = lines[place][:40] + b"\x00" + lines[place][41:]
    path.write_bytes(b"".join(lines))
    assert len(load_run(folder).records) == len(lines) - 2
    assert "trials.jsonl: lines " in caplog.text
    first, second = folder / "predictions" / "ridge-fold-1.npy", next((folder / "predictions").glob("network-fold-1*"))
    first.write_bytes(first.read_bytes()[:-8])
    second.unlink()
    made = [*COMMANDS.keys() - {"config.json", "environment.json"}, "importance.json", "leaderboard.csv"]
    for name in made:
        (folder / name).unlink()
    found = resumed(configure, folder)
    assert all((folder / name).stat().st_size for name in made)
    assert f"{first} is missing or damaged, so what it came from is done again." in caplog.text
    assert f"{second} is missing" in caplog.text
    assert found == resumed(configure, shutil.copytree(whole.run_folder, folder.parent / "other"))


@pytest.mark.slow
def test_of_trials_that_tie_the_first_proposed_wins_whatever_the_order_of_the_lines(folder, configure):
    records = [json.loads(line) for line in (folder / "trials.jsonl").read_text(encoding="utf-8").splitlines()]
    kept = [{**r, "score": 0.5} if r["kind"] == "trial" else r for r in records if r["kind"] in ("trial", "baseline")]
    found = []
    for ordered in (kept, kept[::-1]):
        other = shutil.copytree(folder, folder.parent / f"run{len(found)}")
        (other / "trials.jsonl").write_text("".join(json.dumps(record) + "\n" for record in ordered), encoding="utf-8")
        found.append(resumed(configure, other))
    assert found[0] == found[1]
    assert {trial["trial_id"] for trial in found[0][2] if trial["fold"] != "final"} == {"default"}
