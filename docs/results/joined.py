"""Join digits and FashionMNIST into one dataset of 20 classes: at most 1,300 samples of a class to train, 200 to test.

Typed in the checkout; the names of networks are the arguments.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

import imprint_sweep as ims

MOST = {"train": 1300, "test": 200}

for model in sys.argv[1:]:
    words = ["--model", model, "--weights", "IMAGENET1K", "--image-size", "112", "--dataset", "joined"]
    for split, most in MOST.items():
        rows, numbers = [], []
        for offset, dataset in ((0, "digits"), (10, "fashion_mnist")):
            embeddings, labels = ims.load_embeddings(model, dataset, split=split)
            for label in range(10):
                chosen = np.flatnonzero(np.asarray(labels) == label)[:most]
                rows.append(embeddings[chosen])
                numbers.append(np.full(len(chosen), offset + label))
        file = Path("outputs") / f"joined-{split}.npz"
        np.savez(file, embeddings=np.concatenate(rows), labels=np.concatenate(numbers))
        words += [f"--{split}", str(file)]
    subprocess.run([sys.executable, "scripts/import_embeddings.py", *words], check=True)
