"""Sweeps through the launchers of one machine, and a shard that a batch system ends."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from imprint_sweep.invocation import override
from imprint_sweep.running.progress import Progress
from imprint_sweep.running.resources import available_cores
from tests.outputs import LARGE, SMALL, Outputs, await_, ended, under_way

pytestmark = pytest.mark.slow


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    """Fresh outputs with the embeddings and no results."""
    return Outputs.create(tmp_path)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """What the basic launcher finds for the small sweep."""
    basic = Outputs.create(tmp_path_factory.mktemp("basic"))
    basic.run(*SMALL)
    return basic.n_correct()


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_launchers_of_one_machine_find_what_the_basic_one_finds(
    outputs: Outputs, expected: dict[str, int], launcher: str
) -> None:
    out, err = outputs.run(*SMALL, f"hydra/launcher={launcher}")
    assert outputs.n_correct() == expected
    assert len(outputs.history()) == len(expected)
    about = json.loads((outputs.sweep() / "sweep.json").read_text())
    assert about["launcher"] == launcher
    assert about["workers"] * about["threads"] <= available_cores()
    assert Progress.read(outputs.sweep()).finished == about["shards"]
    # One line of progress, and none of the launcher's.
    assert len(err.splitlines()) == 1
    assert "submitit" not in out


def test_a_shard_that_is_told_to_end_keeps_what_it_knows(outputs: Outputs) -> None:
    # Writes a plan, and needs no SLURM for that.
    outputs.run(*LARGE, "hydra/launcher=submitit_slurm", "sweep.submit=false")
    shard = outputs.command(override("shard.plan", str(outputs.sweep() / "plan.npz")), "shard.index=0")
    await_(lambda: under_way(outputs.sweep(), 0), "the shard under way")
    assert outputs.history().empty, "rows are written every few seconds: too late to see what a signal does"
    shard.send_signal(signal.SIGTERM)
    _, err = ended(shard, code=143)
    assert err == ""
    known = Progress.read(outputs.sweep())
    assert 0 < known.done < known.total
    assert len(outputs.history()) == known.done
