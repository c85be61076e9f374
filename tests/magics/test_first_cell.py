"""The cell that loads the extension behaves like any other, as far as it can."""

from __future__ import annotations

from pathlib import Path

from lora_magic.magics.shell import KEPT_AS
from tests.magics.conftest import FakeSession, TestingShell, run_alone


def test_its_receipts_show_once_and_its_looking_verbs_show(bare_shell: TestingShell) -> None:
    setattr(bare_shell, KEPT_AS, FakeSession())
    seen = bare_shell.run("%load_ext lora_magic\n%lora ratio\n%lora load demo\n%lora attach one")
    assert seen.lines == ["ratio done", "load done", "attach done"]


def test_its_last_looking_verb_is_the_cells_value(bare_shell: TestingShell) -> None:
    setattr(bare_shell, KEPT_AS, FakeSession())
    seen = bare_shell.run("%load_ext lora_magic\n%lora load demo\n%lora ask hello")
    assert seen.lines == ["load done", "ask done"]
    assert seen.result is not None


def test_an_assignment_in_it_shows_the_receipt_alone(bare_shell: TestingShell) -> None:
    setattr(bare_shell, KEPT_AS, FakeSession())
    seen = bare_shell.run("%load_ext lora_magic\nx = %lora ask hello\ny = %lora attach one")
    assert seen.lines == ["attach done"]
    assert bare_shell.user_ns["x"].verb == "ask"


def test_a_line_that_ips_help_took_is_named(bare_shell: TestingShell) -> None:
    setattr(bare_shell, KEPT_AS, FakeSession())
    seen = bare_shell.run("%load_ext lora_magic\n%lora ask What does a fox eat?")
    assert "%lora ask What does a fox eat?" in seen.printed
    assert "next cell" in seen.printed


def test_the_next_cell_is_not_mistaken_for_it(bare_shell: TestingShell) -> None:
    setattr(bare_shell, KEPT_AS, FakeSession())
    bare_shell.run("%load_ext lora_magic\n%lora attach one")
    seen = bare_shell.run("get_ipython().run_line_magic('lora', 'attach one').verb")
    assert seen.result == "attach"


#: A shell on a page that keeps what is printed and displayed, and what had been when torch came.
_FIRST = """
import io, sys
from contextlib import redirect_stdout
from IPython.core.interactiveshell import InteractiveShell
from unittest.mock import patch

shell, page, seen = InteractiveShell.instance(), io.StringIO(), []

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            seen.append(page.getvalue())

sys.meta_path.insert(0, Watch())
PREPARE
with redirect_stdout(page):
    shell.run_cell("%load_ext lora_magic")
    shell.run_cell("%lora attach --help")
    assert "torch" not in sys.modules
    before = page.getvalue()
    shell.run_cell("%lora")
assert "importing" not in before
assert "importing torch, transformers, peft" in seen[0], seen
after = len(page.getvalue())
with redirect_stdout(page):
    shell.run_cell("%lora")
assert "importing" not in page.getvalue()[after:]
CHECK
"""
#: In a kernel whose user can answer, the line is a display that is replaced.
_KERNEL = """
from types import SimpleNamespace
shell.kernel = SimpleNamespace(_allow_stdin=True)
def put(data, *args, **kwargs):
    page.write(f"[{data.get('text/plain')}]")
shell.display_pub.publish = put
"""
_ERASED = """
page.isatty = lambda: True
"""
#: In the place of the import, which takes long: the line is told here as it is there.
_QUICK = """
from types import ModuleType
from lora_magic.magics import router
def import_libraries():
    seen.append(page.getvalue())
    sys.modules["lora_magic.adapters.bridge.library"] = ModuleType("library")
router.import_libraries = import_libraries
"""


def test_a_shell_says_that_it_imports_before_torch_is_imported(tmp_path: Path) -> None:
    run_alone(_FIRST.replace("PREPARE", "").replace("CHECK", ""), tmp_path)


def test_a_terminal_erases_the_line_when_the_import_is_done(tmp_path: Path) -> None:
    check = "assert '\\r' + ' ' * 37 + '\\r' in page.getvalue(), page.getvalue()"
    run_alone(_FIRST.replace("PREPARE", _QUICK + _ERASED).replace("CHECK", check), tmp_path)


def test_a_notebook_replaces_the_line_when_the_import_is_done(tmp_path: Path) -> None:
    check = "assert page.getvalue().count('importing') == 1 and '[]' in page.getvalue()"
    run_alone(_FIRST.replace("PREPARE", _QUICK + _KERNEL).replace("CHECK", check), tmp_path)


#: bitsandbytes logs a notice while it is imported, on CPUs with some instructions and no kernel.
_NOTICE = """
import io, logging, sys, warnings
from contextlib import redirect_stderr

class Notice:
    def find_spec(self, name, path=None, target=None):
        if name == "bitsandbytes.functional":
            logging.getLogger("bitsandbytes.backends.cpu.ops").warning("Failed to load a kernel")
            loud.append(name)

loud, heard = [], io.StringIO()
sys.meta_path.insert(0, Notice())
with redirect_stderr(heard):
    import lora_magic
    session = lora_magic.Session()
    session.load("demo")
    session.attach("a")
assert loud or "bitsandbytes" not in sys.modules
assert heard.getvalue() == "", heard.getvalue()
assert logging.getLogger("bitsandbytes").level == logging.NOTSET
with redirect_stderr(heard):
    logging.getLogger("bitsandbytes.backends.cpu.ops").warning("a real one")
assert "a real one" in heard.getvalue()
"""


def test_notices_of_an_import_stay_out_of_a_script_and_later_warnings_do_not(
    tmp_path: Path,
) -> None:
    run_alone(_NOTICE, tmp_path)
