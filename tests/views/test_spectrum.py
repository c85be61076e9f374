"""Spectra: the numbers in the charts are the numbers given, many modules are told as a range."""

from __future__ import annotations

import re
from statistics import median
from typing import Any

import pytest

from lora_magic.views import spectrum
from lora_magic.views.panels import PANELS, gather, layer, projections, short_names
from tests.views import samples
from tests.views.page import Page, outside, weight
from tests.views.samples import Series, modules

PLOTLY = "application/vnd.plotly.v1+json"
LLAMA = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)


def shown(series: Series) -> dict[str, Any]:
    return samples.shown(samples.spectrum(series))


def lines(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    return list(bundle[PLOTLY]["data"])


def tables_of(series: Series) -> list[list[list[str]]]:
    """The tables of the second output, cell by cell."""
    _, below = samples.spectrum(series).outputs()
    found = re.findall("<table.*?</table>", str(below["text/html"]))
    rows = [re.findall("<tr>.*?</tr>", table) for table in found]
    return [
        [
            [re.sub("<.*?>", "", cell) for cell in re.findall("<t[hd].*?</t[hd]>", row)]
            for row in one
        ]
        for one in rows
    ]


def picks(bundle: dict[str, Any]) -> list[list[str]]:
    menus = bundle[PLOTLY]["layout"]["updatemenus"]
    return [[button["label"] for button in menu["buttons"]] for menu in menus]


def picked(bundle: dict[str, Any], menu: int, label: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a pick changes in the traces, and in the layout."""
    buttons = bundle[PLOTLY]["layout"]["updatemenus"][menu]["buttons"]
    (args,) = [button["args"] for button in buttons if button["label"] == label]
    return args[0], args[1]


def test_the_pickers_offer_adapters_modules_and_each_panel() -> None:
    one = shown(modules(4, LLAMA[:3]))
    assert picks(one) == [["all modules", "q_proj", "k_proj", "v_proj"]]
    two = shown([*modules(1, ("q", "v"), adapter="a"), *modules(1, ("q", "v"), adapter="b")])
    assert picks(two) == [
        ["all adapters", "a", "b"],
        ["all modules", "q", "v", "a · q", "a · v", "b · q", "b · v"],
    ]
    assert picks(shown(modules(4, LLAMA[:1]))) == []


def test_a_pick_shows_its_panels_alone_in_the_whole_figure_and_all_brings_them_back() -> None:
    series = [*modules(2, ("q", "v"), adapter="a"), *modules(2, ("q", "v"), adapter="b")]
    bundle = shown(series)
    figure = bundle[PLOTLY]
    traces, layout = picked(bundle, 1, "b · v")
    seen = [one["text"] for one, on in zip(figure["data"], traces["visible"], strict=True) if on]
    assert seen == [path for adapter, path, _ in series if adapter == "b" and path.endswith("v")]
    assert [layout[f"annotations[{n}].visible"] for n in range(4)] == [False] * 3 + [True]
    assert [layout[f"yaxis{n}.visible"] for n in ("", 2, 3, 4)] == [False] * 3 + [True]
    assert layout["xaxis4.domain"] == [0, 1]
    # The legend names each layer once, of the traces that are shown.
    assert traces["showlegend"] == traces["visible"]
    assert layout["updatemenus[0].active"] == 0
    for menu, label in enumerate(("all adapters", "all modules")):
        back, places = picked(bundle, menu, label)
        assert back["visible"] is True
        assert all(on for key, on in places.items() if key.endswith(".visible"))
        for key, value in places.items():
            if key.endswith(".domain"):
                assert figure["layout"][key.removesuffix(".domain")]["domain"] == value


def test_panels_and_their_headings_keep_apart_in_a_narrow_page() -> None:
    """At 800 px and 150 % zoom an output is about 370 px wide."""
    layout = shown(modules(4, LLAMA, adapter="an-adapter-with-a-long-name"))[PLOTLY]["layout"]
    inside = layout["height"] - layout["margin"]["t"] - layout["margin"]["b"]
    room = 370 - layout["margin"]["l"] - layout["margin"]["r"]
    boxes = [
        (layout[f"xaxis{n}"]["domain"], layout[f"yaxis{n}"]["domain"])
        for n in ("", 2, 3, 4, 5, 6, 7)
    ]
    assert len({tuple(across) for across, _ in boxes}) == 2
    (left, _), (right, _) = boxes[:2]
    for note in layout["annotations"]:
        lines = re.sub("</?b>|<span.*?>|</span>", "", note["text"]).split("<br>")
        assert len(lines) == 3
        assert max(len(line) for line in lines) * 6.5 < (right[0] - left[0]) * room
    # Three lines of heading above a panel, the labels of an axis below the one before.
    (_, above), (_, below) = boxes[0], boxes[2]
    assert (above[0] - below[1]) * inside >= 3 * 15 + 20


def test_static_and_live_charts_show_the_same_in_the_same_colours() -> None:
    bundle = shown(modules(4, LLAMA[:3]))
    page = Page(bundle["text/html"])
    assert page.text.startswith("pirate: singular values σ of ΔW")
    headings = [note["text"] for note in bundle[PLOTLY]["layout"]["annotations"]]
    for picture, heading in zip(page.pictures(), headings, strict=True):
        title, note = ["".join(part.itertext()) for part in list(picture)[:2]]
        assert re.sub("<.*?>", " ", heading).split()[:2] == title.split(" · ")
        assert note.removeprefix("effective") in re.sub("<.*?>", " ", heading)
    drawn = {
        p.get("stroke") for one in page.pictures() for p in one if p.get("stroke-width") == "2"
    }
    assert drawn == {trace["line"]["color"] for trace in lines(bundle)}


def test_each_line_of_the_chart_holds_its_modules_numbers() -> None:
    series = modules(4, LLAMA[:3:2])
    traces = {trace["text"]: trace for trace in lines(shown(series))}
    assert set(traces) == {path for _, path, _ in series}
    for _, path, sigmas in series:
        assert traces[path]["x"] == list(range(1, 9))
        assert traces[path]["y"] == pytest.approx(sigmas, rel=1e-4)


def test_each_line_of_the_picture_falls_as_its_numbers_do() -> None:
    """The y of a point is linear in log σ, with one factor for all lines."""
    import math

    series = modules(2, ("q_proj",))
    (picture,) = Page(shown(series)["text/html"]).pictures()
    paths = [p.get("d", "") for p in picture if p.get("stroke-width") == "2"]
    drawn = [[float(y) for y in re.findall(r",([\d.]+)", path)] for path in paths]
    ratios = [
        (ys[i] - ys[0]) / math.log(sigmas[0] / sigmas[i])
        for ys, (_, _, sigmas) in zip(drawn, series, strict=True)
        for i in range(3, 8)
    ]
    assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=0.02)


@pytest.mark.parametrize("layers", [1, 8, 12])
def test_no_label_of_the_pictures_is_cut(layers: int) -> None:
    series = [
        ("an-adapter-with-a-long-name", f"layers.{30 + n}.{kind}", [1e-5, 2e-6])
        for n in range(layers)
        for kind in ("self_attn.q_proj", "experts.12.w1")
    ]
    series += [("b", path, sigmas) for _, path, sigmas in series]
    for picture in Page(shown(series)["text/html"]).pictures():
        assert outside(picture) == []


def test_two_hundred_modules_are_shown_as_median_and_range() -> None:
    series = modules(32, LLAMA, rank=16)
    bundle = shown(series)
    assert "224 modules" in bundle["text/plain"]
    assert "median" in bundle["text/plain"]
    for place, kind in enumerate(LLAMA):
        low, high, middle = lines(bundle)[3 * place : 3 * place + 3]
        columns = list(zip(*[s for _, path, s in series if path.endswith(kind)], strict=True))
        assert low["y"] == pytest.approx([min(column) for column in columns], rel=1e-4)
        assert high["y"] == pytest.approx([max(column) for column in columns], rel=1e-4)
        assert middle["y"] == pytest.approx([median(column) for column in columns], rel=1e-4)


@pytest.mark.parametrize(
    ("layers", "kinds", "rank", "adapters"),
    [
        (4, LLAMA, 8, 2),
        (4, LLAMA[:2], 8, 3),
        (4, LLAMA[:2], 8, 1),
        (4, LLAMA, 64, 1),
        (32, LLAMA, 16, 1),
        (80, LLAMA, 256, 3),
        (8, LLAMA, 8, 3),
    ],
)
def test_an_output_stays_under_sixty_kilobytes(
    layers: int, kinds: tuple[str, ...], rank: int, adapters: int
) -> None:
    series = [
        one for n in range(adapters) for one in modules(layers, kinds, rank, adapter=f"adapter{n}")
    ]
    for output in samples.spectrum(series).outputs():
        assert weight(output) < 60_000


def title_of(bundle: dict[str, Any]) -> str:
    return str(bundle[PLOTLY]["layout"]["title"]["text"])


def test_the_chart_says_what_a_band_is_and_what_it_leaves_out() -> None:
    """A front end that draws the chart does not show the page and its sentences."""
    assert title_of(shown(modules(4, LLAMA[:1]))).startswith("pirate: singular values σ of ΔW<br>")
    assert "median" in title_of(shown(modules(32, LLAMA, rank=16)))
    many = modules(2, tuple(f"kind_{chr(97 + n)}" for n in range(26)))
    assert f"first {PANELS} of 26 panels" in title_of(shown(many)).replace("<br>", " ")
    new = [("<new>", path, [0.0] * 8) for _, path, _ in modules(4, LLAMA[:1])]
    said = re.sub("(<.*?>| )+", " ", title_of(shown([*modules(4, LLAMA[:1]), *new])))
    assert "model.layers.0.self_attn.q_proj (&lt;new&gt;)" in said
    assert "and 1 more" in said


def test_each_line_below_the_charts_title_has_its_room() -> None:
    plain, told = shown(modules(4, LLAMA[:1])), shown(modules(32, LLAMA, rank=16))
    tops = [one[PLOTLY]["layout"]["margin"]["t"] for one in (plain, told)]
    assert tops[1] - tops[0] >= 12 * 1.3
    layout = told[PLOTLY]["layout"]
    inside = layout["height"] - layout["margin"]["t"] - layout["margin"]["b"]
    assert inside > 190


def test_one_module_is_told_as_one() -> None:
    text = Page(shown(modules(1, LLAMA[:1]))["text/html"]).text
    assert "Table: 1 module" in text
    assert "1 modules" not in text


def test_more_panels_than_fit_are_counted() -> None:
    series = modules(2, tuple(f"kind_{chr(97 + n)}" for n in range(26)))
    bundle = shown(series)
    assert len(Page(bundle["text/html"]).pictures()) == PANELS
    assert f"first {PANELS} of 26 panels" in bundle["text/plain"]


def test_a_long_table_says_how_many_rows_it_leaves_out() -> None:
    bundle = shown(modules(4, LLAMA))
    page = Page(bundle["text/html"])
    assert "and 4 more" in page.text
    assert "and 4 more" in bundle["text/plain"]
    assert len(page.named("tr")) == 24 + 1


def test_of_many_modules_the_table_names_those_that_moved_most() -> None:
    series = modules(32, LLAMA[:1])
    page = Page(shown(series)["text/html"])
    largest = sorted(series, key=lambda one: -sum(s * s for s in one[2]))
    names = re.findall(r"\d+\.q_proj", page.text)
    assert names == [f"{layer(path)}.q_proj" for _, path, _ in largest[:8]]


def test_an_untrained_adapter_is_told_in_words_and_not_drawn() -> None:
    series = [("fresh", f"layers.{n}.q_proj", [0.0] * 8) for n in range(4)]
    bundle = shown(series)
    assert PLOTLY not in bundle
    assert "ΔW = 0" in bundle["text/plain"]
    assert "Not trained" in bundle["text/plain"]
    assert Page(bundle["text/html"]).pictures() == []


def test_a_single_untrained_module_is_named_beside_the_others() -> None:
    series = [*modules(2, ("q_proj",)), ("pirate", "model.layers.9.q_proj", [0.0] * 8)]
    bundle = shown(series)
    assert "model.layers.9.q_proj (pirate)" in bundle["text/plain"]
    assert len(lines(bundle)) == 2


def test_a_zero_among_the_values_is_not_drawn() -> None:
    series = [("a", "layers.0.q_proj", [1.0, 0.5, 0.0, 0.0])]
    (trace,) = lines(shown(series))
    assert trace["y"] == [1.0, 0.5]


def test_one_value_is_a_point() -> None:
    bundle = shown([("a", "layers.0.q_proj", [0.5])])
    assert bundle[PLOTLY]["data"][0]["mode"] == "markers"
    assert Page(bundle["text/html"]).pictures()


def test_no_modules_are_told_in_words() -> None:
    assert "No modules" in shown([])["text/plain"]


def test_the_chart_has_lists_a_transparent_ground_and_a_template_of_its_own() -> None:
    figure = shown(modules(4, LLAMA[:2]))[PLOTLY]
    assert "bdata" not in repr(figure)
    template = figure["layout"]["template"]
    grounds = [template["layout"][key] for key in ("paper_bgcolor", "plot_bgcolor")]
    assert grounds == ["rgba(0,0,0,0)"] * 2
    assert weight(template) < 1_500


def test_the_chart_is_one_that_plotly_accepts() -> None:
    import plotly.graph_objects as go

    figure = shown(modules(4, LLAMA))[PLOTLY]
    assert len(go.Figure(figure).data) == 28


def test_the_table_below_the_chart_holds_each_modules_measures() -> None:
    series = modules(4, ("self_attn.q_proj", "self_attn.v_proj"))
    ((header, *rows),) = tables_of(series)
    assert header == list(spectrum._HEADER)
    assert [row[1] for row in rows] == [
        f"{n}.{kind}" for n in range(4) for kind in ("q_proj", "v_proj")
    ]
    assert [float(row[6]) for row in rows] == pytest.approx([s[0] for _, _, s in series], rel=1e-2)
    assert {row[0] for row in rows} == {"pirate"}
    assert {row[2] for row in rows} == {"8"}


def test_a_front_end_that_draws_the_figure_gets_the_tables_as_html_below_it() -> None:
    record = samples.spectrum(modules(4, LLAMA[:2]))
    chart, below = record.outputs()
    assert PLOTLY in chart
    assert "<table" not in str(chart["text/html"])
    assert set(below) == {"text/html", "text/plain"}
    whole = record._repr_mimebundle_()
    assert f"{chart['text/plain']}\n{below['text/plain']}" == whole["text/plain"]
    assert (
        Page(chart["text/html"]).text + Page(below["text/html"]).text
        == Page(whole["text/html"]).text
    )


def test_of_many_modules_the_table_below_the_chart_tells_medians() -> None:
    (header, first, second), _ = tables_of(modules(32, LLAMA[:2]))
    assert header[1:3] == ["Projection", "Modules"]
    assert [row[1:3] for row in (first, second)] == [["q_proj", "32"], ["k_proj", "32"]]
    assert first[6] == "2.55 (1.00 to 4.10)"


def test_two_modules_never_have_one_short_name() -> None:
    paths = [
        "h.0.attention.dense",
        "h.1.attention.dense",
        "h.0.mlp.dense",
        "lm_head",
        "0.1.w",
        "1.w",
    ]
    names = short_names(paths)
    assert names["h.1.attention.dense"] == "1.attention.dense"
    assert names["lm_head"] == "lm_head"
    assert len(set(names.values())) == len(paths)


def test_text_in_the_chart_is_no_markup_and_no_mathematics() -> None:
    series = [("<a href='x'>", "$x$.<b>bold</b>", [1.0, 0.5])]
    figure = shown(series)[PLOTLY]
    texts = repr(figure)
    assert not re.search(r"<a|<b>bold|\$", texts)
    assert figure["data"][0]["text"] == "&#36;x&#36;.&lt;b&gt;bold&lt;/b&gt;"
    assert figure["layout"]["title"]["text"].startswith("&lt;a href='x'&gt;: singular")


def test_panels_share_one_scale() -> None:
    layout = shown(modules(4, LLAMA))[PLOTLY]["layout"]
    assert layout["template"]["layout"]["yaxis"]["range"]
    assert not any("range" in layout[key] for key in layout if key.startswith("yaxis"))


def test_a_kind_of_module_has_the_shortest_name_that_tells_it_apart() -> None:
    paths = ["h.0.attention.dense", "h.1.attention.dense", "h.0.mlp.dense", "h.0.mlp.fc", "lm_head"]
    assert projections(paths) == {
        "h.0.attention.dense": "attention.dense",
        "h.1.attention.dense": "attention.dense",
        "h.0.mlp.dense": "mlp.dense",
        "h.0.mlp.fc": "fc",
        "lm_head": "lm_head",
    }
    assert (layer("h.11.attn.q2"), layer("experts.0.layers.3.w1"), layer("head")) == (
        "11",
        "0.3",
        "",
    )


def test_adapters_stand_in_panels_of_their_own() -> None:
    two = [*modules(2, ("q",), adapter="a"), *modules(2, ("q",), adapter="b")]
    panels = gather(two, samples.spectrum(two).measures())
    assert [(panel.adapter, panel.projection) for panel in panels] == [("a", "q"), ("b", "q")]


def test_importing_the_views_loads_no_plotly() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from lora_magic.views import spectrum, comparison, ratio, training, status; "
        "print([m for m in ('plotly', 'ipywidgets', 'numpy', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_layers_are_told_apart_by_shape_and_not_by_colour_alone() -> None:
    chart = shown(modules(8, LLAMA[:1]))[PLOTLY]
    shapes = [one["marker"]["symbol"] for one in chart["data"]]
    assert len(set(shapes)) == len(shapes) == 8
