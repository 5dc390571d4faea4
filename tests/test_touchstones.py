"""A component more or less is its own files: tried in copies of the project, with the files of docs/extending.md."""

from __future__ import annotations

import importlib.util
import io
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial import distance

from imprint_sweep.analysis.report.building import ALL_RESULTS, artefact_folder
from imprint_sweep.imprinting.components import Rows
from imprint_sweep.imprinting.vectors import Vectors
from imprint_sweep.store import load_results
from tests.extending import files
from tests.outputs import ROOT

COPIED = ("imprint_sweep", "conf", "hydra_plugins", "scripts")
ON_DIGITS = ("model=pixels", "task=digits")
METRICS_FOLDER = "imprint_sweep/imprinting/agg/metrics/"
GENERAL = (
    "tests/config/test_config.py",
    "tests/grid/test_equalities.py",
    "tests/test_architecture.py",
    "tests/imprinting/gen",
)
"""Tests that name no component, or only those that they are about."""

HERDING = ("imprint_sweep/imprinting/gen/herding.py", "conf/gen/herding.yaml")
TRIMMED = ("imprint_sweep/imprinting/gen/trimmed_mean.py", "conf/gen/trimmed_mean.yaml")
CHEBYSHEV = (METRICS_FOLDER + "chebyshev.py",)
ROOT_NORM = ("imprint_sweep/imprinting/norm/root.py", "conf/norm/root.yaml")
MEAN_SCORE = ("imprint_sweep/imprinting/agg/aggregations/mean_score.py", "conf/agg/mean_score.yaml")
POWER_NORM = ("imprint_sweep/imprinting/norm/power.py", "conf/norm/power.yaml")
SOFT_INVERSE = ("imprint_sweep/imprinting/agg/weighting/soft_inverse.py",)
OF_A_PACKAGE = {
    "gens": {"closest": "closest:CLOSEST", "trimmed_mean": "trimmed_mean:TRIMMED_MEAN"},
    "norms": {"root": "root:SIGNED_ROOT"},
    "metrics": {"chebyshev": "chebyshev:CHEBYSHEV"},
    "weightings": {"soft_inverse": "soft_inverse:SOFT_INVERSE"},
    "aggregations": {"mean_score": "mean_score:MEAN_SCORE"},
}


@dataclass(frozen=True)
class Copy:
    """A copy of the project that runs by itself.

    Args:
        root: its folder; results go into its folder ``outputs``.
        path: folders of other packages.
    """

    root: Path
    path: tuple[Path, ...] = ()

    def add(self, *names: str) -> None:
        """Add files of the page on extending."""
        for name in names:
            (self.root / name).write_text(files()[name])

    def delete(self, *names: str) -> None:
        for name in names:
            (self.root / name).unlink()

    def run(self, *words: str, code: int = 0) -> str:
        """Run a module of the copy, and return what it printed."""
        finished = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (self.root, *self.path)))},
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == code, finished.stdout + finished.stderr
        return finished.stdout + finished.stderr

    def sweep(self, *words: str, code: int = 0) -> str:
        return self.run("imprint_sweep", "-m", *words, *ON_DIGITS, f"paths.outputs={self.root / 'outputs'}", code=code)

    def rows(self) -> pd.DataFrame:
        """The results. They are read here, where the components are not."""
        return load_results(self.root / "outputs" / "results", ["cell_id", "gen", "k", "metric", "n_correct"])

    def listed(self) -> pd.DataFrame:
        """The rows that the copy's report lists."""
        (self.root / "listed.py").write_text(
            "from imprint_sweep.analysis.report.listing import listing\n"
            "from imprint_sweep.analysis.data.results import load\n"
            "print(listing(load('outputs')).frame.to_csv())"
        )
        return pd.read_csv(io.StringIO(self.run("listed")))


def copied(root: Path) -> Copy:
    for name in COPIED:
        shutil.copytree(ROOT / name, root / name)
    return Copy(root)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """A copy of the project."""
    return copied(tmp_path / "copy")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with an installed package, and options that name its GEN without an entry point."""
    folder = tmp_path / "site"
    (folder / "imprint_extras").mkdir(parents=True)
    (folder / "imprint_extras" / "__init__.py").touch()
    for name, text in files().items():
        if name.endswith(".py"):
            (folder / "imprint_extras" / Path(name).name).write_text(text)
    info = folder / "imprint_extras-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: imprint-extras\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("imprint_extras\n")
    (folder / "my_options" / "gen").mkdir(parents=True)
    (folder / "my_options" / "gen" / "closest.yaml").write_text(files()["my_options/gen/closest.yaml"])
    return folder


def declare(package: Path) -> None:
    """Declare the components of the package as entry points."""
    lines = []
    for kind, entries in OF_A_PACKAGE.items():
        lines += [f"[imprint_sweep.{kind}]", *(f"{name} = imprint_extras.{place}" for name, place in entries.items())]
    (package / "imprint_extras-1.0.dist-info" / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def module(tmp_path: Path) -> Callable[[str], ModuleType]:
    """Loads a module of the page by its name."""

    def loaded(name: str) -> ModuleType:
        (text,) = [text for path, text in files().items() if path.endswith(f"/{name}.py")]
        place = tmp_path / f"{name}.py"
        place.write_text(text)
        spec = importlib.util.spec_from_file_location(name, place)
        assert spec is not None
        assert spec.loader is not None
        found = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
        return found

    return loaded


def samples(n: int, d: int) -> Rows:
    return np.maximum(np.random.default_rng(n).normal(0.2, 1, (n, d)), 0).astype(np.float32)


# ---- the numbers


@pytest.mark.parametrize(("n", "k"), [(1, 1), (5, 9), (30, 1), (30, 7), (30, 29)])
def test_herding_is_as_icarl_defines_it(n: int, k: int, module: Callable[[str], ModuleType]) -> None:
    x = samples(n, 6)
    wide, mean = x.astype(np.float64), x.mean(axis=0, dtype=np.float64)
    wanted: list[int] = []
    for _ in range(min(n, k)):
        rest = [i for i in range(n) if i not in wanted]
        wanted.append(min(rest, key=lambda i: float(np.linalg.norm(mean - wide[[*wanted, i]].mean(axis=0)))))
    chosen = module("herding").herding(x, k)
    assert chosen.tolist() == (list(range(n)) if n <= k else wanted)


@pytest.mark.parametrize("trim", [0.0, 0.1, 0.25, 0.49])
def test_the_trimmed_mean_is_scipys(trim: float, module: Callable[[str], ModuleType]) -> None:
    x = samples(31, 6)
    wanted = stats.trim_mean(x.astype(np.float64), trim, axis=0)
    np.testing.assert_allclose(module("trimmed_mean").trimmed_mean(x, trim)[0], wanted, rtol=1e-6)


def test_the_chebyshev_distance_is_scipys(module: Callable[[str], ModuleType]) -> None:
    metric, queries, proxies = module("chebyshev").CHEBYSHEV, samples(9, 6), samples(4, 6)
    wanted = distance.cdist(queries.astype(np.float64), proxies.astype(np.float64), "chebyshev")
    query, proxy = (indices.ravel() for indices in np.indices(wanted.shape))
    exact = metric.exact(Vectors.of(queries), Vectors.of(proxies), query, proxy)
    np.testing.assert_array_equal(exact.reshape(wanted.shape), wanted)
    np.testing.assert_allclose(metric.fast(queries, proxies), wanted, rtol=1e-6)


def test_a_norm_reads_its_parameter(module: Callable[[str], ModuleType]) -> None:
    x = samples(9, 6) - np.float32(0.5)
    for exponent in (0.5, 1.0, 3.0):
        wanted = np.sign(x) * np.abs(x.astype(np.float64)) ** exponent
        found = module("power").SIGNED_POWER.having([("exponent", exponent)]).rows(x)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


# ---- in this project


@pytest.mark.slow
def test_a_gen_is_two_files(copy: Copy) -> None:
    copy.sweep("gen=mean", "agg=max")
    copy.add(*HERDING)
    words = ("gen=herding,mean", "k=1,5", "agg=max,mnn", "agg.m=3")
    assert "requested 8 -> 6 distinct -> 1 done, 5 to run in 1 shard, about" in copy.sweep(*words, "sweep.dry_run=true")
    copy.sweep(*words)
    assert Counter(copy.rows()["gen"]) == {"herding": 4, "mean": 2}
    assert "6 done, 0 to run" in copy.sweep(*words)
    assert "herding" in set(copy.listed()["gen"])


@pytest.mark.slow
def test_a_metric_is_one_file(copy: Copy) -> None:
    copy.add(*CHEBYSHEV)
    copy.sweep("gen=mean,kmeans", "k=5", "agg=max,mnn", "agg.m=3", "agg.metric=chebyshev,euclidean")
    assert Counter(copy.rows()["metric"]) == {"chebyshev": 4, "euclidean": 4}
    assert "chebyshev" in set(copy.listed()["metric"])


@pytest.mark.slow
def test_a_norm_an_aggregation_and_a_weighting_are_their_files(copy: Copy) -> None:
    copy.add(*ROOT_NORM, *POWER_NORM, *SOFT_INVERSE, *MEAN_SCORE)
    assert "requested 3 -> 3 distinct" in copy.sweep("agg=max,mean_score,lse", "k=3")
    assert "mean_score" in set(copy.listed()["agg"])
    axes = ("norm=root,l2,power", "norm.exponent=0.25,0.5", "agg.weighting=soft_inverse,uniform")
    out = copy.sweep(*axes, "gen=all", "agg=mnn")
    assert "requested 12 -> 8 distinct" in out
    assert "soft_inverse" in out
    rows = load_results(copy.root / "outputs" / "results", ["norm_pre", "weighting", "norm_exponent", "n_correct"])
    assert Counter(rows["norm_exponent"].dropna()) == {0.25: 2, 0.5: 2}
    roots = rows[(rows["norm_pre"] == "root") | (rows["norm_exponent"] == 0.5)]
    assert (roots.groupby("weighting")["n_correct"].nunique() == 1).all()


@pytest.mark.slow
def test_a_parameter_is_an_axis_and_a_column_and_leaves_old_ids(copy: Copy) -> None:
    copy.sweep("gen=mean,kmeans", "k=5")
    before = set(copy.rows()["cell_id"])
    copy.add(*TRIMMED)
    out = copy.sweep("gen=mean,kmeans,trimmed_mean", "gen.trim=0.1,0.2", "k=5")
    assert "requested 6 -> 4 distinct -> 2 done, 2 to run" in out
    assert before < set(copy.rows()["cell_id"])
    copy.run("imprint_sweep.cli.commands.report", "--outputs", str(copy.root / "outputs"))
    listed = pd.read_csv(artefact_folder(copy.root / "outputs", ALL_RESULTS) / f"{ALL_RESULTS}.csv")
    assert sorted(listed["gen_trim"].dropna()) == [0.1, 0.2]
    assert set(listed["gen"][listed["gen_trim"].isna()]) == {"mean", "kmeans"}
    shutil.copytree(ROOT / "tests" / "golden", copy.root / "tests" / "golden")
    program = (
        "from tests.golden import record\n"
        "golden = record.load(record.IDS)\n"
        "print(all((g.cell.cell_id, g.cell.computation_id()) == (g.cell_id, g.computation_id) for g in golden))"
    )
    (copy.root / "golden_ids.py").write_text(program)
    assert copy.run("golden_ids").strip() == "True"


@pytest.mark.slow
def test_without_its_files_a_component_is_gone_and_the_rest_runs(copy: Copy) -> None:
    copy.delete("imprint_sweep/imprinting/gen/fps.py", "conf/gen/fps.yaml", METRICS_FOLDER + "manhattan.py")
    gens = "all,cov_max,k_least_squares,kmeans,kmedoids,least_squares,mean,random"
    metrics = "cosine,euclidean,mahalanobis"
    out = copy.sweep(f"gen={gens}", "k=2", "agg=mnn", f"agg.metric={metrics}", "task.classes=[3,1,7]")
    assert "24/24 cells" in out
    assert "unknown gen 'fps'. Available: all, cov_max," in copy.sweep("gen=mean,fps", code=2)
    assert "unknown agg.metric 'manhattan'" in copy.sweep("agg=mnn", "agg.metric=manhattan", code=2)
    assert set(copy.listed()["gen"]) == set(gens.split(","))
    for name in ("tests", "docs"):
        shutil.copytree(ROOT / name, copy.root / name)
    copy.delete("tests/imprinting/gen/test_fps.py")
    configuration = ("-c", str(ROOT / "pyproject.toml"), f"--rootdir={copy.root}", "-p", "no:cacheprovider")
    copy.run("pytest", "-q", *configuration, *GENERAL)


# ---- in a package of one's own


@pytest.mark.slow
def test_an_entry_point_and_an_option_of_ones_own_lead_to_the_same_cells(copy: Copy, package: Path) -> None:
    options = f"--config-dir={package / 'my_options'}"
    by_option = Copy(copy.root, (package,))
    by_option.sweep(options, "gen=closest,mean")
    rows = by_option.rows()
    assert set(rows["gen"]) == {"imprint-extras:closest", "mean"}
    declare(package)
    assert "2 done, 0 to run" in by_option.sweep("gen=imprint-extras:closest,mean")
    by_option.sweep("gen=imprint-extras:closest,mean", "sweep.threads=2", "hydra/launcher=joblib", "n_shot=20,30")
    again = by_option.sweep(options, "gen=closest,imprint-extras:closest", "n_shot=20")
    assert "requested 2 -> 1 distinct -> 1 done, 0 to run" in again


@pytest.mark.slow
def test_components_of_all_kinds_come_from_a_package(copy: Copy, package: Path) -> None:
    declare(package)
    extended = Copy(copy.root, (package,))
    out = extended.sweep(
        "gen=imprint-extras:trimmed_mean",
        "gen.trim=0.1,0.2",
        "norm=l2",
        "norm.pre=imprint-extras:root",
        "agg=mnn",
        "agg.metric=imprint-extras:chebyshev",
        "agg.weighting=imprint-extras:soft_inverse",
    )
    assert "2/2 cells" in out
    assert sorted(extended.listed()["gen_trim"]) == [0.1, 0.2]
    outputs = str(copy.root / "outputs")
    for cell in extended.rows()["cell_id"]:
        shown = extended.run("imprint_sweep.cli.commands.cell", cell, "--check", "--outputs", outputs)
        line = shown.split("reproduce it with:\n")[1].splitlines()[0]
        assert "gen.trim=0." in line
        python, dash_m, *words = shlex.split(line)
        assert (python, dash_m) == ("python", "-m")
        assert f"cell {cell}" in extended.run(*words)
    assert "1/1 cell" in extended.sweep("gen=mean", "agg=imprint-extras:mean_score")


# ---- the page


def test_the_page_shows_the_files_that_are_tried_here() -> None:
    tried = {*HERDING, *TRIMMED, *CHEBYSHEV, *ROOT_NORM, *POWER_NORM, *SOFT_INVERSE, *MEAN_SCORE}
    assert set(files()) - tried == {"imprint_extras/closest.py", "pyproject.toml", "my_options/gen/closest.yaml"}
    declared = tomllib.loads(files()["pyproject.toml"])["project"]
    entries = {kind: dict(places) for kind, places in declared["entry-points"].items()}
    assert entries == {"imprint_sweep.gens": {"closest": f"imprint_extras.{OF_A_PACKAGE['gens']['closest']}"}}
