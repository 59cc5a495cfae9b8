"""Kinds of files that are read, each with good ones, ways to spoil them, and what may come of reading one."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from random import Random
from typing import Any

import torch
import yaml

from command_line import untrained_run
from malformed_data import Kind, lists, npz, parquet, pictures
from mutations import cut_short, damaged, damaged_once, deep_json, odd
from pretask.config.files import load_any_config, save_config
from pretask.config.sections import FewShotConfig, PretrainConfig, RunConfig
from pretask.io.documents import read_sealed, write_sealed
from pretask.methods import load_classifier
from pretask.training.checkpoint import Checkpoints, save_tree
from pretask.training.run_folder import RunFolder


def kinds(place: Path) -> dict[str, Kind]:
    """Return all kinds; `place` is a folder to make the good files in."""
    made = (
        _settings(place),
        pictures(),
        lists(),
        npz(),
        parquet(),
        _checkpoint(place),
        _card(place),
        _weights(place),
    )
    return {kind.name: kind for kind in (*made, _results(place), _metrics(place))}


def _settings(place: Path) -> Kind:
    files = {}
    for config in (RunConfig(), PretrainConfig(), FewShotConfig()):
        path = place / "config.yaml"
        save_config(config, path)
        files[f"{type(config).__name__}.yaml"] = path.read_bytes()
    files["typed.yaml"] = b"# mine\ndata: photos\nlr: 1e-3\npretexts: [rotation]\nmilestones: [0.5, 0.75]\n"

    spoil = (damaged, cut_short, _odd_yaml, _hostile_yaml)
    return Kind("settings", files, load_any_config, spoil, parts=("typed.yaml",))


def _odd_yaml(content: bytes, draw: Random) -> bytes:
    return yaml.safe_dump(odd(yaml.safe_load(content), draw)).encode()


def _hostile_yaml(content: bytes, draw: Random) -> bytes:
    layers = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9))
    merged = "\n".join(f"b{i}: &b{i} {{<<: [{', '.join([f'*b{i - 1}'] * 9)}]}}" for i in range(1, 9))
    return content + draw.choice(
        (
            f"a0: &a0 [x]\n{layers}\n", f"b0: &b0 {{x: y}}\n{merged}\n", "lr: !!python/object/apply:os.system [ls]\n",
            "lr: !!int ''\n", "lr: 2001-99-99\n", f"seed: {'9' * 5000}\n", f"seed: 0x{'f' * 5000}\n", "? [a]\n: b\n",
            "[" * 3000, "- " * 3000, "lr: " + "{a: " * 3000, "x" * 100_000, "seed: 0b_\n",
            "name: \"\\0\"\n", "\t", "\ufeff", "--- a\n--- b\n", "lr: .nan\n", "lr: .inf\n", "epochs: 1:99:99\n",
        )
    ).encode()  # fmt: skip


def _checkpoint(place: Path) -> Kind:
    tree = {
        "method": {"weight": torch.arange(600.0).reshape(20, 30), "half": torch.ones(7, dtype=torch.bfloat16)},
        "ranks": [{"cpu": torch.arange(50, dtype=torch.uint8), "meter": (1, None, "x", True)}],
        "position": {"epoch": 3, "best_score": "0.5"},
    }  # fmt: skip
    path = place / "state.safetensors"
    content = b""
    while (
        b'{"__metadata__":{"tree"' not in content
    ):  # in which order the library writes metadata is up to chance
        save_tree(tree, path)
        content = path.read_bytes()

    def read(found: Path) -> Any:
        return _plain(Checkpoints(found.parent).load(lambda text: None))

    return Kind(
        "checkpoint",
        {path.name: content},
        read,
        (damaged_once, cut_short, _odd_tensors),
        whole_only=True,
    )


def _plain(tree: Any) -> Any:
    if isinstance(tree, torch.Tensor):
        return str(tree.dtype), tree.tolist()
    if isinstance(tree, dict):
        return {key: _plain(value) for key, value in tree.items()}
    return [_plain(value) for value in tree] if isinstance(tree, list | tuple) else tree


def _odd_tensors(content: bytes, draw: Random) -> bytes:
    """Change the header of a safetensors file, or the length that is told of it."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    told = json.dumps(odd(header, draw)).encode() if draw.random() < 0.8 else deep_json(draw)
    size = (
        len(told) if draw.random() < 0.8 else draw.choice((0, 2**63 - 1, 2**32, len(told) + 1, len(content)))
    )
    return size.to_bytes(8, "little") + told + content[8 + length :]


def _run(place: Path) -> dict[str, bytes]:
    folder = place / "run"
    if not folder.exists():
        untrained_run(folder, size=(8, 8), method="ssfe")
    return {name: (folder / name).read_bytes() for name in ("model.json", "model.safetensors")}


def _answers(folder: Path) -> Any:
    classifier = load_classifier(folder)
    with torch.no_grad():
        return classifier(torch.full((1, 3, 8, 8), 0.5)).tolist()


def _card(place: Path) -> Kind:
    files = _run(place)

    def read(path: Path) -> Any:
        (path.parent / "model.safetensors").write_bytes(files["model.safetensors"])
        return _answers(path.parent)

    spoil = (damaged, damaged, cut_short, _odd_json, _odd_json, lambda content, draw: deep_json(draw))
    return Kind("card", {"model.json": files["model.json"]}, read, spoil)


def _weights(place: Path) -> Kind:
    files = _run(place)

    def read(path: Path) -> Any:
        (path.parent / "model.json").write_bytes(files["model.json"])
        return _answers(path.parent)

    spoil = (damaged_once, cut_short, _odd_tensors, lambda content, draw: pickle.dumps({"a": 1}))
    good = {"model.safetensors": files["model.safetensors"]}
    return Kind("weights", good, read, spoil, whole_only=True)


def _odd_json(content: bytes, draw: Random) -> bytes:
    return json.dumps(odd(json.loads(content), draw)).encode()


def _odd_once(content: bytes, draw: Random) -> bytes:
    return json.dumps(odd(json.loads(content), draw, times=1)).encode()


def _results(place: Path) -> Kind:
    figures = {"top1": 0.5, "per_class": [0.1, None, 1.0], "n": 12}
    content = {"method": "sla", "seconds": 1.5, "inferences": {"single": {"selected": {"test": figures}}}}
    path = place / "study.json"
    write_sealed(path, content)
    spoil = (damaged_once, damaged_once, cut_short, _odd_once, lambda content, draw: deep_json(draw))
    files = {
        "study.json": path.read_bytes(),
        "results.json": path.read_bytes(),
        "probes.json": path.read_bytes(),
    }

    def read(found: Path) -> Any:
        told = read_sealed(found, "make it again")
        return {key: told.get(key) for key in content}

    return Kind("results", files, read, spoil, whole_only=True)


def _metrics(place: Path) -> Kind:
    run = RunFolder(place / "metrics")
    run.path.mkdir(exist_ok=True)
    for epoch in range(1, 6):
        run.append_metrics({"epoch": epoch, "train": {"loss": 0.5 / epoch}})

    def read(path: Path) -> Any:
        folder = RunFolder(path.parent)
        folder.truncate_metrics(3)
        return folder.read_metrics()

    spoil = (damaged, cut_short, lambda content, draw: deep_json(draw) + b"\n" + content)
    return Kind(
        "metrics", {run.metrics.name: run.metrics.read_bytes()}, read, spoil, parts=(run.metrics.name,)
    )
