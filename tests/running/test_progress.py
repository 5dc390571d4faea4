"""Shards say how far they are; whoever watches adds it up."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from pathlib import Path

import pytest
import tqdm

from imprint_sweep.cli import console
from imprint_sweep.cli.console import Bar, Console, Lines
from imprint_sweep.grid.outcome import FAILED, OK, Outcome
from imprint_sweep.running import progress as module
from imprint_sweep.running.progress import Progress, Reporter, watching
from imprint_sweep.telling import Listener, listening
from imprint_sweep.wording import duration
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
    """What one shard writes, to its end or until it is killed."""
    reporter = Reporter(folder / f"progress-{index:04d}.json", total)
    with reporter if finish else nullcontext():
        for n_correct in results:
            reporter.add(outcome(n_correct))
    if not finish:
        reporter.write()


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


def test_a_shard_reports_what_is_new_and_now_and_then_that_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    path = tmp_path / "progress-0000.json"

    def beats() -> bool:
        """Whether a beat writes."""
        path.unlink(missing_ok=True)
        reporter.beat()
        return path.exists()

    reporter = Reporter(path, 10)
    reporter.write()
    assert Progress.read(tmp_path) == Progress(total=10)
    assert not beats()
    reporter.add(outcome(5))
    assert beats()
    assert Progress.read(tmp_path).done == 1
    assert not beats()
    now += module.BEAT_SECONDS
    assert beats()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_shard_tells_that_it_started_and_that_it_lives_without_any_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPORT_SECONDS", 0.01)
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.0)
    path = tmp_path / "progress-0000.json"
    with Reporter(path, 10) as reporter:
        assert Progress.read(tmp_path) == Progress(total=10)
        path.unlink()
        until(path.exists)
        reporter.add(outcome(5))
        until(lambda: Progress.read(tmp_path).done == 1)
    assert Progress.read(tmp_path).finished == 1


@pytest.mark.parametrize(("error", "interrupted"), [(KeyboardInterrupt, 1), (SystemExit, 1), (ValueError, 0)])
def test_a_shard_that_ends_early_says_that_it_ended(
    error: type[BaseException], interrupted: int, tmp_path: Path
) -> None:
    def end_early() -> None:
        with Reporter(tmp_path / "progress-0000.json", 10) as reporter:
            reporter.add(outcome(5))
            raise error

    with pytest.raises(error):
        end_early()
    found = Progress.read(tmp_path)
    assert (found.done, found.finished, found.interrupted) == (1, 1, interrupted)


def test_what_was_done_before_counts_but_not_as_speed(tmp_path: Path) -> None:
    with Reporter(tmp_path / "progress-0000.json", 10) as reporter:
        reporter.begin(done=4, failed=1, best=0.8)
        reporter.add(outcome(5))
    found = Progress.read(tmp_path)
    assert (found.done, found.failed, found.best, found.before) == (5, 1, 0.8, 4)
    assert found.rate(2.0) == 0.5


def test_a_shard_that_runs_again_goes_on_from_what_it_reported(tmp_path: Path) -> None:
    path = tmp_path / "progress-0000.json"
    with Reporter(path, 10) as first:
        first.begin(done=1, failed=0, best=0.2)
        for _ in range(3):
            first.add(outcome(9))
    with Reporter(path, 10) as second:
        running = Progress.read(tmp_path)
        assert (running.done, running.finished) == (4, 0)
        second.begin(done=3, failed=0, best=0.9)  # the last row was lost
        second.add(outcome(None))
        second.add(outcome(5))
    found = Progress.read(tmp_path)
    assert found == Progress(
        total=10, done=5, failed=1, best=0.9, alone_seconds=4 * 0.75, finished=1, before=1, interrupted=0
    )


def test_a_folder_that_is_gone_ends_no_shard(tmp_path: Path) -> None:
    with Reporter(tmp_path / "gone" / "progress-0000.json", 1) as reporter:
        reporter.write()
    assert list(tmp_path.iterdir()) == []


@contextmanager
def shown_on(stream: io.StringIO) -> Iterator[None]:
    """Let the console write to a stream of our own."""
    with redirect_stderr(stream), listening(Console()):
        yield


def test_nothing_is_shown_where_nobody_listens(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with listening(Listener()), watching(tmp_path, 3):
        report(tmp_path, 0, [7, None, 9], total=3)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(tmp_path: Path) -> None:
    stream = Terminal()
    with shown_on(stream), watching(tmp_path, 3):
        report(tmp_path, 0, [7, None, 9], total=3)
    text = stream.getvalue()
    assert "3/3" in text
    assert "1 failed, best 0.9000" in text
    assert "\r" in text


def test_another_stream_gets_lines(tmp_path: Path) -> None:
    stream = io.StringIO()
    with shown_on(stream), watching(tmp_path, 4):
        report(tmp_path, 0, [7, 9], total=4)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("2/4 cells, ")
    assert "cells/s" in lines[0]
    assert " left, best 0.9000" in lines[0]
    assert "\r" not in stream.getvalue()


def test_lines_come_now_and_then_while_the_sweep_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "LINE_SECONDS", 0.0)
    stream = io.StringIO()
    report(tmp_path, 0, [None, 9], total=2)
    with shown_on(stream), watching(tmp_path, 2):
        until(lambda: bool(stream.getvalue()))
    first = stream.getvalue().splitlines()[0]
    assert first.startswith("2/2 cells, ")
    assert first.endswith(", 1 failed, best 0.9000")


def test_one_cell_is_a_cell(tmp_path: Path) -> None:
    stream = io.StringIO()
    with shown_on(stream), watching(tmp_path, 1):
        report(tmp_path, 0, [9], total=1)
    assert stream.getvalue().startswith("1/1 cell, ")


def test_there_is_no_best_before_the_first_good_outcome(tmp_path: Path) -> None:
    stream = io.StringIO()
    report(tmp_path, 0, [None], total=2)
    with shown_on(stream), watching(tmp_path, 2):
        pass
    assert stream.getvalue().endswith(", 1 failed\n")


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_the_rate_falls_while_nothing_happens(kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(tqdm.std, "time", lambda: now)
    stream = kind()
    show = (Bar if stream.isatty() else Lines)(stream, 1000, "cell")
    rates = []
    for _ in range(3):
        now += 30.0
        show.update(610, before=10)
        rates += re.findall(r"([\d.]+) ?cells?/s", stream.getvalue())[-1:]
    show.close()
    assert [float(rate) for rate in rates] == pytest.approx([20, 10, 6.67], abs=0.1)


def test_what_is_brief_is_quiet_unless_it_takes_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0, 10.0, 40.0, 40.0, 50.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    with Console().counting(1000, "image", "title", brief=True) as count:
        for done in (100, 200, 300):
            count.update(done)
    assert capsys.readouterr().err == "title: 200/1,000 images, 5.0 images/s, 3 min left\n"


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_last_word_is_said_after_an_interruption(tmp_path: Path) -> None:
    stream = io.StringIO()
    report(tmp_path, 0, [7], total=2, finish=False)
    with pytest.raises(KeyboardInterrupt), shown_on(stream), watching(tmp_path, 2):
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
