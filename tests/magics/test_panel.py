"""Controls over a real session: each choice is the verb's own answer, and nothing else changes."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from typing import Any

import ipywidgets
import pytest
import torch
from torch.overrides import TorchFunctionMode

from lora_magic.adapters.methods import METHODS
from lora_magic.errors import CommandError, LoraMagicError, StateError
from lora_magic.lowrank.dense import DenseUpdate
from lora_magic.magics import panel as panel_module
from lora_magic.magics.parser import parse
from lora_magic.magics.verbs import VERBS
from lora_magic.magics.verbs.looking import VIEWS
from lora_magic.state.session import Session
from lora_magic.training.reporter import SilentReporter
from lora_magic.views import spectrum as spectrum_view
from lora_magic.views.controls.outputs import MIME
from lora_magic.views.controls.ratio import TYPED
from tests.classifiers import saved, tiny_of
from tests.conftest import Saver, perturb
from tests.state.shared import snapshot

PATIENCE = 60


@pytest.fixture
def session(saved_model: Saver) -> Session:
    """A session with a tiny Llama, in the place of this folder's recording one."""
    made = Session()
    made.load(str(saved_model()))
    return made


@pytest.fixture
def ready(session: Session) -> Session:
    """Two adapters that change something, the second one active."""
    for name, rank in (("one", 2), ("two", 3)):
        session.attach(name, rank=rank, targets="q_proj,v_proj")
        perturb(session, name)
    return session


def page_of(result: Any) -> str:
    return str(result._repr_mimebundle_()["text/html"])


def live(found: Any) -> str:
    """The page of a spectrum, whose heat maps show a value on hover."""
    return str(spectrum_view.page(found, live=True))


def test_the_rank_slider_says_what_an_adapter_of_that_rank_would_train(ready: Session) -> None:
    controls = ready.panel("ratio")._ratio
    for rank in (1, 4, 8):
        controls.rank.value = rank
        made = ready.attach(f"of_{rank}", rank=rank, targets="q_proj,v_proj")
        assert f"{made.trainable:,} trainable of" in controls.page.html


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_chosen_and_says_what_the_verb_says(
    ready: Session, method: str
) -> None:
    controls = ready.panel("ratio")._ratio
    controls.method.value = method
    controls.refresh()
    reads = METHODS[method].takes
    flags: dict[str, Any] = {"rank": 3} if "rank" in reads else {}
    flags |= {"targets": "q_proj,v_proj"} if method in ("lora", "adalora") else {}
    if method == "bitfit":
        # A Llama has no biases, as the verb says.
        assert "no biases" in controls.page.message
        return
    assert ready.ratio(method=method, **flags).line in controls.page.html
    assert controls.page.message == ""


def test_counting_touches_neither_the_model_nor_a_slot(ready: Session) -> None:
    class Nothing(TorchFunctionMode):
        """No function of torch may be called on a tensor; asking for its shape is none."""

        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            name = getattr(function, "__name__", "")
            assert name in ("__get__", "numel", "size", "dim", "data_ptr"), name
            return function(*args, **(kwargs or {}))

    controls = ready.panel("ratio")._ratio
    before = snapshot(ready)
    places = [dict(module._modules) for module in ready.model.modules()]
    writes: list[Any] = []
    slots = ready._state.slots
    slots.write = lambda modules: writes.append(modules)  # type: ignore[method-assign]
    with Nothing():
        controls.rank.value = 1
        controls.targets.value = "all-linear"
        controls.typed.value = 5
    del slots.write
    assert writes == []
    assert [dict(module._modules) for module in ready.model.modules()] == places
    assert snapshot(ready) == before


def test_the_picture_is_of_the_matrix_that_is_picked(saved_model: Saver) -> None:
    session = Session()
    session.load(str(saved_model("gpt2")))
    controls = session.panel("ratio", targets="all-linear", rank=2)._ratio
    shapes = {
        row.module.rpartition(".")[2]: (row.outputs, row.inputs)
        for row in session.ratio(targets="all-linear", rank=2).modules
    }
    assert set(controls.matrix.options) == {*shapes, TYPED}
    for kind, (d, k) in shapes.items():
        controls.matrix.value = kind
        controls.refresh()
        assert f"{2 * (d + k):,} of d·k = {d * k:,}" in controls.page.html
        assert (controls.outputs.value, controls.inputs.value) == (d, k)


def test_any_matrix_can_be_typed_and_a_rank_beyond_it_is_one_line(ready: Session) -> None:
    controls = ready.panel("ratio", rank=8)._ratio
    controls.refresh()
    controls.outputs.value = 12288
    controls.inputs.value = 12288
    assert "196,608 of d·k = 150,994,944" in controls.page.html
    assert "%lora ratio --matrix 12288x12288 --rank 8" in controls.page.html
    controls.inputs.value = 4
    assert "a matrix of 12288 × 4 has ranks from 1 to 4" in controls.page.message


def test_the_line_to_type_attaches_what_the_controls_count(ready: Session) -> None:
    controls = ready.panel("ratio")._ratio
    controls.rank.value = 5
    controls.targets.value = "all-linear"
    line = re.search(r"%lora attach NAME ([^<]+)", controls.page.html)
    assert line is not None
    typed = f"typed {html.unescape(line[1])}"
    flags = parse(VERBS["attach"], typed, str, cell=False).flags
    made = ready.attach("typed", **flags)
    assert f"{made.trainable:,} trainable of" in controls.page.html


def test_the_controls_begin_with_what_was_asked_about(ready: Session) -> None:
    ratio = ready.panel("ratio", adapter="one", rank=8)._ratio
    assert (ratio.method.value, ratio.rank.value, ratio.targets.value) == (
        "lora",
        8,
        "q_proj,v_proj",
    )
    assert ready.panel("ratio", method="houlsby")._ratio.method.value == "houlsby"
    spectrum = ready.panel("spectrum", adapters=["one"])._spectrum
    assert spectrum.page.html == live(ready.spectrum("one"))
    compare = ready.panel("compare", prompt="Hi", adapters=["base", "two"], temperature=0.5)
    asked = compare._compare.request
    assert (asked.prompt, asked.adapters, asked.temperature) == ("Hi", ("two",), 0.5)


def test_a_spectrum_shows_the_adapters_that_the_verb_shows(ready: Session) -> None:
    for flags in ({}, {"adapters": ()}):
        assert ready.panel("spectrum", **flags)._spectrum.page.html == live(ready.spectrum("two"))
    ready.swap("one")
    assert ready.panel("spectrum")._spectrum.page.html == live(ready.spectrum("one"))
    both = live(ready.spectrum("one", "two"))
    ready.swap("one=0.5,two=0.5")
    assert ready.panel("spectrum")._spectrum.page.html == both
    ready.swap("base")
    assert ready.panel("spectrum")._spectrum.page.html == both
    assert ready.panel()._spectrum.page.html == both


def test_controls_without_a_record_above_them_show_their_first_choice(ready: Session) -> None:
    assert ready.ratio(method="lora", rank=3, targets="q_proj,v_proj").line in (
        ready.panel("ratio")._ratio.page.html
    )
    assert ready.panel("ratio", adapter=None)._ratio.page.html == ""


def test_generate_answers_as_the_verb_does_and_shows_it_while_it_is_written(
    ready: Session,
) -> None:
    controls = ready.panel("compare", prompt="Hello there", max_new_tokens=8, seed=3)._compare
    controls.temperature.value = 0.9
    controls.boxes["two"].value = False
    pages: list[str] = []
    controls._clock = iter(range(10_000)).__next__
    put = controls.page.put
    controls.page.put = lambda page: (pages.append(page), put(page))
    before = snapshot(ready)
    controls.generate.click()
    controls.wait(PATIENCE)
    assert snapshot(ready) == before
    wanted = ready.compare(
        "Hello there", adapters=["one"], temperature=0.9, max_new_tokens=8, seed=3
    )
    for pane in wanted.panes:
        assert pane.text.split()[0] in pages[-1]
    assert "two" not in pages[-1]
    assert len(pages) == 10, "the base's first token, eight of all, and the answers"
    assert all("answering …" in page for page in pages[:-1])
    assert len(pages[0]) < len(pages[-2])


def test_stop_ends_the_answers_and_leaves_the_session_as_it_was(ready: Session) -> None:
    controls = ready.panel("compare", prompt="Hello", max_new_tokens=50)._compare
    before = snapshot(ready)
    follow = controls._clock
    calls: list[int] = []

    def clock() -> float:
        calls.append(1)
        if len(calls) == 5:
            controls.stop.click()
        return follow()

    controls._clock = clock
    controls.generate.click()
    controls.wait(PATIENCE)
    assert "3 tokens" in controls.page.html.replace("\u00a0", " ")
    assert "stopped by you" in controls.page.html.replace("\u00a0", " ")
    assert snapshot(ready) == before


def test_the_box_takes_several_prompts_as_the_cell_does(ready: Session) -> None:
    controls = ready.panel("compare", prompt="Hi\nthere\n\n \nHello", max_new_tokens=2)._compare
    controls.generate.click()
    controls.wait(PATIENCE)
    wanted = ready.compare("Hi\nthere", "Hello", max_new_tokens=2)
    for prompt in wanted.prompts:
        assert prompt.replace("\n", "<br>") in controls.page.html
    assert controls.page.html.count('aria-label="Answer of one"') == 2


def test_a_stop_begins_no_other_answer(ready: Session) -> None:
    ready.attach("three", method="ia3")
    calls: list[int] = []

    def watch(written: Any) -> bool:
        calls.append(1)
        return len(calls) == 2

    found = ready.compare("Hi", "Hello", max_new_tokens=9, watch=watch)
    assert len(calls) == 2
    assert [pane.tokens for pane in found.panes] == [2, *[0] * 7]
    assert all(pane.stopped and not pane.ended for pane in found.panes)
    assert len(found.to_frame()) == 8


def test_untrained_adapters_are_compared_only_if_named_or_if_all_are(ready: Session) -> None:
    everything = ready.compare("Hi", max_new_tokens=1)
    assert everything.adapters == ("base", "one", "two")
    assert everything.left_out == ()
    ready.train("one", text="Where? => Here.", steps=1)
    found = ready.compare("Hi", max_new_tokens=1)
    assert (found.adapters, found.left_out) == (("base", "one"), ("two",))
    named = ready.compare("Hi", adapters="two", max_new_tokens=1)
    assert (named.adapters, named.left_out) == (("base", "two"), ())


def test_while_a_cell_trains_the_button_waits_and_says_so(ready: Session) -> None:
    controls = ready.panel("compare")._compare
    seen: list[tuple[bool, str]] = []

    class Watching(SilentReporter):
        def step(self, point: Any) -> None:
            seen.append((controls.generate.disabled, controls.page.message))

    ready.train("one", text="Where? => Here.", steps=1, reporter=Watching())
    ((disabled, message),) = seen
    assert disabled
    assert "Busy with train" in message
    assert not controls.generate.disabled
    assert controls.page.message == ""
    with pytest.raises(LoraMagicError):
        ready.train("nobody", text="a => b")
    assert not controls.generate.disabled


def test_voices_that_cannot_share_a_pass_are_shown_one_after_the_other(ready: Session) -> None:
    ready.attach("three", method="ia3")
    controls = ready.panel("compare", prompt="Hello", max_new_tokens=3)._compare
    pages: list[str] = []
    controls._clock = iter(range(10_000)).__next__
    put = controls.page.put
    controls.page.put = lambda page: (pages.append(page), put(page))
    controls.generate.click()
    controls.wait(PATIENCE)
    waiting = [page.count("waiting") for page in pages[:-1]]
    assert waiting == sorted(waiting, reverse=True)
    assert (waiting[0], waiting[-1]) == (3, 0)


def test_a_mistake_in_a_control_is_its_line(ready: Session) -> None:
    controls = ready.panel("compare", prompt="  ")._compare
    controls.prompt.value = "   "
    controls.generate.click()
    controls.wait(PATIENCE)
    assert "prompt" in controls.page.message
    ratio = ready.panel("ratio")._ratio
    ratio.typed.value = 16
    ready.reset()
    ratio.rank.value = 4
    assert "no base model is loaded" in ratio.page.message


def test_the_panel_says_what_is_loaded_active_and_merged_at_any_time(
    saved_model: Saver,
) -> None:
    session = Session()
    panel = session.panel()
    top = panel._panel.top
    assert "No base yet" in top.html
    assert len(panel._panel.tabs.children) == 1
    session.load(str(saved_model()))
    assert len(panel._panel.tabs.children) == len(VIEWS)
    session.attach("one", rank=2)
    assert page_of(session.status()) in top.html
    assert live(session.spectrum("one")) == panel._spectrum.page.html
    perturb(session, "one")
    session.attach("two", rank=2)
    session.swap("one")
    assert page_of(session.status()) in top.html
    assert list(panel._compare.boxes) == ["one", "two"]
    session.merge("one")
    assert page_of(session.status()) in top.html
    session.unmerge()
    session.detach("two")
    assert list(panel._compare.boxes) == ["one"]
    session.reset()
    assert "No base yet" in top.html
    assert len(panel._panel.tabs.children) == 1


def test_another_base_brings_its_own_modules_into_the_panel(saved_model: Saver) -> None:
    session = Session()
    session.load(str(saved_model()))
    panel = session.panel()
    assert "q_proj" in [box.description for box in panel._ratio.boxes]
    session.load(str(saved_model("gpt2")))
    assert "c_attn" in [box.description for box in panel._ratio.boxes]
    assert "q_proj" not in [box.description for box in panel._ratio.boxes]


def test_the_pickers_of_a_spectrum_show_any_measure_and_any_module(ready: Session) -> None:
    controls = ready.panel("spectrum", adapters=["one", "two"])._spectrum
    paths = ready.spectrum("one").modules
    assert list(controls.module.options) == ["all", "0.q_proj", "0.v_proj", "1.q_proj", "1.v_proj"]
    assert {"effective_rank", "relative_norm", "sigma_1", "sigma_3"} < {*controls.measure.options}
    for measure in controls.measure.options:
        controls.measure.value = measure
        assert controls.page.html == live(ready.spectrum("one", "two", measure=measure)), measure
    controls.module.value = "1.v_proj"
    assert controls.measure.disabled
    assert controls.page.html == live(ready.spectrum("one", "two", module=paths[3]))
    # The chosen module stays when the session changes, and goes with its adapters.
    perturb(ready, "one", size=0.3)
    ready._state.attached["one"].history = replace(ready._state.attached["one"].history, steps=1)
    ready.swap("two")
    assert controls.page.html == live(ready.spectrum("one", "two", module=paths[3]))
    ready.merge("two")
    assert "two is merged" in controls.page.html
    ready.unmerge()
    assert "is merged" not in controls.page.html


def test_pickers_below_a_spectrum_begin_with_it_and_draw_when_used(ready: Session) -> None:
    """The record above them shows it already."""
    panel = ready.panel("spectrum", adapters=["one"], measure="sigma_2", module="0.q_proj")
    controls = panel._spectrum
    assert (controls.measure.value, controls.module.value) == ("sigma_2", "0.q_proj")
    assert controls.page.html == ""
    controls.module.value = "all"
    assert controls.page.html == live(ready.spectrum("one", measure="sigma_2"))
    marked = ready.panel("spectrum", adapters=["one"], intruders=True, measure="intruders")
    assert marked._spectrum.measure.value == "intruders"


def test_a_spectrum_on_the_page_follows_the_training(ready: Session) -> None:
    panel = ready.panel()
    before = panel._spectrum.page.html
    ready.swap("base")
    assert panel._spectrum.page.html == before
    ready.train("one", text="Where? => Here.", steps=2)
    assert panel._spectrum.page.html != before


def test_a_dense_spectrum_of_some_size_is_left_to_the_verb(
    ready: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked: list[int] = []
    values = DenseUpdate.singular_values

    def counted(update: DenseUpdate) -> torch.Tensor:
        worked.append(1)
        return values(update)

    monkeypatch.setattr(DenseUpdate, "singular_values", counted)
    made = ready.attach("magnitudes", rank=2, dora=True)
    perturb(ready, "magnitudes")
    small = ready.panel()
    assert len(worked) == len(made.modules)
    small.close()
    monkeypatch.setattr(panel_module, "AT_ONCE", 1)
    spectrum = ready.panel()._spectrum
    ready.attach("three", rank=2)
    assert len(worked) == len(made.modules)
    assert "magnitudes is dense" in spectrum.page.message
    assert "%lora spectrum magnitudes" in spectrum.page.message
    # Factors are quick at any size.
    assert spectrum.page.html == live(ready.spectrum("one", "two", "three"))
    before = spectrum.page.html
    ready.train("one", text="Where? => Here.", steps=2)
    assert spectrum.page.html == live(ready.spectrum("one", "two", "three")) != before
    ready.detach("magnitudes")
    assert spectrum.page.message == ""
    ready.detach("two")
    assert spectrum.page.html == live(ready.spectrum("one", "three"))


def test_a_panel_that_was_thrown_away_is_no_burden(ready: Session) -> None:
    class Dropped:
        def hear(self, doing: str) -> None:
            raise AssertionError

    ready._lock.listen(Dropped().hear)
    ready.swap("base")


def test_while_a_verb_runs_a_control_says_so(ready: Session) -> None:
    compare = ready.panel("compare", prompt="Hello")._compare
    with ready._lock.locked():
        ready._lock.doing = "train"
        compare.generate.click()
        compare.wait(PATIENCE)
    assert "busy with train" in compare.page.message


def test_of_a_classifier_the_controls_show_probabilities(tmp_path: Any) -> None:
    session = Session()
    folder = saved(tiny_of("causal", "llama"), tmp_path / "base")
    session.load(folder, task="classification", labels="day,night")
    session.attach("sky", rank=2)
    controls = session.panel("compare", prompt="good")._compare
    controls.generate.click()
    controls.wait(PATIENCE)
    assert controls.page.message == ""
    assert "%" in controls.page.html


def test_another_view_is_refused_with_those_there_are(session: Session) -> None:
    with pytest.raises(CommandError, match=r"ratio, spectrum, compare.*'spectrum'"):
        session.panel("spectrm")


def test_without_a_base_one_view_is_refused() -> None:
    for view in set(VIEWS) - {"plan"}:
        with pytest.raises(StateError, match="no base model is loaded"):
            Session().panel(view)


def test_a_panel_in_words_says_what_the_session_holds(ready: Session) -> None:
    words = repr(ready.panel())
    assert "two" in words
    assert "notebook" in words
    assert torch.is_grad_enabled()


def test_a_panel_that_is_closed_leaves_nothing_behind_and_hears_nothing(ready: Session) -> None:
    def living() -> int:
        # ipywidgets 8 keeps them in a dict of its own, 7 in a trait of the class.
        kept = getattr(ipywidgets.widget, "_instances", None)
        return len(ipywidgets.Widget.widgets if kept is None else kept)

    before = living()
    for view in (None, *VIEWS):
        panel = ready.panel(view)
        assert living() > before
        panel.close()
        panel.close()
        assert living() == before
        ready.swap("one")
        assert living() == before


def test_another_base_leaves_none_of_the_old_controls_behind(saved_model: Saver) -> None:
    session = Session()
    session.load(str(saved_model()))
    panel = session.panel()
    old = panel._ratio.widget
    session.load(str(saved_model("gpt2")))
    assert old.comm is None
    assert panel._ratio.widget.comm is not None


def test_closing_a_panel_ends_the_answers_that_it_writes(ready: Session) -> None:
    panel = ready.panel("compare", prompt="Hello", max_new_tokens=100)
    controls = panel._compare
    clock, calls = controls._clock, []

    def closing() -> float:
        calls.append(1)
        if len(calls) == 4:
            panel.close()
        return clock()

    controls._clock = closing
    controls.generate.click()
    controls.wait(PATIENCE)
    assert len(calls) < 10


@pytest.mark.parametrize("view", [None, *VIEWS])
def test_a_panel_that_was_closed_is_made_anew_where_it_is_shown_again(
    ready: Session, view: str | None
) -> None:
    panel = ready.panel(view)
    panel.close()
    ready.attach("three", rank=2)
    assert panel.outputs()[-1][MIME]["model_id"] == panel.widget.model_id
    ready.swap("one")
    if view in (None, "compare"):
        assert list(panel._compare.boxes) == ["one", "two", "three"]


def test_several_that_are_active_together_can_answer_too(ready: Session) -> None:
    ready.swap("one=0.7,two=0.3")
    controls = ready.panel("compare", prompt="Hello", max_new_tokens=2)._compare
    assert list(controls.boxes) == ["one", "two", "one=0.7,two=0.3"]
    controls.generate.click()
    controls.wait(PATIENCE)
    assert controls.page.message == ""
    assert "one=0.7,two=0.3" in controls.page.html
    ready.swap("one")
    assert list(controls.boxes) == ["one", "two"]


def test_adapters_to_begin_with_may_have_commas_as_everywhere(ready: Session) -> None:
    ready.attach("three", rank=2)
    compare = ready.panel("compare", adapters="base,one,three")._compare
    assert compare.request.adapters == ("one", "three")
    spectrum = ready.panel("spectrum", adapters="two")._spectrum
    assert spectrum.page.html == live(ready.spectrum("two"))


def test_what_controls_cannot_begin_with_is_refused(ready: Session) -> None:
    with pytest.raises(CommandError, match=r"unknown panel option 'rnk'.*'rank'"):
        ready.panel("ratio", rnk=3)


def test_virtual_tokens_that_were_asked_about_are_counted(ready: Session) -> None:
    controls = ready.panel("ratio", method="prefix", virtual_tokens=20)._ratio
    controls.refresh()
    wanted = ready.ratio(method="prefix", virtual_tokens=20).trainable_parameters
    assert f"{wanted:,} trainable of" in controls.page.html


def test_of_base_alone_no_box_is_ticked(ready: Session) -> None:
    assert ready.panel("compare", adapters=["base"])._compare.request.adapters == ()
    assert ready.panel("compare")._compare.request.adapters == ("one", "two")
