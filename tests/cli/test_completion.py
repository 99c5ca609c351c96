"""The scripts of `tfopt completion`, in the shells themselves."""

import shutil
import subprocess

import pytest

from tfopt.cli.main import VERBS


def completed(shell, script, line):
    """Return what a shell offers for a line."""
    if shell == "fish":
        program = f"complete -C '{line}' | string split -f1 \\t"
    else:
        program = (
            f"COMP_WORDS=({line!r}); IFS=' ' read -ra COMP_WORDS <<< {line + '|'!r}; "
            'COMP_WORDS[-1]="${COMP_WORDS[-1]%|}"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); '
            '_tfopt; printf "%s\\n" "${COMPREPLY[@]}"'
        )
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, "-c", f"source {script}; {program}"], capture_output=True, text=True, timeout=60)
    assert not done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_commands_options_values_and_files_are_completed(shell, tfopt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digest.csv").touch()
    script = tmp_path / "script"
    code, out, err = tfopt("completion", shell)
    assert (code, err) == (0, "")
    script.write_text(out)
    assert completed(shell, script, "tfopt ") >= set(VERBS)
    assert completed(shell, script, "tfopt search --max-tr") == {"--max-trials"}
    assert completed(shell, script, "tfopt search x --tuner h") == {"hyperband"}
    assert completed(shell, script, "tfopt search dig") == {"digits", "digest.csv"}
    assert completed(shell, script, "tfopt recipes r") == {"run", "replicate"}


def test_zsh_reads_its_script_and_has_every_command(tfopt, tmp_path):
    code, out, err = tfopt("completion", "zsh")
    assert (code, err) == (0, "")
    for verb in VERBS:
        assert f"        {verb})" in out
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    (tmp_path / "_tfopt").write_text(out)
    assert subprocess.run(["zsh", "-n", str(tmp_path / "_tfopt")], capture_output=True, text=True).stderr == ""


def test_another_shell_is_named(tfopt):
    assert tfopt("completion", "bsh")[2].startswith("error: SHELL: 'bsh' is not one of bash, zsh, fish.")
