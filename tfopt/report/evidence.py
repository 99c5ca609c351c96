"""What speaks for a claim of a recipe: two p-values, the numbers that carry it, and the verdict on several together.

Numbers are kept as forms with values ("{} against {}, {} seeds"), so that a page can say them in another language.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from tfopt.comparison.statistics import corrected_standard_error, holm, student_half_width
from tfopt.report.catalogue import CANNOT_TELL, DOES_NOT_HOLD, HOLDS, said

_LEVEL = 0.05
Values = Sequence[float] | np.ndarray
Part = tuple[str, list[str]]  # a form, and what stands in its braces


@dataclass(frozen=True)
class ClaimTest:
    """What speaks for a claim and against it.

    Args:
        numbers: Forms with their values.
        not_so: One-sided p-value of "it is not so": small where the claim holds.
        so: One-sided p-value of "it is so": small where it does not hold.
        settled: The verdict on what needs no test; None for a test.
    """

    numbers: list[Part]
    not_so: float = math.nan
    so: float = math.nan
    settled: str | None = None

    def __str__(self) -> str:
        return said(self.numbers)


def interval(values: Any, test_to_train: float = 0.0) -> tuple[Any, Any]:
    """Return the mean and the half-width of its 95 % Student interval, over seeds or folds.

    Formula: t(0.975, k − 1) √(var(values) (1/k + n_test/n_train)) for k values.

    Args:
        values: (k,) numbers, or (k, …) for an interval of each place of the other axes.
        test_to_train: Test rows over training rows, where the values are of folds or splits of one table (Nadeau and
            Bengio 2003); 0 for values that share nothing.

    Returns:
        Two floats or arrays; the half-width of one value is NaN.
    """
    numbers = np.asarray(values, dtype=np.float64)
    mean, half = numbers.mean(axis=0), student_half_width(numbers, test_to_train)
    return (float(mean), float(half)) if numbers.ndim == 1 else (mean, half)


def plus_minus(values: Values, spec: str = ".3f", test_to_train: float = 0.0) -> str:
    """Return the mean and its interval as text, such as `"0.973 ± 0.004"`; of one value the value."""
    mean, half = interval(values, test_to_train=test_to_train)
    return f"{mean:{spec}}" if math.isnan(half) else f"{mean:{spec}} ± {half:{spec}}"


def above(
    values: Values, limit: float = 0.0, form: str = "{}, {} seeds", *, shown: Values | str | None = None,
    spec: str = ".3f", test_to_train: float = 0.0,
) -> ClaimTest:  # fmt: skip
    """Return the evidence for "the mean of the values is above the limit".

    Args:
        values: (k,) over seeds, folds or rounds.
        limit: What the mean is tested against: a margin that was fixed beforehand.
        form: The numbers in words; its braces get the values with their interval, and how many they are.
        shown: What the first braces get instead: other values (such as before a sign was turned), or a text.
        spec: How a number is written.
        test_to_train: As for `interval`.
    """
    numbers = np.asarray(values, dtype=np.float64)
    text = shown if isinstance(shown, str) else plus_minus(numbers if shown is None else shown, spec, test_to_train)
    part = (form, [text, str(len(numbers))])
    mean, error = float(numbers.mean()), corrected_standard_error(numbers, test_to_train)
    if not math.isfinite(mean + error):
        return ClaimTest([part])
    if error <= 1e-12 * max(1.0, abs(mean)):
        return ClaimTest([part], float(mean <= limit), float(mean > limit))
    so = float(special.stdtr(len(numbers) - 1, (mean - limit) / error))
    return ClaimTest([part], 1 - so, so)


def below(values: Values, limit: float = 0.0, form: str = "{}, {} seeds", **settings: Any) -> ClaimTest:
    """Return the evidence for "the mean of the values is below the limit"; arguments as of `above`."""
    return above(-np.asarray(values, dtype=np.float64), -limit, form, **{"shown": values, **settings})


def less(
    one: Values, other: Values, what: str, spec: str = ".3f", *, margin: float = 0.0, test_to_train: float = 0.0,
    of: str = "seeds",
) -> ClaimTest:  # fmt: skip
    """Return the evidence for "the first has less than the other", by more than the margin, pair by pair.

    Args:
        one: (k,) values.
        other: (k,) values of the other on the same seeds, folds or rounds.
        what: What they are, with the unit: `"test error (%)"`.
        spec: How a number is written.
        margin: What counts as a difference; a negative one asks for "it has at most so much more".
        test_to_train: As for `interval`.
        of: What they are over: `"seeds"`, `"folds"`, `"rounds"`.
    """
    first, second = (np.asarray(values, dtype=np.float64) for values in (one, other))
    tested = above(second - first, margin, test_to_train=test_to_train)
    texts = [plus_minus(values, spec, test_to_train) for values in (first, second, first - second)]
    form = "{}: {} against {}, difference {}; {} {}"
    return ClaimTest([(form, [what, *texts, str(len(first)), of])], tested.not_so, tested.so)


def more(one: Values, other: Values, what: str, spec: str = ".3f", **settings: Any) -> ClaimTest:
    """Return the evidence for "the first has more than the other"; arguments as of `less`."""
    reverse = less(-np.asarray(one), -np.asarray(other), what, spec, **settings)
    numbers = less(one, other, what, spec, **settings).numbers
    return ClaimTest(numbers, reverse.not_so, reverse.so)


def faster(slow: Values, fast: Values, what: str, *, of: str = "rounds") -> ClaimTest:
    """Return the evidence for "the second takes less time than the first", by their ratio, pair by pair."""
    logs = np.log(np.asarray(slow, dtype=np.float64) / np.asarray(fast, dtype=np.float64))
    tested, (mean, half) = above(logs), interval(logs)
    texts = [f"{np.exp(value):.3g}" for value in (mean, mean - half, mean + half)]
    return ClaimTest([("{}: {} times as fast ({} to {}), {} {}", [what, *texts, str(len(logs)), of])],
                    tested.not_so, tested.so)  # fmt: skip


def fact(is_so: Any, form: str, *values: Any) -> ClaimTest:
    """Return the evidence of what running it settles, without chance; `is_so` None for what cannot be run here."""
    numbers = [(form, [str(value) for value in values])]
    if is_so is None:
        return ClaimTest(numbers, settled=CANNOT_TELL)
    return ClaimTest(numbers, float(not is_so), float(bool(is_so)), HOLDS if is_so else DOES_NOT_HOLD)


def all_of(*parts: ClaimTest) -> ClaimTest:
    """Return the evidence for a claim that has several parts, all of which must hold.

    That not all hold has the largest of their p-values (intersection-union test); that all do has the smallest, times
    their number (Bonferroni).
    """
    numbers = [part for evidence in parts for part in evidence.numbers]
    return ClaimTest(numbers, float(np.max([part.not_so for part in parts])),
                    min(1.0, len(parts) * float(np.min([part.so for part in parts]))))  # fmt: skip


def verdicts(claims: Mapping[str, ClaimTest]) -> dict[str, str]:
    """Return the verdict on each claim, corrected for their number by Holm's method.

    A two-sided p-value below 5 %, adjusted for all claims that are tested, decides; its side says which way.
    """
    tested = [key for key, one in claims.items() if one.settled is None]
    adjusted = holm([2 * min(claims[key].not_so, claims[key].so) for key in tested])
    found = {key: one.settled or CANNOT_TELL for key, one in claims.items()}
    for key, p in zip(tested, adjusted, strict=True):
        if p < _LEVEL:  # not so of NaN
            found[key] = HOLDS if claims[key].not_so < claims[key].so else DOES_NOT_HOLD
    return found
