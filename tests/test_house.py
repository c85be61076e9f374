"""The house stands as drawn: who may import whom, and which file owns which library."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "lora_magic"

#: A room and the rooms that it may import at any time.
BELOW = {
    "": {"magics", "state", "training", "compare", "adapters", "base", "lowrank"},
    "magics": {"state", "training", "compare", "adapters", "base", "lowrank", "demo", "views", ""},
    "state": {"training", "compare", "adapters", "base", "lowrank", "demo"},
    "training": {"base"},
    "compare": {"adapters", "base", "lowrank"},
    "adapters": {"base", "lowrank"},
    "base": {"demo"},
    "lowrank": set(),
    "demo": set(),
    "views": set(),
    "errors": set(),
    "interrupts": set(),
    "frames": set(),
    "paths": set(),
    "checks": set(),
    "versions": set(),
}

#: Single files at the bottom, open to every room.
OPEN = {"errors", "interrupts", "frames", "paths", "checks", "versions"}

#: Libraries with one owner: a room, or one file.
OWNERS = {
    "peft": ("adapters/bridge/",),
    "plotly": ("views/",),
    "ipywidgets": ("views/controls/",),
    "IPython": ("magics/",),
    "bitsandbytes": ("base/",),
}

PANEL = "lora_magic.magics.panel"

#: Command-line scripts that measure the embedded model; no notebook imports them.
SCRIPTS = {"demo/adapters.py"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(absolute module, lazily imported?) of every import but those for type checkers only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) not in top
        elif isinstance(node, ast.ImportFrom):
            package = ["lora_magic", *path.relative_to(PACKAGE).parts[:-1]]
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield base, id(node) not in top
            for alias in node.names:
                yield f"{base}.{alias.name}", id(node) not in top


def room_of(module: str) -> str:
    """The room of one of our own modules: `lora_magic.base.load` is in `base`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in BELOW else ""


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_a_room_imports_only_the_rooms_below_it(path: Path) -> None:
    own = room_of("lora_magic." + name_of(path).removesuffix(".py").replace("/", "."))
    for module, lazy in imports(path):
        if not module.startswith("lora_magic"):
            continue
        other = room_of(module)
        # The one edge of its kind: a result asks for its own picture when it is shown.
        asks_for_picture = other == "views" and lazy and own != "views"
        allowed = {own, *OPEN, *BELOW[own]}
        # And the one upwards: `session.panel()` in Python, as `%lora panel` in a cell; panels are
        # where notebooks are known.
        makes_panel = name_of(path) == "state/session.py" and lazy and module.startswith(PANEL)
        is_package_itself = module == "lora_magic"
        may = other in allowed or asks_for_picture or makes_panel or is_package_itself
        assert may, f"{module} from {own}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_each_foreign_library_has_one_owner(path: Path) -> None:
    name = name_of(path)
    if name in SCRIPTS:
        return
    for module, _ in imports(path):
        owners = OWNERS.get(module.split(".")[0])
        assert owners is None or name.startswith(owners), f"{name} imports {module}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_every_file_opens_with_what_it_knows(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_importing_the_package_imports_no_heavy_library() -> None:
    heavy = ["torch", "transformers", "peft", "bitsandbytes", "plotly", "ipywidgets", "numpy"]
    code = f"import sys, lora_magic; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_top_level_holds_what_was_agreed_and_nothing_else() -> None:
    top = PACKAGE.parent
    listed = subprocess.run(
        ["git", "ls-files"], cwd=top, capture_output=True, text=True, check=False
    ).stdout.split()
    if not listed:
        pytest.skip("no git here")
    agreed = {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "lora_magic",
        "notebooks",
        "tests",
        "binder",
    }
    assert {name.split("/")[0] for name in listed if not name.startswith(".")} <= agreed
