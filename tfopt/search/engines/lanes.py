"""Independent tasks side by side in threads, for work that leaves cores idle and Python's lock alone."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any


def in_lanes(
    workers: Sequence[Callable[[Any, threading.Event], Any]], tasks: Sequence[Any]
) -> Iterator[tuple[Any, Any]]:
    """Yield each task and what a worker made of it, as they end.

    Args:
        workers: Each runs in a thread of its own, on one task after another. The event tells a worker to give up what
            it is doing, because nobody waits for it any more.
        tasks: In the order in which they are begun.

    Raises:
        Exception: What a worker raised.
    """
    waiting, ended = deque(tasks), SimpleQueue[tuple[Any, Any, BaseException | None]]()
    given_up = threading.Event()

    def work(worker: Callable[[Any, threading.Event], Any]) -> None:
        while not given_up.is_set():
            try:
                task = waiting.popleft()
            except IndexError:
                return
            try:
                ended.put((task, worker(task, given_up), None))
            except BaseException as error:  # handed to the thread that waits
                ended.put((task, None, error))

    threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        for _ in tasks:
            task, made, error = ended.get()
            if error is not None:
                raise error
            yield task, made
    finally:
        given_up.set()
        for thread in threads:
            thread.join()
