"""A process is its id and its start: a signal never reaches another one that got the id later."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imprint_sweep.running import interruption
from imprint_sweep.running.interruption import LAUNCHER, TERMINATED, jobs_first, launching
from imprint_sweep.running.processes import Process

SLEEP = "import time; time.sleep(100)"
SECONDS = 60


def await_(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like a job of submitit, and sleeps."""
    process = subprocess.Popen([sys.executable, "-c", SLEEP, "submitit.core._submit"])
    # Between fork and exec it has the command line of this process.
    await_(lambda: "submitit.core._submit" in find(process.pid).words)
    yield process
    process.kill()
    process.wait()


def find(pid: int) -> Process:
    found = Process.find(pid)
    assert found is not None
    return found


def test_a_process_lives_until_it_has_ended_whether_or_not_anybody_waits_for_it(child: subprocess.Popen[bytes]) -> None:
    process = find(child.pid)
    assert process.lives
    assert SLEEP in process.words
    assert process in find(os.getpid()).descendants()
    child.kill()
    await_(lambda: not process.lives)
    assert child.returncode is None, "a zombie: nobody has waited for it"
    assert process.words == []
    process.send(signal.SIGKILL)
    child.wait()
    process.send(signal.SIGKILL)
    assert Process.find(child.pid) is None


def test_the_text_of_a_process_names_it() -> None:
    process = find(os.getpid())
    assert Process.parse(str(process)) == process
    with pytest.raises(ValueError, match="unpack"):
        Process.parse("17")


@pytest.mark.parametrize("kernel", ["new", "old"])
def test_a_signal_reaches_the_process_that_is_meant_and_no_other(
    child: subprocess.Popen[bytes], kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernel == "old":

        def refused(pid: int) -> int:
            raise OSError(38, "Function not implemented")

        monkeypatch.setattr(os, "pidfd_open", refused)
    process = find(child.pid)
    earlier = replace(process, started=process.started - 1)
    assert not earlier.lives
    assert earlier.words == []
    earlier.send(signal.SIGKILL)
    process.send(signal.SIGTERM)
    assert child.wait() == -signal.SIGTERM


def test_an_interruption_ends_the_jobs_of_this_process(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    time.sleep(1)  # Python listens to signals some time after it has started
    jobs_first(tmp_path)()
    assert child.wait() == -signal.SIGINT


def test_an_interruption_kills_no_process_that_got_the_id_of_a_job(
    child: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = find(child.pid)

    class Job(Process):
        """A job that ended, and whose id the stranger got, as soon as it was looked at."""

        @property
        def words(self) -> list[str]:
            return stranger.words

    job = Job(stranger.pid, stranger.started - 1)
    monkeypatch.setattr(Process, "descendants", lambda self: [job])
    monkeypatch.setattr(interruption, "FLUSH_SECONDS", 0.1)
    jobs_first(tmp_path)()
    time.sleep(0.1)
    assert stranger.lives


# --- Launchers that are gone -----------------------------------------------------------------------------------------

JOB = """
import sys, time
from imprint_sweep.running.interruption import ending_once, ending_with_launcher
with ending_with_launcher():
    with ending_once():
        print("working", flush=True)
        try:
            time.sleep(100)
        finally:
            print("written", flush=True)
"""
IDLE = """
import time
from imprint_sweep.running.interruption import ending_with_launcher
with ending_with_launcher():
    pass
print("idle", flush=True)
time.sleep(100)
"""


def job(code: str, launcher: Process, *, ignored: bool = False) -> subprocess.Popen[str]:
    """Start a job that a process has launched.

    Args:
        code: what it does.
        launcher: the process.
        ignored: whether it inherits to ignore Ctrl-C, as what a script starts with ``&`` does.
    """
    before = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"] if ignored else []
    environment = os.environ | {LAUNCHER: str(launcher)}
    return subprocess.Popen([*before, sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("code", "words"), [(JOB, ["working", "written"]), (IDLE, ["idle"])])
@pytest.mark.parametrize("ignored", [False, True])
def test_a_job_ends_after_its_launcher(
    child: subprocess.Popen[bytes], code: str, words: list[str], ignored: bool
) -> None:
    process = job(code, find(child.pid), ignored=ignored)
    assert process.stdout is not None
    assert process.stdout.readline() == f"{words[0]}\n"
    child.kill()
    out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == TERMINATED
    assert out.splitlines() == words[1:]


def test_a_job_that_begins_after_the_end_of_its_launcher_does_nothing(child: subprocess.Popen[bytes]) -> None:
    """Its id may have been used again."""
    launcher = find(child.pid)
    process = job(JOB, replace(launcher, started=launcher.started - 1))
    out, _ = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (TERMINATED, "")


def test_only_what_is_launched_in_the_meantime_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of SLURM must outlive the process that submitted it."""
    monkeypatch.delenv(LAUNCHER, raising=False)
    with launching():
        assert Process.parse(os.environ[LAUNCHER]) == Process.find(os.getpid())
    assert LAUNCHER not in os.environ
