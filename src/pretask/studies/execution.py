"""How the trials of a study are made: flags of every command that runs one.

This module imports nothing heavy: the command line reads it to print its help.
"""

from __future__ import annotations

from dataclasses import dataclass

from pretask.errors import PretaskError


@dataclass(frozen=True)
class Execution:
    """Where trials are made, how many at a time, and with what."""

    executor: str = "local"
    """local makes trials on this machine, ray on those of a Ray cluster"""
    jobs: int | None = None
    """trials at a time, each in its own process; one where not given, with ray as many as the cluster has room for"""
    cpus_per_trial: float | None = None
    """CPUs of a trial, of which it has a thread for each; an even share of this machine, with ray one"""
    gpus_per_trial: float | None = None
    """GPUs of a trial with ray; 0.5 lets two trials share one; one where not given and the cluster has any"""
    retries: int = 3
    """how often a trial whose process dies is resumed from its checkpoint"""
    ray_address: str | None = None
    """Ray cluster to join, as in 10.0.0.1:6379, or auto for the one of this machine; else the study starts one"""

    def check(self) -> None:
        """Refuse numbers that cannot be.

        Raises:
            PretaskError: one out of range; the flag is named.
        """
        if self.jobs is not None and self.jobs < 1:
            raise PretaskError(f"--jobs {self.jobs} is not possible: type 1 or more")
        if self.retries < 0:
            raise PretaskError(f"--retries {self.retries} is not possible: type 0 or more")
        if self.cpus_per_trial is not None and self.cpus_per_trial <= 0:
            raise PretaskError(f"--cpus-per-trial {self.cpus_per_trial:g} is not possible: type more than 0")
        gpus = self.gpus_per_trial or 0
        if gpus < 0 or (gpus > 1 and gpus != int(gpus)):
            raise PretaskError(
                f"--gpus-per-trial {gpus:g} is not possible: type a part of one, as in 0.5, or a whole number"
            )


ONE_AT_A_TIME = Execution()
