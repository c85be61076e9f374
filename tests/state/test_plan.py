"""`plan`: counts, ways, what fits, hours and price of a model, and of the loaded base."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import lora_magic

# Else each line that an error suggests is typed in a process that imports it anew.
import lora_magic.adapters.bridge
from lora_magic import numbers
from lora_magic.adapters.shapes import Shapes
from lora_magic.adapters.sites import Site, sites_of
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.cost import count, machine
from lora_magic.cost.cards import CARDS
from lora_magic.cost.plan import CostPlan, Way
from lora_magic.errors import AdapterError, BaseModelError, CommandError, StateError
from lora_magic.state.session import Session
from tests.tiny import tiny_model, tiny_tokenizer

#: A Llama of about 1.1 billion parameters.
SIZES = "layers=22,width=2048,heads=32,kv_heads=4,inner=5632"
GIGA = 10**9


@pytest.fixture
def empty() -> Session:
    return Session()


@pytest.fixture(autouse=True)
def _sixteen_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda: 16 * GIGA)
    monkeypatch.setattr(machine, "_card_here", lambda: None)


def way(found: CostPlan, name: str) -> Way:
    return next(way for way in found.ways if way.name == name)


def test_a_plan_imports_no_torch_and_no_transformers(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from lora_magic import Session\n"
        "session = Session()\n"
        "found = session.plan('llama-3-70b', gpu='h100', price=2.5)\n"
        "repr(found), found._repr_mimebundle_()\n"
        "slow = {'difflib', 'gzip', 'hashlib', 'uuid', 'regex', 'statistics', 'ctypes.util'}\n"
        "slow |= {'lora_magic.state.ledger', 'lora_magic.cost.matrix', 'lora_magic.cost.meta'}\n"
        "assert not slow.intersection(sys.modules), slow.intersection(sys.modules)\n"
        "session.plan('layers=2,width=64')\n"
        "session.plan('demo')\n"
        "heavy = {'torch', 'transformers', 'peft', 'numpy', 'pandas', 'bitsandbytes'}\n"
        "assert not heavy.intersection(sys.modules), heavy.intersection(sys.modules)\n"
    )
    root = str(Path(lora_magic.__file__).parents[1])
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": root},
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr


def test_a_plan_resolves_the_sites_of_each_spec_once(
    empty: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[AdapterSpec] = []

    def noted(shapes: Shapes, spec: AdapterSpec, head: Iterable[str] = ()) -> tuple[Site, ...]:
        asked.append(spec)
        return sites_of(shapes, spec, head)

    monkeypatch.setattr(count, "sites_of", noted)
    empty.plan("llama-3-70b", rank=16, targets="all-linear", gpu="h100", price=2.5)
    # The way asked for, full fine-tuning, and the methods that are set beside them.
    assert sorted(spec.method for spec in asked) == ["full", "houlsby", "ia3", "lora", "prefix"]


def test_the_published_counts_of_a_70b(empty: Session) -> None:
    found = empty.plan("llama-3-70b", gpu="h100")
    assert found.base_parameters == 70_553_706_496
    assert found.trainable_parameters == 207_093_760
    assert sum(kind.parameters for kind in found.types) == 70_553_706_496
    assert sum(kind.trained for kind in found.types) == 207_093_760
    kinds = {kind.kind: kind for kind in found.types}
    assert (kinds["k_proj"].modules, kinds["k_proj"].outputs, kinds["k_proj"].inputs) == (
        80,
        1024,
        8192,
    )


def test_the_four_ways_are_side_by_side(empty: Session) -> None:
    found = empty.plan(SIZES, gpu="h100")
    assert [one.name for one in found.ways] == ["inference", "LoRA", "QLoRA", "full fine-tuning"]
    inference, lora, qlora, full = found.ways
    # 16 bits each, and in 4 bits with their constants 4.127 of all that is quantised.
    assert inference.memory.of("weights") == 2 * found.base_parameters
    assert qlora.memory.of("weights") < 0.5 * lora.memory.of("weights")
    assert full.trained == found.base_parameters
    assert inference.trained == 0
    assert inference.memory.peak < lora.memory.peak < full.memory.peak


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        ({}, "LoRA"),
        ({"bits": 4}, "QLoRA"),
        ({"bits": 8}, "LoRA on 8 bits"),
        ({"method": "full"}, "full fine-tuning"),
        ({"method": "houlsby"}, "bottleneck adapters (Houlsby)"),
        ({"method": "prefix", "bits": 4}, "prefix tuning on 4 bits"),
        ({"method": "dora"}, "LoRA"),
    ],
)
def test_the_flags_choose_the_way(flags: dict[str, Any], chosen: str, empty: Session) -> None:
    found = empty.plan(SIZES, gpu="h100", **flags)
    assert found.chosen == chosen
    one = way(found, chosen)
    assert one.trained == found.trainable_parameters
    assert one.setting.bits == flags.get("bits")
    assert chosen in found.line


def test_full_fine_tuning_of_quantised_weights_says_why_not(empty: Session) -> None:
    found = empty.plan(SIZES, method="full", bits=4)
    assert "no gradient" in way(found, "full fine-tuning on 4 bits").refused
    assert "not possible" in found.line


def test_the_largest_pass_fits_and_the_next_does_not(empty: Session) -> None:
    from lora_magic.cost.config import model_of
    from lora_magic.cost.memory import memory

    found, model = empty.plan(SIZES, gpu="l4"), model_of(SIZES)
    assert found.room == CARDS["l4"].room
    for one in found.ways:
        if not one.rows:
            continue
        at, more = (one.setting.changed(rows=one.rows + n) for n in (0, 1))
        assert memory(model, at).peak <= found.room < memory(model, more).peak
        assert one.fits == (one.memory.peak <= found.room)


def test_hours_and_price_follow_from_the_tokens(empty: Session) -> None:
    one = way(empty.plan(SIZES, gpu="h100", price=2.5, tokens=10e6), "LoRA")
    ten = way(empty.plan(SIZES, gpu="h100", price=2.5, tokens=100e6), "LoRA")
    assert one.hours is not None
    assert one.hours == pytest.approx(one.flops / (0.4 * 989e12) / 3600)
    assert one.price == pytest.approx(2.5 * one.hours)
    assert ten.hours == pytest.approx(10 * one.hours)


def test_without_a_card_there_are_no_hours_and_here_measures_them(empty: Session) -> None:
    assert way(empty.plan(SIZES), "LoRA").hours is None
    measured = empty.plan(SIZES, gpu="here")
    assert (way(measured, "LoRA").hours or 0) > 0
    assert any("reaches here" in note for note in measured.notes)


def test_a_model_too_large_for_a_card_takes_several(empty: Session) -> None:
    found = empty.plan("llama-3-70b", gpu="h100", price=1.0, batch_size=1, checkpointing=True)
    one = way(found, "inference")
    # 141 GB of weights on cards with 84.
    assert one.cards == 2
    assert one.price == pytest.approx(2 * (one.hours or 0))


def test_what_no_number_of_cards_can_run_takes_no_hours_and_costs_nothing(empty: Session) -> None:
    one = way(empty.plan("llama-2-7b", gpu="t4", price=1.0), "LoRA")
    assert (one.fits, one.cards, one.hours, one.price) == (False, None, None, None)


def test_a_step_of_several_passes_keeps_the_gradients_of_the_earlier_ones(empty: Session) -> None:
    many = way(empty.plan("llama-3-8b"), "full fine-tuning")
    assert many.setting.passes > 1
    assert many.memory.of("gradients") == 4 * many.trained
    one = way(empty.plan("llama-3-8b", batch_size=1), "full fine-tuning")
    assert one.setting.passes == 1


def test_storage_is_one_base_and_many_adapters(empty: Session) -> None:
    found = empty.plan("gpt3-175b", rank=4, targets="q_proj,v_proj", gpu="h100", tasks=1000)
    # 18.87M parameters (table 4 of the paper) in float32, as this project saves them.
    assert found.trainable_parameters == 18_874_368
    assert found.checkpoint == 4 * 18_874_368
    weights = way(found, "inference").memory.of("weights")
    assert found.stored == weights + 1000 * found.checkpoint
    assert found.copies == 1000 * weights


@pytest.mark.parametrize(
    ("trained", "answer"), [(1e3, "yes"), (1e12, "no: ")], ids=["enough", "too few"]
)
def test_parameters_are_set_against_completion_tokens(
    trained: float, answer: str, empty: Session
) -> None:
    found = empty.plan(SIZES, trained_tokens=trained)
    row = found.rows[0]
    assert row.answer.startswith(answer)
    if answer == "no: ":
        assert "--method full" in row.command


def test_a_larger_rank_is_named_where_it_is_enough(empty: Session) -> None:
    tokens = 2.5 * empty.plan(SIZES).trainable_parameters
    found = empty.plan(SIZES, trained_tokens=tokens)
    # All matrices have this rank, so the parameters are in proportion.
    assert "--rank 40" in found.rows[0].command
    assert empty.plan(SIZES, rank=40).trainable_parameters >= tokens


def test_a_prefix_leaves_less_of_the_context(empty: Session) -> None:
    found = empty.plan(SIZES + ",context=1000", method="prefix", virtual_tokens=30)
    assert any("970 of 1,000 tokens" in row.answer for row in found.rows)


def test_the_saving_of_a_change_is_what_the_change_saves(empty: Session) -> None:
    found = empty.plan(SIZES, gpu="h100")
    row = next(row for row in found.rows if "saves most" in row.question)
    assert row.command.endswith("--checkpointing")
    lighter = empty.plan(SIZES, gpu="h100", checkpointing=True)
    saved = way(found, "LoRA").memory.peak - way(lighter, "LoRA").memory.peak
    assert row.answer.startswith(f"checkpointing {numbers.size(saved)}")


def test_a_bare_plan_needs_a_base(empty: Session) -> None:
    with pytest.raises(StateError, match="%lora plan llama-3-8b"):
        empty.plan()
    assert "_state" not in empty.__dict__


@pytest.mark.parametrize(
    ("flags", "kind", "words"),
    [
        ({"rank": 10**6}, AdapterError, "1000000 exceeds"),
        ({"bits": 3}, CommandError, "--bits 3: expected 4 or 8"),
        ({"tokens": 0, "price": -1}, CommandError, r"--tokens 0.*--price -1"),
        ({"tokens": float("nan")}, CommandError, "--tokens nan"),
        ({"tasks": 0.5}, CommandError, "--tasks 0.5: expected a whole number"),
        ({"trained_tokens": 2e6, "tokens": 1e6}, CommandError, "at most --tokens"),
        ({"gpu": "h1000"}, CommandError, "Did you mean 'h100'"),
        ({"dtype": "bf61"}, BaseModelError, "--dtype bf61"),
        ({"optimizer": "sgd"}, CommandError, "--optimizer sgd"),
        ({"batch_size": 0}, CommandError, "--batch-size 0"),
        ({"max_length": 10**9}, CommandError, "the base's context"),
        ({"method": "lorra"}, AdapterError, "Did you mean 'lora'"),
        ({"task": "clasification"}, CommandError, "classification"),
        ({"labels": "a,b"}, CommandError, "--task classification"),
        ({"targets": "q_prooj"}, AdapterError, "q_prooj"),
        ({"method": "prefix", "rank": 8}, AdapterError, "does not use --rank"),
    ],
)
def test_bad_flags_are_one_line(
    flags: dict[str, Any], kind: type[Exception], words: str, empty: Session
) -> None:
    with pytest.raises(kind, match=words) as caught:
        empty.plan(SIZES, **flags)
    assert "\n" not in str(caught.value)


def test_labels_may_be_a_column(empty: Session) -> None:
    import pandas as pd

    column = pd.Series(["no", "yes", "no", "maybe"])
    found = empty.plan(SIZES, task="classification", labels=column)
    assert any("--labels no,yes,maybe" in row.command for row in found.rows)
    two = empty.plan(SIZES, task="classification", labels=2)
    assert found.trainable_parameters - two.trainable_parameters == 2048


def test_a_price_without_hours_says_what_it_needs(empty: Session) -> None:
    assert any("--gpu here" in note for note in empty.plan(SIZES, price=2.0).notes)
    assert not any("price" in note for note in empty.plan(SIZES, price=2.0, gpu="l4").notes)


# The loaded base


@pytest.fixture
def tiny() -> Any:
    session = Session()
    session.use(tiny_model(), tiny_tokenizer())
    yield session
    session.reset()


def test_a_bare_plan_is_about_the_loaded_base(tiny: Session) -> None:
    found = tiny.plan(method="lora", rank=2)
    counted = tiny.ratio(method="lora", rank=2)
    assert found.base_parameters == counted.base_parameters  # type: ignore[union-attr]
    assert found.trainable_parameters == counted.trainable_parameters  # type: ignore[union-attr]
    assert way(found, "LoRA").setting.dtype == "fp32"
    weights = sum(p.numel() * p.element_size() for p in tiny.model.parameters())
    assert way(found, "inference").memory.of("weights") == weights
    # What is loaded takes none of the memory twice.
    assert found.room == 16 * GIGA + weights


def test_the_active_adapter_is_planned_and_changed_by_flags(tiny: Session) -> None:
    tiny.attach("a", rank=3, targets="q_proj")
    found = tiny.plan()
    assert found.spec == tiny.adapters["a"].spec
    counted = tiny.ratio("a")
    assert found.trainable_parameters == counted.trainable_parameters  # type: ignore[union-attr]
    assert tiny.plan(rank=6).trainable_parameters == 2 * found.trainable_parameters
    assert tiny.plan(method="prefix").spec.method == "prefix"


def test_slots_and_merging_do_not_change_the_plan_of_the_base(tiny: Session) -> None:
    before = tiny.plan(method="lora", rank=2)
    tiny.attach("a", rank=2, method="houlsby")
    assert tiny.plan(method="lora", rank=2).types == before.types
    tiny.attach("b", rank=2)
    tiny.merge("b")
    assert tiny.plan(method="lora", rank=2).types == before.types
    assert tiny.plan(tiny.model, method="lora", rank=2).types == before.types
    assert tiny.verify()


def test_flags_of_loading_belong_to_a_named_model(tiny: Session) -> None:
    with pytest.raises(CommandError, match="--task is for a model that is not loaded"):
        tiny.plan(task="classification")


def test_a_plan_of_another_model_leaves_the_session_alone(tiny: Session) -> None:
    tiny.attach("a", rank=2)
    before = tiny.status().line
    tiny.plan(SIZES)
    assert tiny.status().line == before
    assert len(tiny.history().to_frame()) == 2


def test_a_plan_on_8_bits_says_that_training_takes_more_than_it_counts(empty: Session) -> None:
    notes = {bits: empty.plan("llama-2-7b", bits=bits).notes for bits in (None, 8)}
    told = {bits: any("training on 8 bits" in note for note in notes[bits]) for bits in notes}
    assert told == {None: False, 8: True}


def test_a_plan_of_a_live_model_does_not_keep_it(empty: Session) -> None:
    model = tiny_model()
    found = empty.plan(model)
    there = weakref.ref(model)
    del model
    gc.collect()
    assert there() is None
    assert found.base_parameters
