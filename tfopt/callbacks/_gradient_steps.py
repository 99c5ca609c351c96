"""From the rows of a gradient tap to norms: plain NumPy, one instance for each block of steps."""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from tfopt.callbacks._gradient_tap import MISSING, OptimizerTap


def layer_columns(paths: Sequence[str], model_name: str) -> dict[str, list[int]]:
    """Group variable paths by layer, without the model's own name; two layers of one path get ``#2``, ``#3`` …"""
    seen: collections.Counter[str] = collections.Counter()
    layers: dict[str, list[int]] = {}
    for column, path in enumerate(paths):
        seen[path] += 1
        layer = path.rsplit("/", 1)[0] if "/" in path else path
        layer = layer.removeprefix(f"{model_name}/")
        layers.setdefault(layer if seen[path] == 1 else f"{layer}#{seen[path]}", []).append(column)
    return layers


@dataclasses.dataclass
class GradientSteps:
    """The gradients of consecutive steps, as sums of squares ``[steps, variables]``; a variable without gradient is −1.

    Attributes:
        gradient: Of the step's gradient, before clipping. While accumulating: of the average, on update steps only.
        micro: Of what one micro-batch (or the first replica) contributed, as if it were the whole batch. None when
            the step has one part.
        applied: After clipping and, with several replicas, after their sum. None when nothing clips.
        clipped: Whether clipping changed the step ``[steps]``. None when nothing clips.
        updated: Whether weights moved ``[steps]``: False while accumulating and where loss scaling skipped the step.
        learning_rate: ``[steps, optimizers]``.
        batch_size: Examples behind `micro` ``[steps]``, NaN where unknown.
        num_parts: Micro-batches or replicas in one step.
        update: Of the change of each variable. None unless asked for.
        parameter: Of each variable after the step. None unless asked for.
        cosine: Of the angle between this gradient and the one before ``[steps]``. None unless asked for.
    """

    gradient: np.ndarray
    micro: np.ndarray | None
    applied: np.ndarray | None
    clipped: np.ndarray | None
    updated: np.ndarray
    learning_rate: np.ndarray
    batch_size: np.ndarray
    num_parts: int
    update: np.ndarray | None
    parameter: np.ndarray | None
    cosine: np.ndarray | None

    def __len__(self) -> int:
        return len(self.gradient)

    def bad(self) -> np.ndarray:
        """Where a variable's gradient, or that of the micro-batch behind it, was not finite ``[steps, variables]``."""
        bad = ~np.isfinite(self.gradient)
        return bad if self.micro is None else bad | ~np.isfinite(self.micro)


def total_norm(squares: np.ndarray) -> np.ndarray:
    """``√Σ`` over the variables that have a gradient; NaN where none has."""
    present = squares != MISSING
    norms = np.sqrt(np.sum(np.where(present, squares, 0.0), axis=1))
    return np.where(present.any(axis=1), norms, np.nan)


def decode(tap: OptimizerTap, sections: dict[str, np.ndarray]) -> GradientSteps:
    """Undo the halves, the loss scale and the replicas' share; derive what clipping made of each step."""
    rows, columns = sections["gradient"].shape
    unit, steps, column_updated = np.ones((rows, columns)), np.zeros(columns), np.ones((rows, columns), bool)
    for i, leaf in enumerate(tap.leaves):
        unit[:, leaf.columns] = sections["scale"] if tap.is_loss_scaled else leaf.optimizer.loss_scale_factor or 1.0
        steps[list(leaf.columns)] = leaf.accumulation
        if "updated" in sections:
            column_updated[:, leaf.columns] = sections["updated"][:, i : i + 1] > 0
    updated = np.asarray(column_updated.any(axis=1))
    micro = _squares(sections["gradient"], unit)
    overflowed = (~np.isfinite(micro)).any(axis=1) & ~updated

    incoming = micro  # what this replica's clipping sees
    entering_unit = np.where(steps > 0, steps, unit)
    if "average" in sections:
        incoming = np.where(steps > 0, _squares(sections["average"], entering_unit), micro)
        incoming = np.where(column_updated, incoming, np.where(overflowed[:, None], micro, MISSING))
    gradient, applied, clipped = incoming, None, None
    if any(leaf.clips for leaf in tap.leaves):
        applied, clipped = _after_clipping(tap, sections, incoming, entering_unit)
        clipped &= updated
        applied = np.where(column_updated, applied, MISSING)
    if tap.num_replicas > 1:
        micro = _squares(sections["gradient"], unit / tap.num_replicas)
        summed = _squares(sections["applied"], np.ones_like(unit))
        whole = _squares(sections["reduced"], unit) if "reduced" in sections else summed
        gradient = np.where(column_updated, whole, micro)
        applied = None if applied is None else np.where(column_updated, summed, MISSING)

    def optional(name: str) -> np.ndarray | None:
        return _squares(sections[name], np.ones_like(unit)) if name in sections else None

    num_parts = max([leaf.accumulation for leaf in tap.leaves] + [tap.num_replicas])
    return GradientSteps(
        gradient=gradient,
        micro=micro if num_parts > 1 else None,
        applied=applied,
        clipped=clipped,
        updated=updated,
        learning_rate=sections["learning_rate"],
        batch_size=sections["batch_size"][:, 0] if "batch_size" in sections else np.full(rows, np.nan),
        num_parts=num_parts,
        update=optional("update"),
        parameter=optional("parameter"),
        cosine=_cosine(sections) if "dot" in sections else None,
    )


def _squares(half_squares: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Sums of squares of gradients that were stored in multiples of `unit`."""
    return np.where(half_squares == MISSING, MISSING, 2.0 * half_squares / unit**2)


def _after_clipping(
    tap: OptimizerTap, sections: dict[str, np.ndarray], incoming: np.ndarray, unit: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Squares after each optimizer's clipping, and whether it changed the step.

    For the two norms they follow exactly from the squares before: reading the clipped tensors in the graph would keep
    TensorFlow from fusing them, and so move the weights by some 1e-8.
    """
    applied, clipped = incoming.copy(), np.zeros(len(incoming), bool)
    measure = _squares(sections["clip_measure"], unit) if "clip_measure" in sections else incoming
    for leaf in tap.leaves:
        at = list(leaf.columns)
        present = incoming[:, at] != MISSING
        squares, measured = incoming[:, at], np.where(present, measure[:, at], 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            if leaf.clipnorm:
                factor = np.minimum(1.0, leaf.clipnorm / np.sqrt(measured))
            elif leaf.global_clipnorm:
                factor = np.minimum(1.0, leaf.global_clipnorm / np.sqrt(measured.sum(axis=1, keepdims=True)))
            elif leaf.clipvalue:
                after = _squares(sections["value_clipped"][:, at], unit[:, at])
                factor = np.where(squares > 0, np.sqrt(after / squares), 1.0)
                factor = np.where(factor > 1.0 - 1e-7, 1.0, factor)
            else:
                continue
            applied[:, at] = np.where(present, squares * factor**2, MISSING)
        clipped |= (present & (factor < 1.0)).any(axis=1)
    return applied, clipped


def _cosine(sections: dict[str, np.ndarray]) -> np.ndarray:
    """NaN at the first step, whose predecessor is zero."""
    gradient = np.where(sections["gradient"] == MISSING, 0.0, sections["gradient"])
    squares = 4.0 * gradient.sum(axis=1) * sections["previous"].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return sections["dot"].sum(axis=1) / np.sqrt(squares)


def noise_scale(
    micro: np.ndarray, whole: np.ndarray, batch_size: np.ndarray, updated: np.ndarray, num_parts: int
) -> float:
    """The simple noise scale ``tr Σ / ‖G‖²`` in examples, from squared norms at two batch sizes.

    With ``m_s``, ``m_b`` the mean squared norms at ``B_s`` and ``B_b = num_parts · B_s`` examples,
    ``‖G‖² = (B_b m_b − B_s m_s)/(B_b − B_s)`` and ``tr Σ = (m_s − m_b)/(1/B_s − 1/B_b)``, each averaged before the
    division (McCandlish et al. 2018, appendix A.1, https://arxiv.org/abs/1812.06162).

    Args:
        micro: Squared norm of each part ``[rows]``.
        whole: Squared norm of each step ``[rows]``, read where `updated`.
        batch_size: Examples behind each part ``[rows]``; only the full size is used.
        updated: Rows that ended a step.
        num_parts: Micro-batches or replicas in one step.

    Returns:
        The noise scale; NaN when there is no usable step, infinity when the estimate of ``‖G‖²`` is not positive.
    """
    usable = np.isfinite(micro) & (batch_size == np.nanmax(batch_size, initial=-np.inf))
    ends = updated & np.isfinite(whole) & usable
    if num_parts < 2 or not ends.any():
        return float("nan")
    small, big = float(batch_size[ends][0]), float(batch_size[ends][0]) * num_parts
    mean_small, mean_big = micro[usable].mean(), whole[ends].mean()
    signal = (big * mean_big - small * mean_small) / (big - small)
    noise = (mean_small - mean_big) / (1.0 / small - 1.0 / big)
    return float(noise / signal) if signal > 0 else float("inf")
