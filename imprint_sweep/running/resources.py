"""How many cores this process may use."""

from __future__ import annotations

import os


def available_cores() -> int:
    """The cores given to this process: the least of its CPU affinity, SLURM's allotment and ``OMP_NUM_THREADS``.

    SLURM 22.05 and newer tell a job step its share as ``SLURM_CPUS_PER_TASK`` only if it was asked for one; the
    affinity that SLURM sets covers the rest.
    """
    limits = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    for variable in ("SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS"):
        # OMP_NUM_THREADS may be a list, one number per nesting level
        first = os.environ.get(variable, "").split(",")[0].strip()
        if first.isdigit() and int(first) > 0:
            limits.append(int(first))
    return min(limits)
