"""Settings of a process that runs networks on the CPU.

They hold for the whole process, so importing the package makes none of them: commands do.
"""

from __future__ import annotations

import os

from imprint_sweep.extraction.allocation import share_heap


def prepare_process() -> None:
    """Set this process up for networks. Called by a command before it loads torch, which reads the environment then."""
    # A network's small layers end in a barrier each; threads that spin there for a core that another process has taken
    # make the whole ten times slower on a shared machine, and waiting costs nothing on an idle one.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Before torch starts threads, for the same networks.
    share_heap()
