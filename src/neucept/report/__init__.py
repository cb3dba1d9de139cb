"""From a finished study to one HTML page. It reads and words; it computes nothing."""

from __future__ import annotations

from neucept.report.page import write_report

__all__ = ["write_report"]
