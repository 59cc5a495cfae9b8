"""Reports a person can read: one HTML file each, which needs nothing but a browser."""

from __future__ import annotations

from pretask.reports.run_report import write_run_report
from pretask.reports.study_report import write_study_report

__all__ = ["write_run_report", "write_study_report"]
