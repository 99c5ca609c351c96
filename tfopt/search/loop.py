"""The search loop: ask oracles for trials, have their fits trained together, tell what came of them.

A `Study` is one oracle and what its trials mean: which fits a trial needs, how a fit is scored, what is done when a
trial has ended. `run` serves one study (a tuner's) or several (one for each fold of the nested comparison), so that
fits of one model shape train together whichever trial, fold, seed or study they belong to. A rung of Hyperband goes on
from the states that the rung below left on disk.

The loop hands out `Fit`s through a `Trainer` and knows no engine. `Trainer` trains in this process; one that uses
worker processes has the same members and keeps to this:

- `submit` returns at once. It may be called while other fits are being trained, by `done` too.
- `wait` returns when at least one fit has ended, after it called `done` for each that has: in this process and thread,
  in any order, once a fit. Oracle and journal therefore stay in the parent.
- `engine_of` makes the engine that `Fit.engine` names, once in each process. How fits are split into groups is free: a
  fit's result does not depend on the others. A fit with `callbacks` of its own stays in the parent if these cannot
  travel.
- What goes wrong with one fit is its result's `failure`, an engine's own exception among it. What `done` raises ends
  the search: `wait` raises it. Once the clock passes `deadline`, `wait` drops what has not ended, raising `OutOfTime`.
"""

import itertools
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from keras_tuner.engine.trial import Trial

from tfopt.errors import one_line
from tfopt.training.fits import OUT_OF_TIME, Callbacks, Done, Engine, FitRequest, FitResult, State

if TYPE_CHECKING:  # the tuners import this module
    from tfopt.search.tuners.files import KeptStates
    from tfopt.search.tuners.oracle import BatchOracle, Member

_log = logging.getLogger("tfopt")

LARGEST_BATCH = 256  # trials of one oracle that run at once


class OutOfTime(Exception):
    """The deadline has passed; what had not ended was dropped."""


@dataclass
class Fit:
    """One fit that is to be trained.

    Args:
        member: Takes down what came of it.
        request: What is to be trained.
        engine: Name of the engine that trains it, as the trainer's `engine_of` knows it.
        callbacks: Keras callbacks of its own, or what makes them when its training begins.
    """

    member: "Member"
    request: FitRequest
    engine: Hashable = None
    callbacks: Callbacks = ()

    def ended(self, result: FitResult) -> None:
        """Take down what the result says."""
        member = self.member
        member.history = dict(result.history)
        member.seconds, member.failure = result.seconds, result.failure
        member.engine, member.reason = result.engine, result.reason


class Trainer:
    """Trains fits in this process, all of one engine together."""

    def __init__(self, engine_of: Callable[[Any], Engine]):
        self._engine_of = engine_of
        self._waiting: list[tuple[Fit, int, Done]] = []
        self.deadline = math.inf  # of `time.monotonic()`

    @property
    def busy(self) -> bool:
        """Whether fits are still to end."""
        return bool(self._waiting)

    def submit(self, fits: Sequence[Fit], done: Done) -> None:
        """Take fits to be trained; `done` is called with the position and the result of each as it ends."""
        self._waiting += [(fit, position, done) for position, fit in enumerate(fits)]

    def drop(self) -> None:
        """Forget all fits that have not ended."""
        self._waiting = []

    def _taken(self) -> dict[Hashable, list[tuple[Fit, int, Done]]]:
        """Return what was submitted since the last call, by engine."""
        waiting, self._waiting = self._waiting, []
        groups: dict[Hashable, list[tuple[Fit, int, Done]]] = {}
        for entry in waiting:
            groups.setdefault(entry[0].engine, []).append(entry)
        return groups

    def wait(self) -> None:
        """Train all that was submitted."""
        for name, group in self._taken().items():
            if time.monotonic() > self.deadline:
                raise OutOfTime
            self._train(self._engine_of(name), group)

    def _train(self, engine: Engine, group: list[tuple[Fit, int, Done]]) -> None:
        left = set(range(len(group)))
        raised: list[Exception] = []  # by whoever is told, which no engine may take for its own

        def ended(index: int, result: FitResult) -> None:
            left.remove(index)
            _, position, done = group[index]
            try:
                if result.failure == OUT_OF_TIME:
                    raise OutOfTime
                done(position, result)
                if left and time.monotonic() > self.deadline:
                    raise OutOfTime
            except Exception as error:
                raised.append(error)
                raise

        try:
            requests = [replace(fit.request, until=self.deadline) for fit, _, _ in group]
            engine.fit(requests, [fit.callbacks for fit, _, _ in group], ended)
        except Exception as error:
            if raised:
                raise
            _log.info("the engine raised; %d fits failed", len(left), exc_info=True)
            for index in sorted(left):
                ended(index, FitResult(failure=one_line(error), engine=engine.name, reason=f"raised {one_line(error)}"))


class Study:
    """One oracle's trials on their way from a proposal to a score.

    A subclass says what a trial's `fits` are, how to `note` a fit's result, and what to do when a trial has `ended`.

    Args:
        oracle: Proposes the trials and is told of their ends.
        states: Where states that are trained on later are kept.
        tuner_id: Name under which the oracle is asked.
    """

    oracle: "BatchOracle"

    def __init__(self, oracle: "BatchOracle | None", states: "KeptStates", tuner_id: str):
        if oracle is not None:
            self.oracle = oracle
        self.states, self._tuner_id = states, tuner_id
        self.running: set[str] = set()  # trials that were asked for and have not ended

    def fits(self, trial: Trial) -> list[Fit]:
        """Return the fits that a trial needs, each with a fresh member; none if its result is known."""
        raise NotImplementedError

    def note(self, trial: Trial, fit: Fit, result: FitResult) -> State | None:
        """Score a member whose history is filled in, or say in it what failed; return the state that it scored with."""
        raise NotImplementedError

    def ended(self, trial: Trial, members: "list[Member]", best: State | None) -> None:
        """Tell the oracle of a trial, all of whose members are noted; `best` is the best member's state."""
        raise NotImplementedError

    def batch_ended(self) -> None:
        """Do what is done once for several trials: after each time that fits came back."""

    def ask(self, limit: int) -> list[Trial]:
        """Return the trials that can run now, at most `limit` running at once."""
        trials: list[Trial] = []
        for number in range(limit):
            name = f"{self._tuner_id}-{number}"
            busy = self.oracle.ongoing_trials.get(name)
            if busy is not None and busy.trial_id in self.running:
                continue
            trial = self.propose(name)
            if trial.status != "RUNNING":
                break
            self.running.add(trial.trial_id)
            trials.append(trial)
        return trials

    def propose(self, name: str) -> Trial:
        """Return a new trial, or the one that an earlier search left running under this name."""
        return self.oracle.create_trial(name)

    def may_continue(self, trial: Trial) -> bool:
        """Return whether a trial may be trained on later, so that its last states are to be kept."""
        return self.oracle.may_continue(trial)

    def begin(self, trial: Trial, trainer: Trainer) -> None:
        """Submit a trial's fits, those of a higher rung from where the lower one left them."""
        self.running.add(trial.trial_id)
        fits = self.fits(trial)
        members = [fit.member for fit in fits]
        left = set(range(len(fits)))
        best: tuple[float, State | None] = (math.inf, None)

        def done(position: int, result: FitResult) -> None:
            nonlocal best
            fit = fits[position]
            fit.ended(result)
            state = self.note(trial, fit, result)
            if fit.member.score is not None and state is not None:
                loss = -fit.member.score if self.oracle.objective.direction == "max" else fit.member.score
                if loss < best[0]:
                    best = loss, state
            if fit.member.failure is None and result.state is not None and self.may_continue(trial):
                self.states.write(trial.trial_id, result.state, position)
            # Whoever fits thousands would hold them all.
            result.state = result.best_state = result.outputs = None
            left.remove(position)
            if not left:
                self._end(trial, members, best[1])

        for position, fit in enumerate(fits):
            self._continue(trial, position, fit)
        if fits:
            trainer.submit(fits, done)
        else:
            self._end(trial, [], None)

    def _end(self, trial: Trial, members: "list[Member]", best: State | None) -> None:
        self.running.discard(trial.trial_id)
        self.ended(trial, members, best)

    def _continue(self, trial: Trial, position: int, fit: Fit) -> None:
        """Let a fit go on from the one of the rung below; without that one's state it is trained from the start."""
        past = trial.hyperparameters.values.get("tuner/trial_id")
        state = None if past is None else self.states.read(past, position)
        if state is None:
            return
        members = self.oracle.get_trial(past).members
        first = trial.hyperparameters.values["tuner/initial_epoch"]
        if position < len(members):  # it may have ended early
            first = members[position].first_epoch + len(members[position].history.get("loss", ())) or first
        fit.member.first_epoch = first
        fit.request = replace(fit.request, initial_epoch=first, state=state)


def run(studies: Sequence[Study], trainer: Trainer, room: Callable[[], int] = lambda: LARGEST_BATCH) -> None:
    """Search until every oracle has said its last word and every fit has ended.

    Args:
        studies: The searches, side by side.
        trainer: Trains their fits.
        room: Asked again and again for how many trials of each study may run at once; 0 ends the search.

    Raises:
        OutOfTime: The trainer's deadline passed.
    """
    while True:
        limit = room()
        asked = [study.ask(limit) for study in studies]
        for trials in itertools.zip_longest(*asked):  # the first of all studies first
            for study, trial in zip(studies, trials, strict=True):
                if trial is not None:
                    study.begin(trial, trainer)
        if trainer.busy:
            trainer.wait()
            for study in studies:
                study.batch_ended()
        elif not any(asked):
            return


def engines_in_words(fits: Iterable[tuple[str, str]]) -> str:
    """Return a line that says how many fits each engine trained, and why not a faster one."""
    counts: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {}
    for engine, reason in fits:
        counts[engine] += 1
        if reason:
            reasons.setdefault(engine, Counter())[reason] += 1
    parts = []
    for engine, count in counts.most_common():
        part = f"{count} {engine}"
        if own := reasons.get(engine):
            [(reason, times)] = own.most_common(1)
            others = len(own) - 1
            more = f" and {others} other reason{'s' if others > 1 else ''}" if others else ""
            part += f" ({f'{times}: ' if times < count else ''}{one_line(reason)}{more})"
        parts.append(part)
    total = sum(counts.values())
    return f"{total} fit{'' if total == 1 else 's'} by engine: {', '.join(parts)}" if parts else "no fit was trained"
