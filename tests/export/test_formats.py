"""Exports in other formats answer as the run does, and are read by `pretask predict`."""

from __future__ import annotations

import io
import json
import pickle
import sys
import zipfile
from functools import wraps
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from command_line import CommandLine, picture_folder, untrained_run
from pretask.errors import MissingExtra, PretaskError
from pretask.export import FORMATS, export_model, load_model, onnx_model
from pretask.export.operations import ALLOWED, _attention, guard_attention
from pretask.methods import METHODS, load_classifier, read_card

PROGRAMS = ("torch-export", "onnx")
GREY_NEEDS_NO_COLOUR = {"gssl", "gssl-perm", "gssl-ungated"}


def structures(channels: int) -> list[tuple[str, str]]:
    """Return (method, inference) for every different way to answer among all methods: views, layer and head.

    Methods that answer alike share a line: after training, what `lorot` deploys is what `baseline` does.
    """
    seen: dict[tuple, tuple[str, str]] = {}
    for name in METHODS.names():
        if channels == 1 and name in GREY_NEEDS_NO_COLOUR:
            continue
        method = untrained(name, channels)
        for inference in method.inferences:
            classifier = method.classifier(inference)
            key = (
                classifier.reading,
                tuple(pretext.name for pretext in classifier.encoder.pretexts),
                classifier.encoder.layer,
                classifier.head.out_features,
            )
            seen.setdefault(key, (name, inference))
    return list(seen.values())


def untrained(method: str, channels: int):
    from pretask.backbones import create_backbone
    from pretask.methods import MethodParts, create_method

    backbone = create_backbone("resnet8", image_size=(16, 16), in_channels=channels)
    counts, values = torch.ones(3, dtype=torch.int64), (0.5,) * channels
    return create_method(method, MethodParts(backbone, counts, mean=values, std=values))


CASES = [(channels, *pair) for channels in (1, 3) for pair in structures(channels)]


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "method", "inference"), CASES)
def test_programs_answer_as_the_run_does(tmp_path: Path, channels: int, method: str, inference: str) -> None:
    run = untrained_run(tmp_path / "run", channels=channels, method=method)
    expected = load_classifier(run, inference)
    for format in PROGRAMS:
        folder = export_model(run, tmp_path / format, inference, format)
        written = load_model(folder)
        for count in (1, 7):
            images = torch.rand(count, channels, 16, 16)
            with torch.no_grad():
                torch.testing.assert_close(written(images), expected(images), rtol=0, atol=1e-4)
        assert read_card(folder).inference == inference
        assert {path.name for path in folder.iterdir()} == {FORMATS[format].file, "model.json", "README.md"}


def test_every_kind_of_answer_is_among_the_cases() -> None:
    readings = {untrained(method, channels).classifier(mode).reading for channels, method, mode in CASES}
    assert readings == {"plain", "first", "mean", "joint", "columns"}


@pytest.mark.parametrize("format", PROGRAMS)
def test_predictions_are_those_of_the_run(tmp_path: Path, capsys, format: str) -> None:
    run, pictures = untrained_run(tmp_path / "run"), picture_folder(tmp_path / "new", count=2)
    call = CommandLine(capsys)
    told = call.well("export", run, tmp_path / "out", "--format", format, "--inference", "single")
    assert FORMATS[format].file in told
    answers = [
        json.loads(call.well("predict", model, pictures, "--format", "json", *more))
        for model, more in ((run, ("--inference", "single")), (tmp_path / "out", ()))
    ]
    for ours, theirs in zip(*answers, strict=True):
        assert ours["label"] == theirs["label"]
        assert ours["probability"] == pytest.approx(theirs["probability"], abs=1e-5)
    call("predict", tmp_path / "out", pictures, "--inference", "aggregated").fault(
        "'single' alone", "aggregated"
    )


def test_the_folder_and_the_card_name_the_format(tmp_path: Path) -> None:
    run = untrained_run(tmp_path / "owls")
    folder = export_model(run, inference="single", format="torch-export")
    assert folder == tmp_path / "owls-single-torch-export"
    text = (folder / "README.md").read_text()
    assert "model.pt2" in text and "load_classifier" not in text


def test_onnx_carries_the_class_names(tmp_path: Path) -> None:
    import onnxruntime

    folder = export_model(untrained_run(tmp_path / "run"), tmp_path / "out", "single", "onnx")
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]) == ["cat", "dog", "owl"]


def test_a_model_that_answers_otherwise_is_not_written(tmp_path: Path, monkeypatch) -> None:
    def off(self, images):
        return torch.zeros(len(images), 3)

    monkeypatch.setattr(onnx_model.OnnxClassifier, "forward", off)
    run = untrained_run(tmp_path / "run")
    with pytest.raises(PretaskError, match="answers otherwise than the run"):
        export_model(run, tmp_path / "out", "single", "onnx")
    assert not (tmp_path / "out" / "model.onnx").exists()


@pytest.mark.parametrize("format", PROGRAMS)
def test_damaged_files_and_other_formats_are_told(tmp_path: Path, format: str) -> None:
    run = untrained_run(tmp_path / "run")
    folder = export_model(run, tmp_path / "out", "single", format)
    with pytest.raises(PretaskError, match="holds other files"):
        export_model(run, folder, "single")
    file = folder / FORMATS[format].file
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(PretaskError, match=f"{file}.*export"):
        load_model(folder)
    with pytest.raises(PretaskError, match="did you mean 'onnx'"):
        export_model(run, tmp_path / "other", format="onx")


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> dict[str, bytes]:
    """The entries of a program's archive."""
    top = tmp_path_factory.mktemp("program")
    folder = export_model(untrained_run(top / "run"), top / "out", "single", "torch-export")
    with zipfile.ZipFile(folder / "model.pt2") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_program(folder: Path, content: dict[str, bytes]) -> Path:
    """Write entries as the program of an export."""
    untrained_run(folder)
    (folder / "model.safetensors").unlink()
    with zipfile.ZipFile(folder / "model.pt2", "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return folder


class Attack:
    """Unpickled, it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def pickled_inputs(content: dict[str, bytes], marker: Path) -> None:
    stream = io.BytesIO()
    torch.save(Attack(marker), stream)
    (inputs,) = [name for name in content if "sample_inputs" in name]
    content[inputs] = stream.getvalue()


def pickled_constant(content: dict[str, bytes], marker: Path) -> None:
    config = "archive/data/constants/model_constants_config.json"
    told = json.loads(content[config])
    next(iter(told["config"].values())).update(path_name="opaque_obj_0", use_pickle=True)
    content[config] = json.dumps(told).encode()
    content["archive/data/constants/opaque_obj_0"] = pickle.dumps(Attack(marker))


def pickled_weight(content: dict[str, bytes], marker: Path) -> None:
    config = "archive/data/weights/model_weights_config.json"
    told = json.loads(content[config])
    next(iter(told["config"].values())).update(use_pickle=True)
    content[config] = json.dumps(told).encode()


def library(content: dict[str, bytes], marker: Path) -> None:
    content["archive/data/aotinductor/model/model.so"] = b"\x7fELF"


def edited(change):
    @wraps(change)
    def edit(content: dict[str, bytes], marker: Path) -> None:
        graph = json.loads(content["archive/models/model.json"])
        change(graph, marker)
        content["archive/models/model.json"] = json.dumps(graph).encode()

    return edit


@edited
def evaluated_size(graph: dict, marker: Path) -> None:
    sizes = next(
        value["sizes"]
        for value in graph["graph_module"]["graph"]["tensor_values"].values()
        if any("as_expr" in size for size in value["sizes"])
    )
    sizes[0]["as_expr"]["expr_str"] = f"__import__('pathlib').Path({str(marker)!r}).touch()"


@edited
def foreign_function(graph: dict, marker: Path) -> None:
    graph["graph_module"]["graph"]["nodes"][-1]["target"] = "torch.os.remove"


@edited
def writing_operation(graph: dict, marker: Path) -> None:
    graph["graph_module"]["graph"]["nodes"][-1]["target"] = "torch.ops.aten.from_file.default"


def operation(target: str):
    @edited
    def edit(graph: dict, marker: Path) -> None:
        graph["graph_module"]["graph"]["nodes"][-1]["target"] = f"torch.ops.{target}"

    edit.__name__ = target
    return edit


@edited
def code_in_a_name(graph: dict, marker: Path) -> None:
    images = graph["graph_module"]["graph"]["inputs"][-1]["as_tensor"]
    images["name"] += f"=__import__('pathlib').Path({str(marker)!r}).touch()"


@edited
def imported_type(graph: dict, marker: Path) -> None:
    signature = graph["graph_module"]["module_call_graph"][0]["signature"]
    signature["in_spec"] = '[1, {"__enum__": true, "fqn": "antigravity:x", "name": "y"}]'


@edited
def guard(graph: dict, marker: Path) -> None:
    graph["guards_code"] = [f"open({str(marker)!r}, 'w')"]


@pytest.mark.parametrize(
    "attack",
    [
        pickled_inputs, pickled_constant, pickled_weight, library, evaluated_size, foreign_function,
        writing_operation, code_in_a_name, imported_type, guard, operation("aten.sparse_coo_tensor.indices_size"),
        operation("aten.segment_reduce.default"), operation("aten.as_strided.default"), operation("aten.add.out"),
        operation("aten._unsafe_index.Tensor"), operation("aten.set_.source_Storage"), operation("prims.rand.default"),
    ],
    ids=lambda attack: attack.__name__,
)  # fmt: skip
def test_a_program_that_holds_anything_but_tensors_and_operations_is_refused(
    tmp_path: Path, program, attack
) -> None:
    content, marker = dict(program), tmp_path / "was-run"
    load_model(write_program(tmp_path / "good", content))
    attack(content, marker)
    with pytest.raises(PretaskError, match="can be read safely"):
        load_model(write_program(tmp_path / "bad", content))
    assert not marker.exists()


def test_allowed_operations_are_those_of_torch() -> None:
    for name in ALLOWED:
        base, overload = name.split(".")
        found = getattr(getattr(torch.ops.aten, base), overload)
        assert overload != "out" and not any(a.is_out for a in found._schema.arguments), name


def test_attention_of_a_program_looks_at_its_sizes() -> None:
    class Attends(nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return nn.functional.scaled_dot_product_attention(q, k, v)

    q, k, v = torch.rand(3, 1, 2, 4, 8)
    program = torch.export.export(Attends(), (q, k, v)).module()
    expected = program(q, k, v)
    guarded = guard_attention(program)
    assert torch.equal(guarded(q, k, v), expected)
    with pytest.raises(ValueError, match="5 keys for 4 values"):
        _attention(q, torch.rand(1, 2, 5, 8), v)


@pytest.mark.parametrize("format", PROGRAMS)
def test_a_program_of_another_model_is_told(tmp_path: Path, format: str) -> None:
    folder = export_model(untrained_run(tmp_path / "run"), tmp_path / "out", "single", format)
    card = json.loads((folder / "model.json").read_text())
    facts = {**card["facts"], "class_counts": None}
    (folder / "model.json").write_text(json.dumps({**card, "class_names": ["cat", "dog"], "facts": facts}))
    with pytest.raises(PretaskError, match=r"answers \[1, 3\] for one image.*2 classes"):
        load_model(folder)
    (folder / "model.json").write_text(json.dumps({**card, "channels": 1, "mean": [0], "std": [1]}))
    with pytest.raises(PretaskError, match="cannot be run"):
        load_model(folder)


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"pretask\[onnx\]"):
        export_model(untrained_run(tmp_path / "run"), tmp_path / "out", "single", "onnx")
