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

    Example:
        ```python
        from tfopt.report import recipe
        found = recipe.above([0.2, 0.3, 0.25], form="gain {}, {} seeds")
        print(found)  # gain 0.250 ± 0.124, 3 seeds
        ```
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

    Example:
        ```python
        from tfopt.report import recipe
        mean, half = recipe.interval([0.2, 0.3, 0.25])
        print(f"{mean:.2f} ± {half:.2f}")  # 0.25 ± 0.12
        ```
    """
    numbers = np.asarray(values, dtype=np.float64)
    mean, half = numbers.mean(axis=0), student_half_width(numbers, test_to_train)
    return (float(mean), float(half)) if numbers.ndim == 1 else (mean, half)


def plus_minus(values: Values, spec: str = ".3f", test_to_train: float = 0.0) -> str:
    """Return the mean and its interval as text, such as `"0.973 ± 0.004"`; of one value the value.

    Args:
        values: (k,) numbers.
        spec: How a number is written.
        test_to_train: As for `interval`.

    Example:
        ```python
        from tfopt.report import recipe
        print(recipe.plus_minus([0.2, 0.3, 0.25]))  # 0.250 ± 0.124
        ```
    """
    mean, half = interval(values, test_to_train=test_to_train)
    text = f"{mean:{spec}}"
    text = f"{0.0:{spec}}" if float(text.replace(",", "")) == 0 else text  # and not -0.000
    return text if math.isnan(half) else f"{text} ± {half:{spec}}"


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

    Example:
        ```python
        from tfopt.report import recipe
        gains = {"it-helps": recipe.above([0.2, 0.3, 0.25], 0.1)}
        print(recipe.verdicts(gains))  # {'it-helps': 'holds'}
        ```
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
    """Return the evidence for "the mean of the values is below the limit"; arguments as of `above`.

    Args:
        values: (k,) over seeds, folds or rounds.
        limit: What the mean is tested against.
        form: The numbers in words.
        **settings: As for `above`.

    Example:
        ```python
        from tfopt.report import recipe
        lost = {"it-costs-little": recipe.below([0.2, 0.3, 0.25], 0.5)}
        print(recipe.verdicts(lost))  # {'it-costs-little': 'holds'}
        ```
    """
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

    Example:
        ```python
        from tfopt.report import recipe
        print(recipe.less([1.0, 1.2], [2.0, 2.1], "loss", ".1f"))  # loss: 1.1 ± …
        ```
    """
    first, second = (np.asarray(values, dtype=np.float64) for values in (one, other))
    tested = above(second - first, margin, test_to_train=test_to_train)
    texts = [plus_minus(values, spec, test_to_train) for values in (first, second, first - second)]
    form = "{}: {} against {}, difference {}; {} {}"
    return ClaimTest([(form, [what, *texts, str(len(first)), of])], tested.not_so, tested.so)


def more(one: Values, other: Values, what: str, spec: str = ".3f", **settings: Any) -> ClaimTest:
    """Return the evidence for "the first has more than the other"; arguments as of `less`.

    Args:
        one: (k,) values.
        other: (k,) values of the other.
        what: What they are.
        spec: How a number is written.
        **settings: As for `less`.

    Example:
        ```python
        from tfopt.report import recipe
        print(recipe.more([2.0, 2.1], [1.0, 1.2], "accuracy", ".1f").not_so < 0.05)  # True
        ```
    """
    reverse = less(-np.asarray(one), -np.asarray(other), what, spec, **settings)
    numbers = less(one, other, what, spec, **settings).numbers
    return ClaimTest(numbers, reverse.not_so, reverse.so)


def faster(slow: Values, fast: Values, what: str, *, of: str = "rounds") -> ClaimTest:
    """Return the evidence for "the second takes less time than the first", by their ratio, pair by pair.

    Args:
        slow: (k,) seconds.
        fast: (k,) seconds of the other, in the same rounds.
        what: What they are of.
        of: What they are over.

    Example:
        ```python
        from tfopt.report import recipe
        print(recipe.faster([2.0, 2.2, 2.1], [1.0, 1.1, 1.05], "NumPy"))  # NumPy: 2 times as fast (2 to 2), 3 rounds
        ```
    """
    logs = np.log(np.asarray(slow, dtype=np.float64) / np.asarray(fast, dtype=np.float64))
    tested, (mean, half) = above(logs), interval(logs)
    texts = [f"{np.exp(value):.3g}" for value in (mean, mean - half, mean + half)]
    return ClaimTest([("{}: {} times as fast ({} to {}), {} {}", [what, *texts, str(len(logs)), of])],
                    tested.not_so, tested.so)  # fmt: skip


def fact(is_so: Any, form: str, *values: Any) -> ClaimTest:
    """Return the evidence of what running it settles, without chance; `is_so` None for what cannot be run here.

    Args:
        is_so: Whether it is so; None for what cannot be run here.
        form: The numbers in words.
        *values: What stands in its braces.

    Example:
        ```python
        from tfopt.report import recipe
        print(recipe.fact(3 > 2, "{} against {}", 3, 2).settled)  # holds
        ```
    """
    numbers = [(form, [str(value) for value in values])]
    if is_so is None:
        return ClaimTest(numbers, settled=CANNOT_TELL)
    return ClaimTest(numbers, float(not is_so), float(bool(is_so)), HOLDS if is_so else DOES_NOT_HOLD)


def all_of(*parts: ClaimTest) -> ClaimTest:
    """Return the evidence for a claim that has several parts, all of which must hold.

    That not all hold has the largest of their p-values (intersection-union test); that all do has the smallest, times
    their number (Bonferroni).

    Args:
        *parts: The evidence for each part.

    Example:
        ```python
        from tfopt.report import recipe
        both = recipe.all_of(recipe.above([0.2, 0.3, 0.25]), recipe.below([0.2, 0.3, 0.25], 1.0))
        print(recipe.verdicts({"between": both}))  # {'between': 'holds'}
        ```
    """
    numbers = [part for evidence in parts for part in evidence.numbers]
    return ClaimTest(numbers, float(np.max([part.not_so for part in parts])),
                    min(1.0, len(parts) * float(np.min([part.so for part in parts]))))  # fmt: skip


def verdicts(claims: Mapping[str, ClaimTest]) -> dict[str, str]:
    """Return the verdict on each claim, corrected for their number by Holm's method.

    A two-sided p-value below 5 %, adjusted for all claims that are tested, decides; its side says which way.

    Args:
        claims: The evidence for each.

    Example:
        ```python
        from tfopt.report import recipe
        claims = {"a": recipe.above([0.2, 0.3, 0.25]), "b": recipe.above([0.2, -0.3, 0.1])}
        print(recipe.verdicts(claims))  # {'a': 'holds', 'b': "can't be told here"}
        ```
    """
    tested = [key for key, one in claims.items() if one.settled is None]
    adjusted = holm([2 * min(claims[key].not_so, claims[key].so) for key in tested])
    found = {key: one.settled or CANNOT_TELL for key, one in claims.items()}
    for key, p in zip(tested, adjusted, strict=True):
        if p < _LEVEL:  # not so of NaN
            found[key] = HOLDS if claims[key].not_so < claims[key].so else DOES_NOT_HOLD
    return found
