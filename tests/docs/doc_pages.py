"""The pages, and what can be taken out of them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import torch

from pretask.backbones import create_backbone
from pretask.methods import Method, MethodParts, create_method
from pretask.pretexts import create_pretexts

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_COMMAND = re.compile(r"`(pretask [^`]+)`")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks in a language."""
    return [body for kind, body in _FENCE.findall(page.read_text()) if kind == language]


def shell_lines(page: Path) -> list[str]:
    """Return the lines of the blocks of shell, those that go on below as one."""
    return "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()


def commands(page: Path) -> list[list[str]]:
    """Return what follows `pretask` in each command of blocks and text; left out are names alone and those with …."""
    inline = [text for text in _COMMAND.findall(_FENCE.sub("", page.read_text())) if len(text.split()) > 2]
    return [
        parameters(line) for line in (*shell_lines(page), *inline) if "pretask " in line and "…" not in line
    ]


def parameters(line: str) -> list[str]:
    tokens = shlex.split(line, comments=True)
    return tokens[tokens.index("pretask") + 1 :]


def rows(page: Path, heading: str) -> list[list[str]]:
    """Return the body rows of all tables whose first heading is `heading`."""
    found: list[list[str]] = []
    inside = False
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells or cells[0] == heading:
            inside = bool(cells)
        elif inside and set(cells[0]) != {"-"}:
            found.append(cells)
    return found


def quoted(text: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def small_method(name: str, *pretexts: str) -> Method:
    """Return a method on the smallest network, with its own pretexts where none are given."""
    given = create_pretexts(pretexts) if pretexts else ()
    backbone = create_backbone("resnet8", image_size=(32, 32))
    return create_method(
        name, MethodParts(backbone, torch.ones(3, dtype=torch.int64), *[(0.5,) * 3] * 2, given)
    )
