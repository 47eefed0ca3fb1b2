"""PDF, page by page, read by pypdf (the extra `pdf`). Pages that are pictures alone have no text, and are counted."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

from memrl.envs.building.exports import AGAIN, ExportEntry, LogFormat, Talk
from memrl.envs.errors import DataError

LOG = "documents"


def _knows(entry: ExportEntry) -> bool:
    return not entry.is_folder and (entry.suffix == ".pdf" or entry.head.startswith(b"%PDF-"))


def _read(entry: ExportEntry) -> Iterator[Talk]:
    try:
        from pypdf import PdfReader
        from pypdf.errors import PyPdfError
    except ImportError as error:
        raise DataError(f"{entry.where} is a PDF, which needs the extra: pip install 'memrl[pdf]'.") from error
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns of every small fault that it mends
    try:
        reader = PdfReader(io.BytesIO(entry.data()))
        if reader.is_encrypted and not reader.decrypt(""):
            raise DataError(f"{entry.where} is encrypted. Save it without a password, or leave it out.")
        pages = [page.extract_text().strip() for page in reader.pages]
    except (PyPdfError, ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise DataError(f"{entry.where} is damaged or cut short: {error}. {AGAIN}") from error
    entry.drop("pages without text (pictures alone)", sum(not page for page in pages))
    yield Talk(LOG, entry.where, text="\n\n".join(filter(None, pages)))


FORMAT = LogFormat("pdf", "PDF (with the extra pdf)", _knows, _read)
