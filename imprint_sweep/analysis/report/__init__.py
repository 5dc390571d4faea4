"""The report: one self-contained page, and the files of every artefact beside it."""

from imprint_sweep.analysis.report.building import Report, artefact_folder, build, write

__all__ = ["Report", "artefact_folder", "build", "write"]
