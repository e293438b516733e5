"""A limit of time that interrupts what hangs, where Hypothesis would only measure it afterwards."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise an AssertionError out of whatever takes longer."""

    def stop(number: int, frame: object) -> None:
        raise AssertionError(f"not through after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
