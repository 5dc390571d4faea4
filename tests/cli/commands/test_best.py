"""The practical question in the terminal."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from imprint_sweep.cli.commands.best import main
from imprint_sweep.planning.plan import Plan
from tests import plausible
from tests.sweeping import requested, tree_of

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of five GENs on three tasks with four subsets each, with numbers made up."""
    folder = tmp_path_factory.mktemp("outputs")
    arguments = ("model=resnet18", "gen=kmeans,kmedoids,mean,all,k_least_squares", "k=5,20")
    plausible.write(folder, Plan.of(requested(tree_of(), "+experiment=agg_fixed", *arguments)))
    return folder


def said(outputs: Path, *arguments: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    main([*arguments, "--outputs", str(outputs)])
    return capsys.readouterr().out.splitlines()


def test_the_best_stands_above_the_best_of_every_other_gen(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(outputs, capsys=capsys)
    assert lines[0].startswith("12 instances (resnet18 on cifar10, fashion_mnist and mnist), 54 configurations; the")
    head = next(number for number, line in enumerate(lines) if "accuracy" in line)
    gens = [line.split(" · ")[0] for line in lines[head + 1 : head + 5]]
    assert sorted(gens) == ["all", "k-means, k = 20", "k-medoids, k = 20", "mean"]
    assert "worse by" in lines[head]
    assert "worse by" not in lines[head + 1]
    assert any(line.startswith("At level 0.05 its lead is significant over the best of ") for line in lines)


def test_task_budget_and_condition_narrow_the_question(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--task", "mnist", "cifar10", "--max-proxies", "50", "--where", "task.classes == all and norm.pre == none"]
    lines = said(outputs, *words, capsys=capsys)
    assert lines[0].startswith("2 instances (resnet18 on cifar10 and mnist)")
    text = "\n".join(lines)
    assert "Over the budget: " in text
    assert "k = 20" not in text
    assert "2 instances cannot tell: " in text


def test_one_configuration_over_the_budget_is_counted_in_the_singular(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = "gen == kmeans and norm.pre == l2 and norm.post == l2 and norm.inf == l2"
    lines = said(outputs, "--task", "mnist", "--max-proxies", "50", "--where", where, capsys=capsys)
    assert "Over the budget: 1 configuration more." in lines


def test_the_command_at_the_end_asks_for_the_winner(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(outputs, "--task", "mnist", "--where", "gen == kmeans", capsys=capsys)
    (winner,) = (line for line in lines if line.startswith("k-means, k = "))
    assert "There is no other GEN to compare it with." in lines
    words = shlex.split(lines[-1].removeprefix("Run it: "))
    instances = ["all", "even", "odd", "short"]
    assert words[:4] == ["python", "-m", "imprint_sweep", "-m"]
    request = requested(tree_of(), *words[4:])
    (scheme,) = request.schemes
    assert scheme.gen == "kmeans"
    assert winner.startswith(f"k-means, k = {scheme.k} · {scheme.norm_pre}/{scheme.norm_post}/{scheme.norm_inf}")
    assert [model.name for model in request.models] == ["resnet18"]
    assert {task.name for task in request.tasks} == {"mnist"}
    assert sorted(task.classes for task in request.tasks) == instances


def test_baselines_stand_apart_if_asked_for(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not any("least" in line for line in said(outputs, capsys=capsys))
    lines = said(outputs, "--with-baselines", capsys=capsys)
    apart = lines.index("Baselines, which are no imprinting:")
    assert lines[apart + 1].startswith("k-least-squares")
    assert not any("least" in line for line in lines[:apart])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "mnits"], "unknown task 'mnits'; did you mean mnist?"),
        (["--where", "gene == mean"], "unknown axis"),
        (["--where", ""], "cannot read the condition ''"),
        (["--where", "k in [1]*100000000000"], "and no arithmetic"),
        (["--max-proxies", "1"], "no configuration has at most 1 proxies; the fewest are 10, of mean"),
        (["--n-shot", "5"], "no row of the results has n_shot = 5; there is n_shot = null"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(
    arguments: list[str], message: str, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--outputs", str(outputs)])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_without_results_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--outputs", str(tmp_path)])
    assert f"there is no results table at {tmp_path / 'results'}" in capsys.readouterr().err


def test_it_starts_without_torch() -> None:
    """An answer from a table must not wait for it."""
    program = (
        "import sys, imprint_sweep.cli.commands.best; print({'torch', 'sklearn', 'matplotlib'} & set(sys.modules))"
    )
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "set()"
