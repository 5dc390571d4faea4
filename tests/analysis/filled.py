"""What an artefact's command would compute, with made-up results."""

from __future__ import annotations

import shlex
from functools import cache
from pathlib import Path

from imprint_sweep.analysis.data.results import Results
from imprint_sweep.config.composition import Tree
from tests.analysis.table import N_TEST, write
from tests.sweeping import cells, requested, tree_of


def filled(outputs: Path, command: str | None) -> Results:
    """The results after the sweeps of a command were run: a score for every cell that they ask for.

    Cells that are equal by construction have equal scores.
    """
    assert command is not None
    found = []
    for line in command.split(" && "):
        words = shlex.split(line)
        if words[:4] == ["python", "-m", "imprint_sweep", "-m"]:
            request = requested(_tree(), *words[4:])
            assert request.invalid == {}
            found += [(cell, int(cell.computation_id()[:8], 16) % N_TEST) for cell in cells(request)]
    return write(outputs, found)


@cache
def _tree() -> Tree:
    return tree_of()
