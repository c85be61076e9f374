"""The house as planned: who imports whom, who owns which library, how much code a room has."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from setuptools import find_namespace_packages

PACKAGE = Path(__file__).parent.parent / "lora_magic"

#: A room and the rooms that it may import at any time.
BELOW = {
    "": {
        *("magics", "state", "evaluation", "training", "compare", "cost", "adapters", "base"),
        *("lowrank", "data", "export"),
    },
    "magics": {
        *("state", "evaluation", "training", "compare", "adapters", "base", "lowrank", "demo"),
        *("views", "data", "cost", "export", "serving", "scale", ""),
    },
    "state": {
        *("evaluation", "training", "compare", "adapters", "base", "lowrank", "demo", "data"),
        *("cost", "export", "serving", "scale"),
    },
    "scale": {"training", "base"},
    "export": {"training", "compare", "adapters", "base", "lowrank", "data", "cost", "demo"},
    "serving": set(),
    "evaluation": {"training", "compare", "adapters", "base", "lowrank", "data"},
    "training": {"base", "data"},
    "compare": {"adapters", "base", "lowrank"},
    "cost": {"adapters", "base", "demo"},
    "adapters": {"base", "lowrank"},
    "base": {"demo"},
    "data": set(),
    "lowrank": set(),
    "demo": set(),
    "views": set(),
    "errors": set(),
    "interrupts": set(),
    "frames": set(),
    "paths": set(),
    "checks": set(),
    "versions": set(),
    "numbers": set(),
    "printable": set(),
    "reading": set(),
    "patterns": set(),
}

#: Single files at the bottom, open to every room.
OPEN = {
    *("errors", "interrupts", "frames", "paths", "checks", "versions", "numbers"),
    *("printable", "reading", "patterns"),
}

#: Libraries with one owner: a room, or one file.
OWNERS = {
    # The readers are plain scripts for another process: what people read an export with.
    "peft": ("adapters/bridge/", "export/readers/"),
    "gguf": ("export/gguf/",),
    "xllamacpp": ("export/readers/",),
    "tornado": ("serving/",),
    "ray": ("scale/ray/",),
    "plotly": ("views/",),
    "ipywidgets": ("views/controls/",),
    "IPython": ("magics/",),
    "bitsandbytes": ("base/",),
    "scipy": ("evaluation/",),
}

#: Builds and measures the embedded model; nothing outside it imports it, so it may import anything.
FACTORY = "demo/factory/"

#: Code lines (no blanks, comments, docstrings) that a room may have at most; ROOT is the files of
#: the package itself. A change that needs more raises its room's ceiling in the same commit, and
#: its message says why.
ROOT, ALL, WITHOUT_DEMO = "lora_magic", "all", "all but demo"
CEILINGS = {
    "magics": 3442,
    "state": 9478,
    "training": 4287,
    "data": 1706,
    "evaluation": 1503,
    "compare": 1976,
    "cost": 3962,
    "export": 5308,
    "serving": 599,
    "scale": 1225,
    "adapters": 5345,
    "base": 2747,
    "lowrank": 1053,
    "views": 5172,
    ROOT: 630,
    "demo": 9019,
    WITHOUT_DEMO: 48433,
    ALL: 57452,
}

#: Files below this many code lines usually belong in a neighbour, unless a reason is listed here.
SMALL = 40
INIT, OPEN_FILE = "a package's docstring or public names", "open to every room"
REASONS = {
    "adapters/__init__.py": INIT,
    "adapters/bottleneck.py": "one layer of our own; `sites` knows where it goes",
    "adapters/bridge/__init__.py": INIT,
    "adapters/bridge/capture.py": "the one wrap of a base",
    "adapters/bridge/library.py": "the one import of peft, and its errors",
    "adapters/combine/__init__.py": INIT,
    "adapters/row_blocks.py": "one layer for rows of any method; `mixture` sums them in every row",
    "adapters/stacked.py": "adapters in one model at once, which `fused` does not know",
    "base/__init__.py": "choices that help and completion read without torch",
    "checks.py": OPEN_FILE,
    "compare/__init__.py": INIT,
    "compare/mix.py": "the formula of a mix, which `generate`, `run` and `ask` share",
    "cost/work.py": "what a plan is asked for; four files read it",
    "cost/__init__.py": INIT,
    "cost/model.py": "what the families give and everything else reads",
    "cost/ops.py": "the steps that the families write down",
    "cost/setting.py": "what memory, time and advice all take",
    "data/__init__.py": INIT,
    "export/__init__.py": INIT,
    "export/gguf/__init__.py": INIT,
    "export/script/__init__.py": INIT,
    "export/script/notebook.py": "Jupyter's format, which `script` does not know",
    "scale/__init__.py": INIT,
    "scale/engines.py": "the module that an engine's name means; imports no engine",
    "scale/ray/__init__.py": INIT,
    "scale/ray/address.py": "where a cluster is, which the kernel asks without ray",
    "scale/ray/driver.py": "the process between the kernel and the cluster",
    "serving/__init__.py": INIT,
    "demo/__init__.py": INIT,
    "demo/checksums.py": "written by the factory, verified by the loader",
    "demo/factory/__init__.py": INIT,
    "demo/factory/sections.py": "the files of templates, which two rooms read",
    "demo/factory/worded.py": "what measures; `corpus`, which trains, must not draw it",
    "demo/factory/wording/__init__.py": INIT,
    "demo/factory/wording/jobs.py": "the words of one family",
    "demo/factory/wording/parts.py": "the shape of a wording, which every family's file has",
    "demo/factory/wording/products.py": "the words of one family",
    "demo/texts/__init__.py": INIT,
    "demo/texts/answers.py": "what rows and the pretraining corpus both answer with",
    "errors.py": OPEN_FILE,
    "evaluation/__init__.py": INIT,
    "frames.py": "the only file that imports pandas",
    "lowrank/__init__.py": INIT,
    "lowrank/dense.py": "ΔW that is no product of two factors",
    "magics/__init__.py": INIT,
    "magics/shell.py": "where the session is kept; imports no torch",
    "magics/verbs/__init__.py": "the table of verbs, put together",
    "magics/verbs/serving.py": "the verb of one room",
    "magics/verbs/scripting.py": "one verb, of its own subject",
    "state/mixing.py": "what `ask`, `compare` and `evaluate` read of --mix",
    "views/answers.py": "the display of one record",
    "views/doctor.py": "the display of one record",
    "views/script.py": "the display of one record",
    "patterns.py": OPEN_FILE,
    "printable.py": OPEN_FILE,
    "state/__init__.py": INIT,
    "state/general.py": "the questions that `lens` asks of any base but the embedded one",
    "state/receipt.py": "a record that the session imports without torch",
    "training/__init__.py": INIT,
    "training/diagnosis.py": "whose fault a loss is that is not finite",
    "training/hooks.py": "the protocol between a run and a method",
    "training/world.py": "the protocol between a run and the other workers",
    "training/optimizers.py": "parameter groups and optimizers",
    "versions.py": OPEN_FILE,
    "views/__init__.py": INIT,
    "views/controls/spectrum.py": "the pickers of one verb, beside those of the others",
    "views/controls/__init__.py": INIT,
    "views/text.py": "tables and widths for a terminal",
    "views/html.py": "the one place that escapes",
}

#: What `Session.panel` makes, and imports when it is called.
ABOVE = ("lora_magic.magics.panel", "lora_magic.magics.plan_panel", "lora_magic.magics.front_end")


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
    if name_of(path).startswith(FACTORY):
        return
    for module, lazy in imports(path):
        if not module.startswith("lora_magic"):
            continue
        other = room_of(module)
        # The one edge of its kind: a result asks for its own picture when it is shown.
        asks_for_picture = other == "views" and lazy and own != "views"
        allowed = {own, *OPEN, *BELOW[own]}
        # And two upwards: `session.panel()` and `session.doctor()` in Python, as `%lora panel` and
        # `%lora doctor` in a cell; only the room above knows notebooks.
        asks_above = name_of(path) == "state/session.py" and lazy and module.startswith(ABOVE)
        is_package_itself = module == "lora_magic"
        may = other in allowed or asks_for_picture or asks_above or is_package_itself
        assert may, f"{module} from {own}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_each_foreign_library_has_one_owner(path: Path) -> None:
    name = name_of(path)
    if name.startswith(FACTORY):
        return
    for module, _ in imports(path):
        owners = OWNERS.get(module.split(".")[0])
        assert owners is None or name.startswith(owners), f"{name} imports {module}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_every_file_opens_with_what_it_knows(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_nothing_outside_the_factory_imports_it() -> None:
    importers = [
        name_of(path)
        for path in modules()
        if not name_of(path).startswith(FACTORY)
        for module, _ in imports(path)
        if f"{module}.".startswith("lora_magic.demo.factory.")
    ]
    assert importers == []


def test_the_factory_is_not_in_the_wheel() -> None:
    config = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    # Without `namespaces = false`, setuptools looks for namespace packages, too.
    found = find_namespace_packages(
        str(PACKAGE.parent), **config["tool"]["setuptools"]["packages"]["find"]
    )
    folders = {
        "lora_magic",
        *(
            f"lora_magic.{path.parent.relative_to(PACKAGE).as_posix().replace('/', '.')}"
            for path in modules()
            if path.parent != PACKAGE
        ),
    }
    assert folders - set(found) == {name for name in folders if ".factory" in name}
    assert "lora_magic.demo.factory" in folders
    assert not any("factory" in name for name in found)


@cache
def code_lines(path: Path) -> int:
    """Lines that are not blank, a comment or part of a docstring."""
    text = path.read_text(encoding="utf-8")
    skipped = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in skipped
        for line in range(token.start[0], token.end[0] + 1)
    }
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return len(lines)


def lines_by_room() -> Counter[str]:
    """The code lines of each room, of all, and of all but demo/."""
    counted: Counter[str] = Counter()
    for path in modules():
        room, slash, _ = name_of(path).partition("/")
        room, lines = room if slash else ROOT, code_lines(path)
        counted.update({room: lines, ALL: lines, WITHOUT_DEMO: lines * (room != "demo")})
    return counted


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("", 0),
        ('"""Doc."""\n\n# comment\nx = 1  # more\n', 1),
        ('def f():\n    """Doc,\n\n    two lines."""\n    return """a\nb"""\n', 3),
        ("x = [\n    1,\n\n    # why\n    2,\n]\n", 4),
        ('class A:\n    """Doc."""\n\n    x: int\n    """Not a docstring."""\n', 3),
    ],
)
def test_blanks_comments_and_docstrings_are_not_code(
    source: str, lines: int, tmp_path: Path
) -> None:
    (tmp_path / "file.py").write_text(source)
    assert code_lines(tmp_path / "file.py") == lines


def test_no_room_has_more_code_than_its_ceiling() -> None:
    counted = lines_by_room()
    assert set(counted) == set(CEILINGS)
    over = {room: lines for room, lines in counted.items() if lines > CEILINGS[room]}
    assert over == {}, f"more code lines than { ({room: CEILINGS[room] for room in over}) }"


def test_a_small_file_has_a_reason() -> None:
    small = {name_of(path) for path in modules() if code_lines(path) < SMALL}
    assert small - set(REASONS) == set(), "merge it into a neighbour, or list a reason"
    assert set(REASONS) - small == set(), "no longer small: remove the reason"


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
