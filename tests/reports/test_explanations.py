"""Pictures of `pretask explain` in a run's report: held where there is room, named where there is none."""

from __future__ import annotations

import json
import os

import pytest
from report_samples import write_sample_run

from command_line import picture
from pretask.reports import write_run_report
from pretask.reports.explanations import explanations


@pytest.fixture
def run(tmp_path):
    folder = write_sample_run(tmp_path / "run", epochs=2)
    files = {
        part: str(picture(folder / "explain" / f"{part}.png", (20, 30)))
        for part in ("gradcam", "tsne", "pca")
    }
    separation = {"sla": {"neighbours": 0.25, "silhouette": 0.1}}
    (folder / "explain/explain.json").write_text(json.dumps({"files": files, "separation": separation}))
    return folder


def test_pictures_are_held_at_a_size_that_can_be_read(run, read_page):
    page = write_run_report(run).read_text()
    assert page.count('src="data:image/png;base64,') == 3
    assert page.count('style="--drawn: 30px"') == 3
    assert 'alt="sla: 5 neighbours 25.0 %"' in page
    assert "Explanations" in read_page(page)


def test_a_drawing_is_as_wide_as_its_pixels_would_be(run):
    (run / "explain/pca.png").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" height="1pt" width="72pt"></svg>'
    )
    assert [picture.width for picture in explanations(run)] == [30, 30, 150]


def test_the_report_stays_below_five_million_bytes_whatever_was_drawn(run):
    for part in ("gradcam", "tsne", "pca"):
        with (run / f"explain/{part}.png").open("ab") as file:
            file.write(os.urandom(1_500_000))
    page = write_run_report(run).read_text()
    assert len(page.encode()) < 5_000_000
    assert page.count("data:image/png;base64,") == 2
    assert "See pca.png in the folder explain." in page


def test_a_run_without_explanations_has_no_such_part(run):
    (run / "explain/explain.json").unlink()
    assert explanations(run) == []
    assert "Explanations" not in write_run_report(run).read_text()
