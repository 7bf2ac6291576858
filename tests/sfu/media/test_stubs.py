"""The stubs of the compiled modules say what the modules have."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from types import ModuleType

import pytest

from sfu.media import engine
from sfu.net import batch
from turn import relay

ROOT = Path(__file__).parents[3]
STUBS = [
    (engine, ROOT / "sfu" / "media" / "engine.pyi"),
    (batch, ROOT / "sfu" / "net" / "batch.pyi"),
    (relay, ROOT / "turn" / "relay.pyi"),
]
NAMES = ["engine", "batch", "relay"]
Function = ast.FunctionDef


def own_names(thing: object) -> set[str]:
    """Public names that a compiled module or class defines itself."""
    return {
        name
        for name, value in vars(thing).items()
        if not name.startswith("_")
        and (callable(value) or inspect.isclass(value))
        and getattr(value, "__module__", None)
        in (None, getattr(thing, "__module__", None), getattr(thing, "__name__", ""))
    }


@pytest.mark.parametrize(("module", "path"), STUBS, ids=NAMES)
def test_every_name_of_the_stub_is_in_the_module_and_the_other_way(module: ModuleType, path: Path) -> None:
    tree = ast.parse(path.read_text())
    stub = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | Function)}
    assert own_names(module) == stub.keys()
    for name, node in stub.items():
        if isinstance(node, ast.ClassDef):
            methods = {item.name for item in node.body if isinstance(item, Function) and item.name[0] != "_"}
            assert own_names(getattr(module, name)) - own_names(Exception) == methods


def _arguments(function: Function) -> list[str]:
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return [argument.arg for argument in every]


@pytest.mark.parametrize(("module", "path"), STUBS, ids=NAMES)
def test_every_signature_of_the_stub_is_that_of_the_source(module: ModuleType, path: Path) -> None:
    """Names and order of arguments, read from the source, since compiled methods do not tell them."""
    parts = [path.with_suffix(".pyx"), *sorted((path.parent / "parts").glob("probe*.pxi"))]
    text = "\n".join(part.read_text() for part in parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, Function) or node.name.startswith("__"):
            continue
        head = text.split(f"def {node.name}(", 1)[1].split("):", 1)[0]
        words = [piece.split("=")[0].strip() for piece in head.replace("\n", " ").split(",")]
        names = [word.removesuffix(" not None").split()[-1] for word in words if word not in ("", "*")]
        assert names == _arguments(node), node.name
    assert module.__doc__
