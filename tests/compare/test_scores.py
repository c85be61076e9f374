"""Log-probabilities of the same tokens: plain transformers and PEFT are the judges."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_magic.adapters.slots import Slots
from lora_magic.base.prompt import PromptForm
from lora_magic.compare import scores as scoring
from lora_magic.compare.comparison import Comparison, Pane
from lora_magic.compare.scores import ScoredAnswer, Scores, score
from lora_magic.compare.stack import Variant
from lora_magic.errors import PromptError
from lora_magic.state.session import Session
from tests.classifiers import saved, tiny_of
from tests.compare.test_compare import (
    PLAIN,
    PROMPTS,
    TARGETS,
    TOKENIZER,
    a_model,
    a_variant,
    by_peft,
    run,
    the_base,
)
from tests.conftest import Saver, perturb

CHAT = PromptForm.of(TOKENIZER, "chat")

#: Reads a base, adapters and rows of (prompt ids, answer ids); knows nothing of this project.
JUDGE = """
import json, sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
base, adapters, rows = json.loads(sys.stdin.read())
found = {}
for name, folder in {"base": None, **adapters}.items():
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    if folder is not None:
        model = PeftModel.from_pretrained(model, folder).eval()
    found[name] = []
    for prompt, answer in rows:
        with torch.no_grad():
            logits = model(torch.tensor([prompt + answer])).logits[0].double()
        shares = logits.log_softmax(-1)[len(prompt) - 1 : -1]
        taken = shares.gather(1, torch.tensor(answer)[:, None])[:, 0]
        found[name].append([taken.tolist(), shares.argmax(-1).tolist()])
print("JUDGED" + json.dumps(found))
"""


def judged(base: Path, adapters: dict[str, str], rows: list[Any]) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", JUDGE],
        input=json.dumps([str(base), adapters, rows]),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout.rpartition("JUDGED")[2])
    return found


@torch.no_grad()
def reference(model: Any, prompt: list[int], answer: tuple[int, ...]) -> list[float]:
    """ln p of each token of the answer: one row, no padding, in float64 from the logits on."""
    logits = model(torch.tensor([[*prompt, *answer]])).logits[0].double()
    shares = logits.log_softmax(-1)[len(prompt) - 1 : -1]
    found: list[float] = shares.gather(1, torch.tensor(answer)[:, None])[:, 0].tolist()
    return found


def scored(model: Any, variants: list[Variant], found: Comparison, **more: Any) -> Scores:
    return score(model, Slots(model), TOKENIZER, variants, found.panes, **more)


@pytest.mark.parametrize("methods", [("lora", "lora"), ("lora", "ia3"), ("lora", "prefix")])
def test_a_sessions_scores_are_those_of_plain_peft_in_another_process(
    saved_model: Saver, tmp_path: Path, methods: tuple[str, str]
) -> None:
    session, base = Session(), saved_model()
    session.load(str(base))
    folders = {}
    for name, method in zip(("one", "two"), methods, strict=True):
        session.attach(name, method=method)
        perturb(session, name)
        folders[name] = str(tmp_path / name)
        session.save(name, folders[name])
    found: Any = session.compare("Hello there", "Who is it?", max_new_tokens=9, scores=True)
    assert {pane.batched for pane in found.panes} == {methods == ("lora", "lora")}
    form = session._state.form_of("base")
    tokenizer = session._state.base.tokenizer
    rows = [[form.encode(tokenizer, pane.prompt), [*pane.ids]] for pane in found.panes]
    expected = judged(base, folders, rows)
    assert len(found.scores.answers) == len(rows) == 6
    for at, one in enumerate(found.scores.answers):
        for name in one.adapters:
            taken, _ = expected[name][at]
            assert one.under(name) == pytest.approx(taken, abs=1e-5)
            assert one.perplexity(name) == pytest.approx(math.exp(-sum(taken) / len(taken)))
        assert list(found.panes[at].ids) == expected[one.answer_of][at][1], (
            "greedy answers are the most likely tokens under their own adapter"
        )
    assert session.verify()


@pytest.mark.parametrize("architecture", list(TARGETS))
@pytest.mark.parametrize("stackable", [True, False])
def test_every_answer_is_scored_under_every_adapter_after_its_own_prompt_form(
    architecture: str, stackable: bool
) -> None:
    model = a_model(architecture)
    wrapped = {"a": by_peft(model, 4, 1), "b": by_peft(model, 2, 2)}
    forms = {"base": PLAIN, "a": CHAT, "b": PLAIN}
    variants = [
        the_base(),
        *(a_variant(n, w, forms[n], stackable=stackable) for n, w in wrapped.items()),
    ]
    found = run(model, variants)
    made = scored(model, variants, found)
    models = {"base": model, **wrapped}
    assert [one.answer_of for one in made.answers] == ["base", "a", "b"] * 2
    for pane, one in zip(found.panes, made.answers, strict=True):
        for name, judge in models.items():
            prompt = forms[name].encode(TOKENIZER, pane.prompt)
            assert one.under(name) == pytest.approx(reference(judge, prompt, pane.ids), abs=1e-5)
    assert not any(isinstance(module, torch.nn.Identity) for module in model.modules())


def test_batches_of_answers_give_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    model = a_model()
    variants = [the_base(), a_variant("a", by_peft(model, 4, 1))]
    found = run(model, variants)
    whole = scored(model, variants, found)
    monkeypatch.setattr(scoring, "MOST", 1)
    for one, other in zip(whole.answers, scored(model, variants, found).answers, strict=True):
        for mine, yours in zip(one.log_probabilities, other.log_probabilities, strict=True):
            assert mine == pytest.approx(yours, abs=1e-5)


def test_sampled_answers_are_scored_without_temperature_and_top_p() -> None:
    model = a_model()
    variants = [the_base(), a_variant("a", by_peft(model, 4, 1))]
    found = run(model, variants, PROMPTS[:1], temperature=1.7, top_p=0.9, seed=5)
    made = scored(model, variants, found)
    prompt = PLAIN.encode(TOKENIZER, PROMPTS[0])
    for pane, one in zip(found.panes, made.answers, strict=True):
        assert one.under("base") == pytest.approx(reference(model, prompt, pane.ids), abs=1e-5)


def test_the_end_token_is_scored_if_the_answer_ended_itself() -> None:
    model = a_model()
    variants = [the_base(), a_variant("a", by_peft(model, 4, 1))]
    whole = run(model, variants, PROMPTS[:1]).panes[0]
    ends = whole.ids[3]
    form = PromptForm(**{**vars(PLAIN), "stop_ids": (ends,)})
    found = run(model, [the_base(form), a_variant("a", by_peft(model, 4, 1), form)], PROMPTS[:1])
    base = found.panes[0]
    (one, *_) = scored(model, variants, found).answers
    assert base.ended
    assert base.ids == whole.ids[: whole.ids.index(ends) + 1]
    assert (len(one.tokens), one.ended) == (base.tokens, True)


def test_tokens_join_to_the_answer_also_where_a_character_has_several() -> None:
    class Bytes:
        """A tokenizer of UTF-8 bytes, which decodes a part of a character as �."""

        def decode(self, ids: list[int], **_: Any) -> str:
            return bytes(ids).decode(errors="replace")

    for text in ("Hi there", "né, 狐🦊!", "\n\n x", "🦊"):
        tokens = scoring._tokens(Bytes(), tuple(text.encode()))
        assert "".join(tokens) == text
        assert len(tokens) == len(text.encode())


def test_tokens_beyond_the_context_are_not_scored() -> None:
    model = a_model()
    wrapped = by_peft(model, 4, 1)
    variants = [the_base(), a_variant("a", wrapped, CHAT, stackable=False)]
    plain, chat = (len(form.encode(TOKENIZER, "Hi")) for form in (PLAIN, CHAT))
    assert chat > plain
    context = chat + 4
    found = run(model, variants, ["Hi"], context=context, max_new_tokens=99)
    base, own = scored(model, variants, found, context=context).answers
    room = context - chat + 1
    assert len(base.tokens) > room, "the shorter form leaves room for more"
    assert [math.isnan(value) for value in base.under("a")] == [
        at >= room for at in range(len(base.tokens))
    ]
    assert math.isnan(base.perplexity("a"))
    assert not any(map(math.isnan, (*base.under("base"), *own.under("a"))))


def test_a_stopped_comparison_has_no_scores_and_a_stopped_scoring_has_some(
    saved_model: Saver,
) -> None:
    session = Session()
    session.load(str(saved_model()))
    session.attach("one")
    perturb(session, "one")
    tokens: list[int] = []

    def watch(_: Any) -> bool:
        tokens.append(1)
        return len(tokens) == end

    flags: dict[str, Any] = {"max_new_tokens": 2, "scores": True}
    end = -1
    found: Any = session.compare("Hi", "Hello", **flags, watch=watch)
    end = len(tokens)
    tokens.clear()
    last: Any = session.compare("Hi", "Hello", **flags, watch=watch)
    assert (found.stopped, last.stopped, last.scores.stopped) == (False, True, True)
    assert not any(pane.stopped for pane in last.panes)
    assert {one.prompt for one in last.scores.answers} == {"Hi"}
    assert "Not all answers are scored: stopped by you." in str(last)
    end = 1
    tokens.clear()
    early: Any = session.compare("Hi", "Hello", **flags, watch=watch)
    assert (early.stopped, early.scores) == (True, None)


def test_a_classifier_has_no_tokens_to_score(tmp_path: Path) -> None:
    session = Session()
    folder = saved(tiny_of("masked", "bert", num_labels=2), tmp_path)
    session.load(folder, task="classification", labels="day,night")
    with pytest.raises(PromptError, match="--scores: a classifier generates no tokens; omit it"):
        session.compare("Hi", scores=True)


def test_the_frames_have_a_row_for_each_token_and_for_each_answer() -> None:
    one = ScoredAnswer("Hi", "a", ("x", "y"), True, ("base", "a"), ((-1.0, -2.0), (-0.5, -0.5)))
    made = Scores((one,))
    frame = made.to_frame()
    assert frame["position"].tolist() == [1, 2, 1, 2]
    assert frame["token"].tolist() == ["x", "y"] * 2
    assert frame["adapter"].tolist() == ["base", "base", "a", "a"]
    assert frame["log_probability"].tolist() == [-1.0, -2.0, -0.5, -0.5]
    table = made.summary()
    assert table["log_probability"].tolist() == [-3.0, -1.0]
    assert table["perplexity"].tolist() == [math.exp(1.5), math.exp(0.5)]
    assert table["tokens"].tolist() == [2, 2]
    assert made.of("Hi", "a") is one
    assert made.of("Hi", "base") is None


def test_an_answer_without_tokens_is_left_out_and_equal_ones_score_the_same() -> None:
    model = a_model()
    variants = [the_base(), a_variant("new", by_peft(model, 2, 2, zero=True))]
    found = run(model, variants, PROMPTS[:1])
    never = Pane("x", "base", "", 0, False, 0.0, True, 0.0, stopped=True)
    base, new = score(model, Slots(model), TOKENIZER, variants, (*found.panes, never)).answers
    assert base.log_probabilities == new.log_probabilities
    assert base.under("base") == pytest.approx(base.under("new"), abs=1e-6)
