"""Says that a process works where no step does, so that nobody takes its silence for a hang."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar('T')

_EVERY_S = 2.0
# Less of a processor than this is no work: the process hangs.
_LEAST_SHARE = 0.01


def evaluating(tell: Callable[..., None], parts: Iterable[T]) -> Iterator[T]:
    """Yields the parts of an evaluation, saying now and then that it goes on."""
    said_at = -math.inf
    for part in parts:
        if time.monotonic() - said_at >= _EVERY_S:
            said_at = time.monotonic()
            tell('working', what='evaluating')
        yield part


@contextmanager
def preparing(tell: Callable[..., None]) -> Iterator[None]:
    """Says that training is being prepared, for as long as this process computes.

    The libraries that load and tokenize return only at their end: a thread speaks for them,
    and falls silent when the process stands still.
    """
    done = threading.Event()

    def speak() -> None:
        used = time.process_time()
        while not done.wait(_EVERY_S):
            before, used = used, time.process_time()
            if used - before >= _LEAST_SHARE * _EVERY_S:
                tell('working', what='preparing')

    tell('working', what='preparing')
    speaker = threading.Thread(target=speak, name='preparing', daemon=True)
    speaker.start()
    try:
        yield
    finally:
        done.set()
        speaker.join()
