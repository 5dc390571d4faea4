"""How this installation is used: from a checkout or from an installed wheel.

Messages that name a command name the form that exists here.
"""

from __future__ import annotations

from pathlib import Path

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
    """
    return default_outputs(start) if configured is None else (start or Path.cwd()) / Path(configured).expanduser()


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
