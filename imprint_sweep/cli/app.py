"""The Hydra application: one cell, or one shard of a plan; with ``-m`` the sweeper takes over.

Kept apart from ``__main__`` so that launchers can pickle the task function by reference.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from imprint_sweep import telling
from imprint_sweep.cli.console import Console
from imprint_sweep.config.command_line import check, completed
from imprint_sweep.config.messages import explanation
from imprint_sweep.config.reading import cell_from_config, check_choices, notices, settings_from, typed
from imprint_sweep.config.schemas import GROUPS, SCHEMAS, Config, ShardConfig, SweepConfig
from imprint_sweep.errors import CellFailedError, ConfigError, SweepFailedError, one_line
from imprint_sweep.invocation import conf_folder
from imprint_sweep.wording import visible

FAILED = 1
USER_ERROR = 2
SIGNALLED = 128
"""Exit codes above it say which signal ended the process."""
INTERRUPTED = SIGNALLED + 2
BROKEN_PIPE = SIGNALLED + 13


def main() -> None:
    """The command line of ``python -m imprint_sweep``."""
    try:
        launch(run)
    except SystemExit as end:
        # Python would wait for threads amid a long stage, which nothing can stop.
        others = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
        computing = any(not thread.daemon for thread in others)
        if isinstance(end.code, int) and end.code > SIGNALLED and computing:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code)
        raise


def launch(task: Callable[[DictConfig], Any], config_name: str = "config") -> None:
    """Run a task function under Hydra, with the project's configuration tree and messages, from any folder.

    Args:
        task: what to do with the composed configuration.
        config_name: the primary configuration, one of :data:`imprint_sweep.config.reading.SCHEMAS`.

    Raises:
        SystemExit: code 2 after an error that the user can mend, 130 after an interruption, 141 if the reader of
            the output has gone.
    """
    # Hydra prints errors in its own words and leaves with code 1, unless it is told to raise them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    with user_errors(SCHEMAS[config_name]):
        check(sys.argv[1:], SCHEMAS[config_name])
        if SCHEMAS[config_name] is Config:
            sys.argv[1:] = completed(sys.argv[1:])
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=config_name)(task)()


@contextlib.contextmanager
def user_errors(schema: type[Any] = Config) -> Iterator[None]:
    """Turn errors that a user can mend into a message and an exit code; let bugs through.

    Args:
        schema: the configuration whose keys are named where one is unknown.

    Raises:
        SystemExit: code 2 after an error that the user can mend, 1 if the one cell failed, 130 after an interruption,
            141 if the reader of the output has gone.
    """
    try:
        with telling.listening(Console()), _plain_warnings():
            yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        # `| head` has read enough. What is left in the buffer would fail again when Python flushes it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(BROKEN_PIPE) from None
    except Exception as error:
        message = explanation(error, schema)
        if message is None:
            raise
        print(f"error: {visible(message)}", file=sys.stderr)
        raise SystemExit(FAILED if isinstance(error, CellFailedError | SweepFailedError) else USER_ERROR) from None


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show the project's own warnings, and Hydra's, as messages, each once.

    Where in the code they arose is nobody's business.
    """
    usual = warnings.formatwarning
    shown: set[str] = set()

    def plain(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if category.__module__.startswith("imprint_sweep.") or filename.startswith(str(Path(hydra.__file__).parent)):
            text = f"warning: {one_line(message)}\n"
            if text in shown:  # a command may read the same damaged file several times
                return ""
            shown.add(text)
            return text
        return usual(message, category, filename, lineno, line)

    warnings.formatwarning = plain
    try:
        yield
    finally:
        warnings.formatwarning = usual


def run(cfg: DictConfig) -> float | None:
    """The task function: the shard that a launched job is given, else the cell that the configuration describes.

    Returns:
        The accuracy of the cell, which a sweeper of another package (Optuna's) can maximise; None after a shard.

    Raises:
        ImprintError: the cell has no result, and another sweeper asked for it, or a program of one's own.
        SystemExit: see :func:`user_errors`.
    """
    if not HydraConfig.initialized() or HydraConfig.get().mode is RunMode.MULTIRUN:
        # Who composed the configuration, or the sweeper whose job this is, decides what becomes of errors.
        with telling.listening(Console()):
            return _run_job(cfg)
    # Hydra would announce an error as that of a job; here there is only one.
    with user_errors():
        return _run_job(cfg)


def _run_job(cfg: DictConfig) -> float | None:
    shard = typed(ShardConfig, cfg.shard, "shard")
    if shard.plan is None and shard.index is None:
        return _run_single(cfg)
    if shard.plan is None or shard.index is None:
        raise ConfigError("shard.plan and shard.index go together; the jobs of a sweep are given both")
    from imprint_sweep.running.sweep import run_shard

    run_shard(Path(shard.plan), shard.index, settings_from(cfg))
    return None


def _run_single(cfg: DictConfig) -> float:
    overrides: Sequence[str] = ()
    advice = "add -m"
    if HydraConfig.initialized():
        hydra_config = HydraConfig.get()
        overrides = hydra_config.overrides.task
        if hydra_config.mode is RunMode.MULTIRUN:
            advice = "another sweeper asked for it"
        if hydra_config.runtime.choices.get("experiment"):
            raise ConfigError("an experiment is a sweep: run it with -m")
        check_choices(*GROUPS)
    if "experiment" in cfg:
        raise ConfigError("an experiment is a sweep: run it with -m")
    cell = cell_from_config(cfg)
    settings = settings_from(cfg)
    for key in ("dry_run", "submit", "wait"):
        if (value := getattr(settings.sweep, key)) != getattr(SweepConfig, key):
            raise ConfigError(
                f"sweep.{key}={str(value).lower()} is about sweeps, and a single cell would run: {advice}"
            )
    for notice in notices(cfg, overrides, cell.task):
        telling.note(notice)
    from imprint_sweep.running.sweep import run_single

    return run_single(cell, settings)
