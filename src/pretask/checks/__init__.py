"""What is wrong with pictures and labels, found before anything is trained on them."""

from __future__ import annotations

from pretask.checks.job import check

__all__ = ["check"]
