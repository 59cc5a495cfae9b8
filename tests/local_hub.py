"""The Hub of Hugging Face, played by a local folder."""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path


class LocalHub:
    """Repositories as folders below `top`, behind the calls of `huggingface_hub` that are used."""

    def __init__(self, top: Path) -> None:
        self.top, self.private = top, {}

    def create_repo(self, name: str, private: bool, exist_ok: bool) -> str:
        assert exist_ok
        self.private.setdefault(name, private)
        (self.top / name).mkdir(parents=True, exist_ok=True)
        return f"hub/{name}"

    def upload_folder(
        self, repo_id: str, folder_path: Path, allow_patterns: list[str], commit_message: str
    ) -> None:
        self._copy(folder_path, self.top / repo_id, allow_patterns)

    def snapshot_download(self, name: str, revision: str | None, allow_patterns: list[str]) -> str:
        if not (self.top / name).is_dir() or revision not in (None, "v1"):
            raise OSError(f"404 Not Found: {name}\nmore words")
        target = self.top / "cache" / name
        target.mkdir(parents=True, exist_ok=True)
        self._copy(self.top / name, target, allow_patterns)
        return str(target)

    @staticmethod
    def _copy(source: Path, target: Path, patterns: list[str]) -> None:
        for path in source.iterdir():
            if any(fnmatch(path.name, pattern) for pattern in patterns):
                shutil.copy(path, target / path.name)
