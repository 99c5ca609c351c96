"""Everything that a search can be asked for, as plain values: the one home of every default."""

import math
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tfopt.data.column import TOLD_KINDS
from tfopt.data.unpacking import MAX_UNPACKED
from tfopt.data.user_file import names_python
from tfopt.errors import UserError, nearest
from tfopt.training import BACKENDS, ENGINES

TASKS = ("auto", "regression", "classification")
HEADERS = ("auto", "yes", "no")
TABLE_SPACES = ("default", "small", "mlp", "realmlp", "tabm", "portfolio", "wide")
KINDS = {"cnn": "image", "sequence": "sequence", "text": "text"}  # of examples, by the space that takes them
SPACES = (*TABLE_SPACES, *KINDS)
TUNERS = ("random", "grid", "bayesian", "hyperband")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
TARGET_SCALINGS = ("standard", "none")
STREAMS = ("auto", "yes", "no")
DUPLICATES = ("together", "anywhere")
CLASS_WEIGHTS = ("none", "balanced")

# Configurations that a random or Bayesian search tries unless it is told otherwise.
DEFAULT_TRIALS = 16

# What `data` is where the table was given in Python, and how `space` begins where a function was.
GIVEN_TABLE = "<table>"
GIVEN_SPACE = "<function "

# What may differ between a search and its resumption: none of it changes a trial's result.
RESUMABLE = frozenset((
    "data", "time_limit", "trial_timeout", "workers", "backend", "address", "memory", "device", "max_unpacked", "out",
    "overwrite", "resume", "track",
))  # fmt: skip

_CHOICES = {
    "task": TASKS, "header": HEADERS, "tuner": TUNERS, "precision": PRECISIONS, "target_scaling": TARGET_SCALINGS,
    "engine": ENGINES, "stream": STREAMS, "duplicates": DUPLICATES, "class_weight": CLASS_WEIGHTS, "backend": BACKENDS,
}  # fmt: skip
# The smallest value of each whole number.
_LEAST = {
    "max_trials": 1, "epochs": 1, "folds": 2, "inner_folds": 2, "repeats": 1, "seeds": 1, "ensemble": 0, "patience": 0,
    "seed": 0, "workers": 1, "memory": 1, "max_unpacked": 1, "sample": 50, "window": 1, "horizon": 1,
}  # fmt: skip


@dataclass(frozen=True)
class SearchConfig:
    """All settings of a search, with their defaults.

    Args:
        data: Name of an embedded data set, `openml:NAME`, `keras:NAME`, a file, several with commas between, a
            pattern of files, a folder, `-` for standard input, or `PATH.py:function` that returns arrays of any shape.
        target: Target columns; empty for the last column.
        task: `"auto"`, `"regression"` or `"classification"`.
        drop: Columns to leave out.
        group: Column whose rows must stay in the same fold.
        weights: Column of example weights.
        time: Column of dates or numbers that orders the rows: folds learn from the past and are scored on what follows.
        gap: Least time between a training row and its test part, such as `"7d"` (dates; days if no unit is given) or
            `"2.5"`; None for none.
        duplicates: `"together"` keeps copies of a row in one fold, `"anywhere"` does not.
        class_weight: `"balanced"` gives each class the same weight in training, `"none"` each row.
        column: What columns are, where the guess would be wrong: `NAME=KIND`, a kind of `tfopt.data.column.TOLD_KINDS`.
        header: Whether the first line holds names: `"auto"`, `"yes"` or `"no"`.
        encoding: Text encoding of the file, or `"auto"`.
        separator: Field separator of the file, or `"auto"`.
        max_unpacked: Bytes that a compressed file may unpack to.
        stream: Whether the files are read in blocks, `"yes"` or `"no"`, so that they need not fit into memory: a sample
            is searched, and the network that is chosen is trained on all rows. `"auto"`: where memory is too little.
        sample: Rows that are searched where the files are read in blocks, and at most so many to test by.
        as_image: Whether `digits`, or the inputs of an NPZ file, are images in their own shape.
        image_column: Column of a table that names images, relative to its file; they alone are learned from.
        text_column: Column of a table that holds texts; they alone are learned from.
        image_size: What the images of a folder are resized to, `"64"` or `"48x64"`; None for the commonest size.
        window: Rows of a time series that are one example, from which the target `horizon` rows later is forecast; None
            for rows that are examples themselves.
        horizon: Rows from the last one of a window to the target.
        space: `"default"`, `"small"`, `"mlp"`, `"realmlp"`, `"tabm"`, `"portfolio"` or `"wide"` for tables, `"cnn"`,
            `"sequence"` or `"text"`, or `"PATH.py:function"`. The default is `"portfolio"`, or what takes the examples.
        backbone: File of a network that was trained before, `.keras`, or `.weights.h5` of one of `keras.applications`;
            space `cnn` trains what follows it.
        tuner: `"random"`, `"grid"`, `"bayesian"` or `"hyperband"`.
        max_trials: Configurations tried for the network in each outer fold, the space's default among them; None for
            16 (random, Bayesian), the whole grid, or as many as Hyperband's brackets hold.
        tries: Configurations tried first, such as `"units=64 dropout=0.2"`; what they do not name has its default.
        like: Run folder of an earlier search, whose best configurations are tried first.
        epochs: Passes over the training rows in each fit; None for a number that falls with the table's size.
        time_limit: Wall seconds for baselines, trials and refits together; None for no limit.
        trial_timeout: Seconds that a fit of a trial may take, its build included, before the trial fails; None for any.
        patience: Epochs without a better validation loss after which a trial's training ends; 0 never.
        folds: Outer folds, each scored once for every model.
        inner_folds: Inner folds that choose hyperparameters inside each outer training part.
        repeats: Times that the outer folds are drawn.
        holdout: Fraction of the rows held out instead of outer folds; None for folds.
        seed: Seed of folds, configurations and weights.
        seeds: Refits of the chosen network, each with its own seed.
        ensemble: Most configurations in the ensemble over trials; 0 for none.
        objective: Metric that chooses and scores; None for R² in regression, accuracy in classification.
        rope: Half-width of the region of practical equivalence, in units of the objective; None for 0.01.
        target_scaling: `"standard"` or `"none"`, for regression targets of the network.
        baselines: `"fast"`, `"all"`, `"none"`, or comma-separated names.
        baseline: Baselines of the user's own, each `"PATH.py:function"`.
        engine: `"auto"`, `"population"`, `"shared"` or `"plain"`: how fits are computed; the results are the same up to
            rounding.
        memory: Bytes that fits trained together may take; None for a quarter of what is free.
        workers: Processes that train networks and baselines, the one that searches among them; None for one a core, or
            all that a cluster has. The results are the same.
        backend: `"loky"` (processes of this machine), `"ray"` or `"dask"`.
        address: Where the cluster of Ray or Dask is.
        device: `"auto"`, `"cpu"`, `"gpu"`, `"gpu:N"` or `"gpu:N,M"`; of several GPUs each has a worker of its own.
        precision: Keras dtype policy.
        deterministic: Whether TensorFlow must use reproducible kernels only.
        out: Run folder; None for a new one under `runs/`.
        overwrite: Whether an existing run folder may be replaced.
        resume: Run folder of an interrupted search to continue.
        track: `"mlflow"` or `"mlflow:URI"`: where the search is logged to, beside its run folder.

    Example:
        ```python
        config = tfopt.search.SearchConfig(data="diabetes", tuner="bayesian", max_trials=8)
        print(config.validate().folds)  # 5
        ```
    """

    data: str = ""
    target: tuple[str, ...] = ()
    task: str = "auto"
    drop: tuple[str, ...] = ()
    group: str | None = None
    weights: str | None = None
    time: str | None = None
    gap: str | None = None
    duplicates: str = "together"
    class_weight: str = "none"
    column: tuple[str, ...] = ()
    header: str = "auto"
    encoding: str = "auto"
    separator: str = "auto"
    max_unpacked: int = MAX_UNPACKED
    stream: str = "auto"
    sample: int = 20_000
    as_image: bool = False
    image_column: str | None = None
    text_column: str | None = None
    image_size: str | None = None
    window: int | None = None
    horizon: int = 1
    space: str = "default"
    backbone: str | None = None
    tuner: str = "random"
    max_trials: int | None = None
    tries: tuple[str, ...] = ()
    like: str | None = None
    epochs: int | None = None
    time_limit: float | None = None
    trial_timeout: float | None = None
    patience: int = 0
    folds: int = 5
    inner_folds: int = 3
    repeats: int = 1
    holdout: float | None = None
    seed: int = 0
    seeds: int = 3
    ensemble: int = 6
    objective: str | None = None
    rope: float | None = None
    target_scaling: str = "standard"
    baselines: str = "fast"
    baseline: tuple[str, ...] = ()
    engine: str = "auto"
    memory: int | None = None
    workers: int | None = None
    backend: str = "loky"
    address: str | None = None
    device: str = "auto"
    precision: str = "float32"
    deterministic: bool = False
    out: str | None = None
    overwrite: bool = False
    resume: str | None = None
    track: str | None = None

    def validate(self) -> "SearchConfig":
        """Return self, or raise `UserError` for the first value that no search can use."""
        if not self.data:
            raise UserError(
                "no data named. Give an embedded set (diabetes, digits, wine, …) or a file: `tfopt search diabetes`."
            )
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                known = ", ".join(choices)
                raise UserError(f"{_flag(name)} must be one of {known}. Received: {value}.{nearest(value, choices)}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is None and getattr(SearchConfig, name) is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise UserError(f"{_flag(name)} must be a whole number. Received: {value!r}.")
            if value < least:
                raise UserError(f"{_flag(name)} must be at least {least}. Received: {value}.")
        if self.seed >= 2**32:
            raise UserError(f"--seed must be below 2**32. Received: {self.seed}.")
        for name in ("time_limit", "trial_timeout"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise UserError(f"{_flag(name)} must be above 0 seconds. Received: {value:g}.")
        if self.holdout is not None and not 0 < self.holdout < 1:
            raise UserError(f"--holdout must be a fraction between 0 and 1, such as 0.2. Received: {self.holdout:g}.")
        if self.holdout is not None and self.repeats > 1:
            raise UserError(
                f"--holdout draws one split, so --repeats {self.repeats} does not go with it. Leave one out."
            )
        if self.time is not None and self.repeats > 1:
            raise UserError(
                f"folds in time are drawn one way only, so --repeats {self.repeats} does not go with --time. "
                "Leave one out."
            )
        _validate_window(self)
        if self.gap is not None and self.time is None:
            raise UserError(f"--gap {self.gap} is a gap in time. Name the column of times with --time.")
        if self.rope is not None and not (self.rope >= 0 and math.isfinite(self.rope)):
            raise UserError(f"--rope must be 0 or more, in units of the objective. Received: {self.rope:g}.")
        _validate_space(self.space)
        if self.backbone is not None and not self.backbone.endswith((".keras", ".weights.h5")):
            raise UserError(f"--backbone must be a .keras or a .weights.h5 file. Received: {self.backbone}.")
        for source in self.baseline:
            if not names_python(source):
                raise UserError(f"--baseline takes PATH.py:function. Received: {source}.")
        if self.backend == "loky" and self.address is not None:
            raise UserError("--address says where a cluster is, so it needs --backend ray or --backend dask.")
        if self.backend != "loky" and self.address is None:
            raise UserError(f"--backend {self.backend} needs a running cluster. Give its --address, such as HOST:PORT.")
        _validate_device(self.device)
        _validate_columns(self)
        if self.stream == "yes" and (flag := self.unstreamed):
            raise UserError(f"{flag} needs the whole table, and --stream reads it in blocks. Leave one of the two out.")
        if self.image_column is not None and self.text_column is not None:
            raise UserError("--image-column and --text-column do not go together. Give one of the two.")
        self.column_kinds()
        if self.track is not None:
            tracking_uri(self.track)
        if self.resume is not None and self.overwrite:
            raise UserError("--resume continues a run folder and --overwrite replaces it. Give one of the two.")
        return self

    @property
    def unstreamed(self) -> str:
        """The flag of a setting that does not go with data in blocks; empty if there is none."""
        whole = ("time", "group", "weights", "window", "image_column", "text_column", "as_image", "holdout")
        given = [name for name in whole if getattr(self, name)] + ["repeats"] * (self.repeats > 1)
        return _flag(given[0]) if given else ""

    def column_kinds(self) -> dict[str, str]:
        """Return what `column` says, by the columns' names."""
        kinds = {}
        for word in self.column:
            name, _, kind = word.rpartition("=")
            if not name or kind not in TOLD_KINDS:
                raise UserError(
                    f"--column takes NAME=KIND, with a kind of {', '.join(TOLD_KINDS)}. Received: {word}."
                    f"{nearest(kind, TOLD_KINDS)}"
                )
            kinds[name] = kind
        return kinds

    def to_dict(self) -> dict[str, Any]:
        """Return every value, JSON-safe, in the order of the fields."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SearchConfig":
        """Return the configuration that `to_dict` gave; an unknown key is a `UserError`."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise UserError(f"unknown setting {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")
        plain: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in values.items()}
        return cls(**plain)


def default_run_folder(config: SearchConfig) -> Path:
    """Return the folder for a new run of `config`: `runs/<data>__<seed>__<local time>`."""
    stem = Path(config.data if names_python(config.data) else config.data.replace(":", "-")).name.split(".")[0]
    word = re.sub(r"[^\w-]+", "-", stem)[:60].strip("-") or "data"
    return Path("runs") / f"{word}__{config.seed}__{time.strftime('%Y%m%d-%H%M%S')}"


def tracking_uri(track: str) -> str:
    """Return MLflow's tracking URI of `--track`; empty for MLflow's own default.

    Raises:
        UserError: It names something else.
    """
    tool, _, uri = track.partition(":")
    if tool != "mlflow":
        raise UserError(f"--track must be mlflow or mlflow:URI. Received: {track}.{nearest(tool, ['mlflow'])}")
    return uri


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _validate_space(space: str) -> None:
    if space in SPACES or space.startswith(GIVEN_SPACE):
        return
    path, _, function = space.rpartition(":")
    if path.endswith(".py") and function:
        return
    if space.endswith((".py", ".py:")):
        raise UserError(
            f"--space {space} does not name a function. Write {space.rstrip(':')}:build for its function `build(hp)`."
        )
    raise UserError(
        f"--space must be one of {', '.join(SPACES)}, or PATH.py:function. Received: {space}.{nearest(space, SPACES)}"
    )


def _validate_window(config: SearchConfig) -> None:
    if config.window is None:
        if config.horizon != 1:
            raise UserError(f"--horizon {config.horizon} is for windows of a time series. Give their --window too.")
        return
    if config.task == "classification":
        raise UserError("--window forecasts numbers, so --task classification does not go with it. Leave one out.")
    if config.repeats > 1:
        raise UserError(f"folds go forward in time with --window, so --repeats {config.repeats} does not go with it.")
    for name, why in (
        ("gap", "the gap before a test part is the --horizon"),
        ("group", "windows are cut out of one series"),
        ("image_column", "windows hold numbers"),
        ("text_column", "windows hold numbers"),
        ("as_image", "windows hold numbers"),
    ):
        if getattr(config, name):
            raise UserError(f"{_flag(name)} does not go with --window: {why}. Leave one out.")


def _validate_device(device: str) -> None:
    if not re.fullmatch(r"auto|cpu|gpu(:\d+(,\d+)*)?", device):
        hint = nearest(device, ("auto", "cpu", "gpu"))
        raise UserError(f"--device must be auto, cpu, gpu, gpu:N or gpu:N,M. Received: {device}.{hint}")


def _validate_columns(config: SearchConfig) -> None:
    roles: dict[str, str] = {}
    named: list[tuple[str, Iterable[str]]] = [
        ("--target", config.target),
        ("--drop", config.drop),
        ("--group", (config.group,) if config.group else ()),
        ("--weights", (config.weights,) if config.weights else ()),
        # A time may be dropped: it then orders the rows and is no feature.
        ("--time", (config.time,) if config.time and config.time not in config.drop else ()),
    ]
    for flag, names in named:
        for name in names:
            if name in roles:
                what = f"twice in {flag}" if roles[name] == flag else f"both in {roles[name]} and in {flag}"
                raise UserError(f"column {name!r} is named {what}. Name it once.")
            roles[name] = flag
