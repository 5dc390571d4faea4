"""The report: one self-contained page and the files of every artefact beside it."""

from imprint_sweep.analysis.report.files import write_text
from imprint_sweep.analysis.report.listing import Listing, listing
from imprint_sweep.analysis.report.overview import Overview, overview
from imprint_sweep.analysis.report.page import Entry, entry, links, page

__all__ = ["Entry", "Listing", "Overview", "entry", "links", "listing", "overview", "page", "write_text"]
