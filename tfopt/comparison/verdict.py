"""One sentence in plain words: which model to keep, by how much, and how sure that is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tfopt.comparison.evidence import clear, error_of_all, error_of_any
from tfopt.comparison.fold_result import DUMMY
from tfopt.comparison.objective import Objective
from tfopt.comparison.statistics import PairedDifference

_LATER_FOLDS = (
    "Each fold is later than what was learned for it: this holds if the times to come differ from these no more than "
    "the folds differ from one another."
)
_LATER_HOLDOUT = (
    "The hold-out is the latest part: this holds if the times to come are like it; what was drawn are blocks of it."
)


@dataclass(frozen=True)
class Contestant:
    """A model as the verdict speaks of it."""

    name: str
    is_network: bool
    score: float
    fit_seconds: float
    only_network: bool = True

    @property
    def called(self) -> str:
        """The model in a sentence: `the network`, or a baseline's name."""
        if not self.is_network:
            return "the dummy" if self.name == DUMMY else self.name
        if ensemble := re.fullmatch(r"network \((ensemble of (?:\d+ seeds|trials))\)", self.name):
            return f"the {ensemble[1]}"
        return "the network" if self.only_network else f"network {self.name!r}"


@dataclass(frozen=True)
class Contest:
    """What a verdict is drawn from.

    Args:
        objective: The metric.
        rope: Half width of the region of practical equivalence.
        holdout: Whether there is one split only.
        ordered: Whether the splits follow one another in time.
        network: The network that speaks for all, None where none has a score on every fold.
        baseline: The best baseline, likewise.
        differences: Network minus each baseline, by the baseline's name; the best one first.
        dummy: The baseline that guesses, likewise.
        leading: The best of the network and the baselines beside the dummy.
        over_dummy: The network and each baseline beside the dummy, by name, minus the dummy.
        only_dummy: Whether no baseline but the dummy was asked for.
        failed: Models without a score on every fold.
    """

    objective: Objective
    rope: float
    holdout: bool
    network: Contestant | None
    baseline: Contestant | None
    differences: Mapping[str, PairedDifference]
    dummy: Contestant | None
    leading: Contestant | None
    over_dummy: Mapping[str, PairedDifference]
    only_dummy: bool
    failed: tuple[str, ...] = ()
    ordered: bool = False

    @property
    def difference(self) -> PairedDifference:
        """Network minus best baseline."""
        return next(iter(self.differences.values()))

    @property
    def p_better(self) -> float:
        """Error probability of "the network is better than each baseline"."""
        return float(error_of_all([one.p_above for one in self.differences.values()]))

    @property
    def p_worse(self) -> float:
        """Error probability of "the network is worse than one of the baselines"."""
        return float(error_of_any([1 - one.p_above for one in self.differences.values()]))

    @property
    def p_same(self) -> float:
        """Error probability of "within the rope of the best baseline, and not below any other by more than it"."""
        not_worse = [1 - one.p_worse for one in self.differences.values()]
        return float(error_of_all([self.difference.p_equivalent, *not_worse]))

    @property
    def network_learns(self) -> bool:
        """Whether the network is clearly better than guessing; where nothing guesses, it is taken to be."""
        return self.dummy is None or self._clear(1 - self._above_dummy(of_network=True)[0])

    @property
    def baselines_learn(self) -> bool:
        """Whether one of the other baselines is clearly better than guessing."""
        above = self._above_dummy(of_network=False)
        return self.dummy is None or (bool(above) and self._clear(error_of_any(above)))

    def _clear(self, error_probability: float) -> bool:
        return bool(clear(error_probability, self.holdout))

    def _above_dummy(self, *, of_network: bool) -> list[float]:
        own = None if self.network is None else self.network.name
        return [one.p_above for name, one in self.over_dummy.items() if (name == own) == of_network]


# Which model to use: the network in the first four, where there is one; else the best baseline.
_WHY = {
    "better": "the network is better than {baseline}, the best baseline",
    "only the network learns": "no baseline is clearly better than guessing",
    "only networks": "no baseline was compared with it",
    "only dummy": "only guessing was compared with it",
    "worse": "the network is worse",
    "equivalent": "the network is practically the same, and this is the simpler",
    "undecided": "the simpler; whether the network is better is undecided",
    "guessing": "the best baseline, though nothing is clearly better than guessing",
    "only baselines": "the best baseline, and no network was compared",
}


def recommend(outcome: str, network: str | None, baseline: str | None) -> tuple[str | None, str]:
    """Return the model to use after a verdict and why, in words that follow its name.

    Args:
        outcome: What `judge` returned.
        network: The network that the verdict is about, or None.
        baseline: The best baseline, or None.
    """
    if outcome == "nothing":
        return None, ""
    networks_first = outcome in tuple(_WHY)[:4] or baseline is None
    chosen = network if networks_first else baseline
    return chosen, _WHY[outcome].format(baseline=baseline)


def judge(contest: Contest) -> tuple[str, str]:
    """Return the outcome in a word (see `Comparison.outcome`) and the verdict as a sentence.

    In this order: nothing to compare; nothing clearly better than guessing; within the region of practical equivalence
    of the best baseline; better than each baseline; worse than a baseline; only the network clearly better than
    guessing; else undecided. Each is said where its error probability is at most 5 % (`tfopt.comparison.evidence`).
    Where the network is not better, the simpler model is the one to keep, unless it may be no better than guessing. Of
    splits in time the sentence says what it takes for granted.
    """
    outcome, verdict = _judged(contest, _Words(contest))
    if contest.ordered and outcome not in ("nothing", "only baselines", "only networks"):
        verdict += f" {_LATER_HOLDOUT if contest.holdout else _LATER_FOLDS}"
    return outcome, verdict


def _judged(contest: Contest, words: "_Words") -> tuple[str, str]:
    if contest.leading is None and contest.dummy is None:
        return "nothing", f"No verdict: no model has a score on every fold{words.failures}."
    if contest.network is None:
        return ("only baselines", words.only_baselines()) if contest.baselines_learn else ("guessing", words.guessing())
    if contest.baseline is None:
        return "only networks", words.only_networks()
    if not (contest.network_learns or contest.baselines_learn):
        return "guessing", words.guessing()
    if list(contest.differences) == [DUMMY]:
        return "only dummy", words.only_dummy()
    if not np.isfinite(contest.difference.p_better):
        return "undecided", words.no_interval()
    if clear(contest.p_same, contest.holdout):
        return "equivalent", words.equivalent()
    if clear(contest.p_better, contest.holdout):
        return "better", words.better()
    if clear(contest.p_worse, contest.holdout):
        return "worse", words.worse()
    if not contest.baselines_learn:
        return "only the network learns", words.only_the_network_learns()
    return "undecided", words.undecided()


class _Words:
    """The sentences of a contest."""

    def __init__(self, contest: Contest):
        self.contest = contest
        self.objective = contest.objective

    @property
    def failures(self) -> str:
        names = ", ".join(self.contest.failed)
        return f" ({names} failed)" if names else ""

    def better(self) -> str:
        network, baseline, difference = self._pair()
        return (
            f"Use {network.called}: {self._scores(network, baseline, 'it')}; it is better than {baseline.called}, the "
            f"best baseline, by {self._size(difference.mean)} ({self._interval(difference)}), "
            f"P(better by more than {self._rope}) {_probability(difference.p_better)}; {self._better_than_each()}."
        )

    def worse(self) -> str:
        network, baseline, difference = self._pair()
        return (
            f"Keep {baseline.called}: {self._scores(baseline, network, 'it')}; {network.called} is worse by "
            f"{self._size(difference.mean)} ({self._interval(difference)}), "
            f"P(worse by more than {self._rope}) {_probability(difference.p_worse)}; {self._worse_than_one()}."
        )

    def equivalent(self) -> str:
        network, baseline, difference = self._pair()
        same = (
            f"{self._scores(network, baseline)}, practically the same "
            f"(P(within {self._rope}) {_probability(difference.p_equivalent)})"
        )
        if 0 < network.fit_seconds < baseline.fit_seconds:
            seconds = f"{_seconds(network.fit_seconds)} against {_seconds(baseline.fit_seconds)} a fit"
            return f"Either will do: {same}; {baseline.called} is simpler, {network.called} is faster ({seconds})."
        seconds = f"{_seconds(baseline.fit_seconds)} against {_seconds(network.fit_seconds)} a fit"
        faster = f", and faster ({seconds})" if network.fit_seconds > baseline.fit_seconds else ""
        return f"Keep {baseline.called}: {same}, and {baseline.called} is the simpler{faster}."

    def undecided(self) -> str:
        network, baseline, difference = self._pair()
        side = "ahead of" if difference.mean > 0 else "behind"
        return (
            f"Undecided: {self._scores(network, baseline)}; {network.called} is {self._size(difference.mean)} {side} "
            f"{baseline.called}, the best baseline, which chance may explain ({self._interval(difference)}; "
            f"P(better by more than {self._rope}) {_probability(difference.p_better)}, P(worse by more) "
            f"{_probability(difference.p_worse)}), so keep the simpler "
            f"{baseline.called} or add repeats."
        )

    def no_interval(self) -> str:
        network, baseline, _ = self._pair()
        return f"Undecided: {self._scores(network, baseline)}, but there is no interval to judge the difference by."

    def guessing(self) -> str:
        contest = self.contest
        assert contest.dummy is not None
        if contest.leading is None:
            return f"Only the dummy has a score on every fold{self.failures}: there is nothing to compare it with."
        leading = contest.leading
        scores = self._scores(leading, contest.dummy)
        over = contest.over_dummy[leading.name]
        if over.mean <= 0:
            return f"Nothing beats the dummy: the best of the others is {leading.called}, and {scores}."
        sure = f" ({self._interval(over)}, P(better) {_probability(over.p_above)})" if np.isfinite(over.low) else ""
        return (
            f"Nothing is clearly better than guessing: the best is {leading.called}, and {scores}, better by "
            f"{self._size(over.mean)}{sure}."
        )

    def only_the_network_learns(self) -> str:
        network, baseline, _ = self._pair()
        over = self.contest.over_dummy[network.name]
        against = "" if baseline.name == DUMMY else f" ({self._scores(network, baseline)})"
        return (
            f"Use {network.called}: of all models it alone is clearly better than guessing, by {self._size(over.mean)} "
            f"({self._interval(over)}, P(better) {_probability(over.p_above)}); whether it is better than "
            f"{baseline.called}, the best baseline{against}, is undecided."
        )

    def only_baselines(self) -> str:
        baseline = self.contest.baseline
        assert baseline is not None
        what = f"{baseline.called} is the best baseline with {self._measure} {self._value(baseline.score)}"
        if self.contest.failed:
            return f"Keep {baseline.called}: no network has a score on every fold{self.failures}, and {what}."
        return f"No network was compared: {what}."

    def only_networks(self) -> str:
        network = self.contest.network
        assert network is not None
        why = (
            f"no baseline has a score on every fold{self.failures}" if self.contest.failed else "no baseline was tuned"
        )
        return (
            f"No verdict: {network.called} has {self._measure} {self._value(network.score)}, but {why}, so it is not "
            f"known whether something simpler does as well."
        )

    def only_dummy(self) -> str:
        network, baseline, difference = self._pair()
        why = "was tuned beside it" if self.contest.only_dummy else f"has a score on every fold{self.failures}"
        return (
            f"{_upper(network.called)} beats guessing by {self._size(difference.mean)} ({self._interval(difference)}; "
            f"{self._scores(network, baseline)}), but no real baseline {why}."
        )

    def _pair(self) -> tuple[Contestant, Contestant, PairedDifference]:
        network, baseline = self.contest.network, self.contest.baseline
        assert network is not None
        assert baseline is not None
        return network, baseline, self.contest.difference

    def _better_than_each(self) -> str:
        differences = self.contest.differences
        if len(differences) == 1:
            return _error(self.contest.p_better)
        closest = min(differences, key=lambda name: differences[name].p_above)
        return f"better than each of {len(differences)} baselines, {_error(self.contest.p_better)} for {closest}"

    def _worse_than_one(self) -> str:
        differences, error = self.contest.differences, _error(self.contest.p_worse)
        if len(differences) == 1:
            return error
        surest = min(differences, key=lambda name: differences[name].p_above)
        other = "" if surest == next(iter(differences)) else f", most surely worse than {surest}"
        return f"{error}, corrected for {len(differences)} baselines{other}"

    @property
    def _measure(self) -> str:
        return self.objective.name if self.objective.greater_is_better else f"{self.objective.name} (an error)"

    def _scores(self, first: Contestant, second: Contestant, subject: str | None = None) -> str:
        """Return who scores what in the metric's own direction, `subject` standing for the first."""
        one, two = self._value(first.score), self._value(second.score)
        if self.objective.greater_is_better:
            return f"{subject or first.called} scores {one} against {_possessive(second.called)} {two}"
        owner = {None: _possessive(first.called), "it": "its"}.get(subject, subject)
        return f"{owner} {self.objective.name} is {one} against {_possessive(second.called)} {two}"

    def _value(self, score: float) -> str:
        return self._number(self.objective.raw(score))

    def _size(self, difference: float) -> str:
        return self._number(abs(difference))

    def _number(self, value: float) -> str:
        if self.objective.greater_is_better:
            return f"{value + 0.0:.3f}"
        return f"{value:.4g}"

    @property
    def _rope(self) -> str:
        return f"{self.contest.rope:.2g}"

    def _interval(self, difference: PairedDifference) -> str:
        kind = "95 % bootstrap interval" if self.contest.holdout else "95 % interval"
        return f"{kind} {self._side(difference.low)} to {self._side(difference.high)}"

    def _side(self, bound: float) -> str:
        return f"{self._size(bound)} {'worse' if bound < 0 else 'better'}"


def _possessive(name: str) -> str:
    return f"{name}'" if name.endswith("s") else f"{name}'s"


def _probability(value: float) -> str:
    """Two digits, and never a certainty that is not there."""
    if value > 0.995:
        return "> 0.99"
    return "< 0.01" if value < 0.005 else f"= {value:.2f}"


def _error(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def _seconds(value: float) -> str:
    return f"{value:.3g} s"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
