"""Processes of this machine, told apart although their ids are used again. Linux; elsewhere none are found."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Process:
    """A process.

    Args:
        pid: its id, which another process may get once this one has ended.
        started: when it started, in clock ticks since the machine did: together they belong to one process only.
    """

    pid: int
    started: int

    @classmethod
    def find(cls, pid: int) -> Self | None:
        """The process that has an id now; None if there is none."""
        found = _stat(pid)
        return None if found is None else cls(pid, found[1])

    @classmethod
    def parse(cls, text: str) -> Self:
        """The process that :meth:`__str__` names.

        Raises:
            ValueError: the text names none.
        """
        pid, started = map(int, text.split("@"))
        return cls(pid, started)

    def __str__(self) -> str:
        return f"{self.pid}@{self.started}"

    @property
    def lives(self) -> bool:
        """Whether it has not ended; one that nobody has waited for yet (a zombie) has."""
        return self == Process.find(self.pid)

    @property
    def words(self) -> list[str]:
        """Its command line; nothing once it has ended."""
        with suppress(OSError):
            words = Path(f"/proc/{self.pid}/cmdline").read_text(errors="replace").split("\0")
            return words if self.lives else []
        return []

    def send(self, number: int) -> None:
        """Send a signal to this process and no other; does nothing once it has ended."""
        with suppress(ProcessLookupError):
            try:
                handle = os.pidfd_open(self.pid)
            except ProcessLookupError:
                raise
            except OSError:  # a kernel before 5.3: another process can still take the id between the two lines
                if self.lives:
                    os.kill(self.pid, number)
                return
            try:
                # What the handle stands for does not change, so what is found out after opening it holds.
                if self.lives:
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)

    def descendants(self) -> list[Process]:
        """The living processes that it started, and those that they started, as far as each of their parents lives."""
        children: dict[int, list[Process]] = {}
        for pid, (parent, started) in _all():
            children.setdefault(parent, []).append(Process(pid, started))
        found = [self]
        for one in found:
            found += children.get(one.pid, [])
        return found[1:]


def _all() -> Iterator[tuple[int, tuple[int, int]]]:
    """The living processes: id, and what :func:`_stat` says."""
    for folder in Path("/proc").glob("[0-9]*"):
        if (found := _stat(int(folder.name))) is not None:
            yield int(folder.name), found


def _stat(pid: int) -> tuple[int, int] | None:
    """The parent of a process, and when it started; None if it has ended."""
    try:
        # Numbered as in proc(5), less the three before: the second is a name, which may hold anything.
        state, parent, *rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else (int(parent), int(rest[17]))
