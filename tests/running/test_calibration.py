"""What is known of a machine: measured once, kept, learned from shards within bounds, and never in the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.engine import EngineSettings, Ledger, run
from imprint_sweep.imprinting.components import GENS, METRICS
from imprint_sweep.planning.cost import REST, Estimate, estimate
from imprint_sweep.planning.plan import Plan, look_up, shards
from imprint_sweep.running import calibration
from imprint_sweep.running.calibration import MEMORY_SECONDS, MOST, ON_REFERENCE, STEP, Calibration, measure, observed
from tests import data
from tests.outputs import Outputs, ended

SLOWER = {stage: 2.0 * seconds for stage, seconds in ON_REFERENCE.items()}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calibration:
    """A machine of which nothing is known, twice as slow as that of the benchmarks."""
    monkeypatch.setattr(calibration, "measure", lambda threads: SLOWER)
    return Calibration(tmp_path / "calibration.json", 2)


@pytest.fixture
def said() -> list[str]:
    """What the user is told."""
    return []


def test_a_machine_is_measured_once(here: Calibration, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert here.ratios() is None
    assert here.measured(said.append) == pytest.approx(dict.fromkeys(ON_REFERENCE, 2.0))
    monkeypatch.setattr(calibration, "measure", lambda threads: pytest.fail("measured again"))
    assert here.measured(said.append) == pytest.approx(dict.fromkeys(ON_REFERENCE, 2.0))
    assert said == []


@pytest.mark.parametrize("other", ["threads", "CPU", "file"])
def test_another_number_of_threads_another_cpu_and_a_deleted_file_are_measured_anew(
    other: str, here: Calibration, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here.measured(said.append)
    if other == "threads":
        here = Calibration(here.path, 1)
    elif other == "CPU":
        monkeypatch.setattr(calibration, "cpu_type", lambda: "another")
    else:
        here.path.unlink()
    assert here.ratios() is None
    monkeypatch.setattr(calibration, "measure", lambda threads: ON_REFERENCE)
    assert here.measured(said.append) == pytest.approx(dict.fromkeys(ON_REFERENCE, 1.0))
    assert said == []
    assert len(json.loads(here.path.read_text())["machines"]) == (1 if other == "file" else 2)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"format": 2, "machines": {}}',
        '{"format": 1}',
        '{"format": 1, "machines": {"a": {"kmeans": 3}}}',
        '{"format": 1, "machines": {"a": {"kmeans": [NaN, 1]}}}',
        '{"format": 1, "machines": {"a": {"kmeans": ["fast", 1]}}}',
        b"\xff\xfe",
    ],
)
def test_an_unreadable_file_is_a_notice_and_is_made_anew(
    content: str | bytes, here: Calibration, said: list[str]
) -> None:
    here.path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert here.measured(said.append) == pytest.approx(dict.fromkeys(ON_REFERENCE, 2.0))
    assert len(said) == 1
    assert "is unreadable" in said[0]
    assert here.ratios() == pytest.approx(dict.fromkeys(ON_REFERENCE, 2.0))


def test_a_folder_that_cannot_be_written_is_a_notice(tmp_path: Path, here: Calibration, said: list[str]) -> None:
    (tmp_path / "file").write_text("")
    nowhere = Calibration(tmp_path / "file" / "calibration.json", 2)
    assert nowhere.measured(said.append) == pytest.approx(dict.fromkeys(ON_REFERENCE, 2.0))
    assert len(said) >= 1


def test_shards_improve_what_is_known(here: Calibration) -> None:
    for _ in range(30):
        here.learn({"kmeans": 100.0}, {"kmeans": 300.0})
    assert here.ratios() == pytest.approx({"kmeans": 3.0})
    # One that took very long moves it by a factor within bounds.
    here.learn({"kmeans": MEMORY_SECONDS}, {"kmeans": 1e9})
    assert here.ratios() == pytest.approx({"kmeans": 3.0 * STEP**0.5})
    # What little work says does not count, nor work that was not done.
    here.learn({"kmeans": 0.5, "search": 5.0}, {"kmeans": 50.0})
    assert here.ratios() == pytest.approx({"kmeans": 3.0 * STEP**0.5})


def test_ratios_are_bounded(here: Calibration) -> None:
    here.learn({"kmeans": 10.0, "search": 10.0}, {"kmeans": 1e9, "search": 1e-9})
    assert here.ratios() == pytest.approx({"kmeans": MOST, "search": 1 / MOST})


def test_the_machine_that_was_heard_of_last_stands_for_the_nodes_of_a_cluster(
    here: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert here.of_any() == {}
    for cpu, ratio in (("old", 2.0), ("new", 3.0), ("old", 2.0)):
        monkeypatch.setattr(calibration, "cpu_type", lambda cpu=cpu: cpu)
        here.learn({"kmeans": 10.0}, {"kmeans": 10.0 * ratio})
    monkeypatch.setattr(calibration, "cpu_type", lambda: "login node")
    assert here.of_any() == pytest.approx({"kmeans": 2.0})
    assert Calibration(here.path, 3).of_any() == {}


def test_a_small_sweep_measures_every_stage_that_is_known_of_the_reference() -> None:
    assert {stage for stage, seconds in measure(1).items() if seconds > 0.0} >= set(ON_REFERENCE)


def test_a_component_that_is_not_there_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "GENS", {name: gen for name, gen in GENS.items() if name in ("mean", "all")})
    monkeypatch.setattr(calibration, "METRICS", {"cosine": METRICS["cosine"]})
    schemes = [cell.scheme for cell in calibration._cells()[1]]
    assert {(scheme.gen, scheme.metric) for scheme in schemes} == {("mean", "inner_product"), ("all", "cosine")}


def test_a_run_says_what_it_took_by_stage(tmp_path: Path) -> None:
    blobs = data.blobs(train_sizes=dict.fromkeys(range(4), 30))
    cells = [data.cell(data.task(blobs), gen=gen, k=k) for gen in ("kmeans", "kmedoids") for k in (2, 3)]
    cache, plan = EmbeddingCache(tmp_path / "embeddings"), Plan.of_cells(cells)
    data.write(cache, blobs)
    estimated = estimate(plan, look_up(plan, cache).headers)
    settings = EngineSettings(proxy_cache=tmp_path / "proxies")
    seen = []
    for _ in range(2):
        ledger = Ledger()
        list(run(cells, cache, settings, ledger=ledger))
        expected, took = observed(estimated, ledger, 10.0, 2)
        assert set(expected) == set(took)
        assert expected["kmeans"] == pytest.approx(float(estimated.stages["kmeans"].sum()))
        assert took["kmeans"] == ledger.seconds["kmeans"]
        assert took[REST] == pytest.approx(STEP * expected[REST])  # 20 s for so little: others were busy
        _, took = observed(estimated, ledger, sum(ledger.seconds.values()) / 2 + 1e-4, 2)
        assert took[REST] == pytest.approx(2e-4)
        seen.append(expected)
    assert {"kmeans", "kmedoids", "distances", "samples", "inner_products", "search", REST} == set(seen[0])


def test_ratios_change_an_estimate_and_nothing_else() -> None:
    blobs = data.blobs(train_sizes=dict.fromkeys(range(4), 30))
    plan = Plan.of_cells([data.cell(data.task(blobs), gen=gen) for gen in ("kmeans", "mean")])
    stages = {"kmeans": np.array([2.0, 0.0]), "mean": np.array([0.0, 1.0])}
    codes = np.arange(len(plan))
    known = Estimate(codes, codes, codes, codes, codes, stages).on({"kmeans": 3.0})
    assert known.seconds.tolist() == [6.0, 1.0]
    assert known.by_stage() == {"kmeans": 6.0, "mean": 1.0}
    assert known.on({}).seconds.tolist() == [2.0, 1.0]


def test_the_division_of_a_sweep_is_decided_once(tmp_path: Path) -> None:
    """By whoever plans. What shards learn meanwhile, or another host knows, moves no cell to another shard."""
    outputs = Outputs.create(tmp_path)
    words = ("task.name=small", "gen=mean,kmeans,fps", "k=2,5", "seed=0,1", "sweep.shards=3")
    submitted = ("hydra/launcher=submitit_slurm", "sweep.submit=false")
    outputs.run(*words, *submitted)
    (path,) = (outputs.root / "sweeps").glob("*/plan.npz")
    plan, columns = Plan.load(path)
    before = columns["shard"].copy()
    threads = json.loads((path.parent / "sweep.json").read_text())["threads"]
    Calibration(outputs.root / "calibration.json", threads).learn(
        {"kmeans": 1e3, "fps": 1e3}, {"kmeans": 3e4, "fps": 1e2}
    )
    for index in range(3):
        ended(outputs.command(f"shard.plan='{path}'", f"shard.index={index}"))
    assert sorted(outputs.history()["cell_id"]) == sorted(plan.cell_id.astype(str).tolist())
    for index in range(3):
        mine = json.loads((path.parent / f"progress-{index:04d}.json").read_text())
        assert mine["done"] == mine["total"] == int((before == index).sum())
    assert np.array_equal(Plan.load(path)[1]["shard"], before)
    # Planned anew, it may be divided in another way: that is another sweep.
    headers = look_up(plan, EmbeddingCache(outputs.root / "embeddings")).headers
    slow = estimate(plan, headers).on({"kmeans": 30.0})
    assert sorted(set(shards(slow.atoms(3), slow.seconds, 3).tolist())) == [0, 1, 2]
