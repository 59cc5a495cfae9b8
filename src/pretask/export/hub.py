"""Exports on the Hugging Face Hub: sent there, and read from there."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, snapshot_download

from pretask.errors import PretaskError
from pretask.methods import read_card

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
            commit_message="A classifier trained with pretask",
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
