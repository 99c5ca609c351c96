import pytest

from tfopt.cli import search
from tfopt.cli.main import verb_parser
from tfopt.cli.search import resolve
from tfopt.search.config import SearchConfig
from tfopt.search.options import OPTIONS


@pytest.fixture
def resolved():
    """Resolve the settings of `tfopt search …` under the given environment."""

    def run(*words, **environment):
        return resolve(verb_parser("search", search).parse([str(word) for word in words]), environment)

    return run


def test_without_flags_the_defaults_are_searchconfigs_own(resolved):
    assert resolved("wine") == SearchConfig(data="wine")


def test_every_field_has_its_option():
    named = {option.name for option in OPTIONS}
    assert named == set(SearchConfig().to_dict())


def test_flags_beat_environment_beats_file_beats_defaults(resolved, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('data = "iris"\nmax_trials = 1\nepochs = 1\nfolds = 7\n')
    config = resolved("--config", file, "--max-trials", 3, TFOPT_MAX_TRIALS="2", TFOPT_EPOCHS="2")
    assert (config.data, config.max_trials, config.epochs, config.folds, config.repeats) == ("iris", 3, 2, 7, 1)


def test_target_flags_add_up_and_replace_the_files(resolved, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('target = ["price, net"]\ndrop = "a,b"\n')
    assert resolved("x", "--config", file).target == ("price, net",)
    assert resolved("x", "--config", file).drop == ("a", "b")
    assert resolved("x", "--config", file, "--target", "a, b", "--target", "c").target == ("a", "b", "c")


@pytest.mark.parametrize(("text", "memory"), [("1000", 1000), ("500MB", 5e8), ("2 gb", 2e9), ("1.5TB", 1.5e12)])
def test_sizes(text, memory, resolved):
    assert resolved("x", "--memory", text).memory == memory


@pytest.mark.parametrize("text", ["much", "2 PB"])
def test_bad_sizes_show_a_good_one(text, tfopt):
    code, _, err = tfopt("search", "iris", "--memory", text)
    assert code == 2
    assert "is not a size such as 500MB or 2GB" in err


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1h", 3600), ("1h30m", 5400), ("1.5m", 90)]
)
def test_times(text, seconds, resolved):
    assert resolved("x", "--time-limit", text).time_limit == seconds
    assert resolved("x", TFOPT_TIME_LIMIT=text).time_limit == seconds


@pytest.mark.parametrize(("words", "header"), [([], "auto"), (["--header"], "yes"), (["--no-header"], "no")])
def test_header_flags(words, header, resolved):
    assert resolved("x", *words).header == header


def test_switches_from_the_environment(resolved):
    assert resolved("x", TFOPT_DETERMINISTIC="true").deterministic is True
    assert resolved("x", TFOPT_DETERMINISTIC="0").deterministic is False
    assert resolved("x", TFOPT_DETERMINISTIC="").deterministic is False


def test_printed_config_reads_back_as_the_same(tfopt, resolved, tmp_path):
    words = ["a b/房价.csv", "--target", "价格", "--drop", 'say "hi"\\', "--time-limit", "2m", "--holdout", "0.25"]
    words += ["--no-header", "--separator", "\t", "--deterministic", "--seed", "11", "--rope", "1e-3", "--workers", "1"]
    code, out, err = tfopt("search", *words, "--print-config")
    assert (code, err) == (0, "")
    file = tmp_path / "run.toml"
    file.write_text(out, encoding="utf-8")
    assert resolved("--config", file) == resolved(*words)
    assert tfopt("search", "--config", file, "--print-config")[1] == out
    # Every key is there, set or as a comment, so that the file is also the list of what can be set.
    for name in SearchConfig().to_dict():
        assert f"\n{name} = " in "\n" + out or f"\n# {name} =" in out


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        ("max_trails = 3", "unknown key 'max_trails' in {file}. Did you mean 'max_trials'?"),
        ("max_trials = 2.5", "{file}: max_trials: '2.5' is not a whole number."),
        ("max_trials = true", "{file}: max_trials takes no true or false. Received: true."),
        ('deterministic = "perhaps"', "{file}: deterministic: 'perhaps' is neither true nor false"),
        ("target = [1, 2]", "{file}: target must be a list of column names in quotes"),
        ("folds = [1, 2]", "{file}: folds must be a single value"),
        ('task = "regresion"', "Did you mean 'regression'?"),
        ("max_trials = ", "config file {file} is not TOML"),
        ("[search]\nfolds = 3", "unknown key 'search'"),
    ],
)
def test_config_file_that_cannot_be_used(toml, told, tfopt, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(toml)
    code, out, err = tfopt("search", "wine", "--config", file)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told.format(file=file) in err


def test_config_file_that_cannot_be_read(tfopt, tmp_path):
    (tmp_path / "run.toml").write_bytes("# 房价".encode("gb18030"))
    assert "Did you mean" in tfopt("search", "--config", tmp_path / "rum.toml")[2]
    assert "is not UTF-8" in tfopt("search", "--config", tmp_path / "run.toml")[2]
    assert "cannot be read" in tfopt("search", "--config", tmp_path)[2]


def test_environment_value_that_cannot_be_used_is_named(tfopt, monkeypatch):
    monkeypatch.setenv("TFOPT_FOLDS", "five")
    assert tfopt("search", "wine") == (2, "", "error: TFOPT_FOLDS: 'five' is not a whole number.\n")


def test_dashes_in_keys_and_a_byte_order_mark_are_fine(resolved, tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("\ufeffmax-trials = 3\n", encoding="utf-8")
    assert resolved("x", "--config", file).max_trials == 3
