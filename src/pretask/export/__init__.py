"""Trained classifiers for use elsewhere: written in several formats, and read again."""

from __future__ import annotations

from pretask.export.formats import FORMATS, load_model
from pretask.export.writing import export_model, local_folder, push

__all__ = ["FORMATS", "export_model", "load_model", "local_folder", "push"]
