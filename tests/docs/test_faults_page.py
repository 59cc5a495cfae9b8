"""Every row of the table of faults is tried."""

from __future__ import annotations

import re

import pytest
from doc_pages import DOCS, parameters, rows

from pretask.cli import main as cli

FAULTS = [(typed.strip("`"), answer) for typed, answer, _ in rows(DOCS / "faults.md", "typed")]


@pytest.mark.parametrize(("typed", "answer"), FAULTS, ids=[typed for typed, _ in FAULTS])
def test_fault_is_told_as_the_table_says(typed, answer, workshop, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(parameters(typed))
    told = capsys.readouterr().err
    assert left.value.code == 2
    assert told.startswith("pretask: ")
    assert told.count("\n") == 1
    pattern = ".*".join(re.escape(part.strip()) for part in answer.split("…"))
    assert re.fullmatch(pattern, told.removeprefix("pretask: ").strip()), told
