"""Trials as TensorBoard reads them: `tensorboard --logdir RUN` shows their curves and their hyperparameters."""

import time
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api

from tfopt.search.journal import Record

FOLDER = "tensorboard"


def write_events(folder: Path, record: Record) -> None:
    """Write what the journal of a run says of a trial, or of the network for use, as an event file."""
    if record["kind"] == "trial":
        place = Path(f"fold-{record['fold']}", str(record["trial_id"]))
    elif record["kind"] == "final":
        place = Path("final")
    else:
        return
    now = time.time()
    summaries = [(0, _hparams(record["values"], place.as_posix(), now))]
    for name, values in record.get("curve", {}).items():
        summaries += [(epoch, _scalar(f"epoch_{name}", value)) for epoch, value in enumerate(values, start=1)]
    if record.get("score") is not None:
        summaries.append((0, _scalar("score", record["score"])))
    target = folder / FOLDER / place
    target.mkdir(parents=True, exist_ok=True)
    for old in target.iterdir():  # of a search that was interrupted between this file and the journal's line
        old.unlink()
    with tf.io.TFRecordWriter(str(target / f"events.out.tfevents.{int(now)}.tfopt")) as file:
        file.write(tf.compat.v1.Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
        for step, summary in summaries:
            file.write(tf.compat.v1.Event(wall_time=now, step=step, summary=summary).SerializeToString())


def _hparams(values: dict[str, Any], name: str, now: float) -> Any:
    known = {key: value for key, value in values.items() if isinstance(value, bool | int | float | str)}
    summary = api.hparams_pb(known, trial_id=name, start_time_secs=now)
    return tf.compat.v1.Summary.FromString(summary.SerializeToString())


def _scalar(name: str, value: float | None) -> Any:
    number = float("nan") if value is None else float(value)
    return tf.compat.v1.Summary(value=[tf.compat.v1.Summary.Value(tag=name, simple_value=number)])
