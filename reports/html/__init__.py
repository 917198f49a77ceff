"""The report as one self-contained HTML page: no network, no fonts, no key material."""

from reports.html.page import render

__all__ = ["render"]
