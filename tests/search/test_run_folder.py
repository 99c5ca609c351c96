import os
import random

import pytest

from tfopt._files import replace
from tfopt.data.files import files_of
from tfopt.errors import UserError
from tfopt.search.config import SearchConfig
from tfopt.search.run_folder import check_existing, check_new, create, locked, refuse_links
from tfopt.search.saved import choose_model


def test_new_and_empty_folders_are_taken_and_nothing_is_created(tmp_path):
    (tmp_path / "empty").mkdir()
    assert check_new(tmp_path / "empty") == tmp_path / "empty"
    assert check_new(tmp_path / "a/b") == tmp_path / "a/b"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]


def test_a_run_is_replaced_only_when_asked(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"holds a run. Continue it: tfopt search --resume .* --overwrite"):
        check_new(tmp_path)
    check_new(tmp_path, overwrite=True)


def test_what_is_no_run_is_never_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"holds files but no run"):
            check_new(tmp_path, overwrite)


def test_files_and_places_without_permission(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"is a file. Name a folder"):
        check_new(tmp_path / "file")
    with pytest.raises(UserError, match=r"cannot be created: .*file is a file"):
        check_new(tmp_path / "file" / "run")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(UserError, match=r"no permission in"):
        check_new(tmp_path / "a" / "b")


def test_existing_run(tmp_path):
    run = tmp_path / "digits__0"
    (tmp_path / "digits__1.csv").touch()  # no folder
    with pytest.raises(UserError, match=r"no run folder .*digits__1\. `tfopt search"):
        check_existing(tmp_path / "digits__1")
    run.mkdir()
    with pytest.raises(UserError, match=r"Did you mean '.*digits__0'"):
        check_existing(tmp_path / "digits__1")
    with pytest.raises(UserError, match=r"holds no config.json"):
        check_existing(run)
    (run / "config.json").write_text("{}")
    assert check_existing(run) == run
    with pytest.raises(UserError, match=r"has no result.json: .* tfopt search --resume"):
        check_existing(run, "result.json")
    with pytest.raises(UserError, match=r"is a file, not a run folder"):
        check_existing(run / "config.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
@pytest.mark.parametrize("name", ["config.json", "trials.jsonl", "models/ridge.skops", "tuner/fold-0/oracle.json"])
def test_a_pipe_in_place_of_a_file_keeps_nobody_waiting(name, tmp_path):
    folder = tmp_path / "run"
    with locked(folder):
        create(folder, SearchConfig(data="diabetes"), {})
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    for check in (refuse_links, *([] if name.startswith("tuner") else [check_existing])):
        with pytest.raises(UserError, match=rf"{name} is neither a file nor a folder"):
            check(folder)


def test_a_search_that_was_ended_before_it_began_left_nothing_in_the_way(tmp_path):
    folder = tmp_path / "run"
    with locked(check_new(folder)):
        (folder / "environment.json").write_text("{}")
    assert check_new(folder) == folder


LINKED = ["trials.jsonl", "predictions", "models/ridge.skops", "figures/scores.png", "tensorboard/fold-0/default"]


@pytest.mark.parametrize("name", LINKED)
def test_links_planted_in_a_run_lead_nowhere(name, tmp_path):
    folder, victim = tmp_path / "run", tmp_path / "victim"
    with locked(folder):
        create(folder, SearchConfig(data="diabetes"), {})
    refuse_links(folder)
    if "." in name:
        victim.write_text("mine")
    else:
        victim.mkdir()
        (victim / "thesis.tex").write_text("mine")
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(victim)
    with pytest.raises(UserError, match=r"is a link, and a search writes through none"):
        refuse_links(folder)
    with locked(folder):
        create(folder, SearchConfig(data="diabetes"), {})  # as --overwrite does
    refuse_links(folder)
    assert (victim if victim.is_file() else victim / "thesis.tex").read_text() == "mine"


def test_what_a_killed_search_had_half_written_is_removed_by_the_next_one(tmp_path):
    names = []
    replace(tmp_path / "predictions" / "a.npy", names.append)  # what `kill -9` leaves has a name of this form
    mine = [tmp_path / name for name in (".0123456789abcdef", "0123456789abcdef-a", ".a-b", ".0123456789ABCDEF-a")]
    for path in (*names, *mine):
        path.touch()
        os.utime(path, (0, 0))
    with locked(tmp_path):
        now = tmp_path / ".0123456789abcdef-report.html"  # another process is at it
        now.touch()
        os.utime(now, (2**33, 2**33))
    assert not names[0].exists()
    assert all(path.exists() for path in (now, *mine))


def test_a_lock_is_not_made_through_a_link(tmp_path):
    folder, victim = tmp_path / "run", tmp_path / "victim"
    folder.mkdir()
    (folder / ".lock").symlink_to(victim)
    with pytest.raises(UserError, match=r"cannot be written"), locked(folder):
        pass
    assert not victim.exists()


def test_what_is_read_of_a_folder_does_not_depend_on_the_order_of_its_entries(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    for name in ("a", "B", "b", "ridge", "lasso"):
        for place in (f"models/{name}.skops", f"tables/{name}.csv"):
            (tmp_path / place).parent.mkdir(exist_ok=True)
            (tmp_path / place).write_text("")
    for name in ("RUNS", "runs"):  # not told apart by what is asked for below
        (tmp_path / name).mkdir(exist_ok=True)
    listdir, scandir = os.listdir, os.scandir

    class Shuffled(list):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def __next__(self):
            if not self:
                raise StopIteration
            return self.pop()

    def told(seed):
        order = random.Random(seed)
        monkeypatch.setattr(os, "listdir", lambda *path: order.sample(found := listdir(*path), len(found)))
        monkeypatch.setattr(os, "scandir", lambda *path: Shuffled(order.sample(found := [*scandir(*path)], len(found))))
        with pytest.raises(UserError) as missing_model:
            choose_model(tmp_path, "rigde")
        with pytest.raises(UserError) as missing_run:
            check_existing(tmp_path / "Runs")
        return str(missing_model.value), str(missing_run.value), files_of(str(tmp_path / "tables"))

    assert len({repr(told(seed)) for seed in range(20)}) == 1
