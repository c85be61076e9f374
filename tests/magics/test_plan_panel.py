"""The controls of a plan: each choice is a line of `%lora plan`; no base and no torch is needed."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest

from lora_magic.adapters.methods import METHODS
from lora_magic.errors import AdapterError, CommandError
from lora_magic.magics.panel import Panel
from lora_magic.magics.parser import parse
from lora_magic.magics.plan_panel import PlanPanel
from lora_magic.magics.verbs.planning import PLAN
from lora_magic.state.session import Session
from lora_magic.views.controls.plan import NONE
from tests.conftest import Saver
from tests.magics.conftest import run_alone
from tests.views.samples import plan, ways_of_7b


class Asked(list[tuple[Any, dict[str, Any]]]):
    """The model and the flags of every plan that was made."""

    def __call__(self, session: Session, model: Any = None, **flags: Any) -> Any:
        self.append((model, flags))
        if model == "nothing":
            raise AdapterError("nothing: no such model")
        return plan(*ways_of_7b(True), model=str(model))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    made = Asked()
    monkeypatch.setattr(
        Session, "plan", lambda self, model=None, **flags: made(self, model, **flags)
    )
    return made


def line(controls: Any) -> str:
    """The line to type, as the page shows it."""
    found = re.search(r"%lora plan ([^<]*)<", controls.page.html)
    assert found is not None
    return html.unescape(found[1])


def test_below_a_record_they_begin_with_its_flags_and_draw_when_used(asked: Asked) -> None:
    start = {"model": "gpt2", "rank": 4, "bits": 4, "checkpointing": True, "batch_size": None}
    controls = Session().panel("plan", **start)._controls
    assert (controls.model.value, controls.method.value, controls.rank.value) == (
        "gpt2",
        "lora",
        "4",
    )
    assert (controls.bits.value, controls.checkpointing.value) == ("4", True)
    assert (controls.batch_size.value, controls.gpu.value) == ("", NONE)
    assert controls.page.html == ""
    assert asked == []
    controls.max_length.value = "2048"
    assert asked == [
        (
            "gpt2",
            {"method": "lora", "rank": 4, "bits": 4, "checkpointing": True, "max_length": 2048},
        )
    ]
    assert "4,194,304 of 6,738,415,616" in controls.page.html


@pytest.mark.parametrize(
    "model", ["", "gpt3-175b", "an/v1.0", "a folder/of mine", "layers=2,width=64", "{x}"]
)
def test_the_line_to_type_is_what_was_planned(asked: Asked, model: str) -> None:
    controls = Session().panel("plan", model="x", tokens=1e7, targets="all-linear")._controls
    controls.rank.value = " 8 "
    controls.gpu.value = "h100"
    controls.model.value = model
    parsed = parse(PLAN, line(controls), str, cell=False)
    name, flags = asked[-1]
    assert name == (model or None)
    assert flags == parsed.flags
    assert flags == {
        "method": "lora",
        "rank": 8,
        "gpu": "h100",
        "tokens": 1e7,
        "targets": "all-linear",
    }


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_chosen_and_gets_only_the_flags_that_it_reads(
    asked: Asked, method: str
) -> None:
    start = {"model": "gpt2", "rank": 4, "targets": "q_proj", "tokens": 5.0}
    controls = Session().panel("plan", **start)._controls
    controls.method.value = method
    controls.refresh()
    reads = METHODS[method].reads
    wanted = {"method": method, "tokens": 5.0}
    wanted |= {key: value for key, value in {"rank": 4, "targets": "q_proj"}.items() if reads(key)}
    assert asked[-1] == ("gpt2", wanted)
    assert controls.rank.disabled == (not reads("rank"))


def test_a_mistake_in_a_field_is_one_line_and_the_page_stays(asked: Asked) -> None:
    controls = Session().panel("plan", model="gpt2")._controls
    controls.gpu.value = "h100"
    before = controls.page.html
    controls.rank.value = "many"
    assert "&#x27;many&#x27; is not a whole number" in controls.page.message
    controls.rank.value = ""
    controls.model.value = "nothing"
    assert "no such model" in controls.page.message
    assert controls.page.html == before
    controls.model.value = "gpt2"
    assert controls.page.message == ""


def test_a_panel_of_its_own_shows_the_loaded_base_at_once(asked: Asked) -> None:
    panel = Session().panel("plan")
    assert asked == [(None, {"method": "lora"})]
    assert "4,194,304 of" in panel._controls.page.html
    assert "notebook" in repr(panel)
    panel.close()
    panel.close()
    assert panel.outputs()[-1]
    assert len(asked) == 2


def test_what_is_no_flag_is_refused_with_those_there_are() -> None:
    with pytest.raises(CommandError, match=r"unknown panel option 'rnk'.*'rank'"):
        Session().panel("plan", rnk=3)
    with pytest.raises(CommandError, match=r"got object; type session\.plan"):
        Session().panel("plan", model=object())


def test_the_tab_is_there_before_a_base_and_keeps_what_is_typed(
    asked: Asked, saved_model: Saver
) -> None:
    session = Session()
    panel = session.panel()
    assert isinstance(panel, Panel)
    assert panel._panel.tabs.get_title(0) == "Plan"
    controls = panel._plan
    assert controls is not None
    controls.rank.value = "4"
    before = len(asked)
    session.load(str(saved_model()))
    assert panel._plan is controls
    assert controls.rank.value == "4"
    # A blank name is the loaded base, which is another one now.
    assert asked[before:] == [(None, {"method": "lora", "rank": 4})]
    controls.model.value = "gpt2"
    before = len(asked)
    session.reset()
    assert len(asked) == before
    panel.close()


def test_controls_of_a_plan_import_no_torch(tmp_path: Path) -> None:
    run_alone(
        "import sys, lora_magic\n"
        "panel = lora_magic.Session().panel('plan', model='gpt3-175b')\n"
        "assert panel.outputs()\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)",
        tmp_path,
    )


def test_a_panel_of_a_plan_is_displayed_as_any_other() -> None:
    from lora_magic.magics import extension

    assert (PlanPanel.__module__, PlanPanel.__name__) == extension.PLAN_PANEL
