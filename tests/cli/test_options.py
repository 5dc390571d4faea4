"""Commands that take options name the option where an override was written."""

from __future__ import annotations

import importlib
from argparse import ArgumentParser
from collections.abc import Sequence

import pytest

from imprint_sweep.cli.options import parse_options

COMMANDS = (
    *("best", "cell", "collapse", "compact", "demo", "export"),
    *("import_embeddings", "list_embeddings", "report", "status"),
)


def parser() -> ArgumentParser:
    parser = ArgumentParser()
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--where")
    parser.add_argument("--n-shot", type=int)
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--outputs")
    return parser


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("key", ["paths.outputs", "+paths.outputs", "--paths.outputs", "outputs"])
def test_every_command_names_the_option_of_outputs(command: str, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"imprint_sweep.cli.commands.{command}").main([f"{key}=there"])
    assert ended.value.code == 2
    said = f"error: {key}=there is an override, and this command takes options: write --outputs there\n"
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["--only", "fig2", "paths.outputs=a b"], "write --outputs 'a b'"),
        (["paths.outputs='a b'"], "write --outputs 'a b'"),
        (["paths.outputs="], "write --outputs ..."),
        (["n_shot=5"], "write --n-shot 5"),
        (["force=true"], "write --force"),
        (["--force", "k=5"], "--only, --where, --n-shot, --force, --outputs; --help says what they do"),
        (["hydra/launcher=basic"], "--only, --where"),
    ],
)
def test_what_is_written_instead(words: Sequence[str], advice: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_options(parser(), words)
    assert ended.value.code == 2
    assert f"takes options: {advice}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["--where", "k=5"], ["--wh", "k=5"], ["--where=k=5"], ["--where", "gen==mean"], ["--outputs", "a=b", "--out=c=d"]],
)
def test_the_value_of_an_option_may_look_like_an_override(words: Sequence[str]) -> None:
    given = parse_options(parser(), words)
    assert given.where or given.outputs == "c=d"
