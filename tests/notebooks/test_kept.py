"""What a saved notebook keeps: under GitHub's rules, and in what each front end chooses."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from lora_magic.views.controls import outputs
from tests.views.page import Page, letters, weight
from tests.views.samples import ALL, Bundle
from tests.views.sanitiser import ELEMENTS, LATER, github

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
PLOTLY, WIDGET = "application/vnd.plotly.v1+json", outputs.MIME
#: A number as a person reads it: 24,576 or 1.14 or 3.
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
LIMIT = 60_000

#: What a front end prefers, best first.
CHOICES: dict[str, tuple[str, ...]] = {
    # Documentation of JupyterLab, "Notebook outputs": extensions come before its own renderers.
    "JupyterLab": (WIDGET, PLOTLY, "text/html", "text/markdown", "image/*", "text/plain"),
    "JupyterLab without plotly": (WIDGET, "text/html", "text/markdown", "image/*", "text/plain"),
    # microsoft/vscode, extensions/ipynb/src/deserializers.ts, `orderOfMimeTypes`.
    "VS Code": ("application/vnd.*", "text/html", "text/markdown", "image/*", "text/plain"),
    # Colab draws core widgets and HTML; plotly's own renderer for it is one of HTML
    # (plotly.io, `colab`), as it has none for the chart's JSON.
    "Colab": (WIDGET, "text/html", "image/*", "text/markdown", "text/plain"),
}


def nbconvert_order() -> tuple[str, ...]:
    exporters = pytest.importorskip("nbconvert.exporters")
    return tuple(exporters.HTMLExporter().default_config.NbConvertBase.display_data_priority)


def committed() -> dict[str, Bundle]:
    """Every output with a rich form of every notebook that is shipped."""
    return {
        f"{path.name}: {cell.source.splitlines()[0]} #{place}": dict(output.data)
        for path in NOTEBOOKS
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
        for place, output in enumerate(cell.outputs)
        if "data" in output
    }


def samples() -> dict[str, Bundle]:
    # A run under way is replaced by what it came to before anybody saves it.
    return {name: make("pirate") for name, make in ALL.items() if name != "progress"}


def controls() -> list[Bundle]:
    """A control's outputs: the line that stays, and the control."""
    record = ALL["ratio"]("pirate")
    return outputs.outputs(SimpleNamespace(model_id="0a1b"), "Recount by rank.", record)


RECORDS = {**samples(), **committed(), "a control's line": controls()[0]}


@pytest.fixture(params=RECORDS, ids=lambda name: re.sub(r"\W+", "-", name))
def record(request: pytest.FixtureRequest) -> Bundle:
    return RECORDS[str(request.param)]


def numbers(text: str) -> set[str]:
    return set(NUMBER.findall(text.replace("\u00a0", " ")))


def unstyled(markup: str) -> str:
    """The markup without its style sheets, which are no words of anybody's."""
    return re.sub(r"<style[^>]*>.*?</style>", "", markup, flags=re.DOTALL)


def test_github_leaves_every_word_and_the_structure_of_every_table(record: Bundle) -> None:
    markup = str(record["text/html"])
    left, loose = github(markup)
    written, read = Page(unstyled(markup)), Page(left)
    assert loose == []
    assert letters(read.text) == letters(written.text)
    for tag in ("table", "caption", "tr", "td", "mark", "b", "details", "summary", "code"):
        assert len(read.named(tag)) == len(written.named(tag))
    scopes = [[given.get("scope") for given in page.named("th")] for page in (written, read)]
    assert scopes[0] == scopes[1]
    # All that styles would say is gone: what differs is bold where a page knows no <mark>.
    assert "style=" not in left
    assert len(read.named("b")) >= len(read.named("mark"))


def test_github_leaves_what_each_picture_says(record: Bundle) -> None:
    markup = str(record["text/html"])
    written = [given["alt"] for given in Page(unstyled(markup)).named("img")]
    for passes in (True, False):
        left, _ = github(markup, pictures=passes)
        read = Page(left).named("img")
        assert [given["alt"] for given in read] == written
        assert all(("src" in given) == passes for given in read)
        assert all(given["alt"] for given in read)


@pytest.mark.parametrize(
    # Of many modules the text lists the first, the page the medians and the largest.
    "name",
    [name for name in RECORDS if name != "spectrum of many"],
)
def test_the_numbers_of_the_text_are_read_on_github_without_any_picture(name: str) -> None:
    record = RECORDS[name]
    page = Page(github(str(record["text/html"]))[0])
    read = page.text + " ".join(str(given["alt"]) for given in page.named("img"))
    # A number stands whole in the text; a table's cells have no blank between them.
    missing = {n for n in numbers(str(record["text/plain"])) if n not in letters(read)}
    assert missing == set()


def test_an_older_list_without_captions_and_marks_loses_no_word(record: Bundle) -> None:
    markup = str(record["text/html"])
    left, _ = github(markup, elements=ELEMENTS - LATER)
    assert letters(Page(left).text) == letters(Page(unstyled(markup)).text)


def test_the_model_drops_what_github_is_known_to_drop() -> None:
    left, loose = github(
        '<style>p {color: red}</style><p style="color:red" class="a" id="b">one</p>'
        '<script>x</script><svg><text>two</text></svg><img src="data:image/png;base64,AA" alt="c">'
    )
    assert left == '<p>one</p>two<img alt="c">'
    assert loose == ["two"]


def chosen(order: Sequence[str], bundle: Bundle) -> str:
    return next(kind for wish in order for kind in bundle if fnmatch(kind, wish))


@pytest.mark.parametrize("front_end", [*CHOICES, "nbconvert"])
def test_what_a_front_end_chooses_is_there_and_stands_alone(front_end: str, record: Bundle) -> None:
    order = CHOICES[front_end] if front_end in CHOICES else nbconvert_order()
    kind = chosen(order, record)
    assert kind in {PLOTLY, "text/html"}
    assert (kind == PLOTLY) == (PLOTLY in record and front_end in {"JupyterLab", "VS Code"})
    content = record[kind]
    assert content
    if kind == "text/html":
        page = Page(content)
        assert page.text.strip()
        assert not page.named("script", "link", "iframe", "object")
    # The name space of SVG is a name, and a server's own address is text: nothing is asked there.
    names = r"http://(www\.w3\.org/2000/svg|127\.0\.0\.1:\d+|localhost:\d+)"
    assert "http" not in re.sub(names, "", json.dumps(content))


@pytest.mark.parametrize("front_end", [*CHOICES, "nbconvert"])
def test_a_control_shows_itself_or_nothing_and_its_line_is_a_record(front_end: str) -> None:
    order = CHOICES[front_end] if front_end in CHOICES else nbconvert_order()
    line, control = controls()
    assert chosen(order, line) == "text/html"
    assert chosen(order, control) == WIDGET
    # A page without widgets, and nbconvert without their state, takes the next: nothing to see.
    left = {kind: content for kind, content in control.items() if kind != WIDGET}
    assert left[chosen(order, left)] == ""


def test_plotly_accepts_every_chart_as_its_own() -> None:
    pio = pytest.importorskip("plotly.io")
    charts = [record[PLOTLY] for record in RECORDS.values() if PLOTLY in record]
    assert len(charts) >= 2
    for chart in charts:
        figure = pio.from_json(json.dumps(chart))
        assert len(figure.data) > 0
        # Newer releases write arrays as base64, which older pages cannot read.
        assert "bdata" not in json.dumps(chart)


def test_a_chart_that_plotly_does_not_know_is_refused() -> None:
    pio = pytest.importorskip("plotly.io")
    with pytest.raises(ValueError, match="wombat"):
        pio.from_json(json.dumps({"data": [{"type": "scatter", "wombat": 1}], "layout": {}}))


def test_no_output_of_a_shipped_notebook_needs_a_kernel_or_much_room() -> None:
    assert committed()
    for name, bundle in committed().items():
        assert WIDGET not in bundle, name
        assert weight(bundle) <= LIMIT, name
    for path in NOTEBOOKS:
        metadata = nbformat.read(path, as_version=4).metadata
        assert "widgets" not in metadata
        assert "widget-state" not in path.read_text(encoding="utf-8")
