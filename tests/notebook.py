"""Running ``docs/tour.ipynb`` without Jupyter: its cells in one process, and what each of them shows.

python -m tests.notebook      run it in a folder of its own, and keep what it shows in the file
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

TOUR = Path(__file__).resolve().parents[1] / "docs" / "tour.ipynb"

Json = dict[str, Any]


def load(path: Path = TOUR) -> Json:
    """The notebook, format 4."""
    notebook: Json = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def code_cells(notebook: Json) -> list[Json]:
    """The cells that hold code."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run(notebook: Json) -> None:
    """Run the cells in the present folder, and put into each what it shows.

    As in Jupyter they share their names, and a cell shows what it prints and the value of its last expression.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    for count, cell in enumerate(code_cells(notebook), start=1):
        body = ast.parse("".join(cell["source"])).body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        printed = io.StringIO()
        value = None
        with contextlib.redirect_stdout(printed):
            exec(compile(ast.Module(body, []), f"<cell {count}>", "exec"), names)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), f"<cell {count}>", "eval"), names)
        cell["execution_count"] = count
        cell["outputs"] = [*_stream(printed.getvalue()), *_result(value, count)]


def _stream(text: str) -> list[Json]:
    return [{"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)}] if text else []


def _result(value: object, count: int) -> list[Json]:
    if value is None:
        return []
    data: Json = {"text/plain": repr(value).splitlines(keepends=True)}
    if isinstance(value, Figure):
        picture = io.BytesIO()
        value.savefig(picture, format="png", bbox_inches="tight", metadata={"Software": None})
        data["image/png"] = base64.b64encode(picture.getvalue()).decode("ascii")
    elif hasattr(value, "to_html"):  # tables
        data["text/html"] = value.to_html().splitlines(keepends=True)
    return [{"data": data, "execution_count": count, "metadata": {}, "output_type": "execute_result"}]


def main() -> None:
    """Run the tour, and keep what it shows."""
    notebook = load()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        run(notebook)
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True).replace(folder + os.sep, "")
    TOUR.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
