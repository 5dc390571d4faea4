"""What runs tell, printed, so that tests can read it; for the conftest.py of folders whose tests do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from imprint_sweep.cli.console import Console
from imprint_sweep.telling import listening


@pytest.fixture(autouse=True)
def printed() -> Iterator[None]:
    """Let the console hear what is told."""
    with listening(Console()):
        yield
