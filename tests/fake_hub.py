"""The Hub of Hugging Face, played by a server of this process: it lists files and sends ranges of them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

REPO = "owner/pets"


class FakeHub:
    """One data set, `REPO`, some of whose questions may be spoiled.

    Attributes:
        commits: folders by commit.
        branches: commits by name.
        asked: (path, range, Authorization) of all questions for content.
        slept: seconds that this process would have waited before it asked again.
        sent: bytes of files that were sent.
        connections: by which questions came, as ports of who asked.
        moved: whether questions for files are sent on to another host, as the Hub does with large files.
        fault: asked about each question: a status to answer with, "cut", "silent", "whole" or None.
        headers: of an answer that is a status.
        token: that is needed to see anything; None where nothing is needed.
    """

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.elsewhere = f"http://localhost:{port}/stored"
        self.commits: dict[str, Path] = {}
        self.branches: dict[str, str] = {}
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.slept: list[float] = []
        self.sent = 0
        self.connections: set[int] = set()
        self.moved = True
        self.fault: Callable[[str], int | str | None] = lambda path: None
        self.headers: dict[str, str] = {}
        self.token: str | None = None

    def push(self, folder: Path, branch: str = "main") -> str:
        """Make a commit of what is in a folder, which has to stay as it is."""
        commit = sha1(f"{folder} {len(self.commits)}".encode()).hexdigest()
        self.commits[commit] = folder
        self.branches[branch] = commit
        return commit

    def size(self, branch: str = "main") -> int:
        return sum(f.stat().st_size for f in self.commits[self.branches[branch]].rglob("*") if f.is_file())

    def stored(self) -> list[tuple[str, str | None, str | None]]:
        """Return the questions that were sent on to where files are stored."""
        return [question for question in self.asked if question[0].startswith("/stored")]

    def find(self, revision: str) -> str | None:
        known = self.branches.get(revision, revision)
        return known if known in self.commits else None


class _Answers(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path, hub = unquote(parts.path), self.hub
        token = self.headers.get("Authorization")
        fault = hub.fault(path)
        hub.connections.add(self.client_address[1])
        if "/api/" not in path:
            hub.asked.append((path, self.headers.get("Range"), token))
        if isinstance(fault, int):
            told = {"X-Error-Code": "GatedRepo"} if fault == 403 else {}
            return self._send(fault, b"{}", {**told, **hub.headers})
        if fault == "silent":
            time.sleep(1)
        if hub.token and token != f"Bearer {hub.token}" and not path.startswith("/stored"):
            return self._send(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        if found := re.fullmatch(rf"/api/datasets/{REPO}(?:/revision/(.+))?", path):
            return self._list(found[1] or "main", "blobs" in parse_qs(parts.query))
        if found := re.fullmatch(rf"(/datasets/{REPO}/resolve|/stored)/([0-9a-f]{{40}})/(.+)", path):
            if hub.moved and found[1] != "/stored":
                where = f"{hub.elsewhere}/{found[2]}/{found[3]}?Signature=verysecret"
                return self._send(302, b"", {"Location": where})
            return self._file(hub.commits[found[2]] / found[3], fault)
        return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _list(self, revision: str, sizes: bool) -> None:
        commit = self.hub.find(revision)
        if commit is None:
            return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        top = self.hub.commits[commit]
        files = [{"rfilename": str(f.relative_to(top))} for f in sorted(top.rglob("*")) if f.is_file()]
        if sizes:
            files = [{**f, "size": (top / f["rfilename"]).stat().st_size, "blobId": "0"} for f in files]
        answer = {"id": REPO, "sha": commit, "private": False, "downloads": 0, "likes": 0, "tags": []}
        return self._send(200, json.dumps({**answer, "siblings": files}).encode(), {})

    def _file(self, file: Path, fault: int | str | None) -> None:
        content, asked = file.read_bytes(), re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        assert asked
        start, stop = int(asked[1]), min(int(asked[2]) + 1, len(content))
        if start >= len(content):
            return self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        if fault == "whole":
            return self._send(200, content, {})
        part, told = content[start:stop], {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
        self.hub.sent += len(part)
        return self._send(206, part, told, cut=fault == "cut")

    def _send(self, status: int, body: bytes, headers: dict[str, str], cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Keep quiet where whoever asked has not waited for the answer."""


@contextmanager
def serving() -> Iterator[FakeHub]:
    """Run a Hub until the block ends."""
    answers = type("_Bound", (_Answers,), {})
    server = _Server(("127.0.0.1", 0), answers)
    answers.hub = FakeHub(server.server_address[1])
    thread = Thread(target=lambda: server.serve_forever(0.02), daemon=True)
    thread.start()
    try:
        yield answers.hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def asked_by_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """Run a Hub that this process and its children ask, without a token, and that nobody waits for."""
    with serving() as hub, monkeypatch.context() as constants:
        constants.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
        template = f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        for place in ("constants", "file_download"):  # the latter up to version 0.36
            constants.setattr(f"huggingface_hub.{place}.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        constants.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        clock = SimpleNamespace(sleep=hub.slept.append)
        for place in ("huggingface_hub.utils._http", "pretask.data.readers.hub_stream"):
            constants.setattr(f"{place}.time", clock)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        forget_settings()
        yield hub
    forget_settings()


def forget_settings() -> None:
    """Let `huggingface_hub` look at its settings again, whatever its version calls that."""
    for name in ("reset_sessions", "close_session"):
        getattr(import_module("huggingface_hub.utils"), name, lambda: None)()
