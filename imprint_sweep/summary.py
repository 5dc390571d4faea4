"""What a run tells its user at the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imprint_sweep.plan import Plan

SHOWN = 20
OUTCOME_FIELDS = ("accuracy", "n_correct", "n_test", "f1_macro", "gen_seconds", "n_proxies", "eval_seconds")
_SCHEME_AXES = {
    "n_shot": "n_shot",
    "norm.pre": "norm_pre",
    "gen": "gen",
    "k": "k",
    "norm.post": "norm_post",
    "norm.inf": "norm_inf",
    "agg": "agg",
    "agg.metric": "metric",
    "agg.m": "m",
    "agg.weighting": "weighting",
}


def outcome_lines(row: Mapping[str, Any], results: Path) -> list[str]:
    """A good row of the results table in three lines.

    Args:
        row: its columns.
        results: the table's folder.
    """
    return [
        f"accuracy {row['accuracy']:.4f} ({row['n_correct']:,} of {row['n_test']:,} correct), "
        f"macro F1 {row['f1_macro']:.4f}",
        f"GEN {row['gen_seconds']:.3f} s for {row['n_proxies']:,} proxies, evaluation {row['eval_seconds']:.3f} s",
        f"cell {row['cell_id']} in {results}",
    ]


def accuracy_table(plan: Plan, accuracy: NDArray[np.float64]) -> str:
    """The swept axes against accuracy, best first: the median over seeds.

    Args:
        plan: the cells.
        accuracy: (n,) float64, NaN for cells without a result.
    """
    columns = {
        "model": np.array([model.name for model in plan.models], object)[plan.model],
        "task": np.array([task.name for task in plan.tasks], object)[plan.task],
        "task.classes": np.array([task.classes for task in plan.tasks], object)[plan.task],
    }
    for name, field in _SCHEME_AXES.items():
        columns[name] = np.array([getattr(scheme, field) for scheme in plan.schemes], object)[plan.scheme]
    frame = pd.DataFrame({name: values for name, values in columns.items() if len(set(values.tolist())) > 1})
    axes = list(frame.columns)
    frame["accuracy"] = accuracy
    frame = frame.dropna(subset="accuracy")
    if frame.empty or not axes:
        return ""
    grouped = frame.groupby(axes, dropna=False, sort=False)["accuracy"].agg(["median", "size"]).reset_index()
    grouped = grouped.sort_values("median", ascending=False, kind="stable")
    grouped = grouped.rename(columns={"median": "accuracy", "size": "seeds"})
    top = grouped.head(SHOWN)
    shown = pd.DataFrame({name: [_text(value) for value in top[name]] for name in grouped.columns})
    shown["accuracy"] = [f"{value:.4f}" for value in top["accuracy"]]
    more = f"\n... and {len(grouped) - SHOWN:,} more" if len(grouped) > SHOWN else ""
    return f"{shown.to_string(index=False)}{more}"


def _text(value: object) -> str:
    """A value of an axis: whole numbers without a point, nothing as a dash."""
    if value is None or value != value:
        return "-"
    return f"{value:.0f}" if isinstance(value, float) else str(value)
