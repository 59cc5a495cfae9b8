"""Seeded damage to files: what a bad disk, a broken download, a wrong program or an attacker leaves behind."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

HUGE = (2**31 - 1, 2**32 - 1, 2**63 - 1, 10**30, -1, -(2**63), 0)
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, "", "x", "a" * 10_000, "\0", "../../etc/passwd", "é\u202e\n", "!!python/object:os.system",
    [], {}, [[]], {"a": {"b": {"c": []}}}, 0, -1, 1.5, 1e308, *HUGE,
)  # fmt: skip
DEEPEST = 3000


def damaged(content: bytes, draw: Random) -> bytes:
    """Return bytes that differ from `content`, by one to three pieces of damage."""
    found = damaged_once(content, draw)
    for _ in range(draw.choice((0, 0, 1, 2))):
        found = draw.choice(_DAMAGE)(found, draw)
    return found


def damaged_once(content: bytes, draw: Random) -> bytes:
    """Return bytes that differ from `content` in one place, as a checksum must notice."""
    found = draw.choice(_DAMAGE)(content, draw)
    return found if found != content else content[: len(content) // 2]


def cut_short(content: bytes, draw: Random) -> bytes:
    """Return the first bytes of `content`, fewer than all."""
    return content[: draw.randrange(len(content))]


def _flip(content: bytes, draw: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8))):
        if changed:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _flip_near_the_start(content: bytes, draw: Random) -> bytes:
    """Headers are at the start, and few bits of a large file would ever be drawn there."""
    head = min(len(content), 128)
    return _flip(content[:head], draw) + content[head:]


def _overwrite(content: bytes, draw: Random) -> bytes:
    start, length = _range(content, draw)
    return content[:start] + draw.choice((b"\0", b"\xff", b" ")) * length + content[start + length :]


def _delete(content: bytes, draw: Random) -> bytes:
    start, length = _range(content, draw)
    return content[:start] + content[start + length :]


def _insert(content: bytes, draw: Random) -> bytes:
    start, length = _range(content, draw)
    return content[:start] + draw.randbytes(length) + content[start:]


def _repeat(content: bytes, draw: Random) -> bytes:
    start, length = _range(content, draw)
    return content[: start + length] + content[start:]


def _huge_number(content: bytes, draw: Random) -> bytes:
    number = struct.pack(draw.choice(("<I", ">I", "<Q", ">Q")), draw.choice((0, 2**31 - 1, 2**32 - 1)))
    start = draw.randrange(max(1, min(len(content), draw.choice((64, len(content) or 1)))))
    return content[:start] + number + content[start + len(number) :]


def _nothing(content: bytes, draw: Random) -> bytes:
    return draw.choice((b"", b"\0" * len(content), draw.randbytes(len(content) or 1)))


def _cut(content: bytes, draw: Random) -> bytes:
    return cut_short(content, draw) if content else b""


def _range(content: bytes, draw: Random) -> tuple[int, int]:
    start = draw.randrange(len(content) + 1)
    return start, draw.choice((1, 1, 4, 64, 1024))


_DAMAGE: tuple[Callable[[bytes, Random], bytes], ...] = (
    _flip, _flip, _flip_near_the_start, _overwrite, _delete, _insert, _repeat, _huge_number, _cut, _nothing,
)  # fmt: skip


def odd(content: Any, draw: Random, times: int = 2) -> Any:
    """Return a copy of plain values in which some are changed, dropped, renamed, added or nested, at most `times`."""
    places = list(_places(content))
    copy = json.loads(json.dumps(content))
    for _ in range(draw.randint(1, times)):
        path = draw.choice(places)
        parent = copy
        try:
            for key in path[:-1]:
                parent = parent[key]
            _change(parent, path[-1], draw)
        except (KeyError, IndexError, TypeError):
            continue  # the place went with an earlier change
    return copy


def _change(parent: Any, key: Any, draw: Random) -> None:
    kind = draw.randrange(8)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, dict):
        parent[f"{key}x"] = parent.pop(key)
    elif kind == 2 and isinstance(parent, dict):
        parent[draw.choice(("new", "", "a" * 1000, "__class__"))] = deepcopy(draw.choice(ODD_VALUES))
    elif kind == 3:
        parent[key] = [parent[key]]
    elif kind == 4:
        parent[key] = str(parent[key])
    else:
        parent[key] = deepcopy(draw.choice(ODD_VALUES))


def _places(content: Any, before: tuple[Any, ...] = ()) -> Any:
    inside = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in inside:
        yield (*before, key)
        if isinstance(value, dict | list):
            yield from _places(value, (*before, key))


def deep_json(draw: Random) -> bytes:
    """Return JSON nested so deep that a reader which recurses runs out of stack."""
    levels = draw.choice((40, 500, DEEPEST))
    opening, closing = draw.choice((("[", "]"), ('{"a":', "}")))
    return (opening * levels + "1" + closing * levels).encode()
