"""Spectra: the numbers in the charts are the numbers given, many modules are told as a range."""

from __future__ import annotations

import re
from statistics import median
from typing import Any

import pytest

from lora_magic.views import spectrum
from lora_magic.views.panels import PANELS, gather, layer, projections, short_names
from tests.views.page import Page, outside, weight
from tests.views.samples import modules, summary

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


def shown(series: list[tuple[str, str, list[float]]]) -> dict[str, Any]:
    return spectrum.bundle(title="Spectra", series=series, summary=summary(series))


def lines(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    return [trace for trace in bundle[PLOTLY]["data"] if trace["type"] == "scatter"]


def below(bundle: dict[str, Any]) -> dict[str, Any]:
    """The table below the chart."""
    (table,) = [trace for trace in bundle[PLOTLY]["data"] if trace["type"] == "table"]
    return dict(table)


def columns_of(bundle: dict[str, Any]) -> dict[str, list[str]]:
    table = below(bundle)
    names = [re.sub("</?b>", "", name) for name in table["header"]["values"]]
    cells = [[cell.replace("\u00a0", " ") for cell in col] for col in table["cells"]["values"]]
    return dict(zip(names, cells, strict=True))


def test_no_cell_below_the_chart_breaks_its_line() -> None:
    for layers in (4, 32):
        for column in below(shown(modules(layers, LLAMA)))["cells"]["values"]:
            assert not any(" " in cell for cell in column)


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
    assert weight(shown(series)) < 60_000


def title_of(bundle: dict[str, Any]) -> str:
    return str(bundle[PLOTLY]["layout"]["title"]["text"])


def test_the_chart_says_what_a_band_is_and_what_it_leaves_out() -> None:
    """A front end that draws the chart does not show the page and its sentences."""
    several = shown(modules(4, LLAMA[:1]))
    assert title_of(several) == "Spectra"
    assert "median" in title_of(shown(modules(32, LLAMA, rank=16)))
    many = modules(2, tuple(f"kind_{chr(97 + n)}" for n in range(26)))
    assert f"first {PANELS} of 26 panels" in title_of(shown(many))
    new = [("<new>", path, [0.0] * 8) for _, path, _ in modules(4, LLAMA[:1])]
    assert "4 modules of &lt;new&gt;" in title_of(shown([*modules(4, LLAMA[:1]), *new]))


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
    assert "zero" in bundle["text/plain"]
    assert "not trained" in bundle["text/plain"]
    assert Page(bundle["text/html"]).pictures() == []


def test_a_single_untrained_module_is_named_beside_the_others() -> None:
    series = [*modules(2, ("q_proj",)), ("pirate", "model.layers.9.q_proj", [0.0] * 8)]
    bundle = shown(series)
    assert "model.layers.9.q_proj (pirate)" in bundle["text/plain"]
    assert len(lines(bundle)) == 2


def test_a_zero_among_the_values_breaks_the_line_and_not_the_chart() -> None:
    series = [("a", "layers.0.q_proj", [1.0, 0.5, 0.0, 0.0])]
    (trace,) = lines(shown(series))
    assert trace["y"] == [1.0, 0.5, None, None]


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
    assert weight(template) < 1_000


def test_the_chart_is_one_that_plotly_accepts() -> None:
    import plotly.graph_objects as go

    figure = shown(modules(4, LLAMA))[PLOTLY]
    assert len(go.Figure(figure).data) == 28 + 1


def test_the_table_below_the_chart_holds_each_modules_measures() -> None:
    series = modules(4, ("self_attn.q_proj", "self_attn.v_proj"))
    columns = columns_of(shown(series))
    names = [f"{n}.{kind}" for n in range(4) for kind in ("q_proj", "v_proj")]
    assert columns.pop("Module") == names
    assert [float(sigma) for sigma in columns.pop("σ₁")] == pytest.approx(
        [sigmas[0] for _, _, sigmas in series], rel=1e-2
    )
    assert columns == {
        "Rank": ["8"] * 8,
        "Effective rank": ["3.25"] * 8,
        "Stable rank": ["1.50"] * 8,
        "90 % of energy in": ["3"] * 8,
    }


def test_the_table_below_the_chart_names_the_adapter_where_there_are_several() -> None:
    two = [*modules(1, ("q",), adapter="a"), *modules(1, ("q",), adapter="b")]
    assert columns_of(shown(two))["Adapter"] == ["a", "b"]
    assert "Adapter" not in columns_of(shown(two[:1]))


def test_the_table_below_the_chart_counts_what_it_leaves_out() -> None:
    (first, *others) = columns_of(shown(modules(4, LLAMA))).values()
    assert len(first) == 16 + 1
    assert first[-1] == "and 12 more"
    assert [column[-1] for column in others] == [""] * len(others)


def test_of_many_modules_the_table_below_the_chart_tells_medians() -> None:
    columns = columns_of(shown(modules(32, LLAMA[:2])))
    assert columns["Projection"] == ["q_proj", "k_proj"]
    assert columns["Modules"] == ["32", "32"]
    assert columns["σ₁"][0] == "2.55 (1.00 to 4.10)"


@pytest.mark.parametrize(("layers", "kinds"), [(4, LLAMA), (1, LLAMA[:1]), (32, LLAMA)])
def test_the_table_has_room_for_its_rows_below_the_panels(
    layers: int, kinds: tuple[str, ...]
) -> None:
    bundle = shown(modules(layers, kinds))
    layout, table = bundle[PLOTLY]["layout"], below(bundle)
    inside = layout["height"] - layout["margin"]["t"] - layout["margin"]["b"]
    bottom, top = table["domain"]["y"]
    needed = table["header"]["height"] + table["cells"]["height"] * len(table["cells"]["values"][0])
    assert (top - bottom) * inside >= needed
    lowest = min(layout[key]["domain"][0] for key in layout if key.startswith("yaxis"))
    # The labels of the axes take about 20 pixels.
    assert (lowest - top) * inside >= 30
    # The legend stands beside both.
    assert layout["legend"]["x"] > 1
    assert layout["legend"]["xanchor"] == "left"


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
    bundle: dict[str, Any] = spectrum.bundle(
        title="<b>&$y$", series=series, summary=summary(series)
    )
    figure = bundle[PLOTLY]
    texts = repr(figure)
    assert not re.search(r"<a|<b>bold|\$", texts)
    assert figure["layout"]["title"]["text"] == "&lt;b&gt;&amp;&#36;y&#36;"


def test_panels_share_one_scale() -> None:
    layout = shown(modules(4, LLAMA))[PLOTLY]["layout"]
    ranges = {tuple(layout[key]["range"]) for key in layout if key.startswith("yaxis")}
    assert len(ranges) == 1


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
    panels = gather([*modules(2, ("q",), adapter="a"), *modules(2, ("q",), adapter="b")])
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
    shapes = [one["marker"]["symbol"] for one in chart["data"] if one["type"] == "scatter"]
    assert len(set(shapes)) == len(shapes) == 8
