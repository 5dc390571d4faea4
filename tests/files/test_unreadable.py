"""What lies in the place of a file that cannot be read."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from imprint_sweep.files.unreadable import stand_in, unreadable
from tests.stand_ins import ANNEX, HTML, LFS, NOT_FOUND, STAND_INS, XML


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (LFS, ["Git LFS pointer", "git lfs pull"]),
        (ANNEX, ["git-annex pointer", "git annex get"]),
        (HTML, ["web page (HTML)", "direct address"]),
        (b"\xef\xbb\xbf\n  <html><head>", ["web page"]),
        (b"<!-- cached -->\n<html lang='en'>", ["web page"]),
        (XML, ["XML document"]),
        (NOT_FOUND, ["'Entry not found'"]),
        (b"x" * 200, [f"'{60 * 'x'}...'"]),
        (b"", ["empty"]),
    ],
)
def test_a_stand_in_is_recognised(tmp_path: Path, content: bytes, words: list[str]) -> None:
    (tmp_path / "file").write_bytes(content)
    found = stand_in(tmp_path / "file")
    assert found is not None
    assert all(word in found for word in words)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n", b"PK\x03\x04" + bytes(30), b"1 1:0.5\n" * 1000, "é".encode()])
def test_other_content_is_no_stand_in(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert stand_in(tmp_path / "file") is None


def test_what_is_not_there_is_no_stand_in(tmp_path: Path) -> None:
    assert stand_in(tmp_path / "absent") is None
    assert unreadable(tmp_path / "absent", FileNotFoundError(2, "gone")) == "no such file"
    assert unreadable(tmp_path, IsADirectoryError(21, "a folder")) == "it is a folder, expected a file"


@pytest.mark.parametrize(
    "error",
    [
        pickle.UnpicklingError("In PyTorch 2.6 we changed `weights_only`; do so only if you trust the source"),
        RuntimeError("Cannot use ``weights_only=True`` with TorchScript archives"),
        ValueError("Object arrays cannot be loaded when allow_pickle=False"),
        ValueError("Cannot load file containing pickled data"),
    ],
)
def test_unsafe_loading_is_never_advised(tmp_path: Path, error: Exception) -> None:
    (tmp_path / "file").write_bytes(b"\x80\x02")
    assert unreadable(tmp_path / "file", error) == "it is damaged, or holds other objects than numbers"


def test_other_errors_say_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\x80\x02")
    assert unreadable(tmp_path / "file", ValueError("bad\n  magic"), mend="fetch it") == "bad magic; fetch it"
    assert unreadable(tmp_path / "file", KeyError("data")) == "KeyError: 'data'"
    assert unreadable(tmp_path / "file", EOFError()) == "EOFError"


def test_every_stand_in_has_its_own_sentence(tmp_path: Path) -> None:
    for name, content in STAND_INS.items():
        (tmp_path / name).write_bytes(content)
    assert len({stand_in(tmp_path / name) for name in STAND_INS}) == len(STAND_INS)
