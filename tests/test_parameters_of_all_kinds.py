"""Parameters of norms, metrics and weightings: identity, engine, estimator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from imprint_sweep.api.cells import unfitted
from imprint_sweep.config.overrides import axis_names, for_hydra
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.engine import EngineSettings, predictions, run
from imprint_sweep.errors import InvalidCellError
from imprint_sweep.grid.cell import Cell
from imprint_sweep.grid.choosing import chosen_scheme
from imprint_sweep.grid.equalities import normal_form
from imprint_sweep.grid.keys import Readout
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.imprinting.agg.metrics.manhattan import Manhattan
from imprint_sweep.imprinting.components import METRICS, NORMS, WEIGHTINGS, Norm, Parameter, Rows, Weighting
from imprint_sweep.store import table_schema
from tests import data


class Power(Norm):
    """Each feature to a power, with its sign."""

    name = "power"
    parameters = (Parameter("exponent", float, 1.0, "The power.", least=0.1, below=10.0),)

    def rows(self, x: Rows) -> Rows:
        raised: Rows = (np.sign(x) * np.abs(x) ** np.float32(self["exponent"])).astype(np.float32)
        return raised


class Decaying(Weighting):
    """A vote falls by a factor with each unit of distance, relative to the nearest."""

    name = "decaying"
    parameters = (Parameter("base", float, 2.0, "The factor.", least=1.0),)

    def weights(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        weights: NDArray[np.float64] = self["base"] ** (distances[:, :1] - distances)
        return weights


class Turned(Manhattan):
    """The Manhattan distance, or its inverse."""

    name = "turned"
    parameters = (Parameter("sign", int, 1, "1 or -1.", least=-1, below=2),)

    def exact(self, queries: Any, proxies: Any, query: Any, proxy: Any) -> NDArray[np.float64]:
        values: NDArray[np.float64] = super().exact(queries, proxies, query, proxy) ** self["sign"]
        return values

    def bounds(self, queries: Any, proxies: Any) -> Any:
        return replace(super().bounds(queries, proxies), usable=False)


@pytest.fixture(autouse=True)
def components(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry, component in ((NORMS, Power()), (METRICS, Turned()), (WEIGHTINGS, Decaying())):
        monkeypatch.setattr(registry, "_found", {**registry, component.name: component})


VOTES = {"gen": "all", "agg": "mnn", "m": 5, "metric": "turned", "weighting": "decaying", "norm_post": "power"}


def scheme(**axes: Any) -> Scheme:
    return Scheme.create(**{**VOTES, **axes})


def test_identity_holds_values_that_are_not_neutral_of_components_that_take_part() -> None:
    assert scheme().fragment == scheme(parameters={"agg.base": 2, "norm.exponent": 1}).fragment
    other = scheme(parameters={"agg.base": 3, "agg.sign": -1, "norm.exponent": 0.5})
    assert '"agg.base":3.0,"agg.sign":-1,' in "".join(sorted(other.fragment.split("{")[1:]))
    without = Scheme.create(gen="mean", parameters={"agg.base": 3, "agg.sign": -1, "norm.exponent": 0.5})
    assert without == Scheme.create(gen="mean")
    # A single vote has no weight, hence no base.
    assert normal_form(scheme(m=1, parameters={"agg.base": 3}), 3) == normal_form(scheme(m=1), 3)
    with pytest.raises(InvalidCellError, match=r"agg\.base must be at least 1, got 0"):
        scheme(parameters={"agg.base": 0})


def test_they_are_axes_columns_and_printed() -> None:
    assert {"agg.base", "agg.sign", "norm.exponent"} <= set(axis_names())
    assert {"agg_base", "agg_sign", "norm_exponent"} <= set(table_schema().names)
    assert for_hydra("agg.base=3") == "++agg.base=3"
    chosen = chosen_scheme(scheme(parameters={"agg.base": 3, "norm.exponent": 0.5}))
    assert (chosen["agg.base"], chosen["norm.exponent"]) == (3.0, 0.5)
    assert "agg.sign" not in chosen


def test_values_share_a_search_and_each_is_the_same_alone_and_in_the_estimator(tmp_path: Path) -> None:
    blobs = data.blobs(train_sizes=dict.fromkeys(range(3), 15), spread=0.5)
    cache = EmbeddingCache(tmp_path)
    data.write(cache, blobs)
    task = data.task(blobs)
    values = [
        {"agg.base": base, "agg.sign": sign, "norm.exponent": power}
        for base in (1.0, 50.0)
        for sign in (1, -1)
        for power in (0.5, 2.0)
    ]
    cells = [Cell(data.MODEL, task, scheme(parameters=value)) for value in values]
    views = {Readout.of(normal_form(cell.scheme, 3)).view for cell in cells}
    assert len(views) == 4  # not one for each base
    together = {outcome.cell: outcome for outcome in run(cells, cache, EngineSettings(threads=2))}
    assert len({outcome.correct for outcome in together.values()}) > 2
    for cell in cells:
        (alone,) = run([cell], cache, EngineSettings())
        assert (alone.error, alone.correct) == (None, together[cell].correct)
        order = np.argsort(blobs.test.labels, kind="stable")
        clf = unfitted(cell).fit(blobs.train.features, blobs.train.labels)
        named = {label: position for position, label in enumerate(clf.classes_.tolist())}
        found = [named[label] for label in clf.predict(blobs.test.features[order]).tolist()]
        assert found == predictions(cell, cache, EngineSettings()).tolist()
