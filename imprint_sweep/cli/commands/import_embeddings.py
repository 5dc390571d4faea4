"""Bring embeddings that were computed elsewhere, of any modality, into the cache."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from imprint_sweep.cli.app import user_errors
from imprint_sweep.cli.options import parse_options
from imprint_sweep.embeddings.cache import SPLITS, EmbeddingCache, EntryKey, validate
from imprint_sweep.embeddings.class_names import names_metadata
from imprint_sweep.embeddings.importing import number_labels, read_embeddings
from imprint_sweep.errors import EmbeddingsError, InvalidEmbeddingsError, enumerated
from imprint_sweep.grid.cell import Model, check_name
from imprint_sweep.grid.choosing import IMPORTED, chosen_dataset, chosen_model, overrides
from imprint_sweep.grid.scheme import check_count
from imprint_sweep.invocation import MAIN, command, outputs_folder, place, shell_line

FORMATS = """formats, by suffix:
  .h5 .hdf5 .npz .safetensors   arrays "embeddings" (n, d) and "labels" (n,)
  .parquet                      a column "embeddings" of lists, or numeric columns of one type, beside "labels" or
                                "label"; a file or a folder of parts; the index of a data frame is no feature
  .npy                          embeddings alone, with labels in the files of --train-labels and --test-labels
Labels are any integers, or names, which are numbered 0, 1, 2, ... in their order over both splits. Whatever is not
finite, has unequal widths or lacks a class in one split is refused."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = ArgumentParser(
        prog=command("import_embeddings"),
        description=__doc__,
        epilog=FORMATS,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", required=True, metavar="NAME", help="what to call the model, for example mynet")
    parser.add_argument("--dataset", required=True, metavar="NAME", help="what to call the dataset, for example mydata")
    parser.add_argument("--train", required=True, type=Path, metavar="FILE", help="embeddings of the training split")
    parser.add_argument("--test", required=True, type=Path, metavar="FILE", help="embeddings of the test split")
    parser.add_argument(
        "--train-labels", type=Path, metavar="FILE", help="labels, where they are in another file (.npy)"
    )
    parser.add_argument(
        "--test-labels", type=Path, metavar="FILE", help="labels, where they are in another file (.npy)"
    )
    parser.add_argument(
        "--weights", default=IMPORTED, metavar="NAME", help="which weights of the model (default: imported)"
    )
    parser.add_argument(
        "--image-size", type=int, metavar="PIXELS", help="model.image_size of the runs (default: the weights' own)"
    )
    parser.add_argument("--outputs", metavar="FOLDER", help="the paths.outputs of the runs that are to use them")
    parser.add_argument("--force", action="store_true", help="replace embeddings of this model and dataset")
    with user_errors():
        _import(parse_options(parser, arguments))


def _import(given: Namespace) -> None:
    for option in ("model", "dataset", "weights"):
        check_name(f"--{option}", getattr(given, option))
    cache = EmbeddingCache(outputs_folder(given.outputs) / "embeddings")
    if given.image_size is not None:
        check_count("--image-size", given.image_size, bits=32)
    model = Model(given.model, given.weights, given.image_size)
    keys = {split: EntryKey(model, given.dataset, split) for split in SPLITS}
    for key in keys.values():
        _check_free(cache, key, given.force)
        cache.check_writable(key)

    files = {"train": (given.train, given.train_labels), "test": (given.test, given.test_labels)}
    read = {split: read_embeddings(*files[split]) for split in SPLITS}
    numbers, names = number_labels({split: labels for split, (_, labels) in read.items()})
    arrays = {split: (features, numbers[split]) for split, (features, _) in read.items()}
    for split, (features, labels) in arrays.items():
        validate(str(files[split][0]), features, labels)
    (train, train_labels), (test, test_labels) = arrays["train"], arrays["test"]
    if train.shape[1] != test.shape[1]:
        raise InvalidEmbeddingsError(
            f"unequal widths: {given.train} holds {train.shape[1]} features a sample, "
            f"{given.test} holds {test.shape[1]}"
        )
    classes, test_classes = set(train_labels.tolist()), set(test_labels.tolist())
    for lacking, file in ((test_classes - classes, given.train), (classes - test_classes, given.test)):
        if lacking:
            raise InvalidEmbeddingsError(
                f"{file} has no sample of class {enumerated([names.get(one, one) for one in sorted(lacking)])}, the "
                "other file has; every class needs samples in both"
            )

    with ExitStack() as locks:
        for key in keys.values():
            locks.enter_context(cache.making(key))
        for key in keys.values():  # another import may have been faster
            _check_free(cache, key, given.force)
        for split, (features, labels) in arrays.items():
            source = " and ".join(str(path.resolve()) for path in files[split] if path)
            metadata = {"source": source, "transform": "unknown (imported)", "sample_order": "the file's own"}
            metadata |= names_metadata(names)
            path = cache.write(keys[split], features, labels, metadata=metadata)
            print(f"{keys[split]}: {len(features):,} x {features.shape[1]:,}, {len(classes)} classes, {path}")

    chosen = {**chosen_model(model), **chosen_dataset(given.dataset, computed=False)}
    print(f"imprint on them: {shell_line(MAIN, [*overrides(chosen), *place(cache.root.parent)])}")


def _check_free(cache: EmbeddingCache, key: EntryKey, force: bool) -> None:
    if not force and cache.path(key).exists():
        raise EmbeddingsError(f"{key} exists ({cache.path(key)}); --force replaces it")


if __name__ == "__main__":
    main()
