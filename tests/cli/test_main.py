import signal
import sys
import types

import pytest

from tfopt.cli.main import VERBS, Terminated
from tfopt.errors import UserError

HEAVY = {"tensorflow", "keras", "keras_tuner", "sklearn", "pandas", "matplotlib", "scipy", "numpy", "rich"}


@pytest.fixture
def verb(monkeypatch):
    """Install a verb `work` whose `run` does what the test says."""

    def install(run):
        module = types.ModuleType("tfopt.cli.work")
        module.__doc__ = "Work hard.\n\nNot shown."
        module.add_arguments = lambda parser: parser.add_argument("--amount", default="little")
        module.run = run
        monkeypatch.setitem(sys.modules, "tfopt.cli.work", module)
        monkeypatch.setitem(VERBS, "work", "work hard")

    return install


def raising(error):
    def run(arguments):
        raise error

    return run


@pytest.mark.parametrize("words", [["--help"], ["--version"], *([name, "--help"] for name in VERBS)], ids=" ".join)
def test_help_imports_nothing_heavy(words, fresh_python):
    # As the console script does it: `tfopt` in argv[0], then `from tfopt.cli import main`.
    program = (
        f"import sys; sys.argv = {['/usr/bin/tfopt', *words]}\n"
        "from tfopt.cli import main\n"
        "try: code = main()\n"
        "except SystemExit as leaving: code = leaving.code\n"
        f"print(sorted({HEAVY} & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = fresh_python("-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "[]"
    assert done.stdout.startswith("tfopt 0." if words == ["--version"] else "usage: tfopt")


def test_python_m_tfopt_is_tfopt(fresh_python):
    done = fresh_python("-X", "importtime", "-m", "tfopt", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: tfopt COMMAND")
    imported = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "argparse" in imported  # the listing is what it is taken for
    assert not imported & HEAVY


def test_no_arguments_shows_how_to_begin_and_help_lists_every_command(tfopt):
    code, out, err = tfopt()
    assert (code, err) == (0, "")
    assert out.count("  tfopt ") == 4
    assert "tfopt --help" in out
    code, out, err = tfopt("--help")
    for name, summary in VERBS.items():
        assert f"{name} " in out
        assert summary in out


@pytest.mark.parametrize("name", VERBS)
def test_examples_come_before_the_options(name, tfopt):
    _, out, _ = tfopt(name, "--help")
    assert 0 < out.index("\nexamples:\n") < out.index("  -h, --help")


def test_verb_gets_its_arguments_and_its_code_is_returned(verb, tfopt):
    seen = []
    verb(lambda arguments: seen.append(arguments) or 3)
    assert tfopt("-v", "work", "--amount", "much", "--quiet")[0] == 3
    assert (seen[0].amount, seen[0].verbose, seen[0].quiet, seen[0].debug) == ("much", 1, True, False)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["serch"], "Did you mean 'search'?"),
        (["--verison"], "Did you mean '--version'?"),
        (["--debgu", "search", "diabetes"], "Did you mean '--debug'?"),
        (["search", "diabetes", "--max-trails", "3"], "Did you mean '--max-trials'?"),
        (["search", "diabetes", "--max-trails=3"], "unknown option --max-trails."),
        (["search", "diabetes", "--max-t", "3"], "unknown option --max-t."),
        (["search", "diabetes", "--task", "regresion"], "Did you mean 'regression'?"),
        (["search", "diabetes", "--format", "jsn"], "Did you mean 'json'?"),
        (["search", "diabetes", "wine"], "'diabetes,wine' is neither a file here nor an embedded data set."),
        (["search", "diabetes", "--folds"], "--folds: expected one argument."),
    ],
)
def test_usage_error_is_one_line_with_the_nearest(words, told, tfopt):
    code, out, err = tfopt(*words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert told in err
    assert err.count("\n") == 1


def test_user_error_is_one_line_even_if_its_text_is_not(verb, tfopt):
    verb(raising(UserError("no file x.\nName one.")))
    assert tfopt("work") == (2, "", "error: no file x. Name one.\n")


def test_unexpected_failure_hides_the_traceback_until_debug(verb, tfopt):
    verb(raising(RuntimeError("the disk is full\nand more")))
    message = "error: unexpected RuntimeError: the disk is full; run with --debug for the traceback\n"
    assert tfopt("work") == (1, "", message)
    code, _, err = tfopt("work", "--debug")
    assert code == 1
    assert "Traceback" in err
    assert err.endswith(message)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (
            KeyboardInterrupt("go on with: tfopt search --resume d"),
            130,
            "interrupted; go on with: tfopt search --resume d\n",
        ),
        (Terminated("go on"), 143, "terminated; go on\n"),
    ],
)
def test_interruption_ends_with_its_own_code_and_the_way_on(error, code, line, verb, tfopt):
    verb(raising(error))
    assert tfopt("work") == (code, "", line)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_a_real_process(signum, code, fresh_python):
    program = (
        "import os, signal, sys, types\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored where tests run in the background
        "sys.argv = ['tfopt', 'work']\n"
        "from tfopt.cli.main import VERBS, main\n"
        "work = types.ModuleType('tfopt.cli.work'); work.add_arguments = lambda parser: None\n"
        f"work.run = lambda arguments: os.kill(os.getpid(), {int(signum)}) or 0\n"
        "sys.modules['tfopt.cli.work'] = work; VERBS['work'] = 'work'\n"
        "sys.exit(main())"
    )
    done = fresh_python("-c", program)
    assert done.returncode == code
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


def test_reader_that_leaves_early_is_no_failure(fresh_python):
    program = (
        "import subprocess, sys\n"
        "tfopt = subprocess.Popen([sys.executable, '-m', 'tfopt', 'search', 'x', '--print-config'],\n"
        "                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)\n"
        "tfopt.stdout.close()\n"  # before it has written anything
        "print(tfopt.wait(), tfopt.stderr.read())"
    )
    done = fresh_python("-c", program)
    assert done.stdout == "141 b''\n"


def test_a_lazy_process_imports_tfopt_without_tensorflow(fresh_python, monkeypatch):
    monkeypatch.setenv("TFOPT_LAZY", "1")
    done = fresh_python("-c", "import sys, tfopt.errors; print('tensorflow' in sys.modules)")
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
