"""Tasks side by side in threads."""

import threading
import time

import pytest

from tfopt.training.two_threads import in_lanes


def test_every_task_is_done_once_and_by_all_workers():
    together = threading.Barrier(2, timeout=10)

    def worker(name):
        def work(task, given_up):
            if task < 2:
                together.wait()  # broken unless both work at the same time
            return name, task**2

        return work

    done = list(in_lanes(worker("a"), lambda: worker("b"), range(10)))
    assert sorted((task, made[1]) for task, made in done) == [(task, task**2) for task in range(10)]
    assert {made[0] for _, made in done} == {"a", "b"}


def test_what_a_worker_raises_reaches_the_caller_and_stops_the_others():
    begun, stopped = threading.Event(), threading.Event()

    def failing(task, given_up):
        assert begun.wait(10)
        raise ZeroDivisionError("task 0")

    def waiting(task, given_up):
        begun.set()
        if given_up.wait(10):
            stopped.set()

    with pytest.raises(ZeroDivisionError, match="task 0"):
        list(in_lanes(failing, lambda: waiting, range(5)))
    assert stopped.is_set()


def test_a_caller_that_leaves_stops_the_workers():
    begun = []

    def work(task, given_up):
        begun.append(task)
        given_up.wait(0.01)

    lanes = in_lanes(work, lambda: work, range(1000))
    next(lanes)
    lanes.close()
    number = len(begun)
    time.sleep(0.05)
    assert len(begun) == number < 1000


def test_the_second_worker_is_hired_here_while_the_first_one_works():
    begun = threading.Event()

    def first(task, given_up):
        begun.set()
        return threading.current_thread()

    def hire():
        assert begun.wait(10)
        assert threading.current_thread() is threading.main_thread()
        return first

    assert all(thread is not threading.main_thread() for _, thread in in_lanes(first, hire, range(3)))
