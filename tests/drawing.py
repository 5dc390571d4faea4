"""Commands that draw pictures, run in this process."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, Protocol

import pytest


class Finished(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


class Draw(Protocol):
    def __call__(self, *overrides: str) -> Finished: ...


def drawing(
    command: ModuleType, outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Draw:
    """What runs the command line of a command from the folder of its outputs."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.chdir(outputs)

    def run(*overrides: str) -> Finished:
        name = command.__name__.rpartition(".")[2]
        monkeypatch.setattr(sys, "argv", [name, *overrides, f"paths.outputs={outputs}"])
        code: object = 0
        try:
            command.main()
        except SystemExit as end:
            code = end.code
        assert isinstance(code, int)
        return Finished(code, *capsys.readouterr())

    return run
