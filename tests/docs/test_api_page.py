"""Every public name stands on the page of the Python interface, and says what it takes, gives and raises."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from doc_pages import DOCS, PAGES, ROOT, blocks

import pretask
from pretask.backbones import FAMILIES, Family
from pretask.cli import main as cli
from pretask.losses import LOSSES
from pretask.methods import GATES, METHODS
from pretask.pretexts import PRETEXTS
from pretask.pretraining import BASES, OBJECTIVES

COMMAND_LINE = ("__main__", "cli")
"""Documented by `--help` and by the pages, not for import."""
PAGE = (DOCS / "api.rst").read_text()
LISTED = re.findall(r"^\.\. auto(?:function|class|exception|data):: (\S+)$", PAGE, re.M)
_REFERS = re.compile(r"\b[Ss]ee (?:also )?`|\bthose of `|\bas in `|^Call `")
"""How a docstring hands on to another one, as those of overridden methods do."""


def resolve(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def exported() -> Iterator[str]:
    """Yield what the package and its parts offer by `__all__`."""
    parts = [found.name for found in pkgutil.iter_modules(pretask.__path__) if found.name not in COMMAND_LINE]
    for module in ("pretask", *(f"pretask.{name}" for name in parts)):
        names = getattr(importlib.import_module(module), "__all__", ())
        yield from (f"{module}.{name}" for name in names)


def imported() -> Iterator[str]:
    """Yield what pages and examples import from the package."""
    codes = [path.read_text() for path in sorted((ROOT / "examples").glob("*.py"))]
    for page in (*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        codes += blocks(page, "python")
    for node in (node for code in codes for node in ast.walk(ast.parse(code))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pretask":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def callables() -> dict[str, Any]:
    """Return listed functions and classes, and the public methods that the classes define.

    Methods that stand in place of a documented one of another class are left out: they have its contract.
    """
    found: dict[str, Any] = {}
    for path in LISTED:
        part = resolve(path)
        if inspect.isfunction(part) or inspect.isclass(part):
            found[path] = part
        if inspect.isclass(part):
            own = {name: vars(part)[name] for name in vars(part) if not name.startswith("_")}
            inherited = {name for base in part.__mro__[1:] for name in vars(base)}
            methods = {name: method for name, method in own.items() if inspect.isfunction(method)}
            found |= {f"{path}.{name}": methods[name] for name in methods if name not in inherited}
    return found


def test_every_public_name_is_listed_once():
    ids = {id(resolve(path)) for path in LISTED}
    assert len(ids) == len(LISTED)
    missing = [path for path in sorted({*exported(), *imported()}) if id(resolve(path)) not in ids]
    assert missing == [], "not in docs/api.rst"


def test_every_command_has_its_call():
    told = dict(re.findall(r"^``pretask ([\w-]+)`` +(.*)$", PAGE, re.M))
    commands = {name for name in cli.app if not name.startswith("-")}
    assert set(told) == commands
    for calls in told.values():
        assert set(re.findall(r":func:`([^`]+)`", calls)) <= set(LISTED)


def test_every_argument_is_told():
    silent = {path: unnamed for path, part in callables().items() if (unnamed := _unnamed(part))}
    assert silent == {}, "arguments that the docstring says nothing of"


def _unnamed(part: Any) -> list[str]:
    told = inspect.getdoc(part) or ""
    if not told:
        return ["(no docstring)"]
    known = set(re.findall(r"\w+", told)) | _described_fields(part)
    shaped = "[" in told  # "Return logits [n, K] of features [n, D]." tells of tensors without their names
    return [
        name
        for name, kind in _arguments(part).items()
        if name not in known and not (shaped and "Tensor" in kind) and not _REFERS.search(told)
    ]


def _arguments(part: Any) -> dict[str, str]:
    """Return the names of what a function or the making of a class takes, and their types as written."""
    if is_dataclass(part):
        return {f.name: str(f.type) for f in fields(part) if f.init and not f.name.startswith("_")}
    if getattr(part, "_is_protocol", False):
        return {}
    making = vars(part).get("__init__") if inspect.isclass(part) else part
    parameters = inspect.signature(making).parameters.values() if making else ()
    return {p.name: str(p.annotation) for p in parameters if p.name != "self"}


def _described_fields(part: Any) -> set[str]:
    """Return the fields of a class that have a text of their own, below them."""
    return set(_texts_below(_tree(part).body)) if inspect.isclass(part) else set()


def test_errors_are_told():
    silent = {}
    for path, part in callables().items():
        told = inspect.getdoc(part) or ""
        if not (
            re.search(r"Raises:|\bRaises? a `|\bRefuse |is a `PretaskError`", told) or _REFERS.search(told)
        ):
            silent[path] = _raised(part)
    assert {path: raised for path, raised in silent.items() if raised} == {}


def _raised(part: Any) -> set[str]:
    """Return the errors that a function raises in its own lines; of a class, those that making one raises."""
    tree = _tree(part)
    making = ("__init__", "__post_init__")
    bodies = (
        [n for n in tree.body if getattr(n, "name", "") in making]
        if isinstance(tree, ast.ClassDef)
        else [tree]
    )
    raised = [node.exc for body in bodies for node in ast.walk(body) if isinstance(node, ast.Raise)]
    names = {ast.unparse(exc.func if isinstance(exc, ast.Call) else exc) for exc in raised if exc is not None}
    return names - {"NotImplementedError"}


def _tree(part: Any) -> Any:
    return ast.parse(textwrap.dedent(inspect.getsource(part))).body[0]


def _texts_below(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names of assignments that are followed by a text."""
    for assigned, text in pairwise(body):
        target = getattr(assigned, "target", None) or (getattr(assigned, "targets", None) or [None])[0]
        if (
            isinstance(target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            yield target.id


def test_every_value_is_told():
    silent = []
    for path in set(LISTED) - set(callables()):
        module, _, name = path.rpartition(".")
        source = inspect.getsource(importlib.import_module(module))
        if name not in _texts_below(ast.parse(source).body):
            silent.append(path)
    assert silent == [], "values without a text below them"


OURS = {
    "method baseline", "pretext hflip", "pretext vflip",
    "method da-patch", "method ssfe-da", "method ssfe-dropout", "method ssfe-mt",  # controls
    "backbone family timm",
}  # fmt: skip
"""Parts that are from no paper."""
_KINDS = (METHODS, PRETEXTS, LOSSES, OBJECTIVES, BASES, FAMILIES, GATES)


def named_parts() -> dict[str, Any]:
    """Return the functions or classes behind the names of methods, pretexts, losses, …"""
    found = {f"{kind.kind} {name}": kind.get(name) for kind in _KINDS for name in kind.names()}
    for name in BASES.names():  # alone; the source is the base's
        del found[f"{OBJECTIVES.kind} {name}"]
    instead = {Family: lambda family: family.build}
    found = {name: instead.get(type(part), lambda one: one)(part) for name, part in found.items()}
    return {name: type(part()) if name.startswith("pretext ") else part for name, part in found.items()}


def test_every_named_part_gives_its_source():
    silent = {name for name, part in named_parts().items() if not _source(part)}
    assert silent == OURS


def _source(part: Any) -> bool:
    """Whether the docstring of a part, or that of its module, names a paper."""
    texts = (inspect.getdoc(part), inspect.getdoc(inspect.getmodule(part)))
    return any(re.search(r"arXiv \d{4}\.\d{4,5}|\b(19|20)\d\d\b", text) for text in texts if text)
