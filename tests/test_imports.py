"""Start-up stays light: what a command needs before it knows its task loads no heavy package."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.outputs import ROOT

HEAVY = ("numba", "pandas", "pyarrow", "scipy", "sklearn", "sklearn_extra", "torch", "torchvision")


def loaded_by(module: str) -> set[str]:
    """The top-level packages that are loaded in a fresh interpreter after ``import module``."""
    program = f"import sys; import {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return set(finished.stdout.split())


def require(module: str) -> None:
    """Fail clearly where the module is missing: otherwise the check below would not check anything."""
    assert importlib.util.find_spec(module) is not None, f"{module} does not exist"


@pytest.mark.parametrize(
    "module", ["imprint_sweep", "imprint_sweep.errors", "imprint_sweep.grid.cell", "imprint_sweep.__main__"]
)
def test_start_up_loads_nothing_heavy(module: str) -> None:
    require(module)
    assert not loaded_by(module) & set(HEAVY)


def test_a_heavy_import_would_be_seen() -> None:
    assert "scipy" in loaded_by("scipy")


def test_the_analysis_reads_a_table_without_torch() -> None:
    require("imprint_sweep.store")
    assert "torch" not in loaded_by("imprint_sweep.store")


# ---- the process

STATE = """
import asyncio, importlib, locale, logging, multiprocessing, os, random, signal, socket, sys, threading, warnings

def state():
    from threadpoolctl import threadpool_info
    import numpy, torch
    pools = {(pool["prefix"], pool["filepath"]): pool["num_threads"] for pool in threadpool_info()}
    return {
        "environment": dict(os.environ),
        "warning filters": [str(one) for one in warnings.filters],
        "how warnings are shown": (warnings.showwarning, warnings.formatwarning),
        "signal handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "thread pools": pools,
        "threads of torch": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "precision of torch": (torch.get_default_dtype(), torch.backends.cudnn.allow_tf32, torch.is_grad_enabled()),
        "threads": [thread.name for thread in threading.enumerate()],
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook, sys.displayhook),
        "path": list(sys.path),
        "limits": (sys.getrecursionlimit(), sys.getswitchinterval()),
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable),
        "floating-point errors": numpy.geterr(),
        "random": (random.getstate(), str(numpy.random.get_state()), torch.random.get_rng_state().tolist()),
        "locale": locale.setlocale(locale.LC_ALL),
        "folder": (os.getcwd(), os.umask(0o22)),
        "sockets": socket.getdefaulttimeout(),
        "processes": multiprocessing.get_start_method(allow_none=True),
    }
"""

IMPORTS = """
import json
modules, others = json.loads(sys.stdin.read())
for name in others:  # what other packages do to the process is theirs
    try:
        importlib.import_module(name)
    except Exception:
        pass
before = state()
for name in modules:
    importlib.import_module(name)
    after = state()
    for key, value in before.items():
        if after[key] != value:
            print(f"{name} changes the {key}: {value} -> {after[key]}")
    before = after
print("imported", len(modules))
"""

OTHERS = """
import importlib, json, sys
modules = json.loads(sys.stdin.read())
for name in modules:
    importlib.import_module(name)
own = tuple({name.partition(".")[0] for name in modules})
print(json.dumps([name for name in sys.modules if name.partition(".")[0] not in (*own, "__main__")]))
"""


def python(program: str, given: object) -> str:
    """What a program prints in a fresh interpreter that gets something as JSON."""
    # Without what a command called by another test may have set.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MALLOC_"))}
    finished = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def modules() -> list[str]:
    """Every module of the package and of the plugin."""
    files = [
        path.relative_to(ROOT) for top in ("imprint_sweep", "hydra_plugins") for path in (ROOT / top).rglob("*.py")
    ]
    names = {".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files}
    return sorted(names)


@pytest.mark.slow
def test_importing_any_module_changes_nothing_in_the_process() -> None:
    names = modules()
    assert len(names) > 100
    others = json.loads(python(OTHERS, names))
    assert python(STATE + IMPORTS, (names, others)).splitlines() == [f"imported {len(names)}"]


def test_a_change_of_the_process_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "rude.py").write_text(
        "import os, signal, warnings\n"
        "os.environ['OMP_WAIT_POLICY'] = 'PASSIVE'\n"
        "warnings.filterwarnings('ignore', 'Cluster')\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    )
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{STATE}{IMPORTS}"
    changes = python(program, (["rude"], ["torch"])).splitlines()
    assert [line.partition(":")[0] for line in changes[:-1]] == [
        f"rude changes the {what}" for what in ("environment", "warning filters", "signal handlers")
    ]


ARENAS = """
import ctypes, sys, threading
import imprint_sweep.extraction.extracting
if sys.argv[1] == "command":
    from imprint_sweep.extraction.process import prepare_process
    prepare_process()
libc = ctypes.CDLL(None)
together = threading.Barrier(4)

def allocate():
    together.wait()
    libc.malloc(1000)
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_stats()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="no glibc")
@pytest.mark.parametrize("by", ["import", "command"])
def test_threads_have_heaps_of_their_own_unless_a_command_says_otherwise(by: str) -> None:
    finished = subprocess.run([sys.executable, "-c", ARENAS, by], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    arenas = len(re.findall(r"^Arena \d+:", finished.stderr, flags=re.MULTILINE))
    assert (arenas > 1) == (by == "import")


EMBED = """
import os, sys
sys.argv += ["model=pixels", "task=digits", "limit=10"]
from imprint_sweep.cli.commands.embed import main
before = os.environ.get("OMP_WAIT_POLICY"), "torch" in sys.modules
main()
print(*before, os.environ["OMP_WAIT_POLICY"])
"""


def test_a_command_that_embeds_prepares_its_process(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    words = [sys.executable, "-c", EMBED, f"paths.outputs={tmp_path}"]
    finished = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines()[-1] == "None False PASSIVE"


ONE_CORE = """
import sys, tempfile
from pathlib import Path
import numpy as np
from threadpoolctl import threadpool_info
from imprint_sweep import engine
from imprint_sweep.embeddings.cache import EmbeddingCache, EntryKey
from imprint_sweep.grid.cell import Cell, Model, Task
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.imprinting.agg.metrics import mahalanobis
from imprint_sweep.imprinting.gen import least_squares

def watched(module, name):
    compute = getattr(module, name)
    def watching(*args):
        result = compute(*args)  # loads what it needs
        if len(args[0]) > 3:
            seen.append({pool["filepath"]: pool["num_threads"] for pool in threadpool_info()})
        return result
    setattr(module, name, watching)

seen = []
before = max(pool["num_threads"] for pool in threadpool_info())
watched(least_squares, "factorize")
watched(mahalanobis, "fit")
mahalanobis_ = {"gen": "all", "agg": "mnn", "metric": "mahalanobis", "m": 2, "weighting": "uniform"}
fields = {"least_squares": {"gen": "least_squares", "weight_decay": 1.0}, "mahalanobis": mahalanobis_}
scheme = Scheme.create(**fields[sys.stdin.read().strip('"')])
model, task = Model("toy", "none"), Task("toy", "all", ((("toy", 0),), (("toy", 1),)))
x = np.random.default_rng(0).random((40, 6), np.float32)
with tempfile.TemporaryDirectory() as folder:
    cache = EmbeddingCache(Path(folder))
    for split in ("train", "test"):
        cache.write(EntryKey(model, "toy", split), x, np.arange(40) % 2, metadata={})
    assert "scipy" not in sys.modules
    (outcome,) = engine.run([Cell(model, task, scheme)], cache, engine.EngineSettings(threads=2))
assert outcome.status == "ok", outcome
assert len(seen) == 1 and len(seen[0]) >= 2, seen  # NumPy's BLAS and SciPy's
print(max(seen[0].values()), {pool["num_threads"] for pool in threadpool_info()} == {before})
"""


@pytest.mark.parametrize("what", ["least_squares", "mahalanobis"])
def test_libraries_that_are_loaded_late_compute_on_one_core_too(what: str) -> None:
    assert python(ONE_CORE, what) == "1 True\n"
