"""A sweep computes the cells that its combinations are one by one, whatever their values are interpolated from.

The oracle is Hydra: each combination is composed and run as a single cell, by the function that runs a job.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml  # type: ignore[import-untyped]
from hydra._internal.callbacks import Callbacks
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import run_job
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from imprint_sweep.config.reading import cell_from_config
from imprint_sweep.errors import ImprintError
from imprint_sweep.grid.cell import Cell
from imprint_sweep.invocation import conf_folder
from imprint_sweep.planning.from_command_line import requested
from tests.sweeping import cells

EMPTY = ("paths.outputs=/no/such/folder",)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Variables and resolvers that expressions read."""
    monkeypatch.setenv("NUMBER", "4")
    monkeypatch.setenv("KEY", "k")
    monkeypatch.setenv("REFERENCE", "${k}")
    monkeypatch.setenv("SEVERAL", "2,3")
    resolvers: dict[str, Callable[..., Any]] = {
        "double": lambda value: 2 * int(value),
        "constant": lambda: 6,
        "total": lambda *values: sum(map(int, values)),
        "length": len,
        "first": lambda values: next(iter(values)),
        "from_root": lambda key, *, _root_: OmegaConf.select(_root_, key),
        "from_parent": lambda key, *, _parent_: OmegaConf.select(_parent_._get_root(), key, default=8),
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver)
    yield
    for name in resolvers:
        OmegaConf.clear_resolver(name)


class Hydra:
    """Hydra over the project's tree and a user's folder."""

    def __init__(self, folder: Path, **files: str) -> None:
        self._folder = folder
        for name, content in files.items():
            path = folder / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def _loader(self) -> ConfigLoader:
        return GlobalHydra.instance().config_loader()

    def single(self, *arguments: str) -> Cell | str:
        """The cell of a command line without ``-m``, or why there is none."""
        with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
            config = self._loader().load_configuration("config", self._overrides(arguments), RunMode.RUN)
            config.hydra.mode = RunMode.RUN
            context = HydraContext(self._loader(), callbacks=Callbacks())
            job = run_job(cell_or_error, config, "hydra.run.dir", None, context, configure_logging=False)
        found = job.return_value
        assert isinstance(found, Cell | str)
        return found

    def sweep(self, *arguments: str) -> list[Cell] | str:
        """The cells of a command line with ``-m``, or why there are none."""
        with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
            config = self._loader().load_configuration("config", self._overrides(arguments), RunMode.MULTIRUN)
            context = HydraContext(self._loader(), callbacks=Callbacks())
            # As Hydra does, which resolves the sweeper's own node by that.
            Plugins.instance().instantiate_sweeper(hydra_context=context, task_function=cell_or_error, config=config)
            task = OmegaConf.to_container(config.hydra.overrides.task)
            assert isinstance(task, list)
            try:
                request, _ = requested([str(argument) for argument in task], self._loader(), config)
            except ImprintError as error:
                return str(error)
        return list(cells(request))

    def _overrides(self, arguments: Sequence[str]) -> list[str]:
        return [f"hydra.searchpath=[file://{self._folder}]", *EMPTY, *arguments]


def cell_or_error(cfg: DictConfig) -> Cell | str:
    try:
        return cell_from_config(cfg)
    except ImprintError as error:
        return str(error)


def compare(application: Hydra, *fixed: str, **swept: Sequence[object]) -> list[Cell]:
    """Assert that a sweep has the cells of its combinations one by one, or refuses what they refuse; returns them."""
    lines = [
        [f"{axis}={value}" for axis, value in zip(swept, values, strict=True)]
        for values in itertools.product(*swept.values())
    ]
    alone = [application.single(*fixed, *line) for line in lines]
    together = application.sweep(*fixed, *(f"{axis}={','.join(map(str, values))}" for axis, values in swept.items()))
    if isinstance(together, str):
        assert isinstance(alone[0], str)
        assert alone[0] in together
        return []
    assert together == alone
    return together


NUMBERS = [
    "3",
    "${oc.env:NUMBER}",
    "${oc.env:NO_SUCH,5}",
    "${oc.env:NO_SUCH,'5'}",
    "${constant:}",
    "\\${k}",
    "${k}",
    "${..k}",
    "${oc.select:k}",
    "${oc.select:k,5}",
    "${oc.select:'k',5}",
    "${oc.select: k , 5}",
    "${oc.select:..k,5}",
    "${oc.select:.nothing,7}",
    "${oc.select:n_shot,5}",
    "${oc.select:nothing,${k}}",
    "${oc.select:nothing,${oc.select:k,5}}",
    "${oc.select:agg.nothing,${oc.select:k,5}}",
    "${oc.select:${oc.env:KEY},5}",
    "${oc.env:NO_SUCH,${k}}",
    "${oc.env:NO_SUCH,${oc.select:k,5}}",
    "${oc.env:NO_SUCH,'${oc.select:k,5}'}",
    "${oc.env:REFERENCE}",
    "${oc.decode:${k}}",
    "${oc.decode:'${k}'}",
    "${oc.decode:${oc.env:NUMBER}}",
    "${oc.decode:${oc.env:REFERENCE}}",
    "${oc.deprecated:k}",
    "${oc.deprecated:nothing}",
    "${first:${oc.create:[${k},7]}}",
    "${first:${oc.create:['${oc.select:k,5}',7]}}",
    "${length:${oc.dict.keys:gen}}",
    "${length:${oc.dict.values:norm}}",
    "${length:${oc.select:gen.name,abc}}",
    "${length:${hydra:runtime.choices.gen}}",
    "${hydra:job.nothing}",
    "${double:${k}}",
    "${double:${oc.select:k,5}}",
    "${total:1,${oc.select:k,5},${oc.select:seed,9}}",
    "${from_root:k}",
    "${from_parent:k}",
    "${from_parent:nothing}",
    "${${oc.env:KEY}}",
    "${k}${seed}",
    "${oc.select:k,5}${oc.select:seed,5}",
    "1${oc.select:k,5}",
    "${nothing}",
    "${no_such_resolver:k}",
]
"""What ``agg.m`` may be interpolated from, in ways that read nothing, another axis, or what does not exist."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'agg.m' is deprecated:UserWarning")
@pytest.mark.parametrize("expression", NUMBERS)
def test_a_number_is_resolved_in_its_cell(expression: str, tmp_path: Path) -> None:
    option = Hydra(tmp_path, agg__mine="defaults: [mnn, _self_]\nm: " + yaml.dump(expression))
    compare(option, "agg=mine", gen=["kmeans"], k=[2, 3], seed=[0])


OVERRIDES = [
    ["agg=mnn", "agg.m='${oc.select:k,5}'"],
    ["agg=mnn", "agg.m=${k}"],
    ["agg=mnn", "agg.m=${oc.env:NUMBER}"],
    ["agg=mnn", "agg.m=1", "n_shot='${oc.select:k,20}'"],
    ["agg=mnn", "agg.m=1", "limit='${oc.select:k,20}'"],
    ["n_shot='${oc.select:seed,20}'"],
    ["n_shot='${total:${seed},${k}}'"],
    ["task.classes=[0,'${oc.select:k,5}']"],
    ["task.classes=[0,${k}]"],
    ["task.labels='${oc.select:k,5}'"],
    ["task.merge='${oc.select:k,5}'", "task.remap='${oc.select:seed,0}'"],
    ["task.name='run-${k}-${oc.select:seed,8}'"],
    ["task.name='run-${hydra:runtime.choices.gen}-${gen.name}-${python_version:}'"],
    ["task.datasets=['${oc.select:gen.nothing,digits}',usps]"],
    ["model.weights='${oc.select:gen.name,x}'"],
    ["model.image_size='${oc.select:k,64}'"],
    ["norm.pre='${oc.select:norm.post,none}'", "norm.post=${oc.select:nothing,none}"],
    ["gen.name='${oc.select:nothing,fps}'"],
    ["sweep.memory_gb='${oc.select:k,4}'", "task.name='of-${sweep.memory_gb}'"],
    ["+hydra.job.env_set.NUMBER='9'", "agg=mnn", "agg.m=${oc.env:NUMBER}"],
    ["+hydra.job.env_set.NAME='${hydra.runtime.choices.gen}'", "task.name=${oc.env:NAME}"],
]


@pytest.mark.parametrize("fixed", OVERRIDES, ids=" ".join)
def test_an_override_is_resolved_in_its_cell(fixed: list[str], tmp_path: Path) -> None:
    compare(Hydra(tmp_path), *fixed, gen=["kmeans", "fps"], k=[2, 3], seed=[1])


@pytest.mark.parametrize(
    "value", ["'${oc.select:n_shot,20}'", "'${oc.select:seed,20}'", "${oc.env:NUMBER}", "${n_shot}"]
)
def test_a_swept_number_is_resolved_in_its_cell(value: str, tmp_path: Path) -> None:
    """Swept itself, among other values."""
    assert len(compare(Hydra(tmp_path), k=[value, 5], n_shot=[3, 4], seed=[1, 2])) == 8


# --- where the single cell has another form ---------------------------------------------------------------------------


def alone(application: Hydra, fixed: Sequence[str], values: Sequence[int]) -> list[Cell | str]:
    return [application.single(*fixed, f"k={k}") for k in values]


@pytest.mark.parametrize("expression", ["${oc.select:k,5}", "${k}", "${oc.env:NUMBER}", "${oc.decode:'${k}'}"])
def test_values_of_the_sweepers_params_are_resolved_in_the_cell(expression: str, tmp_path: Path) -> None:
    application = Hydra(tmp_path)
    params = f'+hydra.sweeper.params={{agg: mnn, agg.m: "{expression}"}}'
    expected = alone(application, ["agg=mnn", f'agg.m="{expression}"'], [2, 3])
    assert application.sweep("k=2,3", params) == expected
    assert len(expected) == 2


def test_params_of_the_sweeper_may_take_their_values_from_the_environment(tmp_path: Path) -> None:
    application = Hydra(tmp_path)
    assert application.sweep("+hydra.sweeper.params={k: '${oc.env:SEVERAL}'}") == alone(application, [], [2, 3])


@pytest.mark.parametrize("expression", ["${oc.select:k,5}", "${k}", "${oc.env:NUMBER}", "${oc.select:nothing,${k}}"])
def test_values_of_an_experiment_are_resolved_in_the_cell(expression: str, tmp_path: Path) -> None:
    application = Hydra(
        tmp_path, experiment__mine=yaml.dump({"blocks": [{"axes": {"agg": "mnn", "agg.m": expression, "k": [2, 3]}}]})
    )
    assert application.sweep("+experiment=mine") == alone(application, ["agg=mnn", f"agg.m='{expression}'"], [2, 3])


def test_conditions_see_the_resolved_value(tmp_path: Path) -> None:
    axes = {"agg": "mnn", "agg.m": "${oc.select:k,5}", "k": [2, 3]}
    application = Hydra(tmp_path, experiment__mine=yaml.dump({"axes": axes, "exclude": "agg.m == 2"}))
    assert application.sweep("+experiment=mine") == alone(application, ["agg=mnn", "agg.m=${k}"], [3])


def test_a_cell_may_be_told_the_number_of_its_job(tmp_path: Path) -> None:
    """As Hydra's own sweeper counts them; a single cell has none."""
    application = Hydra(tmp_path)
    found = application.sweep("k=2,3", "n_shot=4,5", "seed=${hydra:job.num}")
    assert [cell.scheme.seed for cell in found if isinstance(cell, Cell)] == [0, 1, 2, 3]


def test_folders_do_not_depend_on_what_varies(tmp_path: Path) -> None:
    application = Hydra(tmp_path)
    told = application.sweep("k=2,3", "paths.outputs='x_${k}'")
    assert isinstance(told, str)
    assert "paths.outputs=x_${k} depends on k, of which this sweep has several values" in told
    assert len(application.sweep("k=2", "seed=1,2", "paths.outputs='x_${k}'")) == 2


def test_the_plan_says_what_coupling_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Hydra(tmp_path).sweep("k=2,3", "agg=mnn", "agg.m='${oc.select:k,5}'", "seed=1,2")
    told = capsys.readouterr().err
    assert "warning: 4 configurations are composed one by one, about " in told
    assert "agg is resolved by ${oc.select:...}, which may read other axes" in told
    Hydra(tmp_path).sweep("k=2,3", "agg=mnn", "agg.m=${oc.env:NUMBER}", "task.name='${now:%Y}'")
    assert capsys.readouterr().err == ""
