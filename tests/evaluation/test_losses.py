"""Losses in common passes are those of one row alone, by transformers' own loss.

The references: transformers' forward of one unpadded row with its labels, plain PEFT in another
process, and the held-out loss of the run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_magic.evaluation import losses as measuring
from lora_magic.evaluation.evaluation import Evaluation
from lora_magic.evaluation.items import read
from lora_magic.evaluation.passes import Passes
from lora_magic.state import queries
from lora_magic.state.session import Session
from lora_magic.training.encode import IGNORED, encode
from tests.classifiers import closing_tokenizer, tiny_classifier
from tests.conftest import Saver, perturb
from tests.tiny import ARCHITECTURES, tiny_model, tiny_tokenizer

ROWS = [
    ("Where is the library?", "Arr, it be down by the harbour, matey!"),
    ("What should I cook tonight?", "Fish stew."),
    ("Hi", "Ahoy there, ye landlubber! Come aboard and have some fish stew with us tonight."),
    ("What does a fox eat at night, when nobody looks?", "Mice."),
    ("Who?", "Me."),
    ("Hi", "Ahoy"),
]

#: Rows' losses by plain transformers and PEFT: nothing of ours is imported.
BY_PEFT = """
import json, sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
base, adapter, rows = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base)
if adapter:
    model = PeftModel.from_pretrained(model, adapter)
model.eval()
found = []
with torch.no_grad():
    for ids, labels in json.loads(rows):
        logits = model(input_ids=torch.tensor([ids])).logits[0].double()
        chances = logits.log_softmax(-1)
        kept = [t for t in range(1, len(ids)) if labels[t] != -100]
        found.append([float(-sum(chances[t - 1, labels[t]] for t in kept)), len(kept)])
print(json.dumps(found))
"""


def wide(architecture: str) -> dict[str, Any]:
    return {"init_std" if architecture == "opt" else "initializer_range": 0.3}


@pytest.fixture
def use() -> Iterator[Any]:
    """A session with a model in memory."""
    made: list[Session] = []

    def used(model: Any, tokenizer: Any = None) -> Session:
        made.append(Session())
        made[-1].use(model, tokenizer or tiny_tokenizer(chat=True))
        return made[-1]

    yield used
    for session in made:
        session.reset()


def losses(found: Evaluation, adapter: str) -> list[float]:
    at = found.adapters.index(adapter)
    return [row.values["loss"][at] for row in found.rows]


@torch.no_grad()
def alone(session: Session, adapter: str, rows: Any = ROWS) -> list[float]:
    """Each row's mean loss by the model's own loss, with the adapter active."""
    merged = session.merged
    if merged is None and session.active != adapter:
        session.swap(adapter)
    form = session._state.form_of(adapter)
    found = []
    for row in session._rows("t", rows, None):
        (example,) = encode([row], session.tokenizer, form, 128).examples
        ids, labels = torch.tensor([example.tokens]), torch.tensor([example.labels])
        found.append(float(session.model(input_ids=ids, labels=labels).loss))
    return found


def evaluate(session: Session, adapters: Any = None, rows: Any = ROWS, **flags: Any) -> Evaluation:
    return session.evaluate(adapters, rows, max_new_tokens=1, **flags)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_row_in_a_common_pass_has_the_loss_of_a_row_alone(use: Any, architecture: str) -> None:
    session = use(tiny_model(architecture, **wide(architecture)))
    for name, rank in (("a", 2), ("b", 4)):
        session.attach(name, rank=rank)
        perturb(session, name, 0.3, seed=rank)
    found = evaluate(session, "a,b")
    for name in ("base", "a", "b"):
        assert losses(found, name) == pytest.approx(alone(session, name), rel=1e-5)
    assert len({round(one, 3) for name in found.adapters for one in losses(found, name)}) > 15


ALONE: dict[str, dict[str, Any]] = {
    "prefix": {"method": "prefix", "virtual_tokens": 3},
    "prompt": {"method": "prompt", "virtual_tokens": 3},
    "dora": {"dora": True, "rank": 2},
    "ia3": {"method": "ia3"},
    "full": {"method": "full"},
    "bitfit": {"method": "bitfit"},
    "houlsby": {"method": "houlsby", "rank": 4},
    "adalora": {"method": "adalora", "rank": 4},
}


@pytest.mark.parametrize("method", ALONE)
def test_adapters_that_cannot_be_stacked_have_the_same_losses(use: Any, method: str) -> None:
    session = use(tiny_model("opt", **wide("opt")))
    session.attach("plain", rank=2)
    perturb(session, "plain", 0.3)
    session.attach("other", **ALONE[method])
    session.train("other", ROWS[:2], steps=10, lr=0.01)
    found = evaluate(session, "plain,other")
    assert session.verify()
    for name in ("base", "plain", "other"):
        assert losses(found, name) == pytest.approx(alone(session, name), rel=1e-5)


def test_the_loss_is_that_of_plain_peft_in_another_process(
    saved_model: Saver, tmp_path: Path
) -> None:
    base = str(saved_model(initializer_range=0.3))
    session = Session()
    session.load(base)
    session.attach("pirate", rank=3, targets="all-linear")
    perturb(session, "pirate", 0.3)
    session.save("pirate", tmp_path / "pirate")
    found = evaluate(session, "pirate")
    form = session._state.form_of("pirate")
    rows = [
        [list(example.tokens), list(example.labels)]
        for row in session._rows("t", ROWS, None)
        for example in encode([row], session.tokenizer, form, 128).examples
    ]
    for name, folder in (("base", ""), ("pirate", str(tmp_path / "pirate"))):
        command = [sys.executable, "-c", BY_PEFT, base, folder, json.dumps(rows)]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        expected = json.loads(told.stdout)
        assert losses(found, name) == pytest.approx([n / t for n, t in expected], rel=1e-5)
        mean = found.mean(name, "loss")
        assert mean is not None
        total = sum(n for n, _ in expected) / sum(t for _, t in expected)
        assert mean.value == pytest.approx(total, rel=1e-5)
    session.reset()


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_it_is_the_held_out_loss_of_the_run(use: Any, architecture: str) -> None:
    session = use(tiny_model(architecture))
    session.attach("a", rank=2)
    run = session.train("a", ROWS[:2], steps=4, lr=0.01, eval=ROWS[2:])
    found = evaluate(session, "a", ROWS[2:])
    means = [found.mean(name, "loss") for name in ("base", "a")]
    assert [mean and mean.value for mean in means] == pytest.approx(
        [run.held_out_before, run.held_out_after], abs=1e-5
    )


def test_it_is_the_held_out_loss_of_a_classifiers_run(use: Any) -> None:
    tokenizer = closing_tokenizer()
    session = use(tiny_classifier("bert"), tokenizer)
    labels = session._state.base.task.labels
    words = ("fox", "sea", "sky", "bee", "sun", "moon")
    every = [(f"The {word}", labels[at % 2]) for at, word in enumerate(words)]
    rows = every[2:]
    session.attach("a", rank=2)
    run: Any = session.train("a", every[:2], steps=4, lr=0.01, eval=rows)
    found = session.evaluate("a", rows)
    means = {mean.metric: mean.value for mean in found.means if mean.adapter == "a"}
    assert means["loss"] == pytest.approx(run.held_out_after, rel=1e-5)
    assert means["accuracy"] == run.accuracy_after.overall


def test_memory_that_runs_out_halves_the_batch_and_changes_no_loss(
    use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = use(tiny_model("llama", **wide("llama")))
    session.attach("a", rank=2)
    perturb(session, "a", 0.3)
    expected = losses(evaluate(session, "a"), "a")
    sizes: list[int] = []
    real = measuring.collate

    def short(examples: Any, pad: int) -> Any:
        sizes.append(len(examples))
        if len(examples) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(examples, pad)

    monkeypatch.setattr(measuring, "collate", short)
    assert losses(evaluate(session, "a"), "a") == pytest.approx(expected, rel=1e-5)
    assert max(sizes) == 12  # six rows under two variants
    assert set(sizes) - {12} <= {2, 4, 6}


def test_one_row_that_all_variants_together_cannot_hold_goes_variant_by_variant(
    use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = use(tiny_model("llama", **wide("llama")))
    session.attach("a", rank=2)
    perturb(session, "a", 0.3)
    expected = losses(evaluate(session, "a"), "a")
    monkeypatch.setattr(measuring, "_LOGITS", 1)
    assert losses(evaluate(session, "a"), "a") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("keeps", ["ignored", "refused", "absent"])
def test_a_model_that_computes_every_logit_has_the_same_losses(
    use: Any, keeps: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = use(tiny_model("llama", **wide("llama")))
    session.attach("a", rank=2)
    perturb(session, "a", 0.3)
    expected = losses(evaluate(session, "a"), "a")
    real = type(session.model).forward

    def ignores(self: Any, *args: Any, logits_to_keep: Any = 0, **named: Any) -> Any:
        if keeps == "refused" and not isinstance(logits_to_keep, int):
            raise TypeError("expected a number")
        return real(self, *args, **named)

    def none(self: Any, input_ids: Any, attention_mask: Any = None, use_cache: Any = None) -> Any:
        return real(self, input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache)

    monkeypatch.setattr(type(session.model), "forward", none if keeps == "absent" else ignores)
    variants = queries.variants(session._state, "a")
    own = measuring.Losses.of(session.model, session._state.slots, variants, stack=None, pad_id=0)
    assert not own.keeps
    rows = session._rows("t", ROWS, None)
    items = read(rows, session.tokenizer, [v.form for v in variants], 128).items
    found = own.all(items, Passes(None, ""))
    assert [found[at][1].nats / found[at][1].tokens for at in range(len(ROWS))] == pytest.approx(
        expected, abs=1e-5
    )


def test_of_a_conversation_every_answer_counts(use: Any) -> None:
    session = use(tiny_model("llama", **wide("llama")))
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Ahoy there!"},
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "Me."},
    ]
    session.attach("a", rank=2)
    found = evaluate(session, "a", [turns])
    (row,) = found.rows
    assert (row.prompt, row.reference) == ("Who?", "Me.")
    (given,) = session._rows("t", [turns], None)
    examples = encode([given], session.tokenizer, session._state.form_of("a"), 128).examples
    nats, tokens = 0.0, 0
    with torch.no_grad():
        for example in examples:
            ids, labels = torch.tensor([example.tokens]), torch.tensor([example.labels])
            count = int((labels != IGNORED).sum())
            nats += float(session.model(input_ids=ids, labels=labels).loss) * count
            tokens += count
    assert row.tokens == (tokens, tokens)
    assert row.values["loss"][1] == pytest.approx(nats / tokens, rel=1e-5)


def test_of_preferences_the_chosen_answer_is_measured(use: Any) -> None:
    session = use(tiny_model("llama", **wide("llama")))
    session.attach("a", rank=2)
    rows = [{"prompt": p, "chosen": c, "rejected": "No."} for p, c in ROWS[:3]]
    found = evaluate(session, "a", rows)
    assert losses(found, "a") == pytest.approx(alone(session, "a", ROWS[:3]), rel=1e-5)
    assert "preferences: the chosen answer is the reference" in found.notes
    assert found.data_hash == evaluate(session, "a", ROWS[:3]).data_hash


def test_on_a_quantised_base_the_losses_are_those_of_a_row_alone(saved_model: Saver) -> None:
    session = Session()
    session.load(str(saved_model(hidden_size=64, initializer_range=0.3)), bits=4)
    session.attach("a", rank=2)
    perturb(session, "a", 0.3)
    found = evaluate(session, "a")
    for name in ("base", "a"):
        assert losses(found, name) == pytest.approx(alone(session, name), abs=1e-4)
    session.reset()


def test_merged_and_several_active_adapters_have_the_losses_of_their_model(use: Any) -> None:
    session = use(tiny_model("llama", **wide("llama")))
    for name in ("a", "b"):
        session.attach(name, rank=2)
        perturb(session, name, 0.3, seed=ord(name))
    session.swap("a=0.5,b=0.5")
    found = evaluate(session)
    assert found.adapters == ("base", "a", "b", "a=0.5,b=0.5")
    mixed = losses(found, "a=0.5,b=0.5")
    assert mixed == pytest.approx(alone(session, "a=0.5,b=0.5"), rel=1e-5)
    single = losses(found, "a")
    session.swap("a")
    session.merge("a")
    merged = evaluate(session, "a,b")
    assert losses(merged, "a") == pytest.approx(alone(session, "a"), rel=1e-5)
    assert losses(merged, "a") == pytest.approx(single, abs=1e-3)
    assert losses(merged, "base") == pytest.approx(losses(found, "base"), rel=1e-5)
    assert losses(merged, "b") == pytest.approx(losses(found, "b"), rel=1e-5)
    assert session.merged == "a"
    session.unmerge()
    assert session.verify()
