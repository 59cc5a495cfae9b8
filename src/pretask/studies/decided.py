"""What a study decides once, so that all its runs are made alike whenever and by whomever they are begun."""

from __future__ import annotations

from pathlib import Path

from pretask.config.files import C, override
from pretask.io.documents import read_json_object
from pretask.io.files import write_json
from pretask.studies.execution import Execution
from pretask.studies.trials import LOCKS, held
from pretask.training.device import resolve_device, resolve_precision

FILE = "decided.json"


def decide_precision(config: C, execution: Execution, folder: Path) -> C:
    """Return the configuration with its precision decided, as the first start of the study in `folder` did.

    On a processor a short timing decides, which a busy machine may turn the other way from run to run. GPUs of one
    kind all decide alike; what the machines of a cluster have is not known here, unless `--device cpu` is given:
    their runs decide for themselves.

    Raises:
        PretaskError: what was decided cannot be read or written.
    """
    session = config.session
    if session.precision != "auto" or (execution.executor != "local" and session.device != "cpu"):
        return config
    device = resolve_device(session.device)
    if device.type != "cpu":
        return config
    path = folder / FILE
    with held(folder / LOCKS / f"{FILE}.lock", wait=True):
        if not path.is_file():
            write_json(path, {"precision": resolve_precision("auto", device)})
        decided = read_json_object(path, f"delete {path}, and the study decides again")
    return override(config, precision=str(decided.get("precision")))
