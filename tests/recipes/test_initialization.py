"""The recipe on how weights begin, beside what theory says of wide layers."""

import numpy as np
import pytest


def test_the_spread_by_depth_is_that_of_theory(smoke):
    results = smoke("initialization").result["results"]
    he, glorot, small = (np.array(results["forward"][f"relu, {way}"]) for way in ("He", "Glorot", "N(0, 0.01)"))
    layers = len(he) - 1
    # Of each layer's second moment ReLU keeps half: He's variance 2/n restores it, Glorot's 1/n between equal widths
    # leaves √½ of the spread, and N(0, 0.01²) leaves 0.01·√(n/2) for n = 48 units.
    assert (he[-1] / he[0]) ** (1 / layers) == pytest.approx(1.0, abs=0.1)
    assert (glorot[-1] / glorot[0]) ** (1 / layers) == pytest.approx(np.sqrt(0.5), abs=0.07)
    assert (small[-1] / small[0]) ** (1 / layers) == pytest.approx(0.01 * np.sqrt(48 / 2), rel=0.15)


def test_zeros(smoke):
    done = smoke("initialization")
    assert done.verdict("init-zeros-hidden-still") == "holds"
    assert done.verdict("init-zeros-learn-nothing") == "does not hold"
    moved = done.result["results"]["from_zeros"]
    assert moved["hidden: logits/bias"] > 0
    assert moved["linear: accuracy"] > 0.8
