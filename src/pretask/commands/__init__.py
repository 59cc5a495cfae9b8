"""The commands, which parse, call and print; in the order in which help lists them.

Heavy modules are imported inside the commands, so that help answers at once.
"""

from __future__ import annotations

from pretask.commands import training, studies, models, machine  # isort: skip

__all__ = ["machine", "models", "studies", "training"]
