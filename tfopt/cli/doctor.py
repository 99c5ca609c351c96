"""Check that this machine can search: versions, devices, and whether KerasTuner completes a real trial.

KerasTuner's own `search()` returns normally when every trial has failed, so finished trials are counted here.
"""

import argparse
import contextlib
import io
import json
import platform
import tempfile
import time
from typing import Any

from tfopt import __version__
from tfopt._words import choice
from tfopt.cli.parser import Parser
from tfopt.devices import installed_version, num_cores
from tfopt.errors import UserError

EXAMPLES = """
  tfopt doctor
  tfopt doctor --device gpu      can the GPU be used?
  tfopt doctor --format json     for a bug report
"""

_PACKAGES = (
    "tensorflow",
    "keras",
    "keras-tuner",
    "tensorboard",
    "scikit-learn",
    "scipy",
    "pandas",
    "numpy",
    "matplotlib",
    "rich",
)


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `tfopt doctor`."""
    group = parser.add_argument_group("what to check")
    group.add_argument("--device", default="auto", metavar="DEVICE", help="auto, cpu, gpu or gpu:N (default: auto)")
    group.add_argument(
        "--format", type=choice("text", "json"), default="text", metavar="FORMAT", help="text or json (default: text)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the diagnosis; 1 when a search could not run here, 2 when the device asked for is not there."""
    report: dict[str, Any] = {
        "tfopt": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": num_cores(),
        "versions": {name: installed_version(name) for name in _PACKAGES},
    }
    report["problems"] = [
        f"{name} is not installed: pip install {name}" for name, v in report["versions"].items() if not v
    ]
    if report["versions"]["tensorflow"] and report["versions"]["keras"]:
        report["devices"] = _devices(arguments, report["problems"])
        if report["devices"]:
            report["differences"] = _differences()
            report["trial"] = _trial(report["problems"])
    print(json.dumps(report, indent=2) if arguments.format == "json" else _text(report))
    if "devices" in report and not report["devices"]:
        return 2
    return 1 if report["problems"] else 0


def _devices(arguments: argparse.Namespace, problems: list[str]) -> dict[str, Any] | None:
    from tfopt.cli.startup import start

    try:
        with start(arguments.device, debug=arguments.debug) as devices:
            from tfopt._cuda import unused_card

            return devices.to_dict() | {"unused_card": None if arguments.device == "cpu" else unused_card()}
    except UserError as error:
        problems.append(str(error))
    except ImportError as error:
        problems.append(f"TensorFlow cannot be imported: {error}")
    return None


def _differences() -> list[str]:
    """Say what of the inside of Keras, KerasTuner and TensorFlow is not as tfopt knows it, and what serves instead."""
    from tfopt._private.needs import needs, problem

    return [
        f"{need.used_by} do without the {name} ({reason}). {need.instead}."
        for name, need in needs().items()
        if (reason := problem(name)) is not None
    ]


def _trial(problems: list[str]) -> dict[str, Any]:
    """Run a KerasTuner search of one trial in a temporary folder."""
    import keras
    import numpy as np

    rows = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    target = rows.sum(axis=1)

    def build(hp: Any) -> keras.Model:
        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(hp.Int("units", 2, 8))])
        model.add(keras.layers.Dense(1))
        model.compile(optimizer=keras.optimizers.Adam(hp.Float("learning_rate", 1e-3, 1e-1)), loss="mse")
        return model

    begun = time.monotonic()
    chatter = io.StringIO()  # KerasTuner prints to standard output
    with tempfile.TemporaryDirectory(prefix="tfopt-doctor-") as folder, contextlib.redirect_stdout(chatter):
        try:
            import keras_tuner

            tuner = keras_tuner.RandomSearch(
                build,
                objective="val_loss",
                max_trials=1,
                seed=1,
                directory=folder,
                project_name="trial",
                overwrite=True,
            )
            with contextlib.redirect_stderr(chatter):  # the traceback of a failed trial; its end is reported below
                tuner.search(rows, target, validation_split=0.25, epochs=2, verbose=0)
            trials = list(tuner.oracle.trials.values())
        except Exception as error:  # whatever stops KerasTuner is what the user came here to learn
            problems.append(f"KerasTuner cannot search here: {type(error).__name__}: {error}")
            trials = []
    completed = sum(trial.status == "COMPLETED" for trial in trials)
    for trial in trials:
        if trial.status != "COMPLETED":
            reason = (trial.message or trial.status).strip().splitlines()[-1]
            problems.append(f"KerasTuner's trial ended {trial.status}: {reason}")
    return {"completed": completed, "trials": len(trials), "seconds": round(time.monotonic() - begun, 2)}


def _text(report: dict[str, Any]) -> str:
    lines = [f"tfopt {report['tfopt']}, Python {report['python']}, {report['platform']}", ""]
    lines += [f"  {name:<14}{version or 'not installed'}" for name, version in report["versions"].items()]
    lines.append("")
    if report.get("devices"):
        devices = report["devices"]
        lines.append(f"  devices       {', '.join(devices['names'])}; {report['cores']} cores")
    if "trial" in report:
        trial = report["trial"]
        lines.append(
            f"  KerasTuner    trials completed: {trial['completed']} of {trial['trials']}, in {trial['seconds']:.1f} s"
        )
    if "differences" in report:
        count = len(report["differences"])
        lines.append(f"  private names {f'{count} not as tfopt knows them' if count else 'as tfopt knows them'}")
    lines.append("")
    unused = (report.get("devices") or {}).get("unused_card")
    if unused:
        lines.append(f"note: this machine has an NVIDIA card that TensorFlow does not use: {unused}.")
    lines += [f"note: {' '.join(difference.split())}" for difference in report.get("differences", [])]
    lines += [f"problem: {' '.join(problem.split())}" for problem in report["problems"]] or ["Ready to search."]
    return "\n".join(lines)
