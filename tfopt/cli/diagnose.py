"""Say what is wrong with a training run, and what to try, from its log.

Reads what `tfopt.callbacks.RunLog` or Keras's `CSVLogger` wrote. Put `GradientNorms(log_layers=True,
update_ratio=True)`, `ActivationStats`, `WeightStats` and `DropoutEffects` before them for a full judgement.
"""

import argparse
import dataclasses
import json

from tfopt._words import choice
from tfopt.cli.parser import Parser

EXAMPLES = """
  tfopt diagnose runs/first.jsonl
  tfopt diagnose log.csv --format json
"""


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `tfopt diagnose`."""
    parser.add_argument("run", metavar="RUN", help="a RunLog (.jsonl), CSVLogger (.csv) or JSON file, or its folder")
    parser.add_argument(
        "--format", type=choice("text", "json"), default="text", metavar="FORMAT", help="text or json (default: text)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the diagnosis."""
    from tfopt.diagnosis import diagnose  # NumPy is slow to import, and --help does not need it

    diagnosis = diagnose(arguments.run)
    print(json.dumps(dataclasses.asdict(diagnosis), indent=2) if arguments.format == "json" else str(diagnosis))
    return 0
