"""From a finished study to one HTML page. It reads and words; it computes nothing."""

from __future__ import annotations

from neucept.report.comparison import write_comparison
from neucept.report.explanation import write_explanation
from neucept.report.page import write_report

__all__ = ["write_comparison", "write_explanation", "write_report"]
