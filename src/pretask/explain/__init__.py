"""Pictures of what trained classifiers look at, and of how their features lie."""

from __future__ import annotations

from pretask.explain.parts import PARTS, Part, Scene
from pretask.explain.run import explain

__all__ = ["PARTS", "Part", "Scene", "explain"]
