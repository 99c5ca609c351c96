"""Tasks side by side in threads."""

import threading
import time

import pytest

from tfopt.training.two_threads import in_two_threads


def test_every_task_is_done_once_and_by_all_workers():
    together = threading.Barrier(2, timeout=10)

    def worker(name):
        def work(task, cancelled):
            if task < 2:
                together.wait()  # broken_guard unless both work at the same time
            return name, task**2

        return work

    done = list(in_two_threads(worker("a"), lambda: worker("b"), range(10)))
    assert sorted((task, made[1]) for task, made in done) == [(task, task**2) for task in range(10)]
    assert {made[0] for _, made in done} == {"a", "b"}


def test_what_a_worker_raises_reaches_the_caller_and_stops_the_others():
    begun, stopped = threading.Event(), threading.Event()

    def failing(task, cancelled):
        assert begun.wait(10)
        raise ZeroDivisionError("task 0")

    def waiting(task, cancelled):
        begun.set()
        if cancelled.wait(10):
            stopped.set()

    with pytest.raises(ZeroDivisionError, match="task 0"):
        list(in_two_threads(failing, lambda: waiting, range(5)))
    assert stopped.is_set()


def test_a_caller_that_leaves_stops_the_workers():
    begun = []

    def work(task, cancelled):
        begun.append(task)
        cancelled.wait(0.01)

    lanes = in_two_threads(work, lambda: work, range(1000))
    next(lanes)
    lanes.close()
    number = len(begun)
    time.sleep(0.05)  # in which a worker that goes on would begin some five
    assert len(begun) == number < 1000


@pytest.mark.slow
def test_the_second_worker_is_hired_here_while_the_first_one_works():
    begun = threading.Event()

    def first(task, cancelled):
        begun.set()
        return threading.current_thread()

    def make_second():
        assert begun.wait(10)
        assert threading.current_thread() is threading.main_thread()
        return first

    assert all(thread is not threading.main_thread() for _, thread in in_two_threads(first, make_second, range(3)))
