"""The whole job: from a folder of pictures and a time to the best classifier that the time allows."""

from __future__ import annotations

from pretask.fitting.job import fit

__all__ = ["fit"]
