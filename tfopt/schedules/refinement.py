"""A better schedule from the gradient norms of a run."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.ndimage import median_filter

from tfopt._arguments import array_argument, num_steps, number
from tfopt.schedules.piecewise import PiecewiseInterpolation


def refine(
    gradient_norms: Sequence[float] | np.ndarray,
    learning_rate: float = 1.0,
    decay_steps: int | None = None,
    smoothing: float = 0.1,
    power: float = 2.0,
    num_knots: int = 100,
) -> PiecewiseInterpolation:
    """Return the schedule that is best in theory for the gradient norms that an earlier run has logged.

    Large gradients get small rates, and what is left of the run decides how high the rate may be. Where all norms are
    equal it is the linear decay. Log the norm of each step with `tfopt.callbacks.GradientNorms`, train again with the
    result, and find the height anew: only the shape is refined.

    Formula: ĝ is the running median of the norms; wₜ = ĝₜ^-power; ηₜ ∝ wₜ·Σₚ wₚ over p = t + 1 … T; the highest is
    `learning_rate`. The paper ends its sum at the last step, so that this step does nothing; here one more step of the
    last norm is added, so that equal norms give exactly `LinearDecay(learning_rate, T)`.

    Args:
        gradient_norms: Floats > 0, at least 2: the gradient norm of each step. Steps without one (NaN, infinite) are
            filled from their neighbours.
        learning_rate: Float ≥ 0: the highest value.
        decay_steps: Int ≥ 1 or None: the length of the new run; that of the old one by default.
        smoothing: Float in [0, 1]: width of the running median as a share of the run.
        power: 2 for SGD on the Euclidean norm; 1 for Adam, on the sum of absolute gradients.
        num_knots: Int ≥ 2: straight pieces of the result, fewer where the run is shorter.

    Returns:
        A `tfopt.schedules.PiecewiseInterpolation`.

    Raises:
        ValueError: A norm is not above 0, fewer than 2 are finite, or a number is out of bounds.

    Example:
        ```python
        refined = tfopt.schedules.refine([1.0] * 50, learning_rate=0.1)
        print(bool(abs(refined.curve(51) - tfopt.schedules.LinearDecay(0.1, 50).curve(51)).max() < 1e-12))  # True
        ```

    References:
        - Defazio, Cutkosky, Mehta, Mishchenko (2023), "When, Why and How Much? Adaptive Learning Rate Scheduling by
          Refinement", algorithm 1, https://arxiv.org/abs/2310.07831
    """
    norms = array_argument("gradient_norms", gradient_norms)
    finite = np.isfinite(norms)
    if norms.ndim != 1 or finite.sum() < 2 or np.any(norms[finite] <= 0):
        raise ValueError(
            "Argument `gradient_norms` must be a list of at least 2 numbers > 0, one for each step. Received: shape "
            f"{norms.shape}, {int(finite.sum())} finite, {int((norms[finite] <= 0).sum())} not above 0."
        )
    smoothing = number("smoothing", smoothing, minimum=0, maximum=1)
    power = number("power", power, above=0)
    num_knots = num_steps("num_knots", num_knots, minimum=2)
    length = len(norms)
    norms = np.interp(np.arange(length), np.flatnonzero(finite), norms[finite])
    smooth = median_filter(norms, size=max(1, round(smoothing * length)), mode="nearest")
    weights = (smooth / smooth.min()) ** -power
    weights = np.append(weights, weights[-1])
    rates = weights * (weights.sum() - np.cumsum(weights))
    rates = rates * (number("learning_rate", learning_rate, minimum=0) / rates.max())
    steps = length if decay_steps is None else num_steps("decay_steps", decay_steps)
    knots = np.unique(np.round(np.linspace(0, steps, min(num_knots, steps) + 1)).astype(int))
    heights: Any = np.interp(knots / steps, np.arange(length + 1) / length, rates)
    return PiecewiseInterpolation(knots.tolist(), [float(max(height, 0.0)) for height in heights])
