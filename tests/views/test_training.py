"""A run's displays: the curve is the losses, the state is in words, long runs stay small."""

from __future__ import annotations

import itertools
import math
import re
from xml.etree import ElementTree

import pytest

from lora_magic.training.forgetting import AnswerForgetting
from lora_magic.training.rate_curve import RateCurve
from lora_magic.views.curve import running_mean, thin
from lora_magic.views.training import FAILED, STOP, progress_html
from tests.views.page import Page, outside, weight
from tests.views.samples import forgotten, run, shown


def progress(**given: object) -> Page:
    usual: dict[str, object] = {"title": "pirate", "line": "10 examples", "losses": [3.0, 2.0]}
    usual |= {"step": 2, "total": 60, "seconds_left": 7.4, "tokens_per_second": 1312.2}
    return Page(progress_html(**{**usual, **given}))  # type: ignore[arg-type]  # told by the test


def test_a_run_under_way_tells_step_loss_speed_time_and_how_to_stop() -> None:
    text = progress().text
    for part in ("step 2 of 60", "loss 2.00", "1,312 tokens/s", "7.4 s left", STOP):
        assert part in text


def test_before_the_first_step_there_is_no_curve_and_no_guess() -> None:
    page = progress(losses=[], step=0, seconds_left=None, tokens_per_second=None)
    assert page.drawings() == []
    assert "left" not in page.text
    assert "step 0 of 60" in page.text


def test_the_bar_says_how_far_it_is() -> None:
    (bar,) = [g for g in progress(step=15).named("div") if g.get("role") == "progressbar"]
    assert (bar["aria-valuenow"], bar["aria-valuemax"]) == ("15", "60")
    assert "width:25.0%" in progress(step=15).markup


@pytest.mark.parametrize("last", [0.00258, 1.234e-5, 12345.6])
@pytest.mark.parametrize("steps", [2, 60, 100_000])
def test_no_label_of_the_curve_is_cut(last: float, steps: int) -> None:
    losses = [*([3.0] * (steps - 1)), last]
    (picture,) = Page(shown(run("t", tuple(losses)))["text/html"]).pictures()
    assert outside(picture) == []


@pytest.mark.parametrize("total", [2, 60, 100_000, 1_000_000])
def test_the_last_step_and_the_name_of_its_axis_stand_apart(total: int) -> None:
    (picture,) = progress(losses=[1.0, 0.5], total=total).drawings()
    places = [text for text in picture.iter() if text.tag == "text"]
    texts = {"".join(text.itertext()): float(text.get("x", "nan")) for text in places}
    # The number is centred at its place, with letters as wide as those of a wide font.
    end = texts[f"{total:,}"] + 0.6 * 11 * len(f"{total:,}") / 2
    assert texts["steps"] > end


def test_the_axis_does_not_strike_through_the_loss_of_a_run_under_way() -> None:
    (picture,) = progress(losses=[1.0, 1e-4], total=60).drawings()
    (label,) = [t for t in picture.iter() if t.get("font-weight")]
    lines = [part.get("d", "") for part in picture if part.get("stroke") == "currentColor"]
    axis = max(float(y) for line in lines for y in re.findall(r",([\d.]+)", line))
    assert float(label.get("y", "nan")) < axis - 2


def test_the_curve_is_linear_in_the_losses() -> None:
    losses = [3.0, 2.5, 1.0, 2.0, 0.5]
    (picture,) = Page(shown(run("t", tuple(losses)))["text/html"]).pictures()
    raw = next(p.get("d", "") for p in picture if p.get("stroke-width") == "1")
    ys = [float(y) for y in re.findall(r",([\d.]+)", raw)]
    unit = (ys[0] - ys[-1]) / (losses[0] - losses[-1])
    for y, loss in zip(ys, losses, strict=True):
        assert y - ys[0] == pytest.approx(unit * (loss - losses[0]), abs=0.11)


def test_the_name_is_said_once_where_the_line_begins_with_it() -> None:
    record = run("calm", ())
    page = Page(shown(record)["text/html"])
    assert page.text.startswith(record.line)
    assert len(page.named("p")) == 1
    assert len(progress(title="calm", line="calmer: 60 steps").named("p")) == 4


def test_a_terminal_gets_one_line_of_a_run() -> None:
    record = run(seed=7)
    bundle = shown(record)
    assert bundle["text/plain"] == record.line
    assert "seed" in Page(bundle["text/html"]).text


@pytest.mark.parametrize("steps", [1, 60, 6000, 200_000])
def test_the_final_display_is_small_however_long_the_run(steps: int) -> None:
    losses = [3 * math.exp(-i / 900) + 0.2 * math.sin(i * i) for i in range(steps)]
    assert weight(shown(run("t", tuple(losses)))) < 20_000


def test_a_thinned_curve_keeps_its_ends_its_lowest_and_its_highest() -> None:
    losses = [math.sin(i * i) for i in range(10_000)]
    losses[7777], losses[3333] = 9.0, -9.0
    kept = thin(losses, 240)
    assert len(kept) <= 242
    assert {(1, losses[0]), (10_000, losses[-1]), (7778, 9.0), (3334, -9.0)} <= set(kept)
    assert [step for step, _ in kept] == sorted(step for step, _ in kept)


def test_the_running_mean_of_a_line_is_the_line_and_skips_what_is_no_number() -> None:
    line = [100 - 0.5 * i for i in range(96)]
    assert running_mean(line)[4:-4] == pytest.approx(line[4:-4])
    assert running_mean([2.0] * 48 + [math.nan] + [2.0] * 47) == pytest.approx([2.0] * 96)


@pytest.mark.parametrize("losses", [[], [math.nan], [math.nan, 1.0, math.inf], [2.0, 2.0]])
def test_odd_losses_break_nothing(losses: list[float]) -> None:
    page = Page(shown(run("t", tuple(losses)))["text/html"])
    for picture in page.pictures():
        drawn = ElementTree.tostring(picture, encoding="unicode")
        assert not re.search(r"\b(nan|inf)\b", drawn)


def test_a_run_under_way_tells_the_held_out_loss_and_the_memory() -> None:
    page = progress(held_out=[(0, 3.2), (1, 2.25)], memory=512_000_000, stop="")
    for part in ("loss 2.00 · held out 2.25", "memory 512 MB at the peak", "squares: the held-out"):
        assert part in page.text
    assert STOP not in page.text
    assert "held" not in progress().text


def test_held_out_losses_stand_at_their_steps_on_the_same_axes() -> None:
    losses = [3.0, 2.5, 1.0, 2.0, 0.5]
    held = [(0, 4.0), (3, 1.0), (5, 0.25)]
    bundle = shown(run("t", tuple(losses), held_out_losses=tuple(held)))
    (picture,) = Page(bundle["text/html"]).pictures()
    raw = next(p.get("d", "") for p in picture if p.get("stroke-width") == "1")
    line = [tuple(map(float, pair)) for pair in re.findall(r"([\d.]+),([\d.]+)", raw)]
    boxes = [p for p in picture if p.tag.endswith("rect")]
    marks = [(float(b.get("x", "")) + 3, float(b.get("y", "")) + 3) for b in boxes]
    # At the third step, and where the loss was 1, the square is on the line; the one before the
    # first step stands at the first.
    assert marks[1] == pytest.approx(line[2], abs=0.11)
    assert [x for x, _ in marks] == pytest.approx([line[0][0], line[2][0], line[4][0]], abs=0.11)
    unit = (line[0][1] - line[4][1]) / (losses[0] - losses[4])
    for (_, y), (_, loss) in zip(marks, held, strict=True):
        assert y - line[0][1] == pytest.approx(unit * (loss - losses[0]), abs=0.25)
    assert outside(picture) == []
    assert "held out 4.00 to 0.250" in Page(bundle["text/html"]).named("img")[0]["alt"]


def test_the_answers_that_failed_are_behind_details_and_not_all_of_them() -> None:
    text = "a fox " * 2000
    few, many = (
        Page(shown(run(forgetting=forgotten("fox", count)))["text/html"]) for count in (2, 24)
    )
    assert len(few.named("details")) == len(many.named("details")) == 2
    assert "What was forgotten: 2 questions" in few.text
    assert few.text.count("fox") == 6
    assert "What was forgotten: 24 questions" in many.text
    assert (
        f"and {24 - FAILED} more; all answers: run.forgetting.to_frame(), with run =" in many.text
    )
    long = shown(run(forgetting=forgotten(text, 24)))
    assert weight(long) < 20_000
    assert "run.forgetting.to_frame()" in str(long["text/plain"])
    assert "fox" not in str(long["text/plain"])


def test_without_a_failed_answer_there_is_nothing_to_unfold() -> None:
    page = Page(shown(run(forgetting=AnswerForgetting(24, 24, 24, 24, 24)))["text/html"])
    assert len(page.named("details")) == 1
    assert "to_frame" not in page.text


@pytest.mark.parametrize("best", [1, 2, 3, 5])
def test_the_step_whose_weights_were_kept_is_marked_at_its_place(best: int) -> None:
    losses = [3.0, 2.5, 1.0, 2.0, 0.5]
    held = [(0, 4.0), *((step, 2.0) for step in range(1, 6))]
    page = Page(
        shown(run("t", tuple(losses), held_out_losses=tuple(held), best_step=best))["text/html"]
    )
    (picture,) = page.pictures()
    raw = next(p.get("d", "") for p in picture if p.get("stroke-width") == "1")
    xs = [float(x) for x in re.findall(r"([\d.]+),", raw)]
    lines = [re.findall(r"([\d.]+),([\d.]+)", p.get("d", "")) for p in picture if p.get("d")]
    upright = [pair for pair in lines if len(pair) == 2 and pair[0][0] == pair[1][0]]
    assert [float(pair[0][0]) for pair in upright[-1:]] == pytest.approx([xs[best - 1]], abs=0.11)
    texts = ["".join(text.itertext()) for text in picture.iter() if text.tag.endswith("text")]
    assert f"best: step {best}" in texts
    assert outside(picture) == []
    assert f"best at step {best}" in page.named("img")[0]["alt"]
    assert "vertical line: the step whose weights were kept" in page.text


def test_a_run_that_kept_its_last_weights_has_no_mark() -> None:
    page = Page(shown(run("t", (3.0, 2.0)))["text/html"])
    assert "best" not in page.markup


RATES = [10 ** (-5 + 4 * step / 59) for step in range(60)]


@pytest.mark.parametrize(
    "losses",
    [
        [3.0 - step / 30 for step in range(60)],
        [3.0, math.nan, 2.0, math.inf, 1e9],
        [2.0],
        [0.0, 0.0],
        [math.nan, 1.0],
        [math.nan],
    ],
)
def test_a_search_for_a_rate_is_drawn_over_the_logarithm_of_the_rate(losses: list[float]) -> None:
    curve = RateCurve("pirate", tuple(RATES[: len(losses)]), tuple(losses), RATES[0])
    page = Page(shown(curve)["text/html"])
    for picture in page.pictures():
        drawn = ElementTree.tostring(picture, encoding="unicode")
        assert not re.search(r"\b(nan|inf)\b", drawn)
        assert outside(picture) == []
        if len(losses) == 60:
            raw = next(p.get("d", "") for p in picture if p.get("stroke-width") == "1")
            xs = [float(x) for x in re.findall(r"([\d.]+),", raw)]
            gaps = [b - a for a, b in itertools.pairwise(xs)]
            assert max(gaps) - min(gaps) < 0.25
            assert len(xs) == 60
    assert curve.line.partition(":")[2].strip() in page.text
