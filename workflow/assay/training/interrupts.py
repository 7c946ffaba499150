"""Ctrl-C and a scheduler's SIGTERM, held back until a consistent moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Request:
    """Whether the process received a signal to stop, and how to handle it.

    Attributes:
        signal: the number of the signal, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def obey(self) -> None:
        """Does what the signal would have done at once: KeyboardInterrupt, or termination."""
        self.restore()
        number, self.signal = self.signal, None
        if number is not None:
            signal.raise_signal(number)

    def hold(self) -> None:
        """Takes the handlers of SIGINT and SIGTERM over; for the main thread alone."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)

    def restore(self) -> None:
        """Gives the handlers back."""
        while self._before:
            signal.signal(*self._before.popitem())

    def _note(self, number: int, frame: object) -> None:
        self.signal = number
        # A second signal stops at once.
        self.restore()


@contextmanager
def stop_request() -> Iterator[Request]:
    """Holds the first SIGINT or SIGTERM back until the block obeys it, or at the latest ends."""
    request = Request()
    # Python delivers signals to the main thread, and only it may set their handlers.
    if threading.current_thread() is threading.main_thread():
        request.hold()
    try:
        yield request
    finally:
        request.restore()
    if request.signal:
        request.obey()
