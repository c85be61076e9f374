"""Blind votes on a real session: hidden until the end, fair, and kept when they are interrupted."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lora_magic.errors import (
    AdapterError,
    CommandError,
    DataError,
    Interrupted,
    LoraMagicError,
    PromptError,
    StateError,
)
from lora_magic.evaluation.votes import CHOICES
from lora_magic.state import comparing, voting
from lora_magic.state.session import Session
from lora_magic.state.voting import Ballot
from tests.classifiers import saved, tiny_of
from tests.conftest import perturb
from tests.state.shared import ROWS, snapshot

PROMPTS = [f"Where is the library of {n}?" for n in range(13)]
#: Names that no answer and no text of ours contains.
NAMES = ("zyxone", "zyxtwo", "zyxthree")


@pytest.fixture
def ready(session: Session) -> Session:
    """Three adapters that answer differently."""
    for seed, name in enumerate(NAMES):
        session.attach(name, rank=2)
        perturb(session, name, size=0.6, seed=seed)
        session._state.attached[name].history = session._state.attached[name].history.__class__(1)
    return session


def blind(session: Session, *prompts: Any, **flags: Any) -> Any:
    return session.compare(*(prompts or PROMPTS), blind=True, **{"max_new_tokens": 6, **flags})


def vote_all(ballot: Ballot, choice: str = "left") -> Any:
    while not ballot.done:
        ballot.vote(choice)
    return ballot.result()


def seen(ballot: Ballot) -> list[tuple[str, str, str]]:
    """Every prompt with its two answers, as they are shown."""
    found = []
    while not ballot.done:
        found.append((ballot.prompt, ballot.left, ballot.right))
        ballot.vote("tie")
    return found


def test_the_answers_are_those_of_compare_and_the_reveal_tells_whose(ready: Session) -> None:
    expected = {
        (pane.prompt, pane.adapter): pane.text
        for pane in ready.compare(PROMPTS, max_new_tokens=6).panes
    }
    ballot = blind(ready)
    shown = seen(ballot)
    result = ballot.result()
    assert result.cast == ballot.asked == len(shown) > 4
    for vote in result.votes:
        assert vote.left != vote.right
        assert vote.left_text == expected[vote.prompt, vote.left]
        assert vote.right_text == expected[vote.prompt, vote.right]
    voted = [(v.prompt, v.left_text, v.right_text) for v in result.votes if v.vote == "tie"]
    assert voted == shown
    assert {vote.prompt for vote in result.votes} == set(PROMPTS)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_every_pair_is_shown_equally_often(ready: Session, count: int) -> None:
    names = ["base", *NAMES][:count]
    result = vote_all(blind(ready, adapters=names))
    pairs = Counter(frozenset((vote.left, vote.right)) for vote in result.votes)
    assert len(pairs) == count * (count - 1) // 2
    assert max(pairs.values()) - min(pairs.values()) <= 1
    assert {name for pair in pairs for name in pair} == set(names)


def test_sides_come_from_the_operating_system_and_both_occur(
    ready: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert voting.sides is random.SystemRandom
    first = set()
    for seed in range(12):
        monkeypatch.setattr(voting, "sides", lambda seed=seed: random.Random(seed))
        result = vote_all(blind(ready, PROMPTS[:1], adapters=NAMES[:2], seed=seed))
        first.add(result.votes[0].left)
    assert first == set(NAMES[:2])


def test_within_one_ballot_sides_change_from_prompt_to_prompt(
    ready: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voting, "sides", lambda: random.Random(3))
    result = vote_all(blind(ready, adapters="base,zyxone"))
    lefts = Counter(vote.left for vote in result.votes)
    assert set(lefts) == {"base", "zyxone"}


def test_no_text_of_a_ballot_has_a_name_before_the_end(ready: Session) -> None:
    ballot = blind(ready, [*PROMPTS, PROMPTS[0]])
    told = [repr(ballot), ballot.progress, *ballot.notes, repr(vars(ballot)), str(ballot)]
    for wrong in (
        lambda: ballot.vote("zip"),
        ballot.back,
        ballot.result,
        ballot.finish,
        ballot.preferences,
        ballot.to_frame,
        lambda: ready.train("zyxone", data=ballot, steps=1),
    ):
        with pytest.raises(LoraMagicError) as caught:
            wrong()
        told.append(str(caught.value))
    ballot.vote("left")
    told += [repr(ballot), ballot.prompt, ballot.left, ballot.right]
    assert not any("zyx" in text or "base" in text for text in told)
    assert "1 prompt repeats an earlier one, which is answered once." in ballot.progress
    vote_all(ballot)
    assert "zyx" in repr(ballot)


def test_the_base_takes_part_only_if_it_is_named_or_nobody_is(ready: Session) -> None:
    def voters(**flags: Any) -> set[str]:
        votes = vote_all(blind(ready, **flags)).votes
        return {name for vote in votes for name in (vote.left, vote.right)}

    assert voters(adapters="zyxone,zyxtwo") == {"zyxone", "zyxtwo"}
    assert voters(adapters=["base", "zyxtwo"]) == {"base", "zyxtwo"}
    assert voters() == {"base", *NAMES}


def test_the_same_call_goes_on_without_a_new_answer(
    ready: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    ballot = blind(ready, adapters="zyxone,zyxtwo")
    ballot.vote("left")
    shown = ballot.prompt, ballot.left, ballot.right

    def never(*_: Any) -> Any:
        raise AssertionError("answered again")

    monkeypatch.setattr(comparing, "answers", never)
    again = blind(ready, *PROMPTS, adapters=["zyxtwo", "zyxone"])
    assert again is ballot
    assert (again.prompt, again.left, again.right) == shown
    assert again.cast == 1
    monkeypatch.undo()
    others = [
        blind(ready, PROMPTS[:3], adapters="zyxone,zyxtwo"),
        blind(ready, adapters="zyxone,zyxthree"),
        blind(ready, adapters="zyxone,zyxtwo", max_new_tokens=5),
        blind(ready, adapters="zyxone,zyxtwo", seed=1),
    ]
    assert all(other.cast == 0 for other in others)
    assert len({id(one) for one in (ballot, *others)}) == 5


def test_other_weights_begin_a_new_ballot_and_the_same_weights_do_not(ready: Session) -> None:
    ready.train("zyxone", text=ROWS, steps=2)
    ballot = blind(ready, adapters="zyxone,zyxtwo")
    ballot.vote("left")
    # The same rows and flags end with the same weights.
    ready.train("zyxone", text=ROWS, steps=2)
    ready.attach("other", rank=3)
    assert blind(ready, adapters="zyxone,zyxtwo") is ballot
    ready.train("zyxone", text=ROWS, steps=3)
    fresh = blind(ready, adapters="zyxone,zyxtwo")
    assert fresh.cast == 0
    assert voting.CHANGED in fresh.progress
    # The old one still ends, with the answers that it showed.
    assert vote_all(ballot).cast == ballot.asked
    perturb(ready, "zyxtwo", size=0.5, seed=9)
    assert blind(ready, adapters="zyxone,zyxtwo") is not fresh


def test_a_vote_is_taken_back_and_cast_again(ready: Session) -> None:
    ballot = blind(ready, adapters="zyxone,zyxtwo")
    first = ballot.prompt
    ballot.vote("left")
    assert ballot.prompt != first
    ballot.back()
    assert (ballot.prompt, ballot.cast) == (first, 0)
    ballot.vote("both bad")
    result = ballot.finish()
    assert [vote.vote for vote in result.votes if vote.vote != "identical"] == ["both bad"]
    assert f"Ended after 1 of {ballot.asked} votes." in result.lines


def test_after_the_end_nothing_changes(ready: Session) -> None:
    ballot = blind(ready, adapters="zyxone,zyxtwo")
    result = vote_all(ballot, "right")
    for late in (lambda: ballot.vote("left"), ballot.back, lambda: ballot.left):
        with pytest.raises(StateError, match="has ended"):
            late()
    assert ballot.finish() == ballot.result() == result
    assert ballot.to_frame().equals(result.to_frame())
    assert blind(ready, adapters="zyxone,zyxtwo") is ballot


@pytest.mark.parametrize("choice", ["", "LEFT", "lef", None, 1, True, ["left"]])
def test_an_invalid_vote_is_no_vote(ready: Session, choice: Any) -> None:
    ballot = blind(ready, PROMPTS[:2], adapters="zyxone,zyxtwo")
    with pytest.raises(CommandError, match="expected one of left, right, tie, both bad"):
        ballot.vote(choice)
    assert ballot.cast == 0


def test_identical_answers_are_counted_and_not_asked(session: Session) -> None:
    session.attach("zyxone", rank=2)  # its B is zero: it answers as the base does
    session.attach("zyxtwo", rank=2)
    ballot = blind(session, PROMPTS[:3])
    assert ballot.done
    assert ballot.asked == 0
    result = ballot.result()
    assert result.to_frame()["vote"].tolist() == ["identical"] * 3
    assert "3 with identical answers, not asked" in result.line
    with pytest.raises(DataError, match="decisive"):
        session.train("zyxone", data=result, steps=1)


def test_one_adapter_alone_is_told_what_to_type(ready: Session) -> None:
    for alone in ("zyxone", ["zyxone", "zyxone"]):
        with pytest.raises(CommandError, match=r"got zyxone alone.*--adapters base,zyxone "):
            blind(ready, adapters=alone)
    with pytest.raises(CommandError, match=r"got base alone.*--adapters base,zyxone "):
        blind(ready, adapters="base")
    with pytest.raises(AdapterError, match="zyxfour"):
        blind(ready, adapters="zyxone,zyxfour")
    ready.reset()


def test_without_an_adapter_there_is_nothing_to_vote_on(session: Session) -> None:
    with pytest.raises(StateError, match="no adapter is attached; type: %lora attach"):
        blind(session)


def test_what_would_show_names_is_refused(ready: Session) -> None:
    with pytest.raises(CommandError, match="--scores shows it"):
        blind(ready, scores=True)
    with pytest.raises(CommandError, match="--mix shows it"):
        blind(ready, mix="zyxone=0.5,zyxtwo=0.5")


def test_a_bad_prompt_leaves_all_as_it_was(ready: Session) -> None:
    before, ballots = snapshot(ready), dict(ready._ballots)
    for bad in (["Hi", "long " * 300], ["Hi", " "], [], ["Hi", 3]):
        with pytest.raises(PromptError):
            ready.compare(bad, blind=True)
    assert snapshot(ready) == before
    assert ready._ballots == ballots


def test_rows_of_data_are_treated_as_in_compare(ready: Session) -> None:
    ballot = ready.compare(data=["Hi", " ", "Ho", "Hi"], blind=True, max_new_tokens=4)
    assert isinstance(ballot, Ballot)
    assert ballot.notes[:2] == (
        "Row 2: no prompt, so not answered.",
        "1 prompt repeats an earlier one, which is answered once.",
    )
    with pytest.raises(DataError, match="every prompt of the data is blank"):
        ready.compare(data=["", " "], blind=True)


def test_pairs_without_a_prompt_are_counted(ready: Session) -> None:
    few, enough = (blind(ready, PROMPTS[:count], adapters=NAMES) for count in (2, 3))
    assert "2 of 3 pairs of adapters are shown" in few.progress
    assert "pairs" not in enough.progress


@pytest.mark.parametrize("flag", [{"seed": [1]}, {"temperature": {}}, {"top_p": [0.5]}])
def test_a_bad_flag_is_one_line(ready: Session, flag: dict[str, Any]) -> None:
    with pytest.raises(PromptError, match="expected"):
        ready.compare("Hi", blind=True, **flag)


def test_a_stop_before_the_answers_are_complete_begins_no_vote(ready: Session) -> None:
    with pytest.raises(Interrupted, match="no vote has begun"):
        ready.compare(PROMPTS, blind=True, watch=lambda _: True)
    assert ready._ballots == {}


def test_a_classifier_has_no_answers_to_vote_on(tmp_path: Path) -> None:
    session = Session()
    session.load(
        saved(tiny_of("causal", "llama"), tmp_path / "base"),
        task="classification",
        labels="day,night",
    )
    session.attach("sky", rank=2, targets="attention")
    with pytest.raises(StateError, match=r"a classifier .* omit --blind"):
        session.compare("The sun", blind=True)
    session.reset()


def test_merged_and_several_active_adapters_take_part(ready: Session) -> None:
    ready.swap("zyxone=0.7,zyxtwo=0.3")
    votes = vote_all(blind(ready)).votes
    assert "zyxone=0.7,zyxtwo=0.3" in {name for v in votes for name in (v.left, v.right)}
    ready.merge("zyxone")
    assert vote_all(blind(ready, adapters="base,zyxone")).cast > 0
    ready.unmerge()
    assert ready.verify()


def test_votes_train_as_the_rows_that_they_are(ready: Session) -> None:
    ballot = blind(ready, adapters="zyxone,zyxtwo")
    draw = random.Random(0)
    while not ballot.done:
        ballot.vote(draw.choice(CHOICES))
    votes = ballot.result()
    rows = [
        {
            "prompt": vote.prompt,
            "chosen": vote.left_text if vote.vote == "left" else vote.right_text,
            "rejected": vote.right_text if vote.vote == "left" else vote.left_text,
        }
        for vote in votes.votes
        if vote.vote in ("left", "right")
    ]
    weights = []
    for data in (votes, rows, ballot):
        ready.attach("learner", rank=2, replace=True)
        summary: Any = ready.train("learner", data=data, steps=2)
        assert f"{len(rows)} pairs" in summary.line
        weights.append({n: t.tolist() for n, t in ready._state.attached["learner"].tensors()})
    assert weights[0] == weights[1] == weights[2]


def test_reset_forgets_ballots(ready: Session) -> None:
    blind(ready, PROMPTS[:2], adapters="zyxone,zyxtwo")
    ready.reset()
    assert ready._ballots == {}
