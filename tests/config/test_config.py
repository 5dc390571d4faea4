"""The configuration tree and its validation: what every option gives, and what is refused with which words."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable
from pathlib import Path

import hydra
import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from imprint_sweep.config.reading import (
    cell_from_config,
    classes_from,
    config_from,
    model_from,
    notices,
    scheme_from,
    settings_from,
    task_from,
    typed,
)
from imprint_sweep.config.schemas import (
    GROUPS,
    SCHEMAS,
    AggConfig,
    Config,
    GenConfig,
    NormConfig,
    known_keys,
)
from imprint_sweep.embeddings.cache import EmbeddingCache, EntryKey
from imprint_sweep.errors import ConfigError, ImprintError, MissingEmbeddingsError
from imprint_sweep.extraction.models import efficientnet_lite, minilm, torchvision_models
from imprint_sweep.grid.cell import Model
from imprint_sweep.grid.scheme import Scheme, known_parameters
from imprint_sweep.imprinting.components import (
    AGGREGATIONS,
    GENS,
    METRICS,
    NORMS,
    WEIGHTINGS,
    Position,
    Voting,
    norms_at,
)
from imprint_sweep.invocation import conf_folder, outputs_folder

OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((conf_folder() / group).glob("*.yaml"))]
IMPORTED = ["model=imported", "model.name=mynet", "task=imported", "task.name=mydata"]


def compose(*overrides: str) -> DictConfig:
    """What Hydra composes; it takes its time only once for each choice of options."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    options = [override.input_line or "" for override in parsed if override.key_or_group in GROUPS]
    cfg = copy.deepcopy(composed(*options))
    OmegaConf.set_struct(cfg, False)
    for override in parsed:
        if override.key_or_group not in GROUPS:
            OmegaConf.update(cfg, override.key_or_group, override.value(), merge=False)
    return cfg


@functools.cache
def composed(*overrides: str) -> DictConfig:
    with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return hydra.compose("config", list(overrides))


def with_embeddings(tmp_path: Path, model: Model, **classes: list[int]) -> str:
    """Cache training embeddings that have the given classes; returns the override that points at them."""
    cache = EmbeddingCache(tmp_path / "embeddings")
    for dataset, labels in classes.items():
        features = np.ones((len(labels), 2), np.float32)
        cache.write(EntryKey(model, dataset, "train"), features, np.array(labels, np.int64), metadata={})
    return f"paths.outputs={tmp_path}"


def test_the_groups_have_the_options_of_the_method() -> None:
    options = {group: {option for g, option in OPTIONS if g == group} for group in GROUPS}
    assert options["model"] >= {"efficientnet_lite0", "resnet18", "resnet50", "vit_b_16", "swin_b", "imported"}
    assert options["task"] >= {"digits", "fashion_mnist", "combi_digits", "imagenet", "imported", "image_folder"}


def test_the_options_and_the_registries_say_the_same() -> None:
    files = {(g, option): DictConfig(OmegaConf.load(conf_folder() / g / f"{option}.yaml")) for g, option in OPTIONS}
    gens = {option: file for (g, option), file in files.items() if g == "gen"}
    assert {option: file.name for option, file in gens.items()} == {name: name for name in GENS}
    for name, file in gens.items():
        own = {parameter.name: parameter for parameter in GENS[name].parameters}
        assert set(file) == {"name", *own}
        for key, parameter in own.items():
            parameter.checked(key, file[key])
    norms = {option: file for (g, option), file in files.items() if g == "norm"}
    assert set(norms) == set(NORMS)
    for option, file in norms.items():
        assert set(file.values()) <= {option, "none"}
    aggs = {option: file for (g, option), file in files.items() if g == "agg"}
    assert {option: file.name for option, file in aggs.items()} == {name: name for name in AGGREGATIONS}
    for name, file in aggs.items():
        aggregation = AGGREGATIONS[name]
        assert file.metric == aggregation.usual_metric
        assert (file.m is not None) == (file.weighting in WEIGHTINGS) == isinstance(aggregation, Voting)
        own = {parameter.name: parameter for parameter in aggregation.parameters}
        assert set(file) == {"name", "metric", "m", "weighting", *own}
        for key, parameter in own.items():
            parameter.checked(key, file[key])


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_gives_a_cell(group: str, option: str, tmp_path: Path) -> None:
    overrides = [f"{group}={option}"]
    if group == "gen" and GENS[option].biased:
        overrides.append("norm=none")
    if option in ("imported", "image_folder", "text_table"):
        overrides.append(f"{group}.name=mine")
    model = model_from(compose(*overrides).model)
    place = with_embeddings(tmp_path, model, mine=[4, 2, 4])
    cell = cell_from_config(compose(*overrides, place))
    shown = {"gen": cell.scheme.gen, "agg": cell.scheme.agg, "model": cell.model.name, "task": cell.task.name}
    if option not in ("imported", "image_folder", "text_table", "timm") and group != "norm":
        assert shown[group] == option


def optional_keys() -> list[str]:
    """The keys that an option of their group need not list."""
    return ["gen.component", *known_parameters()]


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_all_options_of_a_group_have_one_schema_and_say_what_they_are(group: str, option: str) -> None:
    path = conf_folder() / group / f"{option}.yaml"
    keys = {other: set(OmegaConf.load(conf_folder() / group / f"{other}.yaml")) for g, other in OPTIONS if g == group}
    listed = [key for key in known_keys() if key.startswith(f"{group}.") and key not in optional_keys()]
    assert keys[option] - {key.removeprefix(f"{group}.") for key in optional_keys()} == {
        key.removeprefix(f"{group}.") for key in listed
    }
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_primary_configuration_has_the_keys_of_its_schema(name: str) -> None:
    with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cfg = hydra.compose(name)
    known = [key for key in known_keys(SCHEMAS[name]) if key not in optional_keys()]
    assert [key for key in known if OmegaConf.select(cfg, key, default="absent") == "absent"] == []
    assert set(cfg) == {key for key in known if "." not in key}
    assert isinstance(typed(SCHEMAS[name], cfg), SCHEMAS[name])


def test_every_primary_configuration_has_a_schema() -> None:
    assert {path.stem for path in conf_folder().glob("*.yaml")} == set(SCHEMAS)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["task=digits", "task.classes=[3,1]"], range(10)),
        (["task=digits", "task.labels=[4,2]"], [2, 4]),
        (["task=imagenet", "task.sample=null", "task.merge=3", "task.remap=0"], range(1000)),
        (["task=image_folder", "task.name=pets"], None),
        (["task=image_folder", "task.name=both", "task.datasets=[digits,pets]"], None),
    ],
)
def test_the_classes_that_a_task_can_ever_read(overrides: list[str], expected: Iterable[int] | None) -> None:
    assert classes_from(compose(*overrides).task) == (None if expected is None else frozenset(expected))


def test_all_tasks_of_imagenet_are_about_the_same_hundred_classes() -> None:
    hundred = classes_from(compose("task=imagenet").task)
    assert hundred is not None
    assert len(hundred) == 100
    for merge in range(1, 11):
        options = ["task=imagenet", f"task.merge={merge}", "task.remap=9"]
        assert classes_from(compose(*options).task) == hundred
        assert set(cell_from_config(compose(*options)).task.classes_in("imagenet")) <= hundred


def test_the_default_cell_is_the_papers_best() -> None:
    cell = cell_from_config(compose())
    assert cell.model == Model("efficientnet_lite0", "IMAGENET1K", 112)
    assert (cell.task.name, cell.task.classes, len(cell.task.labels)) == ("digits", "all", 10)
    assert cell.scheme == Scheme.create(
        gen="kmeans", k=20, norm_pre="l2", norm_post="l2", norm_inf="l2", agg="max", seed=0
    )


@pytest.mark.parametrize(
    ("model", "dim", "weight_decay"),
    [("resnet18", 512, 1e-4), ("resnet50", 2048, 1e-4), ("vit_b_16", 768, 0.1), ("swin_b", 1024, 0.05)],
)
def test_the_models_of_the_paper(model: str, dim: int, weight_decay: float) -> None:
    config = config_from(compose(f"model={model}", "gen=least_squares"))
    assert (config.model.weights, config.model.dim, config.model.image_size) == ("IMAGENET1K_V1", dim, None)
    assert cell_from_config(config).scheme.weight_decay == weight_decay


@pytest.mark.parametrize("model", [option for group, option in OPTIONS if group == "model"])
def test_every_model_has_a_width_that_extraction_checks_and_a_weight_decay(model: str) -> None:
    """Table A.1 for the paper's four; 0.1 is our choice for all others (method, section 0)."""
    config = config_from(compose(f"model={model}", *(["model.name=mine"] if model == "imported" else [])))
    known = torchvision_models.DIMS | dict.fromkeys(efficientnet_lite.NAMES, efficientnet_lite.DIM)
    known |= {"minilm": minilm.DIM}
    assert config.model.dim == known.get(model)
    assert config.model.weight_decay == {"resnet18": 1e-4, "resnet50": 1e-4, "swin_b": 0.05}.get(model, 0.1)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [("l2", ("l2", "l2", "l2")), ("none", ("none", "none", "none")), ("quantile", ("none", "quantile", "none"))],
)
def test_the_presets_of_norm(preset: str, expected: tuple[str, str, str]) -> None:
    scheme = cell_from_config(compose(f"norm={preset}")).scheme
    assert (scheme.norm_pre, scheme.norm_post, scheme.norm_inf) == expected


@pytest.mark.parametrize("agg", AGGREGATIONS)
@pytest.mark.parametrize("m", [1, 3])
def test_aggregations_share_a_schema_so_that_m_can_be_swept_over_both(agg: str, m: int) -> None:
    scheme = cell_from_config(compose(f"agg={agg}", f"agg.m={m}")).scheme
    assert (scheme.agg, scheme.m) == (agg, m if agg == "mnn" else None)


@pytest.mark.parametrize("metric", METRICS)
def test_max_takes_every_metric(metric: str) -> None:
    assert cell_from_config(compose("agg=max", f"agg.metric={metric}")).scheme.metric == metric


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("post", norms_at(Position.POST))
def test_values_of_the_stages(weighting: str, post: str) -> None:
    scheme = cell_from_config(compose("agg=mnn", f"agg.weighting={weighting}", f"norm.post={post}")).scheme
    assert (scheme.weighting, scheme.norm_post) == (weighting, post)


def test_the_imagenet_task_of_the_paper() -> None:
    task = cell_from_config(compose("task=imagenet", "task.merge=1", "task.remap=0", "model=resnet18")).task
    assert [label[0][1] for label in task.labels] == [214, 47, 528, 496, 723, 97, 532, 782, 412, 992]


def test_a_limited_cell_is_another_cell() -> None:
    assert cell_from_config(compose("limit=100")).cell_id != cell_from_config(compose()).cell_id


@pytest.mark.parametrize(
    "override",
    ["force=true", "device=cuda", "sweep.threads=1", "sweep.memory_gb=1", "paths.outputs=/elsewhere", "model.dim=7"],
)
def test_how_a_cell_is_run_is_no_part_of_it(override: str) -> None:
    assert cell_from_config(compose(override)).cell_id == cell_from_config(compose()).cell_id


# --- classes that come from imported embeddings -----------------------------------------------------------------------


def test_imported_classes_are_those_of_the_embeddings(tmp_path: Path) -> None:
    place = with_embeddings(tmp_path, Model("mynet", "imported"), mydata=[7, -3, 7, 5])
    task = cell_from_config(compose(*IMPORTED, place)).task
    assert task.labels == ((("mydata", -3),), (("mydata", 5),), (("mydata", 7),))
    assert cell_from_config(compose(*IMPORTED, place, "task.labels=[5,7]")).task.labels == task.labels[1:]


def test_joined_imports_need_the_same_classes(tmp_path: Path) -> None:
    place = with_embeddings(tmp_path, Model("mynet", "imported"), one=[1, 2], two=[1, 2], three=[1, 4])
    joined = cell_from_config(compose(*IMPORTED, place, "task.datasets=[two,one]"))
    assert joined.task.labels[0] == (("two", 1), ("one", 1))
    with pytest.raises(ConfigError, match=r"do not have the same classes \(only one has 2, 4"):
        cell_from_config(compose(*IMPORTED, place, "task.datasets=[one,three]"))


def test_missing_imports_carry_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(MissingEmbeddingsError, match="--model mynet --dataset mydata"):
        cell_from_config(compose(*IMPORTED, f"paths.outputs={tmp_path}"))


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["k=abc"], "k: expected a whole number or null, got 'abc'"),
        (["k=2.5"], "k: expected a whole number or null, got 2.5"),
        (["k=true"], "k: expected a whole number or null, got True"),
        (["k=[1,5]"], "k: expected a whole number or null, got [1, 5]"),
        (["k=0"], "k must be at least 1, got 0"),
        (
            ["k=null"],
            "k is missing: gen=kmeans needs it; write k=20, or have it chosen by a rule with select.rule=bic or ",
        ),
        (["n_shot=0"], "n_shot must be at least 1, got 0"),
        (["seed=null"], "seed: expected a whole number, got null"),
        (["agg=mnn", "agg.m=0"], "agg.m must be at least 1, got 0"),
        (["agg=mnn", "agg.m=x"], "agg.m: expected a whole number or null, got 'x'"),
        (["agg=mnn", "agg.metric=inner_product"], "agg=mnn needs a distance"),
        (["agg.metric=cosin"], "unknown agg.metric 'cosin'; did you mean cosine?"),
        (["agg=mnn", "agg.weighting=null"], "unknown agg.weighting"),
        (["norm.pre=quantile"], "norm.pre=quantile means nothing"),
        (["norm.post=l1"], "unknown norm.post 'l1'"),
        (["gen.name=kmeanz"], "unknown gen 'kmeanz'; did you mean kmeans"),
        (["gen=least_squares", "model.weight_decay=0"], "model.weight_decay must be positive"),
        (["model.image_size=0"], "model.image_size must be at least 1, got 0"),
        (["task.classes=[0,99]"], "digits has no class 99"),
        (["task.classes=7"], "task.classes: expected all, even, odd, short or a list of whole numbers"),
        (["task.classes=[a]"], "got ['a']"),
        (["task.labels=x"], "task.labels: expected a number, null or a list of whole numbers"),
        (["task.labels=0"], "task.labels must be at least 1"),
        (["task.datasets=digits"], "task.datasets: expected a list of names like [mnist,usps], got 'digits'"),
        (["task.datasets=[]"], "task.datasets is empty"),
        (["task.datasets=[digits,digits]"], "task.datasets lists a dataset twice"),
        (["limit=0"], "limit must be at least 1"),
        (["model=imported"], "model.name is missing: set it with model.name=..."),
        (["task=imported"], "task.name is missing: set it with task.name=..."),
        (["+foo=1"], "unknown key 'foo'"),
        (["+agg.metrc=cosine"], "unknown key 'agg.metrc'; did you mean agg.metric"),
        (["task.name=${foo}"], "task.name: Interpolation key 'foo' not found"),
        (["device=gpu"], "device: expected cpu, cuda or cuda:N, got 'gpu'"),
        (["sweep.memory_gb=0"], "sweep.memory_gb must be positive"),
        (["sweep.memory_gb=inf"], "sweep.memory_gb must be positive"),
        (["sweep.threads=0"], "sweep.threads must be at least 1"),
        (["sweep.shards=-1"], "sweep.shards must be at least 1"),
        (["force=maybe"], "force: expected true or false, got 'maybe'"),
        (["paths=3"], "paths: expected keys and values, got 3"),
    ],
)
def test_what_is_refused_and_how(overrides: list[str], message: str) -> None:
    with pytest.raises(ImprintError) as caught:
        cell_from_config(compose(*overrides))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_node_alone_is_refused_in_the_same_words() -> None:
    cfg = compose("agg=mnn", "agg.m=x")
    with pytest.raises(ConfigError, match=r"agg\.m: expected a whole number or null, got 'x'"):
        typed(AggConfig, cfg.agg, "agg")
    with pytest.raises(ConfigError, match=r"task\.name is missing"):
        task_from(compose("task=imported").task)


# --- nodes, as the plan uses them -------------------------------------------------------------------------------------


def test_the_parts_of_a_cell_from_nodes_are_those_of_the_whole() -> None:
    cfg = compose("gen=k_least_squares", "agg=mnn", "task=combi_digits", "k=3", "n_shot=5", "seed=-2", "limit=50")
    cell = cell_from_config(cfg)
    assert model_from(cfg.model) == cell.model
    assert task_from(cfg.task, limit=50) == cell.task
    scheme = functools.partial(scheme_from, k=3, n_shot=5, seed=-2, weight_decay=0.1)
    assert scheme(cfg.gen, cfg.norm, cfg.agg) == cell.scheme
    assert scheme(typed(GenConfig, cfg.gen), typed(NormConfig, cfg.norm), typed(AggConfig, cfg.agg)) == cell.scheme


def test_a_node_may_refer_to_the_rest_of_the_configuration() -> None:
    cfg = compose("agg=mnn", "agg.m=${k}", "k=7")
    assert typed(AggConfig, cfg.agg, "agg").m == 7
    assert cell_from_config(cfg).scheme.m == 7


# --- how to run -------------------------------------------------------------------------------------------------------


def test_outputs_are_where_they_were_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = settings_from(compose("paths.outputs=here"))
    assert settings.outputs == tmp_path / "here"
    assert settings.data == tmp_path / "here" / "data"
    assert settings.results == tmp_path / "here" / "results"
    assert settings_from(compose("paths.data='~/data'")).data == Path.home() / "data"


def test_outputs_of_a_checkout_do_not_depend_on_the_present_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("imprint_sweep.invocation.checkout_root", lambda: Path("/checkout"))
    assert outputs_folder(None) == Path("/checkout/outputs")
    monkeypatch.setattr("imprint_sweep.invocation.checkout_root", lambda: None)
    assert outputs_folder(None) == tmp_path / "outputs"


def test_settings_need_no_cell() -> None:
    cfg = compose("model=imported", "task=imported", "k=abc", "sweep.dry_run=true", "device=cuda:1", "force=true")
    settings = settings_from(cfg)
    assert (settings.sweep.dry_run, settings.device, settings.force) == (True, "cuda:1", True)
    assert settings_from(Config()).sweep.memory_gb == 4.0


def test_the_folder_of_sweeps_is_found_by_hydra(tmp_path: Path) -> None:
    with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cfg = hydra.compose("config", [f"paths.outputs={tmp_path}"], return_hydra_config=True)
    assert Path(cfg.hydra.sweep.dir).parent == tmp_path / "sweeps"
    # A configuration with Hydra's own node describes the same cell.
    assert cell_from_config(cfg) == cell_from_config(compose())


# --- notices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["gen=mean", "k=5"], ["k=5 has no meaning under gen=mean: dropped"]),
        (["gen=mean"], []),
        (["gen=kmeans", "k=5"], []),
        (["agg=max", "agg.m=3"], ["agg.m=3 has no meaning under agg=max: dropped"]),
        (["agg=max", "agg.m=null"], []),
        (["agg.weighting=uniform"], ["agg.weighting=uniform has no meaning under agg=max: dropped"]),
        (["agg=mnn", "agg.m=3"], []),
        (["model.weight_decay=1"], ["model.weight_decay=1.0 has no meaning under gen=kmeans: dropped"]),
        (["gen=least_squares", "model.weight_decay=1"], []),
        (["task.remap=3"], ["task.remap=3 has no meaning without task.merge: dropped"]),
        (["task.order=3"], ["task.order=3 has no meaning without task.seen: dropped"]),
        (["task.order=3", "task.seen=2"], []),
        (["task.merge=2", "task.remap=3"], []),
        (["gen=all", "k=2", "k=5"], ["k=5 has no meaning under gen=all: dropped"]),
        (
            ["gen=lda", "norm=none"],
            [
                "k was not given and is 20, so gen=lda makes a proxy of each of up to 20 clusters of a class; k=1 is "
                "the usual LDA"
            ],
        ),
        (["gen=lda", "norm=none", "k=20"], []),
        (["gen=lda", "norm=none", "k=1"], []),
        (["gen=k_least_squares"], []),
        (["task.seen=10"], []),
        (
            ["task.seen=11"],
            ["task.seen above 10 comes after the last of 10 classes of digits: the same as task.seen=10"],
        ),
        (
            ["task.classes=[3,1,7]", "task.seen=4", "task.order=0"],
            ["task.seen above 3 comes after the last of 3 classes of digits: the same as task.seen=3"],
        ),
    ],
)
def test_what_was_asked_for_and_has_no_meaning_is_said(overrides: list[str], expected: list[str]) -> None:
    cfg = compose(*overrides)
    assert notices(cfg, overrides, cell_from_config(cfg).task) == expected


def test_the_examples_in_the_files_are_overrides() -> None:
    examples = [
        line.removeprefix("#   ").split()
        for group, option in OPTIONS
        for line in (conf_folder() / group / f"{option}.yaml").read_text().splitlines()
        if line.startswith("#   ")
    ]
    assert examples
    for example in examples:
        composed(*example)
