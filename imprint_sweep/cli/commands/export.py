"""Write the classifier of a cell to a file: safetensors, or ONNX, alone or behind its network."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from imprint_sweep.api.samples import settings_of
from imprint_sweep.cli.app import user_errors
from imprint_sweep.cli.options import parse_options
from imprint_sweep.errors import ConfigError
from imprint_sweep.invocation import command, named_path


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Raises:
        SystemExit: code 2 if there is no such cell, or the file cannot be written.
    """
    parser = ArgumentParser(prog=command("export"), description=__doc__)
    parser.add_argument("cell", metavar="CELL_ID", help="a cell id, or as many of its first digits as make it unique")
    parser.add_argument("--to", required=True, metavar="FILE", help="NAME.safetensors or NAME.onnx")
    parser.add_argument(
        "--with-model", action="store_true", help="ONNX: network and head in one file, images in, class scores out"
    )
    parser.add_argument("--outputs", metavar="DIR", help="the paths.outputs of the runs (default: theirs)")
    given = parse_options(parser, arguments)
    with user_errors():
        path = named_path("the file (--to)", given.to)
        if path.suffix not in (".safetensors", ".onnx"):
            raise ConfigError(f"--to: expected a name that ends in .safetensors or .onnx, got {given.to}")
        if given.with_model and path.suffix != ".onnx":
            raise ConfigError(f"--with-model makes an ONNX file, and {given.to} is none; use --to NAME.onnx")
        if not path.parent.is_dir():
            raise ConfigError(f"--to: there is no folder {path.parent}")
        print("\n".join(_export(given.cell, path, given.with_model, given.outputs)))


def _export(cell_id: str, path: Path, with_model: bool, outputs: str | None) -> list[str]:
    from imprint_sweep.api.cells import of_row

    settings = settings_of(outputs)
    cell, clf, note = of_row(cell_id, settings)
    said = [f"{path}: {len(clf.proxies_):,} proxies of {len(clf.classes_):,} classes, {clf.nbytes_:,} bytes"]
    said += [f"note: {note}"] * (note is not None)
    if path.suffix == ".safetensors":
        clf.save(path)
        return said
    from imprint_sweep.api.exporting import embeddings_of_test, export_head, export_with_network

    if with_model:
        check = export_with_network(clf, cell, settings, path)
    else:
        check = export_head(clf, path, embeddings_of_test(cell, settings))
    return [*said, f"run by onnxruntime: {check}"]


if __name__ == "__main__":
    main()
