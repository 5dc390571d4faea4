"""The numbers that the paper states, to stand beside ours. They are the paper's models' and data's, never a target.

One file per table or figure in ``imprint_sweep/paper/``; comments in it say what the numbers are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

FOLDER = Path(__file__).resolve().parents[1] / "paper"

Pair = frozenset[str]


@dataclass(frozen=True)
class Published:
    """What the paper states of a comparison.

    Args:
        accuracy: name -> mean accuracy over the paper's instances, a share.
        std: name -> its standard deviation, a share; empty where the paper does not state it.
        rank: name -> average rank, ties counted densely; empty where the paper does not state it.
        p: two names -> p-value of their signed-rank test, uncorrected; empty where the paper does not state them.
    """

    accuracy: Mapping[str, float]
    std: Mapping[str, float]
    rank: Mapping[str, float]
    p: Mapping[Pair, float]


def comparison(name: str) -> Published:
    """The numbers of a comparison; none where the paper states none.

    Args:
        name: of its artefact, for example ``"fig5"``.
    """
    if not (FOLDER / f"{name}.yaml").exists():
        return Published({}, {}, {}, {})
    data = numbers(name)
    methods = data["methods"]

    def column(key: str, unit: float = 1) -> dict[str, float]:
        return {method["name"]: method[key] / unit for method in methods if key in method}

    p = {frozenset(pair["between"]): float(pair["p"]) for pair in data.get("pairs", [])}
    return Published(column("accuracy", 100), column("std", 100), column("rank"), p)


def numbers(name: str) -> dict[str, Any]:
    """A data file as it is.

    Args:
        name: its stem, for example ``"fig12"``.
    """
    data = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{name}.yaml"))
    assert isinstance(data, dict)
    return {str(key): value for key, value in data.items()}


def curves(name: str) -> pd.DataFrame:
    """The points of a figure.

    Args:
        name: its stem: ``"fig11b"`` has ``model``, ``task``, ``merge`` (null for the four datasets), ``k`` and
            ``accuracy`` (percent, read off the figure to ±0.001).
    """
    return pd.read_csv(FOLDER / f"{name}.csv", dtype={"merge": "Int64"})
