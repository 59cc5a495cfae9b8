"""What an attack's constants may be, and how they are written."""

from __future__ import annotations

from pretask.errors import PretaskError, unknown_name

NORMS = ("l2", "linf")


def in_255ths(value: float) -> str:
    """Return a distance `value`, in pixel values of [0, 1], as papers write it: "8/255", "0.3/255"."""
    return f"{255 * value:g}/255"


def check_constants(
    epsilon: float, step_size: float, steps: int, norm: str = "linf", restarts: int = 1
) -> None:
    """Refuse constants that make no attack.

    Raises:
        PretaskError: epsilon outside [0, 1], a step that goes nowhere, fewer than one step or restart, or a
            norm that is not known.
    """
    if not 0 <= epsilon <= 1:
        raise PretaskError(
            f"epsilon {in_255ths(epsilon)} is outside 0/255..255/255: give 8/255, or type --epsilon 8"
        )
    if not (step_size > 0 or step_size == epsilon == 0):  # the ball of radius 0 is one point
        raise PretaskError(
            f"the attack's step {in_255ths(step_size)} goes nowhere: give more than 0, as 2/255"
        )
    if steps < 1:
        raise PretaskError(f"an attack of {steps} steps is none: give 1 or more")
    if restarts < 1:
        raise PretaskError(f"an attack of {restarts} restarts is none: give 1 or more")
    if norm not in NORMS:
        raise unknown_name("norm", norm, NORMS)
