"""Event files, read by TensorBoard itself."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from tfopt.search.events import write_events

TRIAL = {
    "kind": "trial",
    "fold": 0,
    "trial_id": "0003",
    "values": {"units": 32, "optimizer": "adam", "learning_rate": 0.01, "shortcut": True, "unset": None},
    "status": "COMPLETED",
    "score": 0.47,
    "curve": {"loss": [3.0, 2.0], "val_loss": [4.0, None]},
}


def test_tensorboard_reads_curves_and_hyperparameters(tmp_path):
    for _ in range(2):  # written again by a search that was killed before the journal's line
        write_events(tmp_path, TRIAL)
    [file] = (tmp_path / "tensorboard" / "fold-0" / "0003").iterdir()
    events = EventAccumulator(str(file.parent)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("epoch_loss")] == [(1, 3.0), (2, 2.0)]
    assert [event.value for event in events.Scalars("score")] == [pytest.approx(0.47)]
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    hparams = metadata.parse_session_start_info_plugin_data(content).hparams
    assert {name: value.WhichOneof("kind") for name, value in hparams.items()} == {
        "units": "number_value",
        "optimizer": "string_value",
        "learning_rate": "number_value",
        "shortcut": "bool_value",
    }


def test_failed_trials_and_the_network_for_use_are_written_and_nothing_else(tmp_path):
    write_events(tmp_path, {**TRIAL, "status": "FAILED", "score": None, "curve": {}})
    write_events(tmp_path, {"kind": "final", "values": {"units": 8}, "curve": {"loss": [1.0]}})
    write_events(tmp_path, {"kind": "baseline", "model": "svm", "fold": 1})
    assert sorted(path.name for path in (tmp_path / "tensorboard").iterdir()) == ["final", "fold-0"]
