"""CIFAR-10: 60,000 RGB photographs of 32 x 32 in pickles."""

from __future__ import annotations

import pickle
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from imprint_sweep.embeddings.cache import Split
from imprint_sweep.extraction.datasets.files import PublishedFiles, content, damaged
from imprint_sweep.extraction.datasets.labelled_images import LabelledImages, digits_of

SOURCE = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"


def _download(folder: Path, split: Split) -> None:
    from imprint_sweep.extraction.torchvision_operators import torchvision

    torchvision.datasets.CIFAR10(folder, download=True)


FILES = PublishedFiles(
    dataset="CIFAR-10",
    folders=("cifar-10-batches-py", "cifar10/cifar-10-batches-py", "cifar10", "."),
    names={"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]},
    download=_download,
    source=SOURCE,
    archives=["cifar-10-python.tar.gz"],
)


def read(split: Split, data_root: Path) -> LabelledImages:
    """Read one split from ``cifar-10-batches-py``, downloading it if it is not under the data root.

    Args:
        split: ``"train"`` or ``"test"``.
        data_root: the folder in which the user keeps datasets.

    Raises:
        DatasetError: the files are missing and cannot be downloaded, or they are damaged.
    """
    found = FILES.fetch(split, data_root)
    images, labels = zip(*map(_read_batch, found), strict=True)
    source = str(found[0].parent)
    return LabelledImages(np.concatenate(images), digits_of(np.concatenate(labels), source), source)


def _read_batch(path: Path) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], np.ndarray[Any, np.dtype[np.int64]]]:
    try:
        batch = _Unpickler(BytesIO(content(path)), encoding="latin1").load()
        # One row an image: 1,024 reds in reading order, then the greens, then the blues.
        images = np.asarray(batch["data"], dtype=np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return images, np.array(batch["labels"], dtype=np.int64)
    except Exception as error:  # a damaged pickle can raise anything
        raise damaged(path, error) from error


class _Unpickler(pickle.Unpickler):
    """Builds NumPy arrays and nothing else: a pickle can otherwise run any code."""

    _SAFE: ClassVar[dict[str, Any]] = {
        "_reconstruct": np.zeros(0).__reduce__()[0],
        "ndarray": np.ndarray,
        "dtype": np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "numpy" and name in self._SAFE:
            return self._SAFE[name]
        if (module, name) == ("_codecs", "encode"):  # bytes, in pickles that Python 3 wrote for Python 2
            return lambda text, encoding: text.encode(encoding)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no file of CIFAR-10 needs")
