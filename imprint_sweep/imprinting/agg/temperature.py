"""The temperature that the softmax of votes and the log-sum-exp of a class have in common."""

from __future__ import annotations

from imprint_sweep.imprinting.components import Parameter

TEMPERATURE = Parameter(
    "temperature",
    float,
    0.07,
    "T: a proxy that is farther by T counts e times less.",
    least=1e-6,
    below=1e6,
)
"""Its neutral value is that of Wu et al. 2018 and of the DINO family."""
