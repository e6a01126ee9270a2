"""The stub, the compiled core and the twin say the same: no compiler compares them."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from types import ModuleType

import pytest

import glance_stream.chunker

STUB = ast.parse(Path(glance_stream.chunker.__file__).with_name("_chunker.pyi").read_text())
CLASSES = [node for node in STUB.body if isinstance(node, ast.ClassDef)]


def is_property(node: ast.FunctionDef) -> bool:
    return any(isinstance(mark, ast.Name) and mark.id == "property" for mark in node.decorator_list)


def functions(properties: bool) -> list[pytest.param]:
    return [
        pytest.param(cls.name, node, id=f"{cls.name}.{node.name}")
        for cls in CLASSES
        for node in cls.body
        if isinstance(node, ast.FunctionDef) and is_property(node) is properties
    ]


def stub_parameters(node: ast.FunctionDef) -> list[tuple[str, bool, bool]]:
    """Name, keyword-only, has a default; without self."""
    positional = node.args.posonlyargs + node.args.args
    first_default = len(positional) - len(node.args.defaults)
    return [(arg.arg, False, i >= first_default) for i, arg in enumerate(positional)][1:] + [
        (arg.arg, True, default is not None) for arg, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    ]


def real_parameters(member: object) -> list[tuple[str, bool, bool]]:
    found = list(inspect.signature(member).parameters.values())[1:]
    return [(p.name, p.kind is p.KEYWORD_ONLY, p.default is not p.empty) for p in found]


def test_constants(core: ModuleType) -> None:
    names = [node.target.id for node in STUB.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]
    assert names
    for name in names:
        assert type(getattr(core, name)) is (bool if name == "COMPILED" else int)


def test_the_stub_names_all_that_is_chosen() -> None:
    named = {node.name for node in CLASSES} | {"COMPILED", "PAGE_SIZE", "DEFAULT_SLOTS", "DEFAULT_SLOT_SIZE"}
    assert named <= set(glance_stream.chunker.__all__)  # the chooser may add to what it chooses from


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.name)
def test_class(core: ModuleType, cls: ast.ClassDef) -> None:
    real = getattr(core, cls.name)
    assert [base.__name__ for base in real.__bases__] == ([ast.unparse(base) for base in cls.bases] or ["object"])
    stated = {node.name for node in cls.body if isinstance(node, ast.FunctionDef)}
    public = {name for name in vars(real) if not name.startswith("_")}
    assert public == {name for name in stated if not name.startswith("_")}


@pytest.mark.parametrize(("cls", "node"), functions(properties=True))
def test_property(core: ModuleType, cls: str, node: ast.FunctionDef) -> None:
    member = vars(getattr(core, cls))[node.name]
    assert inspect.isdatadescriptor(member)
    assert not callable(member)


@pytest.mark.parametrize(("cls", "node"), [p for p in functions(properties=False) if not p.id.endswith("__")])
def test_method(core: ModuleType, cls: str, node: ast.FunctionDef) -> None:
    assert real_parameters(getattr(getattr(core, cls), node.name)) == stub_parameters(node)


def test_constructors_take_what_the_stub_says(core: ModuleType, tmp_path: Path) -> None:
    """Called, not inspected: a compiled class shows no signature for its constructor."""
    ring = core.Ring(slots=2, slot_size=core.PAGE_SIZE)
    core.Ring(2, core.PAGE_SIZE)
    core.Lane(ring)
    core.Lane(ring=ring)
    core.DigestLane(ring, "sha256")
    core.DigestLane(ring=ring, algorithm="sha256")
    with (tmp_path / "image").open("wb") as file:
        core.WriteLane(ring, file.fileno())
        core.WriteLane(ring=ring, fd=file.fileno(), thin=True, direct=False)
        with pytest.raises(TypeError):
            core.WriteLane(ring, file.fileno(), True)


def test_bad_arguments_are_type_errors(core: ModuleType) -> None:
    ring = core.Ring(2, core.PAGE_SIZE)
    for call in (
        lambda: core.Ring(2, core.PAGE_SIZE, 1),
        lambda: core.Ring(pages=2),
        lambda: core.Lane(),
        lambda: core.DigestLane(ring),
        lambda: core.DigestLane(ring, None),
        lambda: core.WriteLane(ring),
        lambda: ring.publish(),
        lambda: ring.fill_fd(),
    ):
        with pytest.raises(TypeError):
            call()


def test_errors(core: ModuleType) -> None:
    assert issubclass(core.DigestRefused, ValueError)
    assert not issubclass(core.LaneStopped, (OSError, ValueError))


def test_which_is_which() -> None:
    import glance_stream._chunker as compiled
    import glance_stream._chunker_py as twin

    assert compiled.COMPILED is True
    assert twin.COMPILED is False
