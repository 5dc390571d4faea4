"""Requested rows -> distinct cells -> what is new -> shards that share work. Columns throughout, no cell by cell."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.embeddings.cache import READS, EmbeddingCache, EntryHeader, EntryKey, cell_fingerprint, check_classes
from imprint_sweep.errors import SweepError
from imprint_sweep.files.replacing import replacing
from imprint_sweep.grid.cell import Cell, Model, Task, cell_ids, component_versions
from imprint_sweep.grid.equalities import normal_form
from imprint_sweep.grid.hashing import code
from imprint_sweep.grid.scheme import TESTED_ON, Scheme
from imprint_sweep.imprinting.components import GENS
from imprint_sweep.planning.factorize import combined, factorize
from imprint_sweep.planning.request import Request

Indices = NDArray[np.int64]
Column = NDArray[np.int32]
FORMAT = 1


@dataclass(frozen=True, eq=False)
class Plan:
    """Distinct cells as columns.

    Args:
        models, tasks, schemes: each distinct once.
        model, task, scheme: (n,) int32 indices into them, a cell per position, in the order of the request.
        cell_id: (n,) ``S20``.
        requested: rows asked for, before repeated ones were merged.
    """

    models: tuple[Model, ...]
    tasks: tuple[Task, ...]
    schemes: tuple[Scheme, ...]
    model: Column
    task: Column
    scheme: Column
    cell_id: NDArray[np.bytes_]
    requested: int

    @classmethod
    def of(cls, request: Request) -> Plan:
        """Merge the repeated rows of a request; the first of each stays."""
        task_code, of_task = factorize(task.fragment for task in request.tasks)
        model_code, of_model = factorize(model.fragment for model in request.models)
        scheme_code, of_scheme = factorize(request.schemes)
        models = tuple(request.models[i] for i in of_model)
        tasks = tuple(request.tasks[i] for i in of_task)
        schemes = tuple(request.schemes[i] for i in of_scheme)
        model, task, scheme = model_code[request.model], task_code[request.task], scheme_code[request.scheme]
        code = (model.astype(np.int64) * len(tasks) + task) * len(schemes) + scheme
        first = np.sort(np.unique(code, return_index=True)[1])
        model, task, scheme = model[first], task[first], scheme[first]
        return cls(
            models=models,
            tasks=tasks,
            schemes=schemes,
            model=model,
            task=task,
            scheme=scheme,
            cell_id=_cell_ids(models, tasks, schemes, model, task, scheme),
            requested=len(request.model),
        )

    @classmethod
    def of_cells(cls, cells: Sequence[Cell]) -> Plan:
        """The plan of a list of cells, as a sweep would make it; one cell is a sweep of one."""
        rows = np.arange(len(cells), dtype=np.int32)
        columns = [cell.model for cell in cells], [cell.task for cell in cells], [cell.scheme for cell in cells]
        return cls.of(Request(*columns, model=rows, task=rows, scheme=rows))

    def __len__(self) -> int:
        return len(self.cell_id)

    def cell(self, position: int) -> Cell:
        """The cell at one position."""
        return Cell(
            self.models[self.model[position]], self.tasks[self.task[position]], self.schemes[self.scheme[position]]
        )

    def cells(self, positions: Indices) -> Iterator[Cell]:
        """The cells at some positions."""
        return (self.cell(int(position)) for position in positions)

    def __getitem__(self, positions: Indices) -> Plan:
        """The plan of some of the cells."""
        return Plan(
            self.models,
            self.tasks,
            self.schemes,
            self.model[positions],
            self.task[positions],
            self.scheme[positions],
            self.cell_id[positions],
            len(positions),
        )

    def extended(
        self, schemes: tuple[Scheme, ...], model: Column, task: Column, scheme: Column
    ) -> tuple[Plan, Indices]:
        """The plan with more cells behind its own; those that it has already are not added.

        Args:
            schemes: those of the plan, and others behind them.
            model, task, scheme: (m,) of each cell.

        Returns:
            The plan, and (m,) the position of each of these cells in it.
        """
        of_mine, of_more = (
            (columns[0].astype(np.int64) * len(self.tasks) + columns[1]) * len(schemes) + columns[2]
            for columns in ((self.model, self.task, self.scheme), (model, task, scheme))
        )
        codes, first, which = np.unique(np.concatenate([of_mine, of_more]), return_index=True, return_inverse=True)
        new = np.sort(first[first >= len(self)]) - len(self)
        place = np.empty(len(codes), np.int64)
        place[which[: len(self)]] = np.arange(len(self))
        place[which[len(self) + new]] = len(self) + np.arange(len(new))
        added = _cell_ids(self.models, self.tasks, schemes, model[new], task[new], scheme[new])
        plan = replace(
            self,
            schemes=schemes,
            model=np.concatenate([self.model, model[new]]),
            task=np.concatenate([self.task, task[new]]),
            scheme=np.concatenate([self.scheme, scheme[new]]),
            cell_id=np.concatenate([self.cell_id, added]),
        )
        return plan, place[which[len(self) :]]

    @cached_property
    def pair(self) -> Indices:
        """(n,) which (model, task) a cell is of: ``model * len(tasks) + task``."""
        return self.model.astype(np.int64) * len(self.tasks) + self.task

    @cached_property
    def source(self) -> Indices:
        """(n,) what a cell reads: its :attr:`pair` and what it is tested on."""
        split = np.array([TESTED_ON.index(scheme.split) for scheme in self.schemes], np.int64)
        return self.pair * len(TESTED_ON) + split[self.scheme]

    @cached_property
    def _sized(self) -> tuple[list[tuple[Scheme, int]], Indices]:
        """The distinct (scheme, number of labels), and (n,) which of them a cell has."""
        sizes, size = np.unique([len(task.labels) for task in self.tasks], return_inverse=True)
        both = self.scheme.astype(np.int64) * len(sizes) + size[self.task]
        distinct, position = np.unique(both, return_inverse=True)
        return [(self.schemes[c // len(sizes)], int(sizes[c % len(sizes)])) for c in distinct.tolist()], position

    @cached_property
    def normal_forms(self) -> tuple[Column, tuple[Scheme, ...]]:
        """(n,) int32 index of each cell's normal form, and the distinct normal forms."""
        sized, position = self._sized
        forms = [normal_form(scheme, n_labels) for scheme, n_labels in sized]
        codes, first = factorize(forms)
        return codes[position], tuple(forms[i] for i in first)

    @cached_property
    def versions(self) -> NDArray[np.uint64]:
        """(n,) code of the versions of the components that compute each cell; 0 where all are 1."""
        sized, position = self._sized
        codes, first = factorize((replace(scheme, seed=0), n_labels) for scheme, n_labels in sized)  # no seed matters
        return np.array([code(component_versions(*sized[i])) for i in first], np.uint64)[codes[position]]

    @cached_property
    def computation(self) -> Indices:
        """(n,) code of each cell's computation, 0..: cells with the same code are equal by construction.

        One equality more is decided once the proxies are known (see :meth:`Scheme.normal_form`), so this is at most
        too coarse by the Euclidean 1-nn cells of embeddings that hold zero vectors.
        """
        task, _ = factorize(task.computation_fragment for task in self.tasks)
        return combined(self.model, task[self.task], self.normal_forms[0])

    def sources(self) -> dict[int, list[EntryKey]]:
        """The cache entries of each occurring :attr:`source`."""
        return {int(source): self.entry_keys(int(source)) for source in np.unique(self.source)}

    def entry_keys(self, source: int) -> list[EntryKey]:
        """The cache entries of one :attr:`source`."""
        pair, split = divmod(source, len(TESTED_ON))
        model, task = self.models[pair // len(self.tasks)], self.tasks[pair % len(self.tasks)]
        reads = READS[TESTED_ON[split]]
        return [EntryKey(model, dataset, split, task.limit) for dataset in task.datasets for split in reads]

    def save(self, path: Path, **columns: NDArray[Any]) -> None:
        """Write the plan as one file, atomically; `columns` (one value a cell) travel with it.

        Raises:
            SweepError: the file cannot be written.
        """
        about = {
            "format": FORMAT,
            "components": [place for place in map(GENS.place, {scheme.gen for scheme in self.schemes}) if place],
            "requested": self.requested,
            "models": [asdict(model) for model in self.models],
            "tasks": [asdict(task) for task in self.tasks],
            "schemes": [asdict(scheme) for scheme in self.schemes],
        }
        arrays: dict[str, Any] = {
            "model": self.model,
            "task": self.task,
            "scheme": self.scheme,
            "cell_id": self.cell_id,
            **columns,
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                np.savez_compressed(file, about=np.frombuffer(json.dumps(about).encode(), np.uint8), **arrays)
        except OSError as error:
            raise SweepError(f"the plan cannot be written to {path}: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: Path) -> tuple[Plan, dict[str, NDArray[Any]]]:
        """Read a plan and the columns that travel with it.

        Raises:
            SweepError: no such file, or not a plan of this version.
        """
        try:
            # Opened here: NumPy would leave a damaged file open.
            with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = json.loads(arrays.pop("about").tobytes())
            if about["format"] != FORMAT:
                raise SweepError(f"{path}: plan format {about['format']}, this version reads {FORMAT}; plan again")
            for place in about.get("components", []):
                GENS.register(place)
            plan = cls(
                models=tuple(Model.recorded(**fields) for fields in about["models"]),
                tasks=tuple(Task(**{**fields, "labels": _labels(fields["labels"])}) for fields in about["tasks"]),
                schemes=tuple(_scheme(fields) for fields in about["schemes"]),
                requested=about["requested"],
                **{name: arrays.pop(name) for name in ("model", "task", "scheme", "cell_id")},
            )
        except FileNotFoundError as error:
            raise SweepError(f"there is no plan at {path}") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile, zlib.error) as error:
            raise SweepError(f"{path} is no readable plan ({error}); plan the sweep again") from error
        return plan, arrays


@dataclass(frozen=True)
class Sources:
    """What the embedding cache holds for a plan.

    Args:
        fingerprint: (n,) ``S20`` fingerprint of each cell's embeddings, empty where an entry is missing.
        missing: the entries that are not there.
        headers: the entries that are.
    """

    fingerprint: NDArray[np.bytes_]
    missing: tuple[EntryKey, ...]
    headers: dict[EntryKey, EntryHeader]


def look_up(plan: Plan, cache: EmbeddingCache) -> Sources:
    """Fingerprints of the embeddings that the cells read, from the entries' headers alone.

    Raises:
        InvalidEmbeddingsError: an entry is damaged, or holds other classes of its dataset than a task is about.
    """
    sources = plan.sources()
    keys = dict.fromkeys(key for entry_keys in sources.values() for key in entry_keys)
    headers = {key: header for key in keys if (header := cache.header(key)) is not None}
    partial = {key for key, header in headers.items() if header.embedded_classes is not None}
    for source, entry_keys in sources.items() if partial else ():
        task = plan.tasks[source // len(TESTED_ON) % len(plan.tasks)]
        for key in partial.intersection(entry_keys):
            if not headers[key].covers(frozenset(task.classes_in(key.dataset))):
                check_classes(headers[key], task.classes_in(key.dataset))
    by_source = {
        source: cell_fingerprint([headers[key] for key in entry_keys]) if all(k in headers for k in entry_keys) else ""
        for source, entry_keys in sources.items()
    }
    occurring, position = np.unique(plan.source, return_inverse=True)
    fingerprint = np.array([by_source[source] for source in occurring.tolist()], dtype="S20")[position]
    return Sources(fingerprint, tuple(key for key in keys if key not in headers), headers)


def shards(atoms: Indices, cost: NDArray[np.float64], count: int) -> NDArray[np.int32]:
    """Distribute cells over shards of about equal cost, keeping together what shares work.

    Longest processing time first over the atoms.

    Args:
        atoms: (n,) code of the group of cells that must not be separated.
        cost: (n,) seconds of each cell's share.
        count: how many shards at most.

    Returns:
        (n,) shard of each cell, 0 .. number of shards - 1; no shard is empty.
    """
    distinct, position = np.unique(atoms, return_inverse=True)
    costs = np.bincount(position, weights=cost, minlength=len(distinct))
    count = min(count, len(distinct))
    loads = np.zeros(count)
    chosen = np.zeros(len(distinct), np.int32)
    for atom in np.argsort(-costs, kind="stable"):
        shard = int(np.argmin(loads))
        chosen[atom] = shard
        loads[shard] += costs[atom] + 1e-9  # so that free atoms spread, too
    return chosen[position]


def _cell_ids(
    models: Sequence[Model],
    tasks: Sequence[Task],
    schemes: Sequence[Scheme],
    model: Column,
    task: Column,
    scheme: Column,
) -> NDArray[np.bytes_]:
    ids = np.empty(len(model), "S20")
    pair = model.astype(np.int64) * len(tasks) + task
    order = np.argsort(pair, kind="stable")
    starts = np.unique(pair[order], return_index=True)[1]
    for positions in np.split(order, starts[1:]) if len(order) else []:
        first = positions[0]
        ids[positions] = cell_ids(
            models[model[first]], tasks[task[first]], [schemes[i] for i in scheme[positions].tolist()]
        )
    return ids


def _scheme(fields: dict[str, Any]) -> Scheme:
    parameters = tuple((str(key), value) for key, value in fields.pop("parameters", []))
    return Scheme(**fields, parameters=parameters)


def _labels(labels: list[list[list[Any]]]) -> tuple[tuple[tuple[str, int], ...], ...]:
    return tuple(tuple((str(dataset), int(value)) for dataset, value in label) for label in labels)
