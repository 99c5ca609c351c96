"""Draw the README's pictures anew, from its own search and its own program.

    python docs/images/readme.py    # a few minutes; writes verdict.svg and gradient_norms.svg beside this file

The search is that of `tfopt search diabetes`, with the settings that it has by default.
"""

import os
import re
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # as the command line: the scores of the README to the digit

import tfopt
from tfopt._files import write_text
from tfopt.report.style import house_style, svg_text

HERE = Path(__file__).parent


def main() -> None:
    """Draw both."""
    text = (HERE.parents[1] / "README.md").read_text(encoding="utf-8")
    (program,) = (each for each in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "norms.plot()" in each)
    names: dict[str, Any] = {}
    with house_style():
        exec(program, names)
        write_text(HERE / "gradient_norms.svg", svg_text(names["norms"].plot().figure))
    with tempfile.TemporaryDirectory() as folder:
        result = tfopt.search.run("diabetes", out=f"{folder}/run")
        write_text(HERE / "verdict.svg", svg_text(result.plot()))


if __name__ == "__main__":
    main()
