"""Docstrings as the reference shows them: Sphinx roles become links, where what they name is on a page, or code."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`(?P<short>~?)(?P<name>[\w.]+)`")
_LITERAL = re.compile(r"^::\n\n", re.MULTILINE)
"""What introduces an indented block in reStructuredText. Markdown needs nothing there."""


class Roles(Extension):
    """Rewrites the docstring of every object that is loaded."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Rewrite a docstring."""
        if obj.docstring:
            obj.docstring.value = _LITERAL.sub("", _ROLE.sub(_link, obj.docstring.value))


def _link(found: re.Match[str]) -> str:
    name = found["name"]
    shown = name.rpartition(".")[2] if found["short"] else name
    return f'<autoref identifier="{name}" optional><code>{shown}</code></autoref>' if "." in name else f"`{shown}`"
