"""How fast images become embeddings: our extraction against a bare forward loop on tensors that are ready.

Run from a checkout, on an otherwise idle machine, about five minutes::

    python benchmarks/extraction.py                  # efficientnet_lite0 and resnet18, at 224 px
    python benchmarks/extraction.py --device cuda

The extraction reads 32 x 32 colour images, resizes, normalises, embeds and collects; the bare loop calls the network.
It is run in the ways that are open to it (batch after batch on all threads, or batches side by side; batches as small
as ours, or large ones), without the memory that our extraction keeps between layers. All take turns in one process; in
each round the fastest loop counts, and of the rounds the median, so that the ratio holds on a noisy machine. The bar is
90 %.

What decoding costs is shown for files of 500 x 375, with no bar: on a CPU that is busy with the network it hides behind
nothing.
"""
# ruff: noqa: E402

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from imprint_sweep.extraction.process import prepare_process

prepare_process()  # as commands do before torch loads

import numpy as np
import torch
from PIL import Image

from imprint_sweep.extraction.datasets.image_files import ImageFile, ImageFiles
from imprint_sweep.extraction.extracting import GPU_BATCH, Images, Network, checked_device, extract
from imprint_sweep.extraction.models import load_model
from imprint_sweep.extraction.models.foundation_model import FoundationModel
from imprint_sweep.extraction.torchvision_operators import torchvision
from imprint_sweep.grid.cell import Model
from measuring import missed

SIZE = 224
SHARE = 0.9
CPU_IMAGES, GPU_IMAGES = 576, 12288
REUSED = 3
"""The bare loop goes over a third of as many tensors three times: they are large."""
ROUNDS = 5
CPU_BATCHES = (4, 16)
NETWORKS = ("efficientnet_lite0", "resnet18")


def main() -> None:
    """Run the benchmark and print its figures; exit code 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: cpu)")
    device = checked_device(parser.parse_args().device)
    with tempfile.TemporaryDirectory(prefix="imprint-benchmark-") as folder:
        n_missed = sum(run(load(name, Path(folder)), name, device, Path(folder)) for name in NETWORKS)
    sys.exit(1 if n_missed else 0)


def run(model: FoundationModel, name: str, device: torch.device, folder: Path) -> int:
    """Measure one network; returns the number of bars missed."""
    n = CPU_IMAGES if device.type == "cpu" else GPU_IMAGES
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 32, 32, 3), np.uint8)
    files = photographs(folder, n)
    network = Network(model, device)
    ready = torch.cat([model.transform(images[i : i + 32]).to(device) for i in range(0, n // REUSED, 32)])
    loops = bare_loops(network, ready, device)
    ways: dict[str, Callable[[], object]] = {
        "extraction": lambda: extract(model, images, np.arange(n), device=device),
        "extraction from files": lambda: extract(model, files, np.arange(n), device=device),
        **loops,
    }
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, embed in ways.items():
            start = time.perf_counter()
            embed()
            rates[way].append(n / (time.perf_counter() - start))
    print(f"{name} at {SIZE} px on {device}, {torch.get_num_threads()} threads, images/s, median of {ROUNDS} rounds:")
    for way, found in rates.items():
        print(f"  {way:45} {np.median(found):8.1f}  ({min(found):.1f} to {max(found):.1f})")
    shares = rates["extraction"] / np.max([rates[way] for way in loops], axis=0)
    print(f"extraction over the fastest loop of its round: {' '.join(f'{share:.2f}' for share in shares)}")
    return missed("share of the bare loop", float(np.median(shares)), SHARE, at_least=True)


def load(name: str, folder: Path) -> FoundationModel:
    """A network for images of :data:`SIZE`; one of torchvision's has random weights, which are as fast."""
    if name == "efficientnet_lite0":
        return load_model(Model(name, "IMAGENET1K", SIZE))
    torch.save(torchvision.models.get_model(name, weights=None).state_dict(), folder / "weights.pth")
    return load_model(Model(name, "IMAGENET1K_V1"), folder / "weights.pth")


def photographs(folder: Path, n: int) -> Images:
    """As many JPEG files as there are different ones in a small set, over and over: smooth noise, quality 90."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(8)]
    for path in paths:
        coarse = Image.fromarray(rng.integers(0, 256, (20, 15, 3), np.uint8))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)
    return ImageFiles([ImageFile(paths[i % len(paths)]) for i in range(n)])


def bare_loops(network: Network, ready: torch.Tensor, device: torch.device) -> dict[str, Callable[[], object]]:
    """The ways in which a network can be called on tensors that are ready, by what they are called."""

    def batch_after_batch(size: int) -> None:
        for batch in batches(ready, size):
            network(batch)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def side_by_side(size: int) -> None:
        threads = torch.get_num_threads()
        with ThreadPoolExecutor(threads, initializer=lambda: torch.set_num_threads(1)) as executor:
            list(executor.map(network, batches(ready, size)))
        torch.set_num_threads(threads)

    sizes: Sequence[int] = CPU_BATCHES if device.type == "cpu" else (GPU_BATCH,)
    loops: dict[str, Callable[[], object]] = {}
    for size in sizes:
        loops[f"bare loop, batches of {size}"] = lambda size=size: batch_after_batch(size)  # type: ignore[misc]
        if device.type == "cpu":
            loops[f"bare loop, batches of {size} side by side"] = lambda size=size: side_by_side(size)  # type: ignore[misc]
    return loops


def batches(ready: torch.Tensor, size: int) -> list[torch.Tensor]:
    return [ready[start : start + size] for start in range(0, len(ready), size)] * REUSED


if __name__ == "__main__":
    main()
