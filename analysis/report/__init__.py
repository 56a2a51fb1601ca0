"""The report: one self-contained HTML page from the result rows of a suite."""

from microtome.analysis.report.page import write_report

__all__ = ["write_report"]
