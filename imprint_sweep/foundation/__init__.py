"""From images to embeddings: datasets, frozen foundation models, extraction."""

import os

from imprint_sweep.foundation.allocation import share_heap

# Read when torch loads. A network's small layers end in a barrier each; threads that spin there for a core that another
# process has taken make the whole ten times slower on a shared machine, and waiting costs nothing on an idle one.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Before torch starts threads, for the same networks.
share_heap()
