"""The search loop: ask oracles for trials, have their fits trained together, tell what came of them.

A `Study` is one oracle and what its trials mean: which fits a trial needs, how a fit is scored, what is done when a
trial has ended. `run` serves one study (a tuner's) or several (one for each fold of the nested comparison), so that
fits of one model shape train together whichever trial, fold, seed or study they belong to. A rung of Hyperband goes on
from the states that the rung below left on disk.

The loop hands out `Fit`s through a `Trainer` and knows no engine. `Trainer` trains in this process; one that uses
worker processes has the same three members and keeps to this:

- `submit(fits, done)` returns at once. It may be called while other fits are being trained.
- `wait()` returns when at least one fit has ended, after it called `done(position, result)` for each fit that has:
  in this process and thread, in any order, once a fit. Oracle and journal therefore stay in the parent.
- `busy` says whether fits are still to end.
- `Fit.engine` names what trains it: `engine_of(name)` makes that engine, once in each process, and it is kept between
  groups. A `FitRequest` and a `FitResult` hold plain values and arrays. How fits are split into groups is free: a fit's
  result does not depend on the others. A fit with `callbacks` of its own stays in the parent if these cannot travel.
- What goes wrong with one fit is its result's `failure`. An exception of `wait` ends the search.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
from keras_tuner.engine.trial import Trial

from tfopt.training.fits import Engine, FitRequest, FitResult, State

if TYPE_CHECKING:  # the tuners import this module
    from tfopt.search.tuners.oracle import BatchOracle, Member
    from tfopt.search.tuners.states import KeptStates

LARGEST_BATCH = 256  # trials of one oracle that are fitted together

Done = Callable[[int, FitResult], None]


@dataclass
class Fit:
    """One fit of a trial.

    Args:
        member: Takes down what came of it.
        request: What is to be trained.
        engine: Name of the engine that trains it, as the trainer's `engine_of` knows it.
        callbacks: Keras callbacks of its own.
    """

    member: "Member"
    request: FitRequest
    engine: Hashable = None
    callbacks: Sequence[keras.callbacks.Callback] = ()


class Trainer:
    """Trains fits in this process, all of one engine together.

    Args:
        engine_of: Returns the engine of a name; the same one whenever it is asked.
    """

    def __init__(self, engine_of: Callable[[Any], Engine]):
        self._engine_of = engine_of
        self._waiting: list[tuple[Fit, int, Done]] = []

    @property
    def busy(self) -> bool:
        """Whether fits are still to end."""
        return bool(self._waiting)

    def submit(self, fits: Sequence[Fit], done: Done) -> None:
        """Take fits to be trained; `done` is called with the position and the result of each as it ends."""
        self._waiting += [(fit, position, done) for position, fit in enumerate(fits)]

    def wait(self) -> None:
        """Train all that was submitted."""
        waiting, self._waiting = self._waiting, []
        groups: dict[Hashable, list[tuple[Fit, int, Done]]] = {}
        for entry in waiting:
            groups.setdefault(entry[0].engine, []).append(entry)
        for name, group in groups.items():
            self._train(self._engine_of(name), group)

    def _train(self, engine: Engine, group: list[tuple[Fit, int, Done]]) -> None:
        def ended(index: int, result: FitResult) -> None:
            _, position, done = group[index]
            done(position, result)

        engine.fit([fit.request for fit, _, _ in group], [list(fit.callbacks) for fit, _, _ in group], ended)


class Study:
    """One oracle's trials on their way from a proposal to a score.

    A subclass says what a trial's `fits` are, how to `note` a fit's result, and what to do when a trial has `ended`.

    Args:
        oracle: Proposes the trials and is told of their ends.
        states: Where states that are trained on later are kept.
        tuner_id: Name under which the oracle is asked.
    """

    def __init__(self, oracle: "BatchOracle", states: "KeptStates", tuner_id: str):
        self.oracle, self.states, self._tuner_id = oracle, states, tuner_id
        self._asked: set[str] = set()

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
            running = self.oracle.ongoing_trials.get(name)
            if running is not None and running.trial_id in self._asked:
                continue
            trial = self.propose(name)
            if trial.status != "RUNNING":
                break
            self._asked.add(trial.trial_id)
            trials.append(trial)
        return trials

    def propose(self, name: str) -> Trial:
        """Return a new trial, or the one that an earlier search left running under this name."""
        return self.oracle.create_trial(name)

    def begin(self, trial: Trial, trainer: Trainer) -> None:
        """Submit a trial's fits, those of a higher rung from where the lower one left them."""
        fits = self.fits(trial)
        members = [fit.member for fit in fits]
        left = set(range(len(fits)))
        best: tuple[float, State | None] = (float("inf"), None)

        def done(position: int, result: FitResult) -> None:
            nonlocal best
            member = members[position]
            member.history = {name: [float(v) for v in values] for name, values in result.history.items()}
            member.seconds, member.engine, member.failure = result.seconds, result.engine, result.failure
            state = self.note(trial, fits[position], result)
            if member.score is not None and state is not None:
                loss = -member.score if self.oracle.objective.direction == "max" else member.score
                if loss < best[0]:
                    best = loss, state
            if member.failure is None and result.state is not None and self.oracle.may_continue(trial):
                self.states.write_last(trial.trial_id, position, result.state)
            result.state = result.best_state = None  # whoever fits thousands would hold them all
            left.remove(position)
            if not left:
                self.ended(trial, members, best[1])

        past = trial.hyperparameters.values.get("tuner/trial_id")
        for position, fit in enumerate(fits):
            state = None if past is None else self.states.last(past, position)
            if state is not None:
                fit.member.first_epoch = trial.hyperparameters.values["tuner/initial_epoch"]
                fit.request = replace(fit.request, initial_epoch=fit.member.first_epoch, state=state)
        if fits:
            trainer.submit(fits, done)
        else:
            self.ended(trial, [], None)


def run(studies: Sequence[Study], trainer: Trainer, go_on: Callable[[], bool] = lambda: True) -> None:
    """Search until every oracle has said its last word and every fit has ended.

    Args:
        studies: The searches, side by side.
        trainer: Trains their fits.
        go_on: Asked before new trials are; False ends the search with what is being trained.
    """
    while True:
        begun = False
        for study in studies if go_on() else ():
            for trial in study.ask(LARGEST_BATCH):
                study.begin(trial, trainer)
                begun = True
        if trainer.busy:
            trainer.wait()
            for study in studies:
                study.batch_ended()
        elif not begun:
            return
