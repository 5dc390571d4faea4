"""Something done again and again beside a computation, however long its stages take."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Heartbeat:
    """Calls an action at intervals, in a thread of its own, from :meth:`start` to :meth:`stop`.

    Args:
        seconds: between two calls; infinity for none.
        action: what is called; it deals with its own errors.
    """

    def __init__(self, seconds: float, action: Callable[[], None]) -> None:
        self._seconds, self._action = min(seconds, threading.TIMEOUT_MAX), action
        self._stop = threading.Event()
        # A daemon: a process that is told to end at once waits for no action.
        self._thread = threading.Thread(target=self._beat, name="imprint-heartbeat", daemon=True)

    def start(self) -> None:
        """Begin; the first call comes after one interval."""
        self._thread.start()

    def stop(self) -> None:
        """End; an action that is under way is waited for, and none comes after."""
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(self._seconds):
            self._action()
