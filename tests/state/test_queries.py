"""Verbs that look change nothing, and say what dense and independent sums say."""

from __future__ import annotations

import pandas
import pytest
import torch

from lora_magic.errors import AdapterError
from lora_magic.state.session import Session
from tests.conftest import Saver, perturb
from tests.state.shared import ROWS, snapshot
from tests.tiny import ARCHITECTURES, tiny_model, tiny_tokenizer


def test_a_list_of_prompts_is_compared_as_so_many_prompts(session: Session) -> None:
    session.attach("one", rank=2)
    asked = ["Hello", "Good day"]
    for given in (asked, pandas.Series(asked), pandas.Series(asked).to_numpy()):
        found = session.compare(given, max_new_tokens=2)
        assert found.to_frame().prompt.unique().tolist() == asked


def test_status_remembers_what_a_full_check_found(session: Session) -> None:
    # Written past torch's version counter, which is all that a quick check can see.
    session.model.lm_head.weight.data[0, 0] += 1
    assert session.status().unchanged
    assert not session.verify()
    assert not session.status().unchanged
    session.model.lm_head.weight.data[0, 0] -= 1
    session.verify()


def test_compare_shows_base_from_the_kept_tensors_while_merged(session: Session) -> None:
    session.attach("one", rank=2)
    perturb(session, "one", size=0.5)
    apart = session.compare("Hello", max_new_tokens=6).to_frame()
    session.merge()
    merged = session.compare("Hello", max_new_tokens=6).to_frame()
    assert merged.text.tolist() == apart.text.tolist()
    assert merged.first_logit_change[0] == 0.0
    assert merged.first_logit_change[1] == pytest.approx(apart.first_logit_change[1], rel=1e-3)
    assert session.merged == "one"


def test_an_untrained_adapter_changes_exactly_nothing_and_is_called_out(session: Session) -> None:
    session.attach("one", rank=2)
    found = session.compare("Hello", max_new_tokens=4)
    assert found.to_frame().first_logit_change.tolist() == [0.0, 0.0]
    assert "changes nothing" in found.panes[1].note


def test_looking_changes_nothing(session: Session) -> None:
    session.attach("one", rank=2)
    perturb(session, "one")
    session.attach("two", rank=3)
    before, state = snapshot(session), torch.get_rng_state()
    session.ask("Hello", max_new_tokens=3, temperature=1.0)
    session.compare("Hello", "World", max_new_tokens=3)
    session.ratio()
    session.ratio("one")
    session.ratio(rank=3, targets="attention")
    session.spectrum()
    session.spectrum("one", "two", module="q_proj")
    session.status()
    session.verify()
    assert snapshot(session) == before
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_ratio_of_a_plan_is_what_an_adapter_then_has(
    architecture: str, saved_model: Saver
) -> None:
    session = Session()
    session.load(str(saved_model(architecture)))
    planned = session.ratio(rank=3, targets="all-linear")
    record = session.attach("one", rank=3, targets="all-linear")
    assert planned.trainable_parameters == record.trainable
    assert session.ratio("one").to_frame().trainable.sum() == record.trainable
    # The parameters by torch's own count, tied ones once.
    assert planned.base_parameters == sum(p.numel() for p in tiny_model(architecture).parameters())


def test_the_spectrum_is_that_of_the_dense_update(session: Session) -> None:
    session.attach("one", rank=4, alpha=8, targets="q_proj")
    perturb(session, "one")
    frame = session.spectrum("one").to_frame()
    assert list(frame.columns) == ["adapter", "module", "index", "sigma"]
    layer = session.model.model.layers[1].self_attn.q_proj
    dense = 2.0 * layer.lora_B["default"].weight.double() @ layer.lora_A["default"].weight.double()
    expected = torch.linalg.svdvals(dense)[:4]
    found = frame[frame.module == "model.layers.1.self_attn.q_proj"]
    assert found["index"].tolist() == [1, 2, 3, 4]
    assert found.sigma.tolist() == pytest.approx(expected.tolist(), rel=1e-9)


@pytest.mark.parametrize(
    ("module", "count"),
    [
        ("q_proj", 2),
        ("0.q_proj", 1),
        ("model.layers.1.self_attn.v_proj", 1),
        ("self_attn", 8),
        ("layers.1", 7),
    ],
)
def test_a_module_is_named_by_its_path_its_end_its_parts_or_a_piece(
    module: str, count: int, session: Session
) -> None:
    session.attach("one", rank=2)
    assert session.spectrum("one", module=module).to_frame().module.nunique() == count


@pytest.mark.parametrize("module", ["1", "layers.1"])
def test_layer_1_is_not_layer_10(module: str) -> None:
    session = Session()
    session.use(tiny_model(num_hidden_layers=11), tiny_tokenizer())
    session.attach("one", rank=2, targets="q_proj")
    found = session.spectrum("one", module=module).modules
    assert found == ("model.layers.1.self_attn.q_proj",)
    session.reset()


@pytest.mark.parametrize("module", ["", " "])
def test_a_blank_module_is_no_module(module: str, session: Session) -> None:
    session.attach("one", rank=2)
    for look in (session.spectrum, session.similarity):
        with pytest.raises(AdapterError, match="expected a module's name"):
            look("one", module=module)


def test_status_names_the_next_thing_to_type(session: Session) -> None:
    assert "%lora load demo" in Session().status().next_commands
    assert any("attach" in c for c in session.status().next_commands)
    session.attach("one", rank=2)
    assert "%%lora_train one" in session.status().next_commands
    session.attach("two", rank=2)
    assert session.status().next_commands == ("%%lora_train two",), "the one just attached"
    session.detach("two")
    session.train("one", text=ROWS, steps=1)
    assert any("compare" in c for c in session.status().next_commands)
    session.merge()
    assert session.status().next_commands == ("%lora unmerge",)


def test_status_tells_the_weights_of_several_together(session: Session) -> None:
    for name in ("one", "two", "three"):
        session.attach(name, rank=2)
    session.swap("one=0.7,three=-0.3")
    rows = [line.split("● ")[1] for line in repr(session.status()).splitlines() if "● " in line]
    assert [(row.split()[0], row.split()[-2:]) for row in rows] == [
        ("one", ["at", "0.7"]),
        ("three", ["at", "-0.3"]),
    ]
    assert repr(session.swap("two=0.5")) == "two=0.5 is active"
    assert repr(session.swap("two=0.5,one=1")).endswith("are active together")


def test_without_a_tokenizer_no_prompt_is_suggested() -> None:
    session = Session()
    session.use(tiny_model())
    assert session.status().next_commands == ("%lora attach pirate",)


def test_a_session_prints_as_its_state_in_one_line(session: Session) -> None:
    assert "No base yet" in repr(Session())
    session.attach("one", rank=2)
    assert "1 adapter, one active" in repr(session)


def test_results_hold_no_model(session: Session) -> None:
    import gc
    import weakref

    record = session.attach("one", rank=2)
    values = [session.ask("Hi", max_new_tokens=2), session.compare("Hi", max_new_tokens=2)]
    values += [session.spectrum(), session.ratio(), session.status(), session.merge(), record]
    model = weakref.ref(session.model)
    session.reset()
    gc.collect()
    assert model() is None
    assert len(values) == 7
