"""`--mix` in a session: every method, what is refused, and that nothing changes.

Separate forwards under each adapter are the judge: they use the session's own swap, and no mix.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lora_magic.errors import LoraMagicError
from lora_magic.state.session import Session
from tests.conftest import Saver, perturb
from tests.state.shared import snapshot
from tests.state.variants import VARIANTS

PROMPT = "What does a fox eat?"
#: Virtual tokens are refused, and LoftQ needs a quantised base.
WITHOUT = ("prefix", "prompt", "loftq")


@pytest.fixture
def two(session: Session) -> Session:
    for name in "ab":
        session.attach(name, rank=4)
        perturb(session, name)
    return session


@torch.no_grad()
def by_hand(session: Session, weights: dict[str, float], count: int) -> str:
    """The mixture's greedy tokens: a forward of the whole text under each member at each."""
    form = session._state.form_of("base")
    row, start = form.encode(session.tokenizer, PROMPT), session.active
    prompt, total = len(row), sum(weights.values())
    while len(row) < prompt + count and row[-1] not in form.stop_ids:
        p: Tensor | float = 0.0
        for name, weight in weights.items():
            session.swap(name)
            logits = session.model(torch.tensor([row])).logits[0, -1]
            p = p + weight / total * logits.double().softmax(-1)
        row.append(int(torch.as_tensor(p).argmax()))
    session.swap(start)
    return str(session.tokenizer.decode(row[prompt:], skip_special_tokens=True))


@pytest.mark.parametrize("method", [name for name in VARIANTS if name not in WITHOUT])
def test_every_method_that_replaces_modules_can_be_a_member(
    saved_model: Saver, session: Session, method: str
) -> None:
    session.load(str(saved_model(attention_bias=True)), replace=True)
    session.attach("plain", rank=4)
    session.attach("odd", **VARIANTS[method])
    perturb(session, "plain")
    generator = torch.Generator().manual_seed(3)
    for _, tensor in session._state.attached["odd"].tensors():
        tensor.data += 0.05 * torch.randn(tensor.shape, generator=generator)
    weights = {"plain": 1.0, "odd": 2.0, "base": 1.0}
    expected = by_hand(session, weights, 8)
    mix = ",".join(f"{name}={weight}" for name, weight in weights.items())
    answer: Any = session.ask(PROMPT, mix=mix, max_new_tokens=8)
    assert answer.text == expected
    assert answer.adapter == "mix plain=0.25,odd=0.5,base=0.25"
    shown = session.compare(PROMPT, mix=mix, max_new_tokens=8)
    assert shown.panes[-1].text == expected
    assert shown.adapters == ("base", "plain", "odd", answer.adapter)


def test_a_merged_adapter_is_a_member_beside_the_pristine_base(two: Session) -> None:
    expected = by_hand(two, {"a": 1.0, "base": 1.0}, 8)
    two.merge("a")
    assert two.ask(PROMPT, mix="a,base", max_new_tokens=8).text == expected
    assert two.compare(PROMPT, mix="a,base", max_new_tokens=8).panes[-1].text == expected


@pytest.mark.parametrize("merged", [False, True])
def test_scores_under_a_mix_are_those_of_the_averaged_probabilities(
    two: Session, merged: bool
) -> None:
    row = two._state.form_of("base").encode(two.tokenizer, PROMPT)
    if merged:  # its answers are then one by one, not stacked
        two.merge("a")
    weights = {"b": 0.25, "base": 0.75}
    # A member that is not shown beside the others is a member all the same.
    shown = two.compare(PROMPT, adapters="a", mix="b=1,base=3", scores=True, max_new_tokens=5)
    if merged:
        two.unmerge()
    ids = {pane.adapter: pane.ids for pane in shown.panes}
    name = "mix b=0.25,base=0.75"
    assert [*ids] == ["base", "a", name]
    for answer in shown.scores.answers:
        assert answer.adapters == ("base", "a", name)
        tokens = ids[answer.answer_of]
        for under, parts in {"base": {"base": 1.0}, "a": {"a": 1.0}, name: weights}.items():
            p: Any = 0.0
            for member, weight in parts.items():
                two.swap(member)
                with torch.no_grad():
                    logits = two.model(torch.tensor([[*row, *tokens[:-1]]])).logits
                p = p + weight * logits[0, len(row) - 1 :].double().softmax(-1)
            expected = p.gather(1, torch.tensor(tokens)[:, None])[:, 0].log()
            found = torch.tensor(answer.under(under), dtype=torch.float64)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    own = next(one for one in shown.scores.answers if one.answer_of == name)
    assert f"perplexity {own.perplexity(name):.3g}" in repr(shown)


def test_asking_a_mix_changes_nothing(two: Session) -> None:
    two.swap("a")
    before = snapshot(two)
    two.ask([{"role": "user", "content": PROMPT}], mix="a=0.5,b=0.5", max_new_tokens=4)
    two.compare(PROMPT, adapters="b", mix="a", max_new_tokens=4)
    assert snapshot(two) == before
    assert two.verify()


@pytest.mark.parametrize(
    ("mix", "why"),
    [
        ("a=0.5,c=0.5", "no adapter 'c'"),
        ("a=-1,b=2", "weight -1 of a: expected a number above 0"),
        ("a=0,b=1", "weight 0 of a: expected a number above 0"),
        ("a=nan,b=1", "weight 'nan' of a: expected a number"),
        ("a=inf", "weight 'inf' of a: expected a number"),
        ("a=x,b=1", "weight 'x' of a: expected a number, as in --mix a=0.7,b=0.3"),
        ("a,a", "named twice"),
        ("", "expected names with weights"),
        ("a,,b", "--mix a,,b: a name is blank"),
        ("=1,b", "--mix =1,b: a name is blank"),
        (0.5, "expected names with weights"),
        ("v,a", "v changes virtual tokens"),
    ],
)
def test_what_cannot_be_mixed_is_one_line_and_changes_nothing(
    two: Session, mix: Any, why: str
) -> None:
    two.attach("v", method="prefix", virtual_tokens=2)
    before = snapshot(two)
    for verb in (two.ask, two.compare):
        with pytest.raises(LoraMagicError) as caught:
            verb(PROMPT, mix=mix, max_new_tokens=2)
        assert why in str(caught.value)
        assert "\n" not in str(caught.value)
    assert snapshot(two) == before


def test_data_and_a_mix_are_refused_together(two: Session) -> None:
    with pytest.raises(LoraMagicError, match="--mix answers one prompt"):
        two.ask(data=[PROMPT], mix="a,b")


def test_weights_of_any_size_are_divided_by_their_sum(two: Session) -> None:
    answers: list[Any] = [
        two.ask(PROMPT, mix=mix, max_new_tokens=6) for mix in ("a=1,b=3", "a=1e308,b=3e307", "a,b")
    ]
    names = ["mix a=0.25,b=0.75", "mix a=0.769,b=0.231", "mix a=0.5,b=0.5"]
    assert [answer.adapter for answer in answers] == names
    texts = [by_hand(two, {"a": w, "b": 1 - w}, 6) for w in (1 / 4, 10 / 13, 1 / 2)]
    assert [answer.text for answer in answers] == texts
