"""A prompt and who answers it: asked as the controls say, shown while it is written, stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from lora_magic.errors import PromptError
from lora_magic.views.controls.compare import PAUSE, CompareControls, Follow, Request

START = Request("What?", None, 0.5, 20, 7)


class Answerer:
    """Writes five tokens, each when it is allowed to."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.pages: list[str] = []
        self.wait: Callable[[], object] = lambda: None
        self.tokens = 0
        self.thread: object = None

    def __call__(self, asked: Request, follow: Follow) -> str:
        self.asked.append(asked)
        self.thread = threading.current_thread()
        if not asked.prompt:
            raise PromptError("the prompt is <empty>")
        for _ in range(5):
            self.wait()
            self.tokens += 1
            if follow(lambda: f"<p>{self.tokens} so far</p>"):
                break
        return f"<p>{self.tokens} in all</p>"


@pytest.fixture
def answerer() -> Answerer:
    return Answerer()


@pytest.fixture
def controls(answerer: Answerer) -> CompareControls:
    return CompareControls(["one", "two"], answerer, START, clock=lambda: 0.0)


def test_what_the_controls_say_is_asked(controls: CompareControls, answerer: Answerer) -> None:
    controls.boxes["two"].value = False
    controls.prompt.value = "Who lives in the pond?"
    controls.temperature.value = 0.8
    controls.length.value = 9
    controls.seed.value = 3
    controls.generate.click()
    controls.wait(20)
    assert answerer.asked == [Request("Who lives in the pond?", ("one",), 0.8, 9, 3)]
    assert controls.page.html == "<p>5 in all</p>"


def test_they_begin_with_what_was_asked_before(controls: CompareControls) -> None:
    assert controls.request == Request("What?", ("one", "two"), 0.5, 20, 7)


def test_the_answer_is_shown_while_it_is_written_and_not_too_often(answerer: Answerer) -> None:
    now = [0.0]
    controls = CompareControls(["one"], answerer, START, clock=lambda: now[0])
    seen: list[str] = []

    def tick() -> None:
        seen.append(controls.page.html)
        now[0] += PAUSE * 0.6

    answerer.wait = tick
    controls.generate.click()
    controls.wait(20)
    assert seen == ["", "<p>1 so far</p>", "<p>1 so far</p>", "<p>3 so far</p>", "<p>3 so far</p>"]


def test_stop_is_heard_while_it_is_written_and_only_then(
    controls: CompareControls, answerer: Answerer
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        assert go_on.wait(20)

    answerer.wait = wait
    assert controls.stop.disabled
    controls.generate.click()
    assert reached.wait(20)
    assert answerer.thread is not threading.main_thread()
    assert (controls.generate.disabled, controls.stop.disabled) == (True, False)
    controls.stop.click()
    go_on.set()
    controls.wait(20)
    assert controls.page.html == "<p>1 in all</p>"
    assert (controls.generate.disabled, controls.stop.disabled) == (False, True)
    # The next one is not stopped by it.
    controls.generate.click()
    controls.wait(20)
    assert controls.page.html == "<p>6 in all</p>"


def test_an_interrupt_before_the_answers_are_begun_leaves_them_usable(
    controls: CompareControls, answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(thread: threading.Thread) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            controls.generate.click()
    assert (controls.generate.disabled, controls.stop.disabled) == (False, True)
    controls.generate.click()
    controls.wait(20)
    assert len(answerer.asked) == 1


def test_a_mistake_is_a_line_and_they_can_be_used_again(controls: CompareControls) -> None:
    controls.prompt.value = ""
    controls.generate.click()
    controls.wait(20)
    assert "the prompt is &lt;empty&gt;" in controls.page.message
    assert not controls.generate.disabled
    controls.prompt.value = "What?"
    controls.generate.click()
    controls.wait(20)
    assert controls.page.message == ""


def test_an_adapter_that_comes_is_ticked_and_one_that_stays_keeps_its_tick(
    controls: CompareControls,
) -> None:
    controls.boxes["one"].value = False
    controls.offer(["one", "three"])
    assert {name: box.value for name, box in controls.boxes.items()} == {
        "one": False,
        "three": True,
    }


def test_a_classifier_draws_nothing_and_has_no_controls_for_it(answerer: Answerer) -> None:
    def names(widget: object) -> set[str]:
        below = (names(child) for child in getattr(widget, "children", ()))
        own = {getattr(widget, "description", "")} - {""}
        return own.union(*below)

    with_draws = CompareControls(["one"], answerer, START)
    without = CompareControls(["one"], answerer, START, samples=False)
    assert names(with_draws.widget) - names(without.widget) == {
        "Temperature",
        "New tokens, at most",
        "Seed",
        "Scores",
    }


@pytest.mark.parametrize(
    ("start", "ticked"), [(None, ("one", "two")), ((), ()), (("two",), ("two",))]
)
def test_they_begin_with_the_ticks_that_were_asked_for(
    answerer: Answerer, start: tuple[str, ...] | None, ticked: tuple[str, ...]
) -> None:
    assert (
        CompareControls(["one", "two"], answerer, Request("Who?", start)).request.adapters == ticked
    )


def test_once_a_button_can_be_pressed_again_a_press_counts(
    controls: CompareControls, answerer: Answerer
) -> None:
    pressed: list[bool] = []
    over = threading.Event()

    def enabled(change: object) -> None:
        if controls.generate.disabled:
            return
        if len(pressed) == 3:
            over.set()
            return
        pressed.append(True)
        controls.generate.click()

    controls.generate.observe(enabled, "disabled")
    controls.generate.click()
    assert over.wait(20), "a press was not heard"
    assert len(answerer.asked) == 4
