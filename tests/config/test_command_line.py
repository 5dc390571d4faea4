"""What is typed: lists for groups, options between overrides, settings that Hydra chokes on, options of users."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from imprint_sweep.cli import app
from imprint_sweep.cli.commands import compact, contact_sheet, embed, list_embeddings, projection
from imprint_sweep.running.slurm import LOGS

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process: (exit code, what it printed). On an error nothing may have been written."""

    def run(*words: str, main: Callable[[], None] = app.main) -> tuple[int, str]:
        GlobalHydra.instance().clear()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["imprint-sweep", *words])
        before = sorted(tmp_path.rglob("*"))
        try:
            main()
        except SystemExit as end:
            assert sorted(tmp_path.rglob("*")) == before
            printed = capsys.readouterr()
            assert printed.err.count("\n") == 1
            return end.code if isinstance(end.code, int) else 1, printed.err
        printed = capsys.readouterr()
        return 0, printed.out + printed.err

    return run


PLANNED = ["model=pixels", "sweep.dry_run=true", "paths.outputs=outputs"]


# --- one option of a group --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["gen=[mean,all]"], "write -m gen=mean,all"),
        (["-m", "gen=[mean,all]"], "write -m gen=mean,all"),
        (["gen=[[mean],[all]]"], "write -m gen=mean,all"),
        (["gen=[mean]"], "write gen=mean"),
        (["-m", "gen=[glob(k*)]"], "write -m gen=glob([k*])"),
        (["-m", "gen=[glob(['k*',mean])]"], "write -m gen=glob(['k*',mean])"),
        (["--cfg", "job", "norm=[l2,none]"], "write -m norm=l2,none"),
        (["++gen=[mean,all]"], "write -m gen=mean,all"),
        (["hydra/launcher=[basic,joblib]"], "write hydra/launcher=NAME"),
        (["+gen=[1,[2]]"], "gen: expected the name of an option, got a list"),
        (["gen=1"], "gen: expected the name of an option, got 1"),
        (["gen=null"], "gen: expected the name of an option, got null"),
        (['model=${oc.decode:"[1,2]"}'], "model: expected the name of an option, got a list"),
        (["-m", 'gen=${oc.decode:"[mean,all]"}'], "write -m gen=mean,all"),
        (["-m", "hydra/sweeper=basic", "gen=mean,[kmeans,all]"], "write -m gen=kmeans,all"),
        (["-m", "hydra/sweeper=basic", "gen=choice([mean],all)"], "write gen=mean"),
        (["-m", "hydra/sweeper=basic", "gen=mean,1"], "gen: expected the name of an option, got 1"),
        (["--help", "gen=[mean,all]"], "write -m gen=mean,all"),
    ],
)
def test_a_list_for_a_group_is_refused_with_advice_that_works(words: list[str], advice: str, run: Run) -> None:
    code, said = run(*words)
    assert code == 2
    assert advice in said


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("gen=mean.yaml", "write gen=mean"),
        ("gen='mean.yaml'", "write gen=mean"),
        ("agg=mnn.yml", "write agg=mnn"),
        ("gen=conf/gen/mean.yaml", "write gen=mean"),
        ("gen=/somewhere/conf/gen/sub/deep.yaml", "write gen=sub/deep"),
        ("hydra/launcher=joblib.yaml", "write hydra/launcher=joblib"),
    ],
)
def test_the_name_of_a_file_is_no_option_whether_alone_or_in_a_sweep(word: str, advice: str, run: Run) -> None:
    for words in ([word], ["-m", word], ["-m", word, "k=1,2"], ["-m", "hydra/sweeper=basic", word, "k=1,2"]):
        code, said = run(*words)
        assert code == 2, words
        assert said.strip().endswith(advice), words


def test_the_name_of_a_file_is_no_option_among_several(run: Run) -> None:
    for word, advice in {
        "gen=all,mean.yaml": "gen: mean.yaml is the name of a file, and options have no ending; write gen=mean",
        "+experiment=mini.yaml": "write +experiment=mini",
        "+experiment=fig2,'conf/experiment/mini.yaml'": "write +experiment=mini",
    }.items():
        code, said = run("-m", word)
        assert code == 2
        assert said.strip().endswith(advice)
    assert "unknown experiment 'sub/mini'; did you mean mini?" in run("-m", "+experiment=sub/mini")[1]


@pytest.mark.parametrize("main", [embed.main, contact_sheet.main])
def test_every_command_refuses_a_list_for_a_group(main: Callable[[], None], run: Run) -> None:
    for words in (["task=[digits,mnist]"], ["task=usps,[digits,mnist]"], ["task=choice([digits,mnist])"]):
        assert "write -m task=digits,mnist" in run("-m", *words, main=main)[1]


def test_the_advice_for_several_values_works(run: Run) -> None:
    assert run("gen=mean,all")[1] == "error: gen=mean,all lists several values: add -m to sweep over them\n"
    assert "or write task.classes=[1,2] for one list" in run("task.classes=1,2")[1]
    code, said = run("-m", "gen=mean,all", *PLANNED)
    assert (code, "2 distinct" in said) == (0, True)


# --- Hydra's grammar, one level deeper --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axis", "n"),
    [("seed=1,range(3,5)", 3), ("seed=range(1,3),range(7,9)", 4), ("k=choice(1,2),3", 3), ("gen=mean,glob(km*)", 3)],
)
def test_sweeps_within_a_sweep_are_united(axis: str, n: int, run: Run) -> None:
    code, said = run("-m", axis, *PLANNED)
    assert (code, f"requested {n} " in said) == (0, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task.datasets=[[digits]]"], "task.datasets: expected a list of names like [mnist,usps]"),
        (["-m", "task.datasets=[{digits:1}]"], "task.datasets: expected a list of names like [mnist,usps]"),
        (["-m", "+experiment=[glob(fig*)]"], "or +experiment=glob(a*)"),
        (["task.classes=[range(0,3)]"], "a list holds single values"),
        (["-m", "k=range(1,2,0)"], "k=range(1,2,0): a range needs numbers and a step other than 0"),
        (["-m", "k=range(nan,2)"], "k=range(nan,2): a range needs numbers and a step other than 0"),
        (["k=foo(3)"], "Unknown function 'foo'; available: "),
        (["-m", "k=sort(range(1,4),range(7,9))"], "write values one by one, or a sweep alone"),
        (["-m", "k=shuffle(range(1,4),range(7,9))"], "write values one by one, or a sweep alone"),
        (["-m", "k=choice(range(1,4))"], "write values one by one, or a sweep alone"),
        (["k=[1,5]"], "k: expected a whole number or null, got [1, 5]; several values are a sweep: -m k=1,5"),
        (["-m", "n_shot=[5,null]"], "several values are a sweep: -m n_shot=5,null"),
        (["-m", "norm={pre:none}"], "its keys are set one by one, as in norm.KEY=VALUE"),
        (["-m", "+hydra.sweeper.params={experiment:fig2}"], "experiments are named on the command line"),
        (["-m", "+experiment=[]"], "+experiment=[]: expected names of experiments"),
        (["-m", "+experiment=null"], "+experiment=null: expected names of experiments"),
        (["-m", "+experiment=7"], "+experiment=7: expected names of experiments"),
        (["-m", "+experiment=a", "+experiment=b,c"], "several of them stand in one: +experiment=a,b,c"),
        (["-m", "+experiment@here=fig2"], "a sweep has one experiment, so it cannot be put elsewhere with @"),
    ],
)
def test_what_the_grammar_does_not_mean_is_a_sentence(words: list[str], message: str, run: Run) -> None:
    code, said = run(*words)
    assert code == 2
    assert message in said


@pytest.mark.parametrize(
    ("axis", "written"),
    [("limit=3,range(4,6)", "limit=3,4,5"), ("limit=sort(range(3,8,2),reverse=true)", "limit=7,5,3")],
)
def test_what_hydras_own_sweeper_cannot_read_is_written_out_for_it(axis: str, written: str, run: Run) -> None:
    assert f"write {written}" in run("-m", axis, main=embed.main)[1]


# --- numbers are no groups --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["k", "n_shot", "seed"])
def test_a_folder_of_numbers_is_told_why_there_is_none(number: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / number).mkdir()
    (tmp_path / number / "5.yaml").write_text("5\n")
    for words in ([f"{number}=5"], ["-m", f"{number}=5,6"], [f"{number}='5'"]):
        code, said = run("--config-dir", str(tmp_path), *words)
        assert code == 2
        assert f"{number} is a value: any whole number will do, and Hydra takes only names" in said
    assert f"{number} is a value" in run(f"hydra.searchpath=[file://{tmp_path}]", f"{number}=5")[1]
    (tmp_path / number / "5.yaml").unlink()
    assert f"{number} is a value" in run("--config-dir", str(tmp_path), f"{number}=5")[1]


# --- words in the wrong place, and settings without effect ------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["k=5", "-m", "sweep.dry_run=true"], "-m stands between overrides"),
        (["k=5,6", "--multirun", "seed=1"], "write --multirun k=5,6 seed=1"),
        (["k=5", "--config-dir", "conf", "seed=1"], "write --config-dir conf k=5 seed=1"),
        (["k=5", "--seed", "3"], "unknown option --seed: settings are written as key=value"),
        (["sweep.dry_run=true"], "sweep.dry_run=true is about sweeps, and a single cell would run: add -m"),
        (["sweep={dry_run:true}"], "sweep.dry_run=true is about sweeps"),
        (["sweep.submit=false"], "sweep.submit=false is about sweeps"),
        (["paths.outputs="], "the name of the folder of outputs (paths.outputs) is empty"),
        (["-m", "paths.outputs=", "k=1,2"], "the name of the folder of outputs (paths.outputs) is empty"),
        (["paths.outputs=' '"], "the name of the folder of outputs (paths.outputs) is empty"),
        (["paths.data="], "the name of the folder of datasets (paths.data) is empty"),
        (["paths.outputs='~nosuchuser/x'"], "there is no such user"),
    ],
)
def test_what_would_do_something_else_is_refused(words: list[str], message: str, run: Run) -> None:
    code, said = run(*words)
    assert code == 2
    assert message in said


def test_an_empty_folder_is_refused_by_the_other_commands(run: Run) -> None:
    assert "paths.outputs" in run("-m", "paths.outputs=", "limit=5,6", main=embed.main)[1]
    assert "paths.outputs" in run("--outputs", "", main=list_embeddings.main)[1]
    assert "--results" in run("--results", "", main=compact.main)[1]


def test_a_setting_of_sweeps_that_changes_nothing_is_noted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imprint_sweep.running.sweep.run_single", lambda cell, settings: None)
    assert run("sweep.shards=3") == (0, "note: sweep.shards=3 has no meaning without -m: dropped\n")


def test_a_folder_for_submitit_is_said_to_be_without_effect(run: Run) -> None:
    slurm = ["-m", "hydra/launcher=submitit_slurm", *PLANNED]
    code, said = run(*slurm, "hydra.launcher.submitit_folder=elsewhere")
    assert code == 0
    assert "note: hydra.launcher.submitit_folder has no meaning here: the logs go to " in said
    assert f"/{LOGS}\n" in said
    assert "submitit_folder" not in run(*slurm)[1]


# --- settings of Hydra ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hydra.run.dir=/dev/null/x"], "/dev/null/x: Not a directory; Hydra makes the folders hydra.run.dir"),
        (["hydra.output_subdir=/dev/null/x"], "/dev/null/x: Not a directory"),
        (["hydra.verbose=2"], "expected true, false, or names of loggers"),
        (["-m", "hydra.verbose=[a,3]"], "expected true, false, or names of loggers"),
        (["-m", "hydra.launcher=%d"], "choose with hydra/launcher=NAME"),
        (["-m", "hydra.sweeper=3"], "choose with hydra/sweeper=NAME"),
        (["hydra.mode=3"], "hydra.mode=3: Invalid value '3', expected one of"),
        (["hydra=3"], "sets nothing: expected key=value"),
        (["=3"], "sets nothing: expected key=value"),
        (["k=" + "9" * 5000], "cannot read k=999"),
    ],
)
def test_settings_that_hydra_chokes_on(words: list[str], message: str, run: Run) -> None:
    code, said = run(*words)
    assert code == 2
    assert message in said


@pytest.mark.parametrize("value", ["0", "", "false"])
def test_the_environment_does_not_turn_mistakes_into_tracebacks(
    value: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", value)
    code, said = run("gen=kmeanz")
    assert (code, "did you mean kmeans" in said) == (2, True)


# --- numbers that nothing can hold ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word",
    [
        "task.labels=99999999999999999999",
        "task.labels=[99999999999999999999]",
        "task.classes=[99999999999999999999]",
        "task.labels=40000",
        "model.image_size=2147483648",
        "k=9223372036854775808",
        "n_shot=9223372036854775808",
        "limit=9223372036854775808",
        "sweep.memory_gb=1e300",
        "model.weight_decay=" + "9" * 400,
    ],
)
@pytest.mark.parametrize("sweep", [False, True])
def test_numbers_beyond_32_and_64_bits(word: str, sweep: bool, run: Run) -> None:
    code, said = run(*(["-m"] if sweep else []), "model=pixels", "paths.outputs=outputs", word)
    assert code == 2
    assert word.partition("=")[0] in said or "too large" in said or "labels" in said


# --- options of users -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text", "words", "single", "swept"),
    [
        ("gen/old.yaml", "# @package _group_\nname: mean\n", ["gen=old"], "# @package _group_", "# @package _group_"),
        ("gen/empty.yaml", "# @package _global_\nk: 3\n", ["gen=empty"], None, "gen=empty sets nothing of gen"),
        (
            "agg/no.yaml",
            "name: mnn\nmetric: cosine\nweighting: uniform\n",
            ["agg=no", "agg.m=3"],
            "list 'm'",
            "list 'm'",
        ),
        ("gen/a.yaml", "name: mean\n", ["+gen@other=a"], "a cell has one gen", "a cell has one gen"),
        ("gen/a.yaml", "name: mean\n", ["gen@other=a"], "a cell has one gen", "a cell has one gen"),
    ],
)
def test_options_that_cannot_be_used_say_what_to_change(
    path: str, text: str, words: list[str], single: str | None, swept: str, run: Run, tmp_path: Path
) -> None:
    (tmp_path / path).parent.mkdir()
    (tmp_path / path).write_text(text)
    user = ["--config-dir", str(tmp_path), "model=pixels", "paths.outputs=outputs"]
    if single is not None:
        code, said = run(*user, *words)
        assert (code, single in said) == (2, True), said
    code, said = run("-m", *user, *words, "seed=1,2")
    assert (code, swept in said) == (2, True), said


def test_options_in_folders_can_be_swept_over(run: Run, tmp_path: Path) -> None:
    (tmp_path / "gen" / "sub").mkdir(parents=True)
    (tmp_path / "gen" / "sub" / "deep.yaml").write_text("name: mean\n")
    code, said = run("-m", "--config-dir", str(tmp_path), *PLANNED, "gen=sub/deep,all", "seed=1,2")
    assert (code, "4 distinct" in said) == (0, True)
    code, said = run("-m", "--config-dir", str(tmp_path), *PLANNED, "gen=glob(sub/*)")
    assert (code, "1 distinct" in said) == (0, True)


def test_options_may_be_named_like_numbers(run: Run, tmp_path: Path) -> None:
    (tmp_path / "gen").mkdir()
    for name in ("1", "true", "my own"):
        (tmp_path / "gen" / f"{name}.yaml").write_text("name: mean\n")
    for word in ("gen='1','true',all", "gen=glob(['1',t*,all])", "gen='1','my own',all"):
        code, said = run("-m", "--config-dir", str(tmp_path), *PLANNED, word)
        assert (code, "requested 3 " in said) == (0, True)


@pytest.mark.parametrize("words", [["agg=list"], ["agg=list,max"]])
def test_an_option_that_holds_no_keys_is_refused(words: list[str], run: Run, tmp_path: Path) -> None:
    (tmp_path / "agg").mkdir()
    (tmp_path / "agg" / "list.yaml").write_text("[1, 2]\n")
    code, said = run("-m", "--config-dir", str(tmp_path), *PLANNED, *words)
    assert (code, said) == (2, "error: agg=list: expected keys and values in its file, got [1, 2]\n")


@pytest.mark.parametrize("sweep", [False, True])
def test_what_an_option_leaves_to_the_user_has_no_default(sweep: bool, run: Run, tmp_path: Path) -> None:
    (tmp_path / "norm").mkdir()
    (tmp_path / "norm" / "mine.yaml").write_text("pre: ???\npost: l2\ninf: l2\n")
    user = ["--config-dir", str(tmp_path), *PLANNED[::2], "norm=mine"]
    code, said = run(*(["-m"] if sweep else []), *user)
    assert (code, said) == (2, "error: norm.pre is missing: set it with norm.pre=...\n")


def test_a_list_of_classes_for_the_sweeper_is_one_value(run: Run) -> None:
    code, said = run("-m", *PLANNED, "+hydra.sweeper.params={task.classes:[1,2]}")
    assert (code, "1 distinct" in said) == (0, True)


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("norm={prre:none}", "unknown key 'norm.prre'; did you mean norm.pre"),
        ("task={classes:even,clases:odd}", "unknown key 'task.clases'; did you mean task.classes"),
        ("sweep={shard:3}", "unknown key 'sweep.shard'; did you mean sweep.shards"),
        ("hydra.job.nme=x", "unknown setting 'hydra.job.nme'; did you mean hydra.job.name"),
        ("hydra.launcher.n_jobs=2", "unknown setting 'hydra.launcher.n_jobs'"),
        ("hydra.job.env_set.NAME=x", "To append to your config use +hydra.job.env_set.NAME=x"),
    ],
)
def test_an_unknown_key_in_a_mapping_or_of_hydra_is_named(word: str, advice: str, run: Run) -> None:
    for words in ([word], ["-m", "hydra/sweeper=basic", word]):
        code, said = run(*words)
        assert (code, advice in said) == (2, True)


def test_a_node_without_options_is_set_key_by_key(run: Run) -> None:
    code, said = run("norm=l2", main=projection.main)
    assert (code, said) == (2, "error: norm is not chosen here; its keys are set one by one: norm.pre\n")
    assert "unknown key 'norm.post'" in run("norm={pre:l2,post:l2}", main=projection.main)[1]


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("k=1,2", "k=1,2 lists several values: add -m to sweep over them"),
        ("+experiment=fig2,fig6", "add -m to sweep over them"),
        ("sweep.shards=1,2", "sweep.shards=1,2 lists several values, and sweep.shards takes one"),
        ("paths.data=a,b", "paths.data takes one"),
        ("hydra.run.dir=range(1,3)", "hydra.run.dir=range(1,3) stands for several values, and hydra.run.dir takes one"),
        ("hydra/launcher=basic,joblib", "hydra/launcher takes one"),
        ("~limit=1,2", "limit takes one"),
        ("hydra.searchpath=a,b", "expected a list of folders"),
        ("nosuch=1,2", "unknown key 'nosuch'"),
        ("agg.mm=range(1,3)", "unknown key 'agg.mm'; did you mean agg.m"),
    ],
)
def test_m_is_advised_where_it_helps(word: str, advice: str, run: Run) -> None:
    code, said = run(word)
    assert (code, advice in said) == (2, True)


@pytest.mark.parametrize("word", ["sweep.dry_run=[true,false]", "seed=[[1]]", "seed=[]"])
def test_a_list_is_called_a_sweep_where_it_could_be_one(word: str, run: Run) -> None:
    code, said = run(word)
    assert (code, "-m" in said) == (2, False)


@pytest.mark.parametrize("word", ["norm=/dev/null/x", "norm=sub/l2"])
def test_the_name_of_an_unknown_option_may_have_slashes(word: str, run: Run) -> None:
    assert f"unknown norm '{word.partition('=')[2]}'" in run(word)[1]


@pytest.mark.parametrize("word", ["force=range(1,2,0)", "limit=range(nan,2)"])
def test_a_range_that_cannot_be_is_a_sentence_of_every_sweeper(word: str, run: Run) -> None:
    assert f"{word}: a range needs numbers and a step other than 0" in run("-m", word, main=embed.main)[1]


def test_an_error_of_our_own_is_told_in_its_own_words(run: Run) -> None:
    _, said = run("-m", "paths.outputs=", "+agg.nosuch=1", main=embed.main)
    assert said.startswith("error: the name of the folder of outputs (paths.outputs) is empty")


@pytest.mark.parametrize("word", ["shard.index=1", "shard.plan=x", "shard.index=x", "shard=3", "shard.plan=[1]"])
def test_what_a_sweep_tells_its_jobs_is_not_for_users(word: str, run: Run) -> None:
    assert run(word, *PLANNED[::2])[0] == 2
    assert run("-m", word, *PLANNED)[0] == 2


@pytest.mark.parametrize("key", ["hydra.sweep.dir", "hydra.run.dir"])
def test_an_empty_folder_of_hydra_is_refused(key: str, run: Run) -> None:
    assert f"write {key}=. for the present one" in run("-m", f"{key}=", *PLANNED)[1]


@pytest.mark.parametrize(
    ("main", "text", "list_"),
    [
        (app.main, "defaults: [config, {override gen: [mean, all]}, _self_]\n", "gen (mean, all)"),
        (embed.main, "defaults: [embed, {override model: [pixels, swin_b]}, _self_]\n", "model (pixels, swin_b)"),
        (contact_sheet.main, "defaults: [contact_sheet, {override task: [usps, mnist]}]\n", "task (usps, mnist)"),
        (projection.main, "defaults: [projection, {override task: [usps, mnist]}]\n", "task (usps, mnist)"),
    ],
)
def test_the_defaults_list_of_a_single_job_chooses_one_option(
    main: Callable[[], None], text: str, list_: str, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    code, said = run("--config-dir", str(tmp_path), "--config-name", "mine", main=main)
    assert (code, f"chooses several options of {list_}" in said) == (2, True)


def test_an_option_may_be_made_of_several_others_of_its_group(run: Run, tmp_path: Path) -> None:
    (tmp_path / "norm").mkdir()
    (tmp_path / "norm" / "mine.yaml").write_text("defaults: [l2, none]\npost: l2\n")
    (tmp_path / "mine.yaml").write_text("defaults: [config, {override norm: mine}, _self_]\n")
    user = ["--config-dir", str(tmp_path), "--config-name", "mine", "model=nosuch", "paths.outputs=outputs"]
    assert "unknown model" in run(*user)[1]


def test_an_option_that_chooses_several_of_another_group_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "agg").mkdir()
    text = "# @package _global_\ndefaults: [{override /norm: [l2, none]}, _self_]\nagg: {name: max, metric: cosine}\n"
    (tmp_path / "agg" / "mine.yaml").write_text(text)
    user = ["--config-dir", str(tmp_path), *PLANNED[::2]]
    assert "chooses several options of norm (l2, none)" in run(*user, "agg=mine")[1]
    for words in (["agg=mine,max"], ["agg=mine"], ["agg=mine", "seed=1,2"]):
        code, said = run("-m", *user, "sweep.dry_run=true", *words)
        assert (code, "a list of them, for norm" in said) == (2, True)


def test_the_defaults_list_of_a_sweep_chooses_one_option(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("defaults: [config, {override gen: [mean, all]}, _self_]\n")
    code, said = run("-m", "--config-dir", str(tmp_path), "--config-name", "mine", *PLANNED)
    assert (code, "a list of them, for gen" in said) == (2, True)


def test_a_bug_of_ours_is_no_setting_of_hydra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(cell: object, settings: object) -> None:
        raise AssertionError

    monkeypatch.setattr("imprint_sweep.running.sweep.run_single", broken)
    with pytest.raises(AssertionError):
        run()
