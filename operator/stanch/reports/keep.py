"""Keeping a report beside the evidence that it tells of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stanch.api.v1alpha1.status import ReportRecord
from stanch.evidence.model import digest_of_bytes
from stanch.evidence.take import folder_of
from stanch.reports.form import Form
from stanch.reports.render import render

if TYPE_CHECKING:
    from stanch.api.v1alpha1.incident import AIIncident
    from stanch.evidence.store import Store
    from stanch.reports.model import Report

_PREFIX = 16  # digits of the report's digest in the names of its files


async def keep(store: Store, incident: AIIncident, report: Report) -> tuple[ReportRecord, ...]:
    """Store the report as JSON, Markdown and HTML. The same report again stores nothing and says the same.

    A record's digest is that of the file's bytes: what `sha256sum` says of it. Raises StanchError when the
    store does not take one of them; those before it are stored then, and are found there the next time.
    """
    sealed = report.sealed()
    meta, digest = incident.metadata, str(sealed.digest).removeprefix("sha256:")[:_PREFIX]
    folder = folder_of(meta.namespace, meta.name, meta.uid)
    records = []
    for form in (Form.JSON, Form.MARKDOWN, Form.HTML):
        key, body = f"{folder}/report-{digest}.{form.suffix}", render(sealed, form)
        await store.put(key, body)
        records.append(
            ReportRecord(
                location=store.location(key),
                digest=digest_of_bytes(body),
                at=sealed.made_at,
                generation=meta.generation,
            )
        )
    return tuple(records)
