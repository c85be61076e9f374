"""Spectra: the numbers in heat maps and charts are the numbers given."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from lora_magic.lowrank.spectrum import ModuleIntruders, ModuleWeight, Spectrum
from lora_magic.views import spectrum
from lora_magic.views.modules import grid, layer, projections, short_names
from lora_magic.views.panels import by_layer
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
    """The whole page."""
    return samples.shown(samples.spectrum(series))


def charted(series: Series) -> dict[str, Any]:
    """The output with the chart of few modules."""
    (found,) = [one for one in samples.spectrum(series).outputs() if PLOTLY in one]
    return found


def lines(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    return list(bundle[PLOTLY]["data"])


def tables_of(series: Series) -> list[list[list[str]]]:
    """The tables of the second output, cell by cell."""
    *_, below = samples.spectrum(series).outputs()
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
    one = charted(modules(4, LLAMA[:3]))
    assert picks(one) == [["all modules", "q_proj", "k_proj", "v_proj"]]
    two = charted([*modules(1, ("q", "v"), adapter="a"), *modules(1, ("q", "v"), adapter="b")])
    assert picks(two) == [
        ["all adapters", "a", "b"],
        ["all modules", "q", "v", "a · q", "a · v", "b · q", "b · v"],
    ]
    assert picks(charted(modules(4, LLAMA[:1]))) == []


def test_a_pick_shows_its_panels_alone_in_the_whole_figure_and_all_brings_them_back() -> None:
    series = [*modules(2, ("q", "v"), adapter="a"), *modules(2, ("q", "v"), adapter="b")]
    bundle = charted(series)
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
    layout = charted(modules(4, LLAMA, adapter="an-adapter-with-a-long-name"))[PLOTLY]["layout"]
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
    bundle = charted(modules(4, LLAMA[:3]))
    page = Page(bundle["text/html"])
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
    traces = {trace["text"]: trace for trace in lines(charted(series))}
    assert set(traces) == {path for _, path, _ in series}
    for _, path, sigmas in series:
        assert traces[path]["x"] == list(range(1, 9))
        assert traces[path]["y"] == pytest.approx(sigmas, rel=1e-4)


def test_each_line_of_the_picture_falls_as_its_numbers_do() -> None:
    """The y of a point is linear in log σ, with one factor for all lines."""
    import math

    series = modules(2, ("q_proj",))
    (picture,) = Page(charted(series)["text/html"]).pictures()
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


def test_one_module_is_told_as_one() -> None:
    text = Page(shown(modules(1, LLAMA[:1]))["text/html"]).text
    assert "Table: 1 module" in text
    assert "1 modules" not in text


def test_a_long_table_says_how_many_rows_it_leaves_out() -> None:
    bundle = shown(modules(4, LLAMA))
    page = Page(bundle["text/html"])
    assert "and 4 more" in page.text
    assert "and 4 more" in bundle["text/plain"]
    assert len(page.named("tr")) == 24 + 1


def test_of_many_modules_the_table_names_those_that_moved_most() -> None:
    series = modules(64, LLAMA[:1])
    *_, below = samples.spectrum(series).outputs()
    largest = sorted(series, key=lambda one: -sum(s * s for s in one[2]))
    names = re.findall(r"\d+\.q_proj", Page(below["text/html"]).text)
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
    assert "n/a, since ΔW = 0: model.layers.9.q_proj (pirate)" in shown(series)["text/plain"]
    assert len(lines(charted(series))) == 2


def test_a_zero_among_the_values_is_not_drawn() -> None:
    series = [("a", "layers.0.q_proj", [1.0, 0.5, 0.0, 0.0])]
    (trace,) = lines(charted(series))
    assert trace["y"] == [1.0, 0.5]


def test_one_value_is_a_point() -> None:
    bundle = charted([("a", "layers.0.q_proj", [0.5])])
    assert bundle[PLOTLY]["data"][0]["mode"] == "markers"
    assert Page(bundle["text/html"]).pictures()


def test_no_modules_are_told_in_words() -> None:
    assert "No modules" in shown([])["text/plain"]


def test_the_chart_has_lists_a_transparent_ground_and_a_template_of_its_own() -> None:
    figure = charted(modules(4, LLAMA[:2]))[PLOTLY]
    assert "bdata" not in repr(figure)
    template = figure["layout"]["template"]
    grounds = [template["layout"][key] for key in ("paper_bgcolor", "plot_bgcolor")]
    assert grounds == ["rgba(0,0,0,0)"] * 2
    assert weight(template) < 1_500


def test_the_chart_is_one_that_plotly_accepts() -> None:
    import plotly.graph_objects as go

    figure = charted(modules(4, LLAMA))[PLOTLY]
    assert len(go.Figure(figure).data) == 28


def test_the_table_below_the_chart_holds_each_modules_measures() -> None:
    series = modules(4, ("self_attn.q_proj", "self_attn.v_proj"))
    ((header, *rows),) = tables_of(series)
    assert header == list(spectrum._HEADER)[:-1], "intruders, which nobody looked for"
    assert [row[1] for row in rows] == [
        f"{n}.{kind}" for n in range(4) for kind in ("q_proj", "v_proj")
    ]
    assert [float(row[6]) for row in rows] == pytest.approx([s[0] for _, _, s in series], rel=1e-2)
    assert {row[0] for row in rows} == {"pirate"}
    assert {row[2] for row in rows} == {"8"}


def test_a_front_end_that_draws_the_figure_gets_heat_map_and_tables_as_html_around_it() -> None:
    record = samples.spectrum(modules(4, LLAMA[:2]))
    maps, chart, below = record.outputs()
    assert PLOTLY in chart
    assert "<table" not in str(chart["text/html"])
    assert set(maps) == set(below) == {"text/html", "text/plain"}
    whole = record._repr_mimebundle_()
    assert PLOTLY not in whole, "a front end would show the figure alone"
    parts = [Page(one["text/html"]).text for one in (maps, chart, below)]
    assert "".join(parts) == Page(whole["text/html"]).text
    alone = samples.spectrum(modules(1, LLAMA[:1]))
    assert [PLOTLY in one for one in (*alone.outputs(), samples.shown(alone))] == [
        True,
        False,
        True,
    ]


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
    figure = charted(series)[PLOTLY]
    texts = repr(figure)
    assert not re.search(r"<a|<b>bold|\$", texts)
    assert figure["data"][0]["text"] == "ΔW of &lt;a href='x'&gt;"
    assert "&#36;x&#36;.&lt;b&gt;" in figure["layout"]["annotations"][0]["text"]
    assert figure["layout"]["title"]["text"].startswith("&lt;a href='x'&gt;: singular")


def test_panels_share_one_scale() -> None:
    layout = charted(modules(4, LLAMA))[PLOTLY]["layout"]
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
    panels = by_layer(samples.spectrum(two)).panels
    assert [panel.names for panel in panels] == [("a", "q"), ("b", "q")]


def numbers_in(picture: Any) -> list[str]:
    """The digits in the cells of a heat map, in reading order."""
    found = [
        (float(text.get("y")), float(text.get("x")), text.text)
        for group in picture
        if group.get("font-size") == "9"
        for text in group
    ]
    return [text for _, _, text in sorted(found)]


def levels_of(picture: Any) -> dict[tuple[float, float], str]:
    """The colour of each cell of a heat map, by its left edge and its middle."""
    return {
        (float(x), float(y)): path.get("stroke")
        for path in picture
        if path.get("stroke-width") not in (None, "2")
        for x, y in re.findall(r"M([\d.]+),([\d.]+)h", path.get("d", ""))
    }


@pytest.mark.parametrize(
    "measure", ["effective_rank", "stable_rank", "energy_90", "norm", "sigma_1", "sigma_3"]
)
def test_a_heat_map_has_the_measure_of_each_module_in_its_place(measure: str) -> None:
    series = modules(30, LLAMA)
    record = replace(samples.spectrum(series), measure=measure)
    (picture,) = Page(str(spectrum.page(record))).pictures()
    expected: dict[object, object] = {row["module"]: row.get(measure) for row in record.measures()}
    if measure == "sigma_3":
        expected = {path: sigmas[2] for _, path, sigmas in series}
    paths = [f"model.layers.{n}.{kind}" for kind in LLAMA for n in range(30)]
    values = [float(str(expected[path])) for path in paths]
    drawn = numbers_in(picture)
    assert len(drawn) == 210
    assert [float(text) for text in drawn] == pytest.approx(values, rel=0.051)
    # The larger a value, the further on the scale its colour.
    order = sorted(levels_of(picture).items(), key=lambda one: (one[0][1], one[0][0]))
    colours = dict(sorted(zip(values, (colour for _, colour in order), strict=True)))
    ramp = [path.get("fill") for path in picture if path.get("height") == "10"]
    places = [ramp.index(colour) for colour in colours.values()]
    assert places == sorted(places)


def test_a_heat_map_of_thirty_layers_fits_into_a_window_of_800_pixels() -> None:
    (picture,) = Page(shown(modules(30, LLAMA))["text/html"]).pictures()
    assert 600 < float(picture.get("width", "0")) < 720
    assert outside(picture) == []


def test_relative_norms_are_in_percent_and_on_one_scale_for_all_adapters() -> None:
    series = [*modules(2, ("q", "v"), adapter="a"), *modules(2, ("q", "v"), adapter="b")]
    series = [
        (name, path, [(1 + (name == "b")) * s for s in sigmas]) for name, path, sigmas in series
    ]
    found = samples.spectrum(series)
    norms = {row["module"]: float(str(row["norm"])) for row in found.measures()}
    weights = tuple(ModuleWeight(path, 20 * norm, 8) for path, norm in norms.items())
    record = Spectrum(found.rows, "relative_norm", weights)
    first, second = Page(str(spectrum.page(record))).pictures()[:2]
    assert numbers_in(first) == ["2.5"] * 4
    assert numbers_in(second) == ["5.0"] * 4
    assert set(levels_of(first).values()) != set(levels_of(second).values())


def test_small_numbers_are_in_units_of_a_power_of_ten_which_the_title_names() -> None:
    series = [(name, path, [s / 1000 for s in sigmas]) for name, path, sigmas in modules(30, LLAMA)]
    record = replace(samples.spectrum(series), measure="sigma_1")
    (picture,) = Page(str(spectrum.page(record))).pictures()
    assert [float(text) for text in numbers_in(picture)][:3] == [1.0, 1.1, 1.2]
    assert "σ₁ of ΔW (×10⁻³)" in "".join(picture.itertext())


def test_no_update_is_hatched_as_not_available_and_a_missing_module_is_no_cell() -> None:
    series = [*modules(3, ("q", "v")), ("pirate", "model.layers.3.q", [0.0] * 8)]
    record = samples.spectrum(series)
    assert record.cells()["pirate", "model.layers.3.q"] is None
    bundle = samples.shown(record)
    picture = Page(bundle["text/html"]).pictures()[0]
    assert len(levels_of(picture)) == 6
    assert sum(path.get("fill-opacity") == ".08" for path in picture) == 2, "a cell, the legend"
    assert "nan" not in bundle["text/html"].lower()


def test_modules_with_intruders_have_a_corner_and_the_text_counts_them() -> None:
    series = modules(4, LLAMA[:2])
    found = tuple(
        ModuleIntruders("pirate", path, ((1, 2.0, 0.1), (3, 1.0, 0.4)) if "2.self" in path else ())
        for _, path, _ in series
    )
    record = replace(samples.spectrum(series), intruders=found)
    bundle = samples.shown(record)
    picture = Page(bundle["text/html"]).pictures()[0]
    corners = [path for path in picture if path.get("stroke-width") == ".8"]
    assert len(corners) == 2 + 1, "two cells and the legend"
    assert "Intruder dimensions: 4 of pirate" in bundle["text/plain"]
    counted = replace(record, measure="intruders")
    assert sorted(counted.cells().values()) == [0, 0, 0, 0, 0, 0, 2, 2]


def alone(own: int, count: int) -> Spectrum:
    """Two adapters on one module beside `own` of W's `count` singular values."""
    path = "model.layers.0.self_attn.q_proj"
    found = samples.spectrum([("a", path, [1.0, 0.5]), ("b", path, [2.0, 0.1, 0.01])])
    sigma = tuple(9.0 / (n + 1) for n in range(own))
    crosses = (ModuleIntruders("b", path, ((2, 4.0, 0.3),)), ModuleIntruders("a", path, ()))
    return Spectrum(
        found.rows, weights=(ModuleWeight(path, 12.0, count, sigma),), intruders=crosses
    )


def test_one_module_has_a_line_for_each_adapter_and_one_for_w() -> None:
    bundle = samples.shown(alone(64, 64))
    first, second, own, cross = lines(bundle)
    assert (first["y"], second["y"], own["y"][0]) == ([1.0, 0.5], [2.0, 0.1, 0.01], 9.0)
    assert (cross["x"], cross["y"], cross["mode"]) == ([2], [4.0], "markers")
    assert len({one["marker"]["symbol"] for one in (first, second, cross)}) == 3
    assert bundle[PLOTLY]["layout"]["template"]["layout"]["xaxis"]["type"] == "log"
    (picture,) = Page(bundle["text/html"]).pictures()
    assert outside(picture) == []
    # Not by colour alone: the lines differ in their dashes.
    dashes = {p.get("stroke-dasharray") for p in picture if p.get("stroke-width") == "2"}
    assert len(dashes) == 3
    for said in (
        "all 64, exact",
        "a: σ₁ = 1.00",
        "intruder in W + ΔW",
        "Intruder dimensions: 0 of b",
    ):
        assert (said in bundle["text/plain"] + "".join(picture.itertext())) == (
            "0 of b" not in said
        )
    assert "|cosine| 0.30" in cross["text"]


def test_of_a_large_w_the_text_says_how_many_were_computed_and_how() -> None:
    text = samples.shown(alone(64, 4096))["text/plain"]
    assert "the largest 64 of 4,096, by a randomised SVD" in text
    assert "exact" not in text


def test_hovering_a_cell_of_a_live_heat_map_shows_its_value() -> None:
    page = Page(str(spectrum.page(samples.spectrum(modules(30, LLAMA)), live=True)))
    (drawing,) = page.drawings()
    titles = [part.text for part in drawing.iter() if part.tag.endswith("title")]
    assert len(titles) == 210
    assert titles[1].startswith("q_proj, 1: ")


def test_experts_of_a_layer_share_a_cell_which_is_their_median() -> None:
    series = [
        *modules(2, ("self_attn.q",), rank=2),
        *(
            ("pirate", f"model.layers.{layer}.experts.{n}.w1", [float(n + 1)])
            for layer in range(2)
            for n in range(3)
        ),
    ]
    rows, columns, places = grid([path for _, path, _ in series])
    assert (rows, columns) == (["q", "w1"], ["0", "1"])
    assert places["model.layers.1.experts.2.w1"] == (1, 1)
    record = replace(samples.spectrum(series), measure="sigma_1")
    picture = Page(str(spectrum.page(record))).pictures()[0]
    assert numbers_in(picture)[2:] == ["2.0", "2.0"]
    assert "median" in str(spectrum.page(record))


def test_a_grid_has_stages_and_modules_without_a_layer() -> None:
    paths = [f"stages.{a}.blocks.{b}.attn" for a in range(2) for b in range(2)]
    assert grid(paths)[1] == ["0.0", "0.1", "1.0", "1.1"]
    t5 = [f"block.{n}.layer.{m}.{kind}" for n in (0, 10) for m, kind in ((0, "q"), (1, "wi"))]
    rows, columns, _ = grid([*t5, "lm_head"])
    assert (rows, columns) == (["q", "wi", "lm_head"], ["0", "10", "–"])


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
    chart = charted(modules(8, LLAMA[:1]))[PLOTLY]
    shapes = [one["marker"]["symbol"] for one in chart["data"]]
    assert len(set(shapes)) == len(shapes) == 8


def test_plain_text_says_nothing_of_a_picture_and_has_no_empty_column() -> None:
    record = samples.spectrum(modules(2, LLAMA))
    plain = "".join(str(one["text/plain"]) for one in [*record.outputs(), samples.shown(record)])
    for words in ("Rows are modules", "in every panel"):
        assert words not in plain
    assert "intruders" not in plain
    assert "Rows are modules" in samples.shown(record)["text/html"]
