"""The run folder: where a run may write, checked before any work is done, and what says how it came about."""

import contextlib
import hashlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfopt._files import make_folder, open_own, remove_leftovers, sync, write_json
from tfopt.devices import installed_version
from tfopt.errors import UserError, command, nearest, one_line
from tfopt.search.config import SearchConfig
from tfopt.search.shapes import FILES, misfit

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from tfopt.data.table import Table


LOCK = ".lock"
# What a run begins with, and cannot be made again from the rest.
BEGUN_WITH = ("config.json", "environment.json")


def check_new(folder: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Return `folder` as a path once it is sure that a new run can be written there. Nothing is created.

    Raises:
        UserError: It is a file, holds something already, or cannot be written.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise UserError(f"--out {path} is a file. Name a folder.")
    if path.is_dir() and any(path.iterdir()):
        begun = (path / "config.json").exists()
        if not begun and not (path / LOCK).exists():  # a search that was ended before it began leaves no more than that
            raise UserError(f"--out {path} holds files but no run (no config.json), so it is left alone. Name another.")
        if begun and not overwrite:
            raise UserError(
                f"--out {path} holds a run. Continue it: {command('search', '--resume', path)}; or replace it with "
                "--overwrite, or name another folder."
            )
    nearest_parent = path.absolute()
    while not nearest_parent.exists():
        nearest_parent = nearest_parent.parent
    if not nearest_parent.is_dir():
        raise UserError(f"--out {path} cannot be created: {nearest_parent} is a file. Name another folder.")
    if not os.access(nearest_parent, os.W_OK | os.X_OK):
        raise UserError(f"--out {path} cannot be written: no permission in {nearest_parent}. Name another folder.")
    return path


def check_existing(folder: str | os.PathLike[str], *needed: str) -> Path:
    """Return `folder` as a path once it is sure that it holds a run with the files `needed`.

    Raises:
        UserError: There is no such folder, a file is missing, or something is there that is no file and could block.
    """
    path = Path(folder)
    if not path.exists():
        parent = path.parent
        siblings = [str(parent / entry.name) for entry in parent.iterdir() if entry.is_dir()] if parent.is_dir() else []
        raise UserError(f"no run folder {path}.{nearest(str(path), siblings)} `tfopt search DATA` makes one.")
    if not path.is_dir():
        raise UserError(f"{path} is a file, not a run folder. Name the folder that `tfopt search` made.")
    for held in _paths(path, _READ):
        _refuse_special(held)
    for name in ("config.json", *needed):
        if not (path / name).exists():
            if name == "config.json":
                raise UserError(
                    f"{path} is not a run folder: it holds no config.json. Name one that `tfopt search` made."
                )
            raise UserError(
                f"{path} has no {name}: the search did not get that far. Finish it: "
                + command("search", "--resume", path)
            )
    return path


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file of a run, empty where the run has not got that far.

    Raises:
        UserError: The file is damaged.
    """
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise damaged(path, f"{error.__class__.__name__}: {error}") from None
    if not value and isinstance(value, dict) and path.name in BEGUN_WITH:
        return value
    if (wrong := misfit(value, FILES[path.name])) is not None:
        raise damaged(path, wrong)
    return value


def stored_config(folder: Path) -> SearchConfig:
    """Return the settings of a run.

    Raises:
        UserError: Its `config.json` is damaged.
    """
    values = read_json(folder / "config.json")
    if not values.get("data"):
        raise damaged(folder / "config.json", "`data` is missing")
    return SearchConfig.from_dict(values)


def damaged(path: Path, why: str) -> UserError:
    """Return the error for a file of a run that cannot be used, with what can be done about it."""
    run = path.parents[1] if path.parent.name in ("models", "predictions") else path.parent
    remedy = (
        "start a new search"
        if path.name in BEGUN_WITH
        else f"delete it and have it made anew: {command('search', '--resume', run)}"
    )
    return UserError(f"{path} is damaged ({one_line(why)[:200]}). Restore it, or {remedy}")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other search out of a run folder meanwhile; a lock ends with its process, however that ends.

    What an earlier, killed one had half written is removed in the end.

    Raises:
        UserError: The folder cannot be made or written, or another search is at work there.
    """
    begun = time.time()
    try:
        make_folder(folder)
        descriptor = open_own(folder / LOCK, os.O_RDWR)
        sync(folder)
    except OSError as error:
        raise _not_written(folder, error) from error
    try:
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another search is writing to {folder}. Wait for it, or name another folder.") from None
        yield
        remove_leftovers(folder, begun)
    finally:
        os.close(descriptor)


def _not_written(folder: Path, error: OSError) -> UserError:
    return UserError(f"{folder} cannot be written ({error.strerror}). Name another folder with --out.")


def refuse_links(folder: Path, names: Iterable[str] | None = None) -> None:
    """Raise `UserError` if anything that is written there is a link, through which to write or delete elsewhere."""
    for path in _paths(folder, _WRITTEN if names is None else names):
        if path.is_symlink():
            raise UserError(
                f"{path} is a link, and a search writes through none. Put what it leads to in its place, or remove it."
            )
        _refuse_special(path)


def _paths(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    """Yield the places of these names in a folder, and all that is within."""
    for name in names:
        yield folder / name
        for root, folders, files in os.walk(folder / name):
            yield from (Path(root, each) for each in (*folders, *files))


def _refuse_special(path: Path) -> None:
    """Raise `UserError` for a pipe, a socket or a device, which may keep whoever opens it waiting for ever."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{path} is neither a file nor a folder, so it is not opened. Remove it.")


# What of a run is read again; the folders of tuner, TensorBoard and MLflow are looked into when the search goes on.
_READ = (
    "config.json", "environment.json", "trials.jsonl", "result.json", "best.keras", "best.skops", "ensemble.keras",
    "ensemble-of-trials.keras", "predictions.npz", "importance.json", "models", "predictions", "all-rows.weights.h5",
)  # fmt: skip
_WRITTEN = (
    *_READ,
    *("leaderboard.csv", "best.partial.keras", "report.html", "figures", "tuner", "tensorboard", "mlflow-run"),
)


def create(folder: Path, config: SearchConfig, environment: dict[str, Any]) -> None:
    """Write `config.json` and `environment.json` into a folder that is locked; what an earlier run left is removed.

    Raises:
        UserError: The folder cannot be written.
    """
    try:
        for name in _WRITTEN:
            path = folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        write_json(folder / "environment.json", environment)
        # Last: a folder with a config.json is a run that can be resumed.
        write_json(folder / "config.json", config.to_dict())
    except OSError as error:
        raise _not_written(folder, error) from error


def check_same_data(folder: Path, sha256: str) -> None:
    """Raise `UserError` unless the run in `folder` is about the data with this hash."""
    stored = read_json(folder / "environment.json").get("data", {})
    if "sha256" not in stored:
        raise damaged(folder / "environment.json", "`data.sha256` is missing")
    if stored["sha256"] != sha256:
        raise UserError(
            f"{folder} was made from other data ({stored.get('source')}, sha256 {stored['sha256'][:12]}…; now "
            f"{sha256[:12]}…). Restore that file, or start a new run without --resume."
        )


def check_same_sources(folder: Path, config: SearchConfig) -> None:
    """Raise `UserError` when the user's own space, baselines or backbone are not what the run began with."""
    known = read_json(folder / "environment.json").get("sources", {})
    for file, digest in _sources(config).items():
        if known.get(file) != digest:
            raise UserError(
                f"{file} has changed since {folder} was begun, and what it gives now would not go together with what "
                "is there. Restore the file, or start a new run without --resume."
            )


def _sources(config: SearchConfig) -> dict[str, str]:
    """Return the SHA-256 of each file of the user's own that networks and baselines are made from."""
    named = [source.rpartition(":")[0] for source in (config.space, *config.baseline)]
    files = [*(file for file in named if file.endswith(".py")), *([config.backbone] if config.backbone else [])]
    return {file: hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files}


def environment(table: "Table", device: dict[str, Any], config: SearchConfig) -> dict[str, Any]:
    """Return what a result depends on beside its configuration: data, versions, devices, machine, command."""
    from tfopt.data.examples import ExampleSet, plain_inputs  # pandas, which most of what asks for a run does without

    packages = ("tfopt", "tensorflow", "keras", "keras-tuner", "scikit-learn", "skops", "numpy", "scipy", "pandas")
    return {
        "data": {
            "name": table.name,
            "source": table.source,
            "sha256": table.sha256,
            "rows": table.num_rows,
            "columns": [asdict(column) for column in table.columns],
            "ignored": list(table.ignored),
            "identifiers": list(table.identifiers),
            "source_columns": list(table.source_columns),
            "target_columns": [asdict(column) for column in table.target_columns],
            "classes": list(table.classes),
            **({"inputs": plain_inputs(table)} if isinstance(table, ExampleSet) else {}),
        },
        "sources": _sources(config),
        "versions": {"python": platform.python_version(), **{name: installed_version(name) for name in packages}},
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "device": device,
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
