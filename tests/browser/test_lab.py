"""The harness itself: what it says about a notebook is so."""

from __future__ import annotations

from tests.browser.lab import THEMES, Book, Lab


def is_dark(book: Book) -> bool:
    """Whether what lies behind the cells is nearer to black than to white."""
    colour = book.page.evaluate(
        "() => getComputedStyle(document.body).getPropertyValue('--jp-layout-color0')"
    )
    return str(colour).strip() in ("#111", "#111111", "black")


def test_a_cell_runs_is_saved_and_is_read_again_without_a_kernel(lab: Lab) -> None:
    lab.write("sum.ipynb", "20 + 22", "print('done')")
    book = lab.open_notebook("sum.ipynb")
    book.run_all()
    assert book.output_of(0).inner_text().strip() == "42"
    again = book.shut_down_kernel_and_reopen()
    assert again.output_of("20 + 22").inner_text().strip() == "42"
    assert again.page.get_by_text("No Kernel").count() > 0
    again.close()


def test_a_page_is_opened_in_a_theme_and_is_given_each(lab: Lab) -> None:
    lab.write("theme.ipynb", "20 + 22")
    for theme in THEMES:
        book = lab.open_notebook("theme.ipynb", theme=theme, kernel=False)
        assert is_dark(book) == (theme == "dark")
        seen = [(each, is_dark(book)) for each in book.each_theme()]
        assert sorted(seen) == [("dark", True), ("light", False)]
        assert seen[-1][0] == book.theme == theme
        book.close()


def test_interrupt_ends_a_cell_that_runs(lab: Lab) -> None:
    lab.write("long.ipynb", "import time; print('begun', flush=True); time.sleep(1000)", "1 + 1")
    book = lab.open_notebook("long.ipynb")
    book.run_cell(0, wait=False)
    book.output_of(0).get_by_text("begun").wait_for()
    book.interrupt()
    book.wait_idle()
    assert "KeyboardInterrupt" in book.output_of(0).last.inner_text()
    book.run_cell(1)
    assert book.output_of(1).inner_text().strip() == "2"
    book.close()


def test_axe_sees_faults_inside_the_given_outputs_alone(lab: Lab) -> None:
    bad = (
        "from IPython.display import HTML; HTML('<p style=\"color:#999;background:#aaa\">dim</p>')"
    )
    lab.write("axe.ipynb", bad, "from IPython.display import HTML; HTML('<p>clear</p>')")
    book = lab.open_notebook("axe.ipynb")
    book.run_all()
    assert any("color-contrast" in found for found in book.violations(book.output_of(0)))
    assert book.violations(book.output_of(1)) == []
    book.close()
