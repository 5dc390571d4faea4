"""What a command takes, and the bars that figures are held to."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_MEASURE = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - start
figures = [seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9]
open(sys.argv[1], "w").write(json.dumps(figures))
sys.exit(os.waitstatus_to_exitcode(status) % 256)
"""
"""Runs a command and writes down what it took itself: getrusage would give the largest of all children so far. A small
process between ours and the command, because Linux counts what a parent held when it started a child as the child's."""


@dataclass(frozen=True)
class Took:
    """What a command took.

    Args:
        seconds: wall time.
        cpu_seconds: of all its threads and processes; a busy machine stretches this less.
        gigabytes: its peak resident memory, 1e9 bytes.
    """

    seconds: float
    cpu_seconds: float
    gigabytes: float


def run(words: Sequence[str], *, stdout: int | None = subprocess.DEVNULL) -> Took:
    """Run a Python command of this project in its root.

    Args:
        words: what follows ``python``.
        stdout: as in :func:`subprocess.run`.

    Raises:
        SystemExit: it failed.
    """
    with tempfile.NamedTemporaryFile("r") as file:
        command = [sys.executable, "-c", _MEASURE, file.name, sys.executable, *words]
        status = subprocess.run(command, cwd=ROOT, stdout=stdout).returncode
        if status:
            sys.exit(f"python {' '.join(words)} ended with exit code {status}")
        return Took(*json.load(file))


def missed(name: str, value: float, bar: float, *, at_least: bool = False) -> int:
    """Print a figure beside its bar; 1 if it is missed.

    Args:
        name: of the figure, with its unit.
        value: the figure.
        bar: what it is to stay below.
        at_least: it is to reach the bar instead.
    """
    reached = value >= bar if at_least else value < bar
    print(f"bar {name}: {value:,.2f} against {bar:,.2f}: {'reached' if reached else 'MISSED'}", flush=True)
    return int(not reached)
