"""Suggest a learning rate: a range test on a small network for a table, or on a compiled Keras model of yours.

The result is one line of JSON on standard output; `-o` draws the curve with the suggestions marked.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tfopt._words import choice, integer, number
from tfopt.cli.parser import Parser
from tfopt.errors import UserError, nearest

EXAMPLES = """
  tfopt lr-find digits
  tfopt lr-find houses.csv --target price --hidden 128 128 --optimizer SGD -o lr.png
  tfopt lr-find houses.csv --target price --model mine.keras     a saved, compiled model
"""
USAGE = "tfopt lr-find TABLE [options]"
_SUGGESTIONS = ("valley", "steepest", "minimum")


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `tfopt lr-find`."""
    what = parser.add_argument_group("what to train")
    what.add_argument("table", metavar="TABLE", help="embedded data set or file, as for tfopt search")
    what.add_argument("--target", metavar="COLUMN", help="the target column (default: the last one)")
    what.add_argument(
        "--model", metavar="FILE", help="compiled .keras model that takes the encoded table (default: a new network)"
    )
    what.add_argument(
        "--hidden", type=integer, nargs="+", default=[64, 64], metavar="N", help="its hidden units (default: 64 64)"
    )
    what.add_argument("--optimizer", default="Adam", metavar="NAME", help="its optimizer (default: Adam)")
    what.add_argument("--batch-size", type=integer, default=32, metavar="N", help="rows of a step (default: 32)")
    how = parser.add_argument_group("the test")
    how.add_argument("--min-lr", type=number, default=1e-7, metavar="RATE", help="first rate (default: 1e-7)")
    how.add_argument("--max-lr", type=number, default=10.0, metavar="RATE", help="last rate (default: 10)")
    how.add_argument("--num-steps", type=integer, default=100, metavar="N", help="steps between (default: 100)")
    how.add_argument(
        "--mode",
        type=choice("exponential", "linear"),
        default="exponential",
        metavar="MODE",
        help="how the rate grows: exponential or linear (default: exponential)",
    )
    how.add_argument(
        "--stop-factor", type=number, default=4.0, metavar="X", help="stop at X times the lowest loss (default: 4)"
    )
    how.add_argument(
        "--suggest",
        type=choice(*_SUGGESTIONS),
        default="valley",
        metavar="WHICH",
        help="the one to call the suggestion: valley, steepest or minimum (default: valley)",
    )
    how.add_argument("--seed", type=integer, default=0, metavar="N", help="of weights and order (default: 0)")
    parser.add_argument_group("output").add_argument(
        "-o", "--output", metavar="FILE", help="draw the curve (.png, .svg, .pdf)"
    )
    machine = parser.add_argument_group("the machine")
    machine.add_argument("--device", default="auto", metavar="DEVICE", help="auto, cpu, gpu or gpu:N (default: auto)")


def run(arguments: argparse.Namespace) -> int:
    """Run the test, print its result and draw it."""
    from tfopt.cli.plot_schedule import check_picture, save

    output = None if arguments.output is None else check_picture(arguments.output)
    if arguments.model is not None and not Path(arguments.model).is_file():
        raise UserError(f"no file {arguments.model}.{nearest(arguments.model, map(str, Path().glob('*.keras')))}")

    from tfopt.cli.startup import start

    with start(arguments.device, debug=arguments.debug):
        import tfopt
    from tfopt.data import load_table

    table = load_table(arguments.table, target=arguments.target)
    x, y = _arrays(table)
    model = _model(arguments, table, x.shape[1])
    try:
        curve = tfopt.find_learning_rate(
            model,
            (x, y),
            arguments.min_lr,
            arguments.max_lr,
            arguments.num_steps,
            arguments.mode,
            arguments.stop_factor,
            arguments.batch_size,
            arguments.seed,
        )
    except (ValueError, TypeError) as error:
        raise UserError(str(error)) from error
    suggestion = curve.suggestions.get(arguments.suggest)
    if suggestion is None:
        print(
            "no suggestion: the loss never fell between the two rates; try a lower --min-lr or more --num-steps",
            file=sys.stderr,
        )
    result = {
        "suggestion": suggestion,
        "suggestions": curve.suggestions,
        "diverged": curve.diverged,
        "num_steps": len(curve.learning_rates),
    }
    print(json.dumps(result))
    if output is not None:
        save(curve.plot().figure, output)
    return 0


def _arrays(table: Any) -> Any:
    """Return the encoded features and the target, standardised in regression."""
    from tfopt.data import TableEncoder

    x = TableEncoder(table.columns).fit_transform(table.features).astype("float32")
    if table.task == "classification":
        return x, table.target
    target = table.target.reshape(table.num_rows, -1)
    spread = target.std(axis=0)
    spread[spread == 0] = 1.0
    return x, ((target - target.mean(axis=0)) / spread).astype("float32")


def _model(arguments: argparse.Namespace, table: Any, num_features: int) -> Any:
    import keras

    if arguments.model is not None:
        model = keras.models.load_model(arguments.model)
        if model.optimizer is None:
            raise UserError(f"{arguments.model} holds a model without an optimizer. Compile it before saving it.")
        return model
    classification = table.task == "classification"
    known = [
        name
        for name, item in vars(keras.optimizers).items()
        if isinstance(item, type) and issubclass(item, keras.optimizers.Optimizer)
    ]
    if arguments.optimizer not in known:
        raise UserError(f"unknown optimizer {arguments.optimizer!r}.{nearest(arguments.optimizer, known)}")
    if min(arguments.hidden) < 1:
        raise UserError(f"--hidden takes numbers of units >= 1 (received {arguments.hidden}).")
    keras.utils.set_random_seed(arguments.seed)
    hidden = [keras.layers.Dense(units, "relu") for units in arguments.hidden]
    model = keras.Sequential([keras.Input((num_features,)), *hidden, keras.layers.Dense(table.num_outputs)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if classification else "mse"
    model.compile(getattr(keras.optimizers, arguments.optimizer)(), loss)
    return model
