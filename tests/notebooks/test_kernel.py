"""In a real kernel: ■ in the middle of a training, an error in the middle of Run All.

Other releases of ipykernel than the installed one are tested too where `IPYKERNELS` names folders
that hold them (`pip install --no-deps --target FOLDER ipykernel==6.31.*`), as a PATH does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import distributions, version
from pathlib import Path

import pytest

from tests.conftest import Saver
from tests.notebooks.kernel import Kernel, kernel

BODY = "\nWhere is the library? => Arr!\nWhat is for dinner? => Fish, matey!"


def kernels() -> dict[str, Path | None]:
    """Releases of ipykernel and where they lie; the installed one, wherever it lies."""
    folders = filter(None, os.environ.get("IPYKERNELS", "").split(os.pathsep))
    held = {found.version: Path(path) for path in folders for found in distributions(path=[path])}
    return {**held, version("ipykernel"): None}


@pytest.fixture(scope="module", params=kernels().items(), ids=lambda release: release[0])
def running(
    request: pytest.FixtureRequest, saved_model: Saver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kernel]:
    release, libraries = request.param
    with kernel(str(tmp_path_factory.mktemp("kernel")), libraries=libraries) as made:
        assert value(made, "__import__('ipykernel').__version__") == repr(release)
        made.run("import torch; torch.set_num_threads(1)")
        made.run("%load_ext lora_magic")
        assert made.run(f"%lora load {saved_model()}").status == "ok"
        yield made


def value(running: Kernel, code: str) -> str:
    ran = running.run(code)
    assert ran.status == "ok", ran.errors
    return ran.displays[0]["text/plain"]


def test_a_training_shows_one_place_that_is_static_at_the_end(running: Kernel) -> None:
    running.run("%lora attach one --rank 2")
    ran = running.run("%%lora_train one --steps 5" + BODY)
    assert ran.status == "ok"
    assert ran.printed == ""
    shown, *rest = ran.displays
    assert "2 rows" in shown["text/plain"]
    assert "5 steps" in shown["text/plain"]
    # Where a Stop button was, nothing is drawn.
    assert all(not any(left.values()) for left in rest)
    assert "widget-view" not in str(ran.displays)


def test_stop_ends_after_the_step_keeps_the_adapter_and_stops_run_all(running: Kernel) -> None:
    running.run("%lora attach one --rank 2")
    training = running.start("%%lora_train one --steps 100000" + BODY)
    below = running.start("reached = True")
    running.wait_for(training, "press ■")
    running.stop()
    ran = running.finish(training)
    assert ran.status == "error"
    assert "TrainingStopped" in ran.errors[0]
    assert "--continue" in ran.errors[0]
    assert "\n" not in ran.errors[0].strip()
    assert running.status(below) == "aborted"
    running.run("import lora_magic")
    steps = int(value(running, "lora_magic.session().adapters['one'].history.steps"))
    assert 0 < steps < 100000
    assert value(running, "bool(lora_magic.session().verify())") == "True"
    assert value(running, "lora_magic.session().active") == "'one'"
    # The kernel's own handling of ■ is back in its place.
    check = "import signal; signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    assert value(running, check) == "True"


def test_a_mistake_is_one_red_line_and_the_cells_below_do_not_run(running: Kernel) -> None:
    # Older kernels leave out what waits already: the cell below must have come by then.
    wrong = running.start("import time; time.sleep(1)\n%lora swap nobody")
    below = running.start("reached = True")
    ran = running.finish(wrong)
    assert ran.status == "error"
    assert len(ran.errors) == 1
    assert ran.errors[0].startswith("AdapterError: no adapter 'nobody'")
    assert "\n" not in ran.errors[0]
    assert running.status(below) == "aborted"


def test_prompts_arrive_as_typed(running: Kernel) -> None:
    for prompt in ["What's up?", "It costs $19.90 or $5", "#5 is {alive}", 'Say "hi" now!']:
        code = f"x = %lora ask --max-new-tokens 2 {prompt}"
        assert running.run(code).status == "ok"
        assert value(running, "x.prompt") == repr(prompt)


def test_unloading_and_loading_again_keeps_the_session(running: Kernel) -> None:
    running.run("%lora attach kept --rank 2")
    running.run("%unload_ext lora_magic")
    assert "%lora` not found" in str(running.run("%lora"))
    running.run("%load_ext lora_magic")
    assert "kept" in running.run("%lora").text


#: A cell that is busy until its button is pressed, for two seconds at most; the button is `knob`.
BUSY = """
import threading, time, ipywidgets
pressed, knob = threading.Event(), ipywidgets.Button(description="Stop")
knob.on_click(lambda _: pressed.set())
{routed}
display(knob)
print("press it")
reached = any(pressed.wait(0.05) for _ in range(40))
"""

#: Since 7.4 a comm sends what its front end says to the shell that the comm last spoke from, which
#: is the busy one; this has it go where the front end sent it. Older comms do not ask.
ROUTED = "knob.comm._reply_subshell_for = lambda data, default: default"


def reaches(running: Kernel, routed: str) -> bool:
    """Whether a button that is pressed while its cell runs is heard by that cell."""
    cell = running.start(BUSY.format(routed=routed))
    running.wait_for(cell, "press it")
    running.press(running.widget("ButtonModel", description="Stop"))
    assert running.finish(cell).status == "ok"
    heard = value(running, "reached") == "True"
    # Late or not, every press is heard: the shell takes its messages in turn.
    assert value(running, "pressed.is_set()") == "True"
    return heard


def test_a_button_reaches_a_busy_cell_where_the_kernel_has_subshells(running: Kernel) -> None:
    assert reaches(running, ROUTED) == running.has_subshells


def test_a_button_needs_its_route_where_comms_choose_one(running: Kernel) -> None:
    chooses = "hasattr(__import__('ipykernel.comm').comm.Comm, '_reply_subshell_for')"
    if value(running, chooses) == "True":
        assert not reaches(running, "")
    else:
        assert reaches(running, "") == running.has_subshells


def test_the_stop_button_ends_a_training_where_a_click_can_come_through(running: Kernel) -> None:
    running.run("%lora attach one --rank 2")
    training = running.start("%%lora_train one --steps 100000" + BODY)
    if running.has_subshells:
        running.wait_for(training, "widget-view")
        running.press(running.widget("ButtonModel", tooltip="Stop after this step"))
    else:
        running.wait_for(training, "press ■")
        running.stop()
    ran = running.finish(training)
    assert "TrainingStopped" in ran.errors[0]
    # Nothing of a widget stays in the cell.
    assert "widget-view" not in str(ran.displays)
    tooltips = [state.get("tooltip") for state in running.widgets.values()]
    assert "Stop after this step" not in tooltips
    running.run("import lora_magic")
    assert value(running, "bool(lora_magic.session().verify())") == "True"


def test_controls_answer_to_a_front_end(running: Kernel) -> None:
    running.run("%lora attach one --rank 2")
    ran = running.run("%lora ratio one")
    assert ["widget-view" in str(shown) for shown in ran.displays] == [False, False, True]
    running.run("import lora_magic")
    wanted = value(running, "f'{lora_magic.session().ratio(rank=7).trainable_parameters:,}'")
    running.move(running.widget("IntSliderModel", description="Rank"), value=7)
    running.wait_for_widget(f"{wanted[1:-1]} trainable of")
    running.run("%lora compare --max-new-tokens 3 Hello")
    running.press(running.widget("ButtonModel", description="Generate"))
    running.wait_for_widget("3\u00a0tokens")
    running.run("%lora panel")
    running.run("%lora merge one")
    running.wait_for_widget("%lora unmerge")
    running.run("%lora unmerge")
