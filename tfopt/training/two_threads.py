"""Independent tasks side by side in threads, for work that leaves cores idle and Python's lock alone."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any

Worker = Callable[[Any, threading.Event], Any]


def in_two_threads(
    worker: Worker, make_second: Callable[[], Worker], tasks: Sequence[Any]
) -> Iterator[tuple[Any, Any]]:
    """Yield each task and what a worker made of it, as they end.

    Args:
        worker: Runs in a thread of its own, on one task after another. The event tells it to give up what it is doing,
            because nobody waits for it any more.
        make_second: Returns a second worker; called in this thread, while the first one works.
        tasks: In the order in which they are begun.

    Raises:
        Exception: What a worker raised.
    """
    waiting, ended = deque(tasks), SimpleQueue[tuple[Any, Any, BaseException | None]]()
    cancelled = threading.Event()

    def work(worker: Worker) -> None:
        while not cancelled.is_set():
            try:
                task = waiting.popleft()
            except IndexError:
                return
            try:
                ended.put((task, worker(task, cancelled), None))
            except BaseException as error:  # handed to the thread that waits
                ended.put((task, None, error))

    threads: list[threading.Thread] = []

    def begin(worker: Worker) -> None:
        threads.append(threading.Thread(target=work, args=(worker,), daemon=True))
        threads[-1].start()

    begin(worker)
    try:
        begin(make_second())
        for _ in tasks:
            task, made, error = ended.get()
            if error is not None:
                raise error
            yield task, made
    finally:
        cancelled.set()
        for thread in threads:
            thread.join()
