"""How long tables and figures take from 500,000 results: each as a command of its own, and the whole report.

Run from a checkout, on an otherwise idle machine::

    python benchmarks/analysis.py                     # everything, about three minutes
    python benchmarks/analysis.py --only fig5 fig12   # some of them, without the report
    python benchmarks/analysis.py --keep DIR          # keep the table, or use the one that is there

The cells are those of the real experiment files, ``paper`` and as much of ``full`` as makes half a million; the rows
went through the store's own writer and were compacted; the numbers are made up. Bars: any artefact 5 s, the report
60 s, 2 GB.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from imprint_sweep.analysis.artefacts import ARTEFACTS
from imprint_sweep.running.resources import available_cores
from measuring import Took, missed, run
from tests import plausible

ROWS = 500_000
ARTEFACT_SECONDS, REPORT_SECONDS, GIGABYTES = 5.0, 60.0, 2.0


def main() -> None:
    """Print the figures; exit code 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(ARTEFACTS), metavar="NAME", help="artefacts; all by default")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder of the table; made if there is none in it")
    given = parser.parse_args()
    print(f"{available_cores()} cores, {ROWS:,} rows")
    with _folder(given.keep) as outputs:
        if not (outputs / "results").is_dir():
            start = time.perf_counter()
            plan = plausible.grid(ROWS)
            plausible.write(outputs, plan)
            plausible.write_collapse(outputs, plan)
            print(f"the table was made in {time.perf_counter() - start:.0f} s")
        n_missed = artefacts(given.only or list(ARTEFACTS), outputs)
        if not given.only:
            n_missed += report(outputs)
    sys.exit(1 if n_missed else 0)


def artefacts(names: Sequence[str], outputs: Path) -> int:
    """Each artefact as a command; returns the number of bars missed."""
    runs = {name: make(outputs, "--only", name) for name in names}
    for name, took in runs.items():
        print(f"  {name:8} {took.seconds:5.2f} s, {took.cpu_seconds:5.2f} s of CPU, {took.gigabytes:.2f} GB")
    slowest = max(runs, key=lambda name: runs[name].seconds)
    return missed(f"slowest artefact ({slowest}), seconds", runs[slowest].seconds, ARTEFACT_SECONDS) + missed(
        "memory of an artefact, GB", max(took.gigabytes for took in runs.values()), GIGABYTES
    )


def report(outputs: Path) -> int:
    """The whole report; returns the number of bars missed."""
    took = make(outputs)
    megabytes = (outputs / "report" / "index.html").stat().st_size / 1e6
    print(f"report: {took.cpu_seconds:.1f} s of CPU, a page of {megabytes:.1f} MB")
    return missed("report, seconds", took.seconds, REPORT_SECONDS) + missed("report, GB", took.gigabytes, GIGABYTES)


def make(outputs: Path, *arguments: str) -> Took:
    """Time ``python scripts/report.py``."""
    return run(["scripts/report.py", *arguments, "--outputs", str(outputs)])


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.absolute()  # commands run in the root of the project
        return
    with tempfile.TemporaryDirectory(prefix="imprint-benchmark-") as folder:
        yield Path(folder)


if __name__ == "__main__":
    main()
