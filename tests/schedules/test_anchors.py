"""Each schedule against recorded values of the library that defines it; `record_anchors.py` wrote them down."""

import json
from pathlib import Path

import numpy as np
import pytest

from tfopt import schedules

ANCHORS = json.loads((Path(__file__).parent / "anchors.json").read_text())


@pytest.mark.parametrize("anchor", ANCHORS, ids=lambda anchor: f"{anchor['library']} {anchor['call']}")
def test_same_values_as_the_library(anchor):
    schedule = schedules.deserialize(anchor["tfopt"])
    # Their last places, of the peak: optax computes in float32, and the recurrences of torch and timm add rounding up.
    claimed = 1.35e-7 if anchor["library"].startswith("optax") else 1.45e-15
    atol = claimed * max(anchor["values"])
    np.testing.assert_allclose(schedule.curve(anchor["steps"]), anchor["values"], rtol=0, atol=atol)


def test_the_record_covers_the_libraries_and_families():
    assert {anchor["library"].split()[0] for anchor in ANCHORS} >= {"torch", "optax", "timm", "transformers"}
    assert len({anchor["tfopt"]["class_name"] for anchor in ANCHORS}) >= 18
