"""One rule a fault: what is looked at, from which value on, why that value, who described it, and what to try.

A rule answers with a finding or None, and with None where the keys it needs were not logged. Thresholds are for what a
person would act on: `tests/diagnosis` holds a model made ill for each and healthy ones on which all stay silent.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from tfopt.diagnosis.run import Run


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        name: The fault, such as `"overfitting"`.
        sentence: What is wrong, with the numbers behind it.
        advice: What to try.
        reference: Who described it.

    Example:
        ```python
        losses = {"loss": [0.7, 0.4, 0.2, 0.1, 0.05], "val_loss": [0.7, 0.6, 0.7, 0.9, 1.2]}
        finding = tfopt.diagnose(losses).findings[0]
        print(finding.name, "EarlyStopping" in finding.advice)  # overfitting True
        ```
    """

    name: str
    sentence: str
    advice: str
    reference: str

    def __str__(self) -> str:
        return f"{self.name}: {self.sentence} {self.advice} [{self.reference}]"


Rule = Callable[[Run], Finding | None]


def diverged(run: Run) -> Finding | None:
    """A loss that is not finite: nothing after it is training."""
    loss = run.logged("loss")
    if loss is None or np.isfinite(loss).all():
        return None
    epoch = int(np.argmax(~np.isfinite(loss)))
    return Finding(
        "diverged",
        f"The loss is not finite from epoch {epoch} on.",
        "Add tfopt.callbacks.NonFiniteGuard to see the step and the layers; lower the learning rate or clip the "
        "gradient (global_clipnorm=1).",
        "Goodfellow et al. 2016, §8.2.4",
    )


def vanishing_gradients(run: Run) -> Finding | None:
    """The layers nearest the input get a thousandth of the largest layer's gradient, in half of the epochs.

    A thousandth: one learning rate serves all layers, and such a layer moves 1000 times slower than the one that
    learns. A gradient of exactly 0 is another fault (`symmetric_units`).
    """
    layers = run.layers("grad_norm")
    if len(layers) < 3:
        return None
    norms = np.array([np.nanmedian(values) for values in layers.values()])
    if not np.isfinite(norms).all() or norms.max() <= 0:
        return None
    share = norms / norms.max()
    small = [name for name, value in zip(layers, share, strict=True) if 0 < value < 1e-3]
    first = next(iter(layers))
    if first not in small:
        return None
    return Finding(
        "vanishing gradients",
        f"{len(small)} of {len(layers)} layers get less than a thousandth of the largest layer's gradient, from the "
        f"input up to {small[-1]!r}; {first!r} gets {_number(share[0])} of it.",
        "Use ReLU-like activations with He initialisation, normalisation, residual connections, or fewer layers.",
        "Glorot and Bengio 2010",
    )


def exploding_gradients(run: Run) -> Finding | None:
    """Steps of 20 times their epoch's mean norm, or epochs of 100 times the smallest epoch's, that no clipping holds.

    Healthy norms stay within a factor of a few in an epoch and of some ten in a run. Norms below 10 (1000 for a whole
    epoch) are let pass: a fitted model's tiny gradients make any ordinary one look large.
    """
    mean, largest, applied = run.get("grad_norm"), run.get("grad_norm_max"), run.get("grad_norm_applied")
    if mean is None or largest is None or (applied is not None and np.nanmax(applied) < 10):
        return None
    usable = np.isfinite(mean) & np.isfinite(largest) & (mean > 0)
    if not usable.any():
        return None
    smallest = mean[usable].min()
    spikes = usable & (largest >= 20 * mean) & (largest >= 10)
    huge = usable & (mean >= 1e3) & (mean >= 100 * smallest)
    if not (spikes | huge).any():
        return None
    epoch = int(np.argmax(np.where(spikes | huge, largest, -np.inf)))
    return Finding(
        "exploding gradients",
        f"In epoch {epoch} the largest step's gradient norm is {_number(largest[epoch])} and the mean "
        f"{_number(mean[epoch])}; the calmest epoch's mean is {_number(smallest)}{_largest_layer(run, epoch)}.",
        "Clip the gradient (global_clipnorm, at about the median norm), lower the learning rate, or use gated units "
        "and orthogonal recurrent initialisation.",
        "Pascanu et al. 2013",
    )


def symmetric_units(run: Run) -> Finding | None:
    """Units that are copies of each other after the first epoch, or hidden layers whose gradient is exactly 0.

    Equal units get equal gradients and stay equal; half of them is far from chance, which gives none.
    """
    equal, layers = run.get("weight_equal_units"), run.layers("grad_norm")
    still = [name for name, values in layers.items() if np.isfinite(values).any() and np.nanmax(values) == 0]
    learning = any(np.isfinite(values).any() and np.nanmax(values) > 0 for values in layers.values())
    dead = run.get("dead_units")
    is_copied = equal is not None and equal[~np.isnan(equal)][-1] >= 0.5
    if not is_copied and not (still and learning and (dead is None or np.nanmin(dead) < 1)):
        return None
    parts = []
    if is_copied and equal is not None:
        parts.append(f"{equal[~np.isnan(equal)][-1]:.0%} of the units have the same incoming weights as another")
    if still:
        parts.append(f"the gradient of {', '.join(map(repr, still))} is exactly 0 at every step")
    return Finding(
        "symmetric initialisation",
        f"Of this model, {' and '.join(parts)}.",
        "Initialise kernels at random (glorot_uniform for tanh, he_normal for ReLU); only biases may begin at 0.",
        "Goodfellow et al. 2016, §8.4",
    )


def learning_rate_too_high(run: Run) -> Finding | None:
    """In some epoch a mean step moves the weights by a tenth; or the loss rises in 2 of 5 epochs and gets nowhere.

    Healthy steps change weights by about a thousandth. A loss that zigzags and still falls is a matter of taste; one
    that zigzags and has fallen by less than a tenth is not.
    """
    loss, step = _finite(run, "loss"), run.get("update_ratio")
    moves = 0.0 if step is None else float(np.nanmax(step))
    rises, gain = 0.0, 1.0
    if loss is not None and len(loss) >= 5:
        rises = float((np.diff(loss) > 0.01 * np.abs(loss[:-1])).mean())
        gain = float((loss[0] - np.median(loss[-3:])) / max(abs(loss[0]), 1e-30))
    if moves <= 0.1 and not (rises >= 0.4 and gain < 0.1):
        return None
    parts = [f"in the wildest epoch a step changes the weights by {moves:.0%}"] if moves > 0.1 else []
    if rises >= 0.4 and gain < 0.1 and loss is not None:
        parts.append(f"the training loss rises in {rises:.0%} of the epochs, from {_number(loss[0])} to {loss[-1]:.3g}")
    sentence = " and ".join(parts)
    return Finding(
        "learning rate too high",
        f"{sentence[0].upper()}{sentence[1:]}.",
        "Divide the learning rate by 10, or warm it up.",
        "Bengio 2012, §3.1.1",
    )


def learning_rate_too_low(run: Run) -> Finding | None:
    """The training loss falls in nearly every epoch, along a straight line, and by less than a fifth in all.

    Learning slows as it succeeds: a second half that gains as much as the first has hardly begun. Where
    gradients vanish, units are dead or equal, or noise rules, the rate is not to blame.
    """
    loss = _finite(run, "loss")
    others = (vanishing_gradients, symmetric_units, dead_units, noise_dominated)
    if loss is None or len(loss) < 6 or _is_penalised(run) or any(rule(run) for rule in others):
        return None
    middle = len(loss) // 2
    first, second = loss[0] - loss[middle], loss[middle] - loss[-1]
    gain = (loss[0] - loss[-1]) / max(abs(loss[0]), 1e-30)
    falls = (np.diff(loss) < 0).mean()
    step = run.get("update_ratio")
    if falls < 0.8 or gain >= 0.2 or second < 0.6 * first or (step is not None and np.nanmedian(step) > 1e-3):
        return None
    sizes = f"; a step changes the weights by {np.nanmedian(step):.2%}" if step is not None else ""
    return Finding(
        "learning rate too low",
        f"The training loss falls in {falls:.0%} of the epochs but only by {gain:.1%} in {len(loss)}, as fast in the "
        f"second half as in the first{sizes}.",
        "Multiply the learning rate by 10, or sweep it with tfopt.find_learning_rate.",
        "Bengio 2012, §3.1.1",
    )


def clipping_always(run: Run) -> Finding | None:
    """More than 19 of 20 steps are clipped: the optimizer sees directions only; the threshold acts as a rate."""
    clipped = run.get("grad_norm_clipped")
    if clipped is None or np.nanmean(clipped) <= 0.95:
        return None
    norm, applied = run.get("grad_norm"), run.get("grad_norm_applied")
    sizes = (
        f": the norm is {_number(np.nanmedian(norm))} before and {_number(np.nanmedian(applied))} after"
        if norm is not None and applied is not None
        else ""
    )
    return Finding(
        "clipping always active",
        f"Clipping changes {np.nanmean(clipped):.0%} of the steps{sizes}.",
        "Raise the threshold to about the median norm, or mean it and tune it together with the learning rate.",
        "Pascanu et al. 2013, §3.2",
    )


def clipping_never(run: Run) -> Finding | None:
    """No step of the whole run is clipped."""
    clipped = run.get("grad_norm_clipped")
    if clipped is None or np.nanmax(clipped) > 0:
        return None
    largest = run.get("grad_norm_max")
    sizes = f"; the largest norm is {_number(np.nanmax(largest))}" if largest is not None else ""
    return Finding(
        "clipping never active",
        f"Clipping changes no step{sizes}.",
        "Lower the threshold below the norms that you fear, or leave clipping out.",
        "Pascanu et al. 2013, §3.2",
    )


def dead_units(run: Run) -> Finding | None:
    """Two fifths of the units of a layer are 0 for the whole probe batch at the end.

    Some silent units are the price of ReLU and cost little; from about half on the layer is another, smaller one.
    """
    layers = {name: values[-1] for name, values in run.layers("dead_units").items()}
    overall = run.get("dead_units")
    silent = {name: value for name, value in layers.items() if value >= 0.4}
    if not silent and (overall is None or not overall[-1] >= 0.4):
        return None
    shares = ", ".join(f"{value:.0%} in {name!r}" for name, value in silent.items())
    shares = shares or f"{overall[-1]:.0%} in all" if overall is not None else shares
    return Finding(
        "dead units",
        f"Units that are 0 for every example: {shares}.",
        "Lower the learning rate, begin biases at 0, or use leaky ReLU, ELU or GELU.",
        "Lu et al. 2019",
    )


def dropout_too_strong(run: Run) -> Finding | None:
    """At the end the masks still change 3 in 10 predictions, and the network without them has hardly learned.

    Early on masks change many predictions of any network. Where they still do at the end, and the loss without dropout
    has fallen by less than a tenth, the noise hides the signal. A training loss above it is normal with dropout.
    """
    gap, flips, loss = run.get("dropout_gap"), run.get("dropout_flip_rate"), run.get("loss")
    if gap is None or loss is None or flips is None or len(loss) < 3:
        return None
    val_loss = run.get("val_loss")
    plain = loss - gap if val_loss is None else val_loss
    plain, last_flips = plain[~np.isnan(plain)], flips[~np.isnan(flips)][-1]
    gain = (plain[0] - plain[-1]) / max(abs(plain[0]), 1e-30)
    if last_flips < 0.3 or gain >= 0.1 or loss[-1] <= plain[-1]:
        return None
    return Finding(
        "dropout too strong",
        f"At the end dropout still changes {last_flips:.0%} of the predictions; without it the loss has only fallen "
        f"from {_number(plain[0])} to {_number(plain[-1])}, with it it is {_number(loss[-1])}.",
        "Lower the rates, drop in fewer layers, or make the layers wider.",
        "Srivastava et al. 2014, §7.3",
    )


def dropout_without_effect(run: Run) -> Finding | None:
    """The masks change the loss by less than a hundredth and fewer than one prediction in a hundred, all along."""
    gap, flips, loss = run.get("dropout_gap"), run.get("dropout_flip_rate"), run.get("loss")
    if gap is None or loss is None or flips is None:
        return None
    share = np.nanmax(np.abs(gap) / np.maximum(np.abs(loss), 1e-12))
    if share >= 0.01 or np.nanmax(flips) >= 0.01:
        return None
    return Finding(
        "dropout without effect",
        f"Dropout changes the loss by at most {share:.2%} and {np.nanmax(flips):.2%} of the predictions.",
        "Raise the rate, put it before the wide layers, or leave it out.",
        "Srivastava et al. 2014",
    )


def over_regularised(run: Run) -> Finding | None:
    """The penalty is more than half of the loss at the end, and the model does no worse on new data than on old.

    A penalty that large is only worth paying against overfitting, and there is none.
    """
    if not _is_penalised(run):
        return None
    loss, penalty, val_loss = run.get("loss"), run.get("weight_penalty"), run.get("val_loss")
    assert loss is not None
    assert penalty is not None
    if val_loss is not None and val_loss[-1] > 1.1 * loss[-1]:
        return None
    last = penalty[~np.isnan(penalty)][-1]
    beside = "" if val_loss is None else f", while the validation loss is {_number(val_loss[-1])}"
    return Finding(
        "over-regularised",
        f"The penalty makes up {_number(last)} of the training loss of {_number(loss[-1])}{beside}.",
        "Divide the penalty by 10.",
        "Goodfellow et al. 2016, §7.1",
    )


def overfitting(run: Run) -> Finding | None:
    """The validation loss ends a tenth above its best while the training loss goes on falling by as much."""
    loss, val_loss = _finite(run, "loss"), _finite(run, "val_loss")
    if loss is None or val_loss is None or len(loss) != len(val_loss) or len(loss) < 5:
        return None
    best = int(np.argmin(val_loss))
    rise = (np.median(val_loss[-3:]) - val_loss[best]) / max(abs(val_loss[best]), 1e-30)
    fall = (loss[best] - loss[-1]) / max(abs(loss[best]), 1e-30)
    if best >= len(loss) - 2 or rise < 0.1 or fall < 0.1:
        return None
    return Finding(
        "overfitting",
        f"The validation loss is best in epoch {best} ({_number(val_loss[best])}) and ends at {_number(val_loss[-1])}, "
        f"while the training loss falls from {_number(loss[best])} to {_number(loss[-1])}.",
        f"Stop near epoch {best} (EarlyStopping, restore_best_weights=True), or add dropout, an L2 penalty or data.",
        "Prechelt 1998",
    )


def noise_dominated(run: Run) -> Finding | None:
    """The gradient noise scale is more than 20 batches in most epochs, and the loss hardly falls.

    At a batch of B_noise/20 a step makes 1/21 of the progress that the full gradient would. Near a minimum the scale
    always grows, so it only counts while there is something left to learn.
    """
    scale, batch, loss = run.get("grad_noise_scale"), run.get("grad_batch_size"), _finite(run, "loss")
    if scale is None or batch is None or loss is None or len(loss) < 3:
        return None
    ratio = float(np.nanmedian(scale / batch))
    gain = (loss[0] - np.median(loss[-3:])) / max(abs(loss[0]), 1e-30)
    if ratio <= 20 or gain >= 0.2:
        return None
    size = "without bound" if np.isinf(ratio) else f"{_number(np.nanmedian(scale))} examples"
    return Finding(
        "noise-dominated steps",
        f"The gradient noise scale is {size} at a batch of {_number(np.nanmedian(batch))}, and the loss only falls by "
        f"{gain:.0%}.",
        "Use a larger batch or gradient accumulation, or a smaller learning rate, or average the weights (EMA).",
        "McCandlish et al. 2018",
    )


def schedule_ends_too_early(run: Run) -> Finding | None:
    """For the last third the learning rate is below a hundredth of its peak, though the loss was still falling.

    "Still falling": by more than 2 % an epoch over the three epochs before, five times as fast as since.
    """
    rate, loss = run.get("learning_rate"), run.get("loss")
    if rate is None or loss is None or len(loss) < 6 or not np.isfinite(loss).all():
        return None
    is_over = rate <= 0.01 * np.nanmax(rate)
    if not is_over[-1]:
        return None
    end = int(len(rate) - np.argmax(~is_over[::-1]))  # the first epoch of the tail
    if end < 2 or len(rate) - end < len(rate) / 3:
        return None
    start = max(0, end - 4)
    before = 1 - (loss[end - 1] / loss[start]) ** (1 / max(end - 1 - start, 1))
    after = 1 - (loss[-1] / loss[end]) ** (1 / max(len(loss) - 1 - end, 1))
    if before < 0.02 or after > before / 5:
        return None
    return Finding(
        "schedule ends too early",
        f"The learning rate is at its end from epoch {end} of {len(rate)}; until then the loss fell by {before:.1%} an "
        f"epoch, since by {max(after, 0):.1%}.",
        "Give the schedule as many steps as the training: epochs · steps per epoch.",
        "Goyal et al. 2017; Smith 2018",
    )


RULES: tuple[Rule, ...] = (
    diverged,
    exploding_gradients,
    vanishing_gradients,
    symmetric_units,
    learning_rate_too_high,
    learning_rate_too_low,
    clipping_always,
    clipping_never,
    dead_units,
    dropout_too_strong,
    dropout_without_effect,
    over_regularised,
    overfitting,
    noise_dominated,
    schedule_ends_too_early,
)


def _finite(run: Run, key: str) -> np.ndarray | None:
    values = run.get(key)
    return values if values is not None and np.isfinite(values).all() else None


def _is_penalised(run: Run) -> bool:
    loss, penalty = run.get("loss"), run.get("weight_penalty")
    if loss is None or penalty is None:
        return False
    return bool(penalty[~np.isnan(penalty)][-1] > 0.5 * loss[-1])


def _largest_layer(run: Run, epoch: int) -> str:
    layers = {name: values[epoch] for name, values in run.layers("grad_norm").items() if np.isfinite(values[epoch])}
    return f"; largest in {max(layers, key=lambda name: layers[name])!r}" if layers else ""


def _number(value: float) -> str:
    return f"{value:.3g}"
