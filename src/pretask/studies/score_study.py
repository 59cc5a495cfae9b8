"""Studies whose runs are judged in several ways."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from pretask.config.files import C
from pretask.reports.score_report import write_score_report
from pretask.studies.score_table import markdown_scores, print_scores
from pretask.studies.study import Study


class ScoreStudy(Study[C]):
    """A study with a score for each column, told by tables of scores and of differences."""

    def print_table(self, study: Mapping[str, Any], console: Console) -> None:
        print_scores(study, console)

    def markdown(self, study: Mapping[str, Any]) -> str:
        return markdown_scores(study)

    def write_report(self, study: dict[str, Any], path: Path) -> Path:
        return write_score_report(study, path)
