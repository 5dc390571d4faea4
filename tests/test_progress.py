"""Shards say how far they are; whoever watches adds it up."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imprint_sweep import progress as module
from imprint_sweep.outcome import FAILED, OK, Outcome
from imprint_sweep.progress import Progress, Reporter, duration, watching
from tests import data

CELL = data.cell(data.task(data.clean()), gen="mean")


def outcome(n_correct: int | None) -> Outcome:
    """A good outcome with so many of 10 correct, or a failed one."""
    if n_correct is None:
        return Outcome(CELL, "c", "f", status=FAILED, error="StageError: no")
    return Outcome(CELL, "c", "f", status=OK, n_correct=n_correct, n_test=10, gen_seconds=0.5, eval_seconds=0.25)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def report(folder: Path, index: int, results: list[int | None], *, total: int, finish: bool = True) -> None:
    """What one shard writes."""
    reporter = Reporter(folder / f"progress-{index:04d}.json", total)
    for n_correct in results:
        reporter.add(outcome(n_correct))
    reporter.write()
    if finish:
        reporter.finish()


def test_outcomes_add_up() -> None:
    progress = Progress(total=4)
    for n_correct in (7, None, 9):
        progress.add(outcome(n_correct))
    assert progress == Progress(total=4, done=3, failed=1, best=0.9, alone_seconds=1.5)


def test_a_sweep_is_the_sum_of_its_shards(tmp_path: Path) -> None:
    report(tmp_path, 0, [7, None], total=2)
    report(tmp_path, 1, [8], total=5, finish=False)
    assert Progress.read(tmp_path) == Progress(total=7, done=3, failed=1, best=0.8, alone_seconds=1.5, finished=1)
    assert Progress.read(tmp_path / "nothing here") == Progress()


@pytest.mark.parametrize("content", ["", '{"total": 3, "do', "[1, 2]", "null", '{"total": "three"}', "\x00\x01"])
def test_a_damaged_report_is_left_out(content: str, tmp_path: Path) -> None:
    report(tmp_path, 0, [7], total=1)
    (tmp_path / "progress-0001.json").write_text(content)
    assert Progress.read(tmp_path).done == 1


def test_bytes_that_are_no_text_are_left_out(tmp_path: Path) -> None:
    report(tmp_path, 0, [7], total=1)
    (tmp_path / "progress-0001.json").write_bytes(b"\xff\xfe\xfa")
    assert Progress.read(tmp_path).done == 1


def test_a_report_of_a_later_version_is_read_as_far_as_it_is_known(tmp_path: Path) -> None:
    (tmp_path / "progress-0000.json").write_text(json.dumps({"total": 3, "done": 2, "mood": "good"}))
    assert Progress.read(tmp_path) == Progress(total=3, done=2)


def test_a_shard_reports_at_most_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    path = tmp_path / "progress-0000.json"
    reporter = Reporter(path, 10)
    reporter.add(outcome(5))
    reporter.add(outcome(6))
    assert Progress.read(tmp_path).done == 1
    now += 1.0
    reporter.add(outcome(7))
    assert Progress.read(tmp_path).done == 3
    reporter.finish()
    assert Progress.read(tmp_path).finished == 1
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_is_gone_ends_no_shard(tmp_path: Path) -> None:
    Reporter(tmp_path / "gone" / "progress-0000.json", 1).finish()
    Reporter(None, 1).finish()


def test_a_terminal_gets_a_bar(tmp_path: Path) -> None:
    stream = Terminal()
    with watching(tmp_path, 3, stream):
        report(tmp_path, 0, [7, None, 9], total=3)
    text = stream.getvalue()
    assert "3/3" in text
    assert "1 failed, best 0.9000" in text
    assert "\r" in text


def test_another_stream_gets_lines(tmp_path: Path) -> None:
    stream = io.StringIO()
    with watching(tmp_path, 4, stream):
        report(tmp_path, 0, [7, 9], total=4)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("2/4 cells, ")
    assert "cells/s" in lines[0]
    assert " left, best 0.9000" in lines[0]
    assert "\r" not in stream.getvalue()


def test_lines_come_now_and_then_while_the_sweep_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_SECONDS", 0.0)
    stream = io.StringIO()
    report(tmp_path, 0, [None, 9], total=2)
    with watching(tmp_path, 2, stream):
        until(lambda: bool(stream.getvalue()))
    first = stream.getvalue().splitlines()[0]
    assert first.startswith("2/2 cells, ")
    assert first.endswith(", 1 failed, best 0.9000")


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_last_word_is_said_after_an_interruption(tmp_path: Path) -> None:
    stream = io.StringIO()
    report(tmp_path, 0, [7], total=2, finish=False)
    with pytest.raises(KeyboardInterrupt), watching(tmp_path, 2, stream):
        raise KeyboardInterrupt
    assert stream.getvalue().startswith("1/2 cells")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (12.4, "12 s"),
        (99, "99 s"),
        (100, "2 min"),
        (5990, "100 min"),
        (6000, "1.7 h"),
        (360_000, "100.0 h"),
    ],
)
def test_durations_read_well(seconds: float, said: str) -> None:
    assert duration(seconds) == said
