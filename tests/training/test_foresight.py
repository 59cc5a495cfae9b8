"""Memory is foreseen from small batches as it is then met, and measuring changes nothing."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import pytest
import torch

from command_line import picture_folder
from forked import Forked
from pretask import MethodParts, create_backbone, create_method, create_pretexts
from pretask.cli.main import main
from pretask.methods import METHODS, Method
from pretask.training.device import free_memory
from pretask.training.foresight import Foresight, _peak, foresee_memory, foresee_seconds

CPU = torch.device("cpu")


def built(method: str, **options) -> Method:
    parts = MethodParts(
        backbone=create_backbone("resnet8", image_size=(16, 16)),
        class_counts=torch.full((4,), 10),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        pretexts=create_pretexts("rotation") if method == "sla" else (),
    )
    return create_method(method, parts, **options)


def step(model: Method, rows: int) -> None:
    count = rows * (1 + model.unlabelled_per_image)
    labels = torch.randint(4, (count,))
    labels[rows:] = -1
    model(torch.rand(count, 3, 16, 16), labels)["loss"].backward()


@pytest.mark.parametrize("method", METHODS.names())
def test_memory_grows_in_proportion_to_the_batch_for_every_method(method: str) -> None:
    torch.manual_seed(0)
    model = built(method)
    found = foresee_memory(model, step, "sgd", CPU)
    twin = copy.deepcopy(model)
    step(twin, 2)
    at_32 = _peak(twin, step, 32, CPU)
    weights = sum(weight.nbytes for weight in model.parameters())
    foreseen = found.fixed - 2 * weights + 32 * found.per_image
    assert foreseen == pytest.approx(at_32, rel=0.35)  # some methods draw how many images they change


def test_measuring_moves_no_generator_and_no_statistic() -> None:
    torch.manual_seed(0)
    model = built("sla")
    before, state = torch.get_rng_state(), copy.deepcopy(model.state_dict())
    foresee_memory(model, step, "sgd", CPU)
    foresee_seconds(model, step, 4, CPU)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


def test_what_fits_is_within_the_free_memory() -> None:
    found = Foresight(fixed=100e6, per_image=10e6, free=1e9)
    assert found.most_rows == 56
    assert found.memory(found.most_rows) <= 0.8e9
    assert Foresight(fixed=900e6, per_image=1.0, free=1e9).most_rows == 0


def test_a_limit_of_address_space_counts(tmp_path) -> None:
    resource = pytest.importorskip("resource")
    import subprocess
    import sys

    script = (
        "import resource, torch\n"
        "from pretask.training.device import free_memory\n"
        "resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))\n"
        "print(free_memory(torch.device('cpu')))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 8 * 2**30
    assert free_memory(CPU) > 0
    assert resource is not None


def _limited(command: list[str]) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (4 * 2**30, 4 * 2**30))
    main(command)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of a process's memory")
def test_photos_of_224_pixels_are_trained_on_within_4_gb(tmp_path: Path) -> None:
    photos = picture_folder(tmp_path / "photos", count=50, size=(224, 224))
    command = [
        "train", "--data", str(photos), "--method", "sla", "--backbone", "resnet20", "--image-size", "224",
        "--batch-size", "64", "--steps", "1", "--lr", "0.1", "--device", "cpu", "--precision", "fp32",
        "--selection", "last", "--runs", str(tmp_path / "runs"), "--name", "run",
    ]  # fmt: skip
    out, errors = Forked(tmp_path / "said", _limited, command).communicate(300)
    assert "decided   accumulate" in out, errors  # 256 views at once would not fit
    assert (tmp_path / "runs/run/results.json").is_file(), errors
