"""A headless Chromium, spoken to over two pipes in the protocol of its developer tools."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

BINARY = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
KEYS = {"Tab": 9, "ArrowRight": 39, "ArrowDown": 40, "Space": 32}

_CONNECT = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Starts the browser, which reads commands from descriptor 3 and writes answers to descriptor 4."""


def _pipe() -> tuple[int, int]:
    """Return a pipe's ends, to read and to write, with numbers that are in nobody's way."""
    low = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in low)
    for end in low:
        os.close(end)
    return high[0], high[1]


class Chromium:
    """One page in one browser; use it as a context.

    Attributes:
        requests: addresses that pages asked for, their own and what they hold themselves (data:) left out.
        complaints: what was written to the console, and errors of scripts.
    """

    def __init__(self, profile: Path) -> None:
        assert BINARY is not None
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._count, self._own = 0, ""
        self._session: str | None = None
        commands, self._to = _pipe()
        self._from, answers = _pipe()
        command = [
            BINARY, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
            f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-IS", "-c", _CONNECT, str(commands), str(answers), *command],
            pass_fds=(commands, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(commands)
        os.close(answers)
        self._read = bytearray()

    def __enter__(self) -> Chromium:
        try:
            target = self.ask("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Network", "Runtime", "Log"):
                self.ask(f"{domain}.enable")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        self._process.wait()
        os.close(self._from)
        os.close(self._to)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the browser's answer to a command of the protocol."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            pass
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def open(self, path: Path, *, width: int = 1440, scripts: bool = True) -> None:
        """Open a file in a window of a width in pixels, and wait until it is loaded."""
        self._own = path.as_uri()
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        self.ask("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.ask("Page.navigate", url=self._own)
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def find(self, expression: str) -> Any:
        """Return the value of an expression in the page, in JSON's types."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key and let it go, as a person at the keyboard does."""
        code = {"code": key, "key": " " if key == "Space" else key, "windowsVirtualKeyCode": KEYS[key]}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **code)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **code)

    def show_as(self, medium: str) -> None:
        """Let the page be "print" or "screen"."""
        self.ask("Emulation.setEmulatedMedia", media=medium)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            more = os.read(self._from, 65536)
            assert more, "the browser has gone"
            self._read += more
        text, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, told: dict[str, Any]) -> None:
        asked = told["request"]["url"] if event == "Network.requestWillBeSent" else self._own
        if asked != self._own and not asked.startswith("data:"):
            self.requests.append(asked)
        if event in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.complaints.append(json.dumps(told))
