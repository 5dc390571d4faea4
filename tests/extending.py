"""The files that docs/extending.md shows."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "extending.md"


def files() -> dict[str, str]:
    """Path -> text of each code block whose first line names a file."""
    blocks = re.findall(
        r"^```(?:python|yaml|toml)\n# (\S+)\n(.*?)^```$", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE
    )
    return dict(blocks)
