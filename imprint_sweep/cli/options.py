"""Command lines of options, for the commands that Hydra does not run."""

from __future__ import annotations

import re
import shlex
import sys
from argparse import SUPPRESS, Action, ArgumentParser, Namespace
from collections.abc import Iterator, Sequence

from imprint_sweep.wording import visible

_OVERRIDE = re.compile(r"(?:[+~]*|--(?=\w+\.))(?P<key>[A-Za-z_][\w./@-]*)=(?P<value>(?!=).*)", re.DOTALL)


def parse_options(parser: ArgumentParser, arguments: Sequence[str] | None = None) -> Namespace:
    """Read a command line of options; an override of Hydra's among them ends with the option to write instead.

    Args:
        parser: which options there are.
        arguments: the command line, that of the process if None.

    Raises:
        SystemExit: code 2 after what cannot be read.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = {name: action for action in parser._actions for name in action.option_strings}
    for word in _free(words, options):
        if found := _OVERRIDE.fullmatch(word):
            advice = visible(_instead(found["key"], found["value"], options))
            parser.exit(2, f"error: {visible(word)} is an override, and this command takes options: {advice}\n")
    return parser.parse_args(words)


def _free(words: Sequence[str], options: dict[str, Action]) -> Iterator[str]:
    """The words that are not the one value of an option before them, which may look like anything."""
    is_value = False
    for word in words:
        if is_value:
            is_value = False
            continue
        yield word
        # Argparse takes the beginning of an option's name, too.
        meant = [action for name, action in options.items() if word.startswith("--") and name.startswith(word)]
        is_value = any(action.nargs is None for action in meant)


def _instead(key: str, value: str, options: dict[str, Action]) -> str:
    """What to write instead of ``key=value``."""
    name = f"--{re.split('[./]', key)[-1].replace('_', '-')}"
    if name not in options:
        shown = [name for name, action in options.items() if name.startswith("--") and action.default is not SUPPRESS]
        return f"{', '.join(shown)}; --help says what they do"
    value = value.strip("'\"")
    return f"write {name}" if options[name].nargs == 0 else f"write {name} {shlex.quote(value) if value else '...'}"
