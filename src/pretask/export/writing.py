"""A deployable model on disk, and on the Hugging Face Hub."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelCardData, snapshot_download
from huggingface_hub import ModelCard as HubCard

from pretask.config.files import load_config
from pretask.errors import PretaskError, printable
from pretask.export.formats import get_format
from pretask.export.preparation import preparation
from pretask.io.files import is_unfinished, make_folder, remove_unfinished, write_atomically
from pretask.methods import ModelCard, load_classifier, read_card
from pretask.training.guest import as_guest
from pretask.training.run_folder import RunFolder

_NAMED = 50
"""Classes that a card names."""
_MARKS = re.compile(r"[\\`*\[\]|&$]|<(?=[A-Za-z/!?])|~(?=~)")
"""What would be a link, a tag, a table, a formula or emphasis."""


@as_guest()
def export_model(
    run: Path | str,
    to: Path | str | None = None,
    inference: str | None = None,
    format: str = "safetensors",
    with_preprocessing: bool = False,
) -> Path:
    """Write one inference of a run: the model, `model.json`, and a model card `README.md`.

    Args:
        run: a run folder, or an export as safetensors.
        to: folder to write; where None `<run>-<inference>` beside the run, with the format behind it unless that is
            safetensors.
        inference: a way to answer; None is the run's default.
        format: a name of `FORMATS`.
        with_preprocessing: let the graph take a picture of any size, uint8 [H, W, 3], and prepare it as `predict`
            does; not for safetensors, which holds no graph.

    Returns:
        the folder.

    Raises:
        PretaskError: no such run, inference or format; a run that is not finished; a folder that holds anything but
            such an export; a model that the format cannot hold.
        MissingExtra: the format needs a package that is not installed.
    """
    run, form = Path(run), get_format(format)
    if with_preprocessing and format == "safetensors":
        raise PretaskError(
            "--with-preprocessing needs a graph to be part of, safetensors holds weights alone: type --format onnx "
            "or torch-export"
        )
    card = read_card(run)
    name = inference or card.inference
    classifier = load_classifier(run, name, card)
    if RunFolder(run).under_way:
        raise PretaskError(
            f"{run} is not finished: type `pretask train --resume {run}`, and export what it comes to"
        )
    ending = "" if format == "safetensors" else f"-{format}"
    folder = Path(to) if to is not None else run.with_name(f"{run.name}-{name}{ending}")
    _check_room(folder, form.file)
    make_folder(folder, "another folder to export to")
    remove_unfinished(folder)
    results = RunFolder(run).read_results() if (run / "results.json").is_file() else {}
    card = replace(card, inference=name, preparation=preparation(card, with_preprocessing))
    form.write(folder, classifier, card)
    text = model_card(card, name, classifier.num_views, results, run, format)
    write_atomically(folder / "README.md", lambda path: path.write_text(text, encoding="utf-8"))
    return folder


def model_card(
    card: ModelCard, inference: str, num_views: int, results: dict[str, Any], run: Path, format: str
) -> str:
    """Return a model card in the Hub's format: metadata, use, results with their protocol, limits.

    Args:
        card: of the run.
        inference: the one that is exported.
        num_views: rows of a batch that it makes of an image.
        results: of the run; empty where it has none.
        run: its folder.
        format: of the export, which decides how it is used.
    """
    metadata = ModelCardData(
        library_name="pretask",
        pipeline_tag="image-classification",
        tags=["pretask", card.method, card.backbone],
    )
    config = run / "config.yaml"
    results = _in_a_card(results)
    text = HubCard.from_template(
        metadata,
        template_path=str(Path(__file__).with_name("card.md")),
        card=replace(
            card,
            class_names=_in_a_card(card.class_names[:_NAMED]),
            facts=_in_a_card(card.facts),
            **{key: _in_a_card(getattr(card, key)) for key in ("method", "backbone")},
        ),
        classes=len(card.class_names),
        shape=(card.channels, *card.image_size),
        inference=_in_a_card(inference),
        num_views=num_views,
        format=format,
        results=results,
        test=results.get("inferences", {}).get(inference, {}).get("selected", {}).get("test"),
        config=load_config(config) if config.is_file() else None,
    )
    return f"{text}\n"


def _in_a_card(value: Any) -> Any:
    """Return names and facts as text of a Markdown page: on one line, none of it a link, a tag or a heading."""
    if isinstance(value, str):
        return _MARKS.sub(r"\\\g<0>", printable(value))
    if isinstance(value, dict):
        return {key: _in_a_card(inner) for key, inner in value.items()}
    return type(value)(map(_in_a_card, value)) if isinstance(value, list | tuple) else value


def _check_room(folder: Path, file: str) -> None:
    """Refuse a folder whose files an export would overwrite or stand among; the same export may be written again."""
    if folder.exists() and not folder.is_dir():
        raise PretaskError(f"{folder} is a file: give a folder to export to")
    found = [path for path in folder.iterdir() if not is_unfinished(path)] if folder.exists() else []
    others = {path.name for path in found} - {file, "model.json", "README.md"}
    if others:
        raise PretaskError(
            f"{folder} holds other files ({min(others)}): give a new or empty folder to export to"
        )


PREFIX = "hf:"
_FILES = ("model.json", "model.safetensors", "model.pt2", "model.onnx", "README.md")


def push(folder: Path | str, name: str, private: bool = False) -> str:
    """Send an export to a repository of the Hub, which is made where there is none.

    Args:
        folder: an export.
        name: "owner/name".
        private: of a repository that is made.

    Returns:
        its address.

    Raises:
        PretaskError: no export, a name that cannot be, no network, or no right to write there.
    """
    folder = Path(folder)
    read_card(folder)
    api = HfApi(library_name="pretask")
    try:
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=name,
            folder_path=folder,
            allow_patterns=list(_FILES),
            commit_message="A model trained with pretask",
        )
    except Exception as fault:  # of the transport too, whose types change between versions
        raise PretaskError(
            f"cannot send {folder} to hf:{name} ({_reason(fault)}): check name and network, or type `hf auth login`"
        ) from fault
    return str(address)


def local_folder(model: Path | str) -> Path:
    """Return where a model lies: what is given, or for "hf:owner/name" (or "hf:owner/name@revision") its local copy.

    Only the files of an export are fetched; what was fetched before is taken where there is no network.

    Raises:
        PretaskError: no such model, or no network.
    """
    given = str(model)
    if not given.startswith(PREFIX):
        return Path(model)
    name, _, revision = given.removeprefix(PREFIX).partition("@")
    try:
        return Path(str(snapshot_download(name, revision=revision or None, allow_patterns=list(_FILES))))
    except Exception as fault:
        raise PretaskError(
            f"cannot fetch {given} ({_reason(fault)}): check name and network, or give a downloaded folder"
        ) from fault


def _reason(fault: Exception) -> str:
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0].rstrip(".: ")
