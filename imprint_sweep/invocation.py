"""How this installation is used: from a checkout or from an installed wheel.

Messages that name a command name the form that exists here.
"""

from __future__ import annotations

from pathlib import Path

from imprint_sweep.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent


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
    """The words that start one of the commands from the present folder.

    Args:
        name: the command's script without its suffix, for example ``"import_embeddings"``.

    Returns:
        ``python scripts/import_embeddings.py`` from a checkout (with the full path from another folder), else the
        console form ``imprint-import-embeddings``.
    """
    root = checkout_root()
    if root is None:
        return f"imprint-{name.replace('_', '-')}"
    script = root / "scripts" / f"{name}.py"
    here = Path.cwd()
    return f"python {script.relative_to(here) if script.is_relative_to(here) else script}"
