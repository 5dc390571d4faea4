"""Random command lines over all commands: each does what it says or says in one sentence why not, and bugs do not hide.

Whatever a user types ends with exit code 0, or 2 with one sentence on standard error and no file changed; 1 is for
computations that failed. All lines run in this process, through the functions that the scripts call.
"""

from __future__ import annotations

import random
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra

from imprint_sweep.cli import app
from imprint_sweep.cli.commands import (
    best,
    cell,
    collapse,
    compact,
    contact_sheet,
    embed,
    export,
    import_embeddings,
    list_embeddings,
    projection,
    report,
    status,
)

SEED, N_LINES, N_PARTS = 20, 500, 10
HYDRA = {
    "imprint_sweep": app.main,
    "embed": embed.main,
    "contact_sheet": contact_sheet.main,
    "projection": projection.main,
}
ARGPARSE: dict[str, Callable[[list[str]], None]] = {
    "best": best.main,
    "cell": cell.main,
    "collapse": collapse.main,
    "compact": compact.main,
    "export": export.main,
    "import_embeddings": import_embeddings.main,
    "embeddings": list_embeddings.main,
    "report": report.main,
    "status": status.main,
}
TINY = ["model=imported", "model.name=tiny", "task=imported", "task.name=tiny"]

LARGE = ["2147483648", "9223372036854775807", "9223372036854775808", "99999999999999999999", "1e400", "-1", "0"]
ODD = [
    "", "null", "true", "nan", "1.5", "x", "'a b'", "[]", "[1,[2]]", "[[digits]]", "{a:1}", "%d", "${k}", "${nosuch:1}",
    '${oc.decode:"[1,2]"}', "1,2", "range(1,4)", "1,range(3,5)", "choice(1,2),3", "sort(range(0,5,2),reverse=true)",
    "range(1,3),range(7,9)", "range(1,2,0)", "range(nan,2)", "interval(1,2)", "[range(0,3)]", "glob(k*)", "[glob(k*)]",
    "mean,glob(k*)", "shuffle(1,2)", "tag(a,1)", "foo(3)", "(", "[1", "mean,all", "[mean,all]", "/dev/null/x", "a=b",
]  # fmt: skip
GOOD = {
    "gen": ["mean", "all", "kmeans", "random"],
    "norm": ["l2", "none"],
    "agg": ["max", "mnn"],
    "agg.m": ["1", "3"],
    "agg.metric": ["cosine", "euclidean"],
    "k": ["1", "2"],
    "n_shot": ["null", "4"],
    "seed": ["0", "1"],
    "task.classes": ["all", "even", "[0,1,2]"],
}
KEYS = [
    *GOOD, "model.image_size", "model.weight_decay", "model.dim", "task.labels", "task.datasets", "task.sample",
    "task.merge", "task.remap", "limit", "sweep.shards", "sweep.threads", "sweep.memory_gb", "sweep.dry_run", "device",
    "force", "paths.data", "hydra.run.dir", "hydra.verbose", "hydra.launcher", "hydra/launcher", "hydra.sweeper.params",
    "hydra.job.name", "experiment", "gen@other", "nosuch", "agg.nosuch", "hydra", "",
]  # fmt: skip
CONDITIONS = [
    "k == 1", "gen == mean", "k in [1]*100000000000", "gen * 3 == 1", "k == 99999999999999999999", "k in 5", "k > gen",
    "-gen == 1", "", "k ==", "nosuch == 1", "gen == nosuch", "(" * 300 + "k" + ")" * 300, "not " * 5000 + "k", "k is 1",
    "k < 1e400", "__import__('os')", "[k] == [1]", "k == " + "9" * 5000,
]  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files to import, their embeddings, and the results of a sweep."""
    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 12)
    for split in ("train", "test"):
        samples = rng.normal(size=(48, 6)) + 3 * np.eye(6)[labels]
        np.savez(folder / f"{split}.npz", embeddings=samples.astype(np.float32), labels=labels)
    outputs = str(folder / "outputs")
    files = ["--train", str(folder / "train.npz"), "--test", str(folder / "test.npz"), "--outputs", outputs]
    import_embeddings.main(["--model", "tiny", "--dataset", "tiny", *files])
    assert run("imprint_sweep", ["-m", *TINY, f"paths.outputs={outputs}", "gen=mean,all,kmeans", "k=1,2"]) == 0
    return folder


def run(command: str, words: list[str]) -> int:
    """The exit code of a command line."""
    GlobalHydra.instance().clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [command, *words])
        try:
            HYDRA[command]() if command in HYDRA else ARGPARSE[command](words)
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
    return 0


def command_line(rng: random.Random, world: Path) -> tuple[str, list[str]]:
    """A random command and its words: most of them good, some of them not."""
    outputs = str(world / "outputs")
    if rng.random() < 0.6:
        command = rng.choices(list(HYDRA), [8, 1, 1, 1])[0]
        model = TINY if command == "imprint_sweep" or rng.random() < 0.5 else ["model=pixels"]
        words = [*(TINY[2:] if command == "contact_sheet" else model), f"paths.outputs={outputs}"]
        if rng.random() < 0.1:
            words[-1] = f"paths.outputs={rng.choice(['', '/dev/null/x', '~nosuchuser', '[1]', 'a,b'])}"
        for _ in range(rng.randint(0, 3)):
            key = rng.choice(KEYS)
            value = rng.choice(GOOD[key]) if key in GOOD and rng.random() < 0.4 else rng.choice([*ODD, *LARGE])
            words.append(f"{rng.choice(['', '', '', '', '+', '++', '~'])}{key}={value}")
        if rng.random() < 0.5:
            words.insert(rng.choice([0, 0, 0, 1, len(words)]), "-m")
        return command, words
    command = rng.choice(list(ARGPARSE))
    number = rng.choice([*LARGE, "1", "x"])
    condition = rng.choice(CONDITIONS)
    files = [rng.choice([str(world / "train.npz"), "/nosuch.npz", "/dev/null", "", str(world)]) for _ in range(2)]
    own: dict[str, list[list[str]]] = {
        "best": [["--where", condition], ["--max-proxies", number], ["--n-shot", number], ["--task", "nosuch"], []],
        "cell": [["0"], ["zz"], [""], ["f" * 40], ["a", "--all"], []],
        "collapse": [[], ["x"]],
        "compact": [["--results", rng.choice(["", "/dev/null", outputs])], []],
        "export": [
            [prefix, "--to", name, *model]
            for prefix in ("", "0", "zz", "1", "2", "a", "f" * 40)
            for name in ("head.safetensors", "head.onnx", "head.pt", "", "/dev/null/x.safetensors")
            for model in ([], ["--with-model"])
        ]
        + [["0"], []],
        "import_embeddings": [
            ["--model", rng.choice(["t", ""]), "--dataset", "d", "--train", files[0], "--test", files[1]],
            ["--model", "t"],
        ],
        "embeddings": [["--verify"], []],
        "report": [["--where", condition, "--only", "fig2"], ["--where", condition], ["--only", "fig99"], ["--only"]],
        "status": [["--all"], ["x"]],
    }
    where = rng.choices([outputs, "", "/dev/null", "/nosuch", "~nosuchuser"], [8, 1, 1, 1, 1])[0]
    return command, [*rng.choice(own[command]), "--outputs", where]


def test_every_command_is_tried() -> None:
    scripts = {path.stem for path in (Path(__file__).resolve().parents[2] / "scripts").glob("*.py")}
    assert scripts | {"imprint_sweep"} == {*HYDRA, *ARGPARSE}


def files_below(*folders: Path) -> dict[Path, tuple[int, int]]:
    """Every file with its size and the time of its last change; Hydra's own sweepers note what they are about to do."""
    found = (
        path for folder in folders for path in folder.rglob("*") if path.is_file() and path.name != "multirun.yaml"
    )
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in found if path.is_file()}


def complaint(code: int, error: str, *, jobs: bool) -> str | None:
    """What is wrong with the end of a command; None if nothing is.

    Args:
        code: its exit code.
        error: its standard error.
        jobs: whether it was a sweep of Hydra's, in which each job says what is wrong, and Hydra which job it was.
    """
    if code == 0:
        return None
    if code == 1 and ("failed" in error or "were not computed" in error):
        return None
    if code != 2:
        return f"exit code {code}"
    sentences = [line for line in error.splitlines() if "error: " in line]
    others = [
        line for line in error.splitlines() if line not in sentences and not line.startswith(("note: ", "warning: "))
    ]
    usage = error.startswith("usage: ")
    if jobs and sentences and error.splitlines()[-1] == sentences[-1]:
        return None
    if len(sentences) != 1 or (others and not usage):
        return "not one sentence"
    return None


@pytest.mark.parametrize("part", range(N_PARTS))
def test_a_random_command_line_works_or_says_why_not(
    part: int, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = random.Random(f"{SEED} {part}")
    wrong = []
    for _ in range(N_LINES // N_PARTS):
        command, words = command_line(rng, world)
        before = files_below(world, tmp_path)
        capsys.readouterr()
        try:
            code = run(command, words)
            problem = complaint(code, error := capsys.readouterr().err, jobs="-m" in words and command == "embed")
        except BaseException:
            code, problem, error = -1, "traceback", traceback.format_exc()
        if code == 2 and problem is None and files_below(world, tmp_path) != before:
            problem = "files changed"
        if problem is not None:
            wrong.append(f"{command} {shlex.join(words)}\n  {problem} ({code}): {error.strip()[-600:]}")
    assert not wrong, "\n".join(wrong)
