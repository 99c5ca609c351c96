"""A search cut off at any change of its files goes on to the same leaderboard: killed, without power, disk full.

`python -m pytest tests/attacks/test_every_file_event.py --hypothesis-profile long` draws hundreds of the states and
events, others each time, and says the seed that draws them again (`STATES_SEED=…`); the suite draws a few.
"""

import errno
import json
import os
import random
import shutil
import stat
import sys
from pathlib import Path

import pytest

from tfopt.cli import main

pytestmark = pytest.mark.slow
if sys.platform != "linux":
    pytest.skip("this system has no /proc, in which open files are looked up", allow_module_level=True)


class Disk:
    """What is below a folder now, and of it what would be there after a power cut.

    A file's content survives that was there when it was synced, a name that its folder had when that was synced.
    """

    def __init__(self, root):
        self.root, self.names, self.content = Path(root), {}, {}

    def synced(self, descriptor):
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            entries = os.listdir(descriptor)
            inodes = {name: os.stat(name, dir_fd=descriptor, follow_symlinks=False) for name in entries}
            self.names[found.st_ino] = {n: (s.st_ino, stat.S_ISDIR(s.st_mode)) for n, s in inodes.items()}
        else:
            self.content[found.st_ino] = Path(f"/proc/self/fd/{descriptor}").read_bytes()

    def gone(self, path, dir_fd=None):
        """Forget what is removed: its number may be given to another file."""
        try:
            inode = os.stat(path, dir_fd=dir_fd, follow_symlinks=False).st_ino
        except OSError:
            return
        self.content.pop(inode, None)

    def now(self):
        """Return what a killed process leaves: all that it has written."""
        return {
            path.relative_to(self.root).as_posix(): path.read_bytes() if path.is_file() else None
            for path in sorted(self.root.rglob("*"))
        }

    def strict(self):
        """Return what was synced, and nothing else."""
        tree = {}

        def walk(inode, prefix):
            for name, (below, is_folder) in self.names.get(inode, {}).items():
                tree[prefix + name] = None if is_folder else self.content.get(below, b"")
                if is_folder:
                    walk(below, f"{prefix}{name}/")

        walk(self.root.stat().st_ino, "")
        return tree

    def names_first(self, share):
        """Return all names as they are, files that were not synced with a share of their content: empty or half."""
        tree = {}
        for name, content in self.now().items():
            if content is not None:
                safe = self.content.get((self.root / name).stat().st_ino, b"")
                length = len(safe) if content.startswith(safe) else 0
                content = content[: length + int(share * (len(content) - length))]
            tree[name] = content
        return tree


def put(tree, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in tree.items():
        if content is None:
            (folder / name).mkdir(parents=True, exist_ok=True)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


@pytest.fixture
def recorded(config, found, file_events, monkeypatch, tmp_path):
    """Return what a whole search found, and each different state of the disk on the way with its event and kind."""

    def record(**changes):
        root = tmp_path / "disk"
        root.mkdir()
        disk, states, seen = Disk(root), [], set()
        real_sync, real_remove, real_replace = os.fsync, os.unlink, os.replace

        def look(event, path):
            kinds = {"killed": disk.now(), "cut": disk.strict(), "empty": disk.names_first(0)}
            kinds["half"] = disk.names_first(0.5)
            for kind, tree in kinds.items():
                identity = hash(frozenset(tree.items()))
                if identity not in seen:
                    seen.add(identity)
                    states.append((f"{kind} before {event} {Path(path).name}", tree, promised(disk.now())))

        def sync(descriptor):
            real_sync(descriptor)
            disk.synced(descriptor)

        def remove(path, *, dir_fd=None):
            disk.gone(path, dir_fd)
            real_remove(path, dir_fd=dir_fd)

        def move(source, target):
            disk.gone(target)
            real_replace(source, target)

        monkeypatch.setattr(os, "fsync", sync)
        monkeypatch.setattr(os, "unlink", remove)
        monkeypatch.setattr(os, "replace", move)
        events = file_events(root, look)
        result = found(config(root / "run", **changes))
        events.watching = None
        monkeypatch.undo()
        return result, states

    return record


def promised(tree):
    """Whether the journal holds finished work."""
    return bool(tree.get("run/trials.jsonl"))


LONG = 60  # states of each tuner, and events: a search or two of 3 s each


def drawn(long):
    """Return a generator: the same in each run of the suite, another one in each long run, which says its seed."""
    seed = int(os.environ.get("STATES_SEED") or random.SystemRandom().randrange(10**6)) if long else 0
    print(f"STATES_SEED={seed}", file=sys.stderr)
    return random.Random(seed)


TUNERS = {"random": {}, "bayesian": {"max_trials": 4}, "hyperband": {"max_trials": None, "epochs": 4}}


@pytest.mark.long("bayesian", "hyperband")
@pytest.mark.parametrize("tuner", TUNERS)
def test_a_search_that_was_killed_or_lost_its_power_goes_on_to_the_same_board(
    tuner, recorded, config, found, tmp_path, long
):
    changes = {"tuner": tuner, **TUNERS[tuner]}
    expected, states = recorded(**changes)
    assert len(states) > 100
    drawn(long).shuffle(states)
    chosen = states[: LONG if long else 1]
    for what, tree, has_work in chosen:
        folder = tmp_path / "again"
        put(tree, folder)
        out = folder / "run"
        can_resume = (out / "config.json").exists()
        assert can_resume or not has_work, what
        assert found(config(out, resume=str(out) if can_resume else None, **changes)) == expected, what


@pytest.mark.long
def test_a_disk_that_is_full_is_said_and_the_search_goes_on_once_there_is_space(
    config, found, file_events, tmp_path, long, capsys
):
    words = [f"--{name.replace('_', '-')}" for name in ("space", "max_trials", "epochs", "folds", "inner_folds")]
    values = config("x")
    given = [str(getattr(values, name)) for name in ("space", "max_trials", "epochs", "folds", "inner_folds")]
    command = ["search", values.data, *(w for pair in zip(words, given, strict=True) for w in pair)]
    command += ["--seeds", "2", "--baselines", "dummy,ridge", "--workers", "1", "--format", "json"]
    count = 0

    def counted(event, path):
        nonlocal count
        count += 1

    file_events(tmp_path, counted)
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    whole, total = capsys.readouterr().out, count
    assert total > 30
    for place in sorted(drawn(long).sample(range(total), min(LONG, total))) if long else (3, total // 2):
        out = tmp_path / f"run-{place}"
        count = 0

        def full(event, path, place=place):
            nonlocal count
            count += 1
            if count > place:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

        events = file_events(tmp_path, full)
        code, captured = main([*command, "--out", str(out)]), capsys.readouterr()
        events.watching = None
        assert (code, captured.out) == (2, ""), (place, captured.err)
        error = captured.err.splitlines()[-1]
        assert error.startswith("error: "), place
        assert "No space left" in error, (place, error)
        again = ["search", "--resume", str(out), "--format", "json"] if (out / "config.json").exists() else None
        if again:
            assert f"tfopt search --resume {out}" in error, (place, error)
        assert main(again or [*command, "--out", str(out)]) == 0, place
        assert board(capsys.readouterr().out) == board(whole), place


def board(text):
    return [(row["model"], row["score"], row["low"]) for row in json.loads(text)["leaderboard"]]
