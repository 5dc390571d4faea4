"""The vote of the m nearest (section 3.1 of the paper)."""

from __future__ import annotations

from imprint_sweep.imprinting.components import Voting


class NearestVote(Voting):
    """The m nearest proxies vote, weighted by their distances or alike."""

    name = "mnn"


MNN = NearestVote()
