"""Pictures of what trained classifiers look at, and of how their features lie."""

from __future__ import annotations

from pretask.explain.run import explain
from pretask.explain.scene import PARTS, Part, Scene

__all__ = ["PARTS", "Part", "Scene", "explain"]
