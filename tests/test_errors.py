import errno
import os
import shlex
import tempfile
from pathlib import Path

import pytest

from tfopt._files import write_text
from tfopt._words import names
from tfopt.cli.parser import Parser
from tfopt.cli.settings import add_options, from_flags
from tfopt.errors import command, nearest, no_memory, of_system, one_line, with_name
from tfopt.search.config import SearchConfig
from tfopt.search.options import OPTIONS


def test_the_nearest_choice_is_named_when_one_is_close():
    assert nearest("rigde", ["ridge", "lasso"]) == " Did you mean 'ridge'?"
    assert nearest("Y", ["x", "y"]) == " Did you mean 'y'?", "short names that differ in case only"
    assert nearest("xyz", ["ridge", "lasso"]) == ""
    assert nearest("--trails", ["--max-trials", "--task"]) == " Did you mean '--max-trials'?", "a word of the name"
    assert nearest("--taks", ["--max-trials", "--task"]) == " Did you mean '--task'?"


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (ValueError("too few"), "ValueError: too few"),
        ("ValueError: too few\n", "ValueError: too few"),
        (
            "InternalError: Graph execution error:\n\n  File …\nout of memory\n",
            "InternalError: Graph execution error: … out of memory",
        ),
        ("", "no reason was recorded"),
        (
            "ValueError: Exception encountered when calling Own.call().\n\n\x1b[1mtoo few\x1b[0m\n\n"
            "Arguments received by Own.call():\n  • x=1",
            "ValueError: Exception encountered when calling Own.call(). … too few",
        ),
    ],
)
def test_a_failure_is_told_in_one_line(failure, text):
    assert one_line(failure) == text


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (errno.ENOSPC, "run/best.keras: No space left on device. Free some space, then resume"),
        (errno.EFBIG, "run/best.keras: File too large. Raise the limit on the size of files (ulimit -f), then resume"),
        (errno.EROFS, "run/best.keras: Read-only file system. Name a place that can be written, then resume"),
        (errno.ENOENT, "run/best.keras: No such file or directory. Check that the place is there and can be written, "),
    ],
)
def test_what_the_system_refuses_names_the_file_and_a_remedy(code, told, tmp_path, monkeypatch):
    def refuse(source, place):
        raise OSError(code, os.strerror(code), source, None, place)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError) as caught:  # any code
        write_text(Path("run/best.keras"), "x")
    assert str(of_system(caught.value, "resume")).startswith(told)


def test_no_place_for_temporary_files(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(FileNotFoundError) as caught:
        tempfile.gettempdir()
    assert str(of_system(caught.value)) == (
        "there is no place for temporary files. Free some space, or name a folder in TMPDIR."
    )


def test_memory_that_ran_out_is_told_from_a_library_that_is_not_there():
    loading = ImportError("libtensorflow_cc.so.2: failed to map segment from shared object")
    kernels = RuntimeError("_audio_ops.so: failed to map segment from shared object")  # NotFoundError of TensorFlow
    threads = RuntimeError("[Errno 12] Cannot allocate memory")
    assert all(map(no_memory, (loading, kernels, threads, MemoryError())))
    assert not any(map(no_memory, (ImportError("no module"), ValueError())))
    assert str(of_system(loading, "resume")).startswith("memory ran out. Free some, raise its limit (ulimit -v)")


@pytest.mark.parametrize(
    "name", ["price", "a b", "it's", "a,b", 'say "so"', '"', ' "x"', "a,b=c", "$HOME", "中文", " x "]
)
def test_a_printed_option_is_what_a_shell_gives_back(name):
    option, value = shlex.split(with_name("--drop", name))
    assert (option, names(value)) == ("--drop", (name,))
    assert names(shlex.split(with_name("--column", name, "number"))[1]) == (f"{name}=number",)


def test_a_printed_command_can_be_pasted():
    line = command("search", "--resume", Path("my runs/it's $1"))
    assert shlex.split(line) == ["tfopt", "search", "--resume", "my runs/it's $1"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a, b", ("a", "b")),
        ('"a,b",c', ("a,b", "c")),
        ('5" pipe,c', ('5" pipe', "c")),
        ('"a', ('"a',)),
        ("a,,b,", ("a", "b")),
    ],
)
def test_names_are_separated_by_commas_outside_quotes(text, expected):
    assert names(text) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [("target", ("a,b", "c")), ("header", "no"), ("overwrite", True), ("folds", 7), ("memory", 500_000_000)],
)
def test_a_settings_words_give_it_back(name, value):
    config = SearchConfig.from_dict({**SearchConfig().to_dict(), name: value})
    (option,) = [option for option in OPTIONS if option.name == name]
    parser = Parser()
    add_options(parser, "", OPTIONS[1:], SearchConfig().to_dict())
    given = from_flags(parser.parse(option.words(config.to_dict()[name])), OPTIONS)
    assert given == {name: value}
