"""How this installation is used, from a checkout or from an installed wheel, and how its commands are written.

Every command that is printed is worded here: it names the form that exists here, and what is typed reaches the
program as it was meant, through the shell and through Hydra's grammar.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from imprint_sweep.errors import ConfigError

MAIN = "imprint_sweep"
"""The main command: a cell, or with ``-m`` a sweep."""

OverrideValue = str | int | float | bool | None | Sequence["OverrideValue"]
"""What an override can set."""

_PACKAGE = Path(__file__).resolve().parent
_PLAIN = re.compile(r"[A-Za-z_/][\w./-]*( [\w./-]+)*", re.ASCII)
_WORDS = {"null", "true", "false", "nan", "inf"}
"""What Hydra reads as a value that is no text, in any case."""

_RANGE = 3
"""So many whole numbers in a row are written as a range."""


def checkout_root() -> Path | None:
    """The folder of the checkout that this package runs from; None for an installed wheel."""
    root = _PACKAGE.parent
    return root if (root / "scripts").is_dir() and (root / "pyproject.toml").is_file() else None


def default_outputs(start: Path | None = None) -> Path:
    """Where runs write unless told otherwise: ``outputs`` of the checkout, else of `start` (the present folder)."""
    return (checkout_root() or start or Path.cwd()) / "outputs"


def outputs_folder(configured: str | None, start: Path | None = None) -> Path:
    """Where runs write: the folder that was configured, absolute, else :func:`default_outputs`.

    Args:
        configured: relative paths are those from `start`.
        start: a folder, the present one if None.

    Raises:
        ConfigError: the name of the folder is empty.
    """
    if configured is None:
        return default_outputs(start)
    return named_path("the folder of outputs (paths.outputs)", configured, start)


def named_path(what: str, name: str, start: Path | None = None) -> Path:
    """A file or folder that somebody named, absolute.

    Args:
        what: it is, for messages.
        name: relative ones are those from `start`; ``~`` is the user's home.
        start: a folder, the present one if None.

    Raises:
        ConfigError: the name is empty, which would mean the present folder, or begins with ``~`` and an unknown user.
    """
    if not name.strip():
        raise ConfigError(f"the name of {what} is empty: name one, or leave it out")
    try:
        return (start or Path.cwd()) / Path(name).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{what} is {name!r}, and there is no such user: write ./~... for a name with ~") from error


def conf_folder() -> Path:
    """The folder of the configuration tree: package data of an installed wheel, or ``conf`` of the checkout."""
    packaged = _PACKAGE / "conf"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "conf"


def command(name: str) -> str:
    """The words that start one of the commands from the present folder, for a shell.

    Args:
        name: the command's script without its suffix, for example ``"import_embeddings"``; or :data:`MAIN`.

    Returns:
        ``python scripts/import_embeddings.py`` from a checkout (with the full path from another folder), else the
        console form ``imprint-import-embeddings``.
    """
    if name == MAIN:
        return f"python -m {MAIN}"
    root = checkout_root()
    if root is None:
        return f"imprint-{name.replace('_', '-')}"
    script = root / "scripts" / f"{name}.py"
    here = Path.cwd()
    return shlex.join(["python", str(script.relative_to(here) if script.is_relative_to(here) else script)])


def shell_line(name: str, words: Iterable[str] = ()) -> str:
    """A command as one types it into a shell.

    Args:
        name: see :func:`command`.
        words: what the program is to get, unquoted.

    >>> print(shell_line(MAIN, [override("k", 5), override("task.classes", [3, 1])]))
    python -m imprint_sweep k=5 'task.classes=[3,1]'
    """
    return " ".join([command(name), *map(shlex.quote, words)])


def override(key: str, value: OverrideValue) -> str:
    """An override as Hydra's grammar reads it back: the very text, number, truth value, null or list.

    >>> override("k", 5), override("limit", None), override("task.classes", [3, 1]), override("task.name", "1e3")
    ('k=5', 'limit=null', 'task.classes=[3,1]', 'task.name="1e3"')
    """
    return f"{key}={_spelled(value)}"


def choices(key: str, values: Iterable[OverrideValue]) -> str:
    """The override of a sweep over some values, at least one.

    >>> choices("k", [1, 5]), choices("k", [3, 1, 2]), choices("task.classes", ["all", [3, 1]])
    ('k=1,5', 'k=range(1,4)', 'task.classes=all,[3,1]')
    """
    values = list(values)
    numbers: list[int] = sorted(value for value in values if isinstance(value, int) and not isinstance(value, bool))
    if len(numbers) == len(values) >= _RANGE and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{key}=range({numbers[0]},{numbers[-1] + 1})"
    return f"{key}={','.join(map(_spelled, values))}"


def named(option: str, value: str) -> list[str]:
    """An option with its value; a value that looks like an option is joined to it.

    >>> named("--model", "net"), named("--model", "-net")
    (['--model', 'net'], ['--model=-net'])
    """
    return [f"{option}={value}"] if value.startswith("-") else [option, value]


def place(outputs: Path | None) -> list[str]:
    """The override that names the folder of outputs; none where it is the default, or not known."""
    return [] if outputs is None or _is_default(outputs) else [override("paths.outputs", str(outputs.absolute()))]


def place_option(outputs: Path) -> list[str]:
    """The same for the commands that Hydra does not configure."""
    return [] if _is_default(outputs) else ["--outputs", str(outputs.absolute())]


def _is_default(outputs: Path) -> bool:
    return outputs.absolute() == default_outputs().absolute()


def _spelled(value: OverrideValue) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and value.lower() not in _WORDS else _quoted(value)
    if isinstance(value, Sequence):
        return f"[{','.join(map(_spelled, value))}]"
    return repr(value)


def _quoted(text: str) -> str:
    """A text between quotation marks of Hydra's: those that it does not hold, if it can be."""
    mark = "'" if '"' in text else '"'
    # Backslashes count for themselves but before a mark, where they escape.
    escaped = re.sub(rf"(\\*)({mark}|\Z)", lambda found: found[1] * 2 + (f"\\{mark}" if found[2] else ""), text)
    return f"{mark}{escaped}{mark}"
