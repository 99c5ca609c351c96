import os

import pytest

from tfopt.errors import UserError
from tfopt.search.run_folder import check_existing, check_new


def test_new_and_empty_folders_are_taken_and_nothing_is_created(tmp_path):
    (tmp_path / "empty").mkdir()
    assert check_new(tmp_path / "empty") == tmp_path / "empty"
    assert check_new(tmp_path / "a/b") == tmp_path / "a/b"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"]


def test_a_run_is_replaced_only_when_asked(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"holds a run. Continue it with --resume .* --overwrite"):
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
