"""What each launcher can run at once, and what is told of shards that failed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus
from hypothesis import given
from hypothesis import strategies as st
from joblib.externals.loky.process_executor import TerminatedWorkerError
from submitit.core.utils import UncompletedJobError

from hydra_plugins.hydra_joblib_launcher.config import JobLibLauncherConf  # type: ignore[import-untyped]
from hydra_plugins.hydra_submitit_launcher.config import LocalQueueConf, SlurmQueueConf  # type: ignore[import-untyped]
from imprint_sweep.errors import SweepError
from imprint_sweep.running import launch
from imprint_sweep.running.launch import MAX_SHARDS, Resources, failures

Node = dict[str, Any]
BASIC: Node = {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}
JOBLIB: Node = asdict(JobLibLauncherConf())
LOCAL: Node = asdict(LocalQueueConf())
SLURM: Node = asdict(SlurmQueueConf()) | {"name": "imprint_sweep", "submitit_folder": "somewhere"}
UNKNOWN: Node = {"_target_": "somebody.elses.RayLauncher"}
LAUNCHERS = {"basic": BASIC, "joblib": JOBLIB, "submitit_local": LOCAL, "submitit_slurm": SLURM, "RayLauncher": UNKNOWN}


def resources(launcher: Node, cores: int, *, threads: int | None = None, shards: int | None = None) -> Resources:
    """The resources of a launcher on a machine with so many cores."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "available_cores", lambda: cores)
        return Resources.of(launcher, threads=threads, shards=shards)


@pytest.mark.parametrize(
    ("launcher", "cores", "given", "expected"),
    [
        (BASIC, 8, {}, Resources("basic", 1, 8)),
        (BASIC, 8, {"threads": 3, "shards": 5}, Resources("basic", 1, 3)),
        (JOBLIB, 8, {}, Resources("joblib", 8, 1)),
        (JOBLIB, 8, {"threads": 3}, Resources("joblib", 2, 3)),
        (JOBLIB | {"n_jobs": -2}, 8, {}, Resources("joblib", 7, 1)),
        (JOBLIB | {"n_jobs": -20}, 8, {}, Resources("joblib", 1, 8)),
        (JOBLIB | {"n_jobs": 3}, 8, {}, Resources("joblib", 3, 2)),
        (JOBLIB | {"n_jobs": 16}, 8, {}, Resources("joblib", 8, 1)),
        (JOBLIB | {"n_jobs": None}, 8, {}, Resources("joblib", 1, 8)),
        (LOCAL, 8, {}, Resources("submitit_local", 8, 1)),
        (LOCAL, 8, {"shards": 3}, Resources("submitit_local", 3, 2)),
        (LOCAL, 8, {"shards": 30}, Resources("submitit_local", 8, 1)),
        (LOCAL | {"cpus_per_task": 4}, 8, {}, Resources("submitit_local", 2, 4)),
        (LOCAL | {"cpus_per_task": 40}, 8, {}, Resources("submitit_local", 1, 8)),
        (SLURM, 2, {}, Resources("submitit_slurm", None, 1)),
        (SLURM | {"cpus_per_task": 16}, 2, {}, Resources("submitit_slurm", None, 16)),
        (SLURM | {"cpus_per_task": 16}, 2, {"threads": 4}, Resources("submitit_slurm", None, 4)),
        (UNKNOWN, 4, {}, Resources("RayLauncher", 4, 1)),
    ],
)
def test_what_a_launcher_gives(launcher: Node, cores: int, given: dict[str, int], expected: Resources) -> None:
    assert resources(launcher, cores, **given) == expected


@pytest.mark.parametrize("name", ["nodes", "tasks_per_node"])
def test_a_shard_is_one_process(name: str) -> None:
    with pytest.raises(
        SweepError, match=rf"^hydra\.launcher\.{name}=2 would run every shard 2 times; .* sweep\.shards$"
    ):
        resources(SLURM | {name: 2}, 8)


@given(
    launcher=st.sampled_from([BASIC, JOBLIB, LOCAL, UNKNOWN]),
    cores=st.integers(1, 130),
    threads=st.none() | st.integers(1, 130),
    shards=st.none() | st.integers(1, 2000),
    n_jobs=st.integers(-130, 130),
    cpus=st.none() | st.integers(1, 130),
)
def test_workers_times_threads_never_exceed_the_cores(
    launcher: Node, cores: int, threads: int | None, shards: int | None, n_jobs: int, cpus: int | None
) -> None:
    node = launcher | ({"n_jobs": n_jobs} if launcher is JOBLIB else {"cpus_per_task": cpus})
    if threads is not None and threads > cores:
        with pytest.raises(SweepError, match=rf"^sweep\.threads={threads}, but this process was given {cores} cores$"):
            resources(node, cores, threads=threads, shards=shards)
        return
    found = resources(node, cores, threads=threads, shards=shards)
    assert found.workers is not None
    assert found.workers >= 1
    assert found.threads >= 1
    assert found.workers * found.threads <= cores
    at_once = found.shards(1.0, shards) if shards and shards <= MAX_SHARDS and found.starts_all_at_once else 1
    assert at_once * found.threads <= cores
    assert threads in (None, found.threads)


@pytest.mark.parametrize(
    ("found", "core_seconds", "expected"),
    [
        (Resources("basic", 1, 8), 1e6, 1),
        (Resources("joblib", 4, 2), 1e6, 12),
        (Resources("joblib", 1, 2), 1e6, 1),
        (Resources("submitit_local", 4, 2), 1e6, 4),
        (Resources("submitit_local", 9, 2), 1e6, 9),
        (Resources("submitit_slurm", None, 2), 10.0, 1),
        (Resources("submitit_slurm", None, 2), 0.0, 1),
        (Resources("submitit_slurm", None, 2), 12_000.0, 10),
        (Resources("submitit_slurm", None, 2), 1e12, MAX_SHARDS),
    ],
)
def test_how_many_shards_are_made(found: Resources, core_seconds: float, expected: int) -> None:
    assert found.shards(core_seconds, None) == expected
    # A launcher that starts all shards at once must not be given more than there are workers.
    assert found.shards(core_seconds, 7) == (4 if found == Resources("submitit_local", 4, 2) else 7)


@pytest.mark.parametrize("kind", LAUNCHERS)
def test_more_than_a_thousand_shards_are_refused(kind: str) -> None:
    found = resources(LAUNCHERS[kind], 4)
    assert found.shards(1.0, 1000) == (4 if found.starts_all_at_once else 1000)
    with pytest.raises(SweepError, match=r"^sweep\.shards=1001: SLURM takes at most 1000 tasks into an array$"):
        found.shards(1.0, 1001)


def test_failed_shards_are_named() -> None:
    good = JobReturn(status=JobStatus.COMPLETED)
    bad = JobReturn(status=JobStatus.FAILED)
    bad.return_value = OSError("disk full")
    assert failures(lambda: [good, bad, good]) == ["shard 1: OSError: disk full"]
    assert failures(list) == []


@pytest.mark.parametrize("error", [TerminatedWorkerError("killed\nby whom"), UncompletedJobError("killed\nlog\nlog")])
def test_a_killed_shard_is_told_in_one_line(error: Exception) -> None:
    def launch() -> list[JobReturn]:
        raise error

    (line,) = failures(launch)
    assert line.startswith("a shard ended without a word, others may still run: ")
    assert line.endswith("Error: killed")


def test_a_bug_in_a_launcher_is_not_hidden() -> None:
    def launch() -> list[JobReturn]:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        failures(launch)
