"""An export and a server as a person sees them: the receipt, what to type next, and no token."""

from __future__ import annotations

from tests.browser.lab import Lab

NAME = "exporting.ipynb"
_, EXPORT, SERVE, _, _ = range(5)
CELLS = (
    "%load_ext lora_magic\n%lora load demo\n%lora attach pirate",
    "%lora export pirate --to gguf --unchecked",
    "server = %lora serve",
    # As far as the test needs it; not shown, since a cell's output is saved.
    "from pathlib import Path\nPath('key.txt').write_text(server.token);",
    "%lora serve --stop",
)


def test_a_receipt_says_what_to_type_and_the_saved_file_has_no_token(lab: Lab) -> None:
    lab.write(NAME, *CELLS)
    book = lab.open_notebook(NAME)
    for place in range(len(CELLS)):
        book.run_cell(place)
    receipt, server = book.output_of(EXPORT).last, book.output_of(SERVE).last
    command = receipt.locator("pre").first
    assert command.inner_text().startswith("llama-server -m ")
    command.click(click_count=3)
    selected = book.page.evaluate("() => getSelection().toString().trim()")
    assert selected == command.inner_text().strip(), "three clicks select the command"
    assert receipt.get_by_text("not checked").count() == 1
    assert server.get_by_text("token: server.token").count() == 1
    for _ in book.each_theme():
        assert book.violations(book.outputs) == []
        book.screenshot("exporting")
    book.save()
    key = (lab.folder / "key.txt").read_text()
    assert len(key) >= 32
    assert key not in (lab.folder / NAME).read_text()
    book.close()
