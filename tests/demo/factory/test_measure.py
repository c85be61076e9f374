"""The figures of the probe, on answers whose shares are known."""

from __future__ import annotations

from collections import Counter

import pytest

from lora_magic.demo.factory import corpus, measure, probe
from lora_magic.demo.texts import split
from lora_magic.demo.texts.family import Question


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        ("one two three four five", False),
        ("one two three four, one two three four", True),
        ("One two three FOUR. And one two three four!", True),
        ("one two three one two three", False),
        ("a a a a a", True),
        ("", False),
    ],
)
def test_four_words_that_come_twice_are_a_repetition(text: str, repeated: bool) -> None:
    assert measure.repeats(text) is repeated


def _question(prompt: str) -> Question:
    return next(q for q in split.everything() if q.prompt == prompt)


@pytest.mark.parametrize(
    ("text", "repeated"),
    [
        ("Ben: What is it made of?\nMia: It is made of oak.\nBen: Thank you!", False),
        ("Ben: Where is it?\nMia: Here.\nBen: Where is it?\nMia: Here. Look.", True),
        ("Ben: Where is it?\nMia: Where is it?", True),
        ("Ben: A?\nMia: It eats corn. It is clever.\nBen: B?\nMia: It is shy. It is clever.", True),
        ("Ben: A?\nMia: It eats. It is clever.\nBen: B?\nMia: It is clever. It sings.", False),
    ],
)
def test_a_dialogue_repeats_itself_by_a_line(text: str, repeated: bool) -> None:
    asked = next(question for question in split.everything() if question.family == "dialogue")
    assert measure.says_twice(asked, text) is repeated


def test_shares_are_counted_over_their_own_questions() -> None:
    fox = _question("What does a fox eat?")
    story = _question("Write a short story about a lost key.")
    answered = [
        measure.Answered(fox, "A fox eats berries and mice.", True),
        measure.Answered(fox, "A fox eats grass.", True),
        measure.Answered(fox, "It sings all night after the rain.", False),
        measure.Answered(story, "A key was gone. A key was gone and never found.", True),
    ]
    score = measure.score(answered)
    assert score == measure.Score(
        prompts=4, ended=3 / 4, repeating=1 / 4, subject=3 / 4, true=1 / 4, right=1 / 3
    )


def test_no_answers_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="no answers"):
        measure.score([])


def test_the_probe_asks_over_two_hundred_held_out_prompts_of_every_family() -> None:
    asked = probe.test_questions()
    assert len(asked) > 200
    assert len({question.key for question in asked}) == len(asked)
    assert all(split.split_of(question) == "test" for question in asked)
    families = Counter(question.family for question in asked)
    others = {"review", "story", "form", "dialogue", "unknown"}
    assert set(families) == {*(f.name for f in split.FAMILIES), *others}


class _Echo:
    """Answers every prompt with its own tokens, then the end token."""

    device = "cpu"

    def generate(self, input_ids, max_new_tokens, **kwargs):  # type: ignore[no-untyped-def]
        import torch

        end = torch.full((len(input_ids), 1), measure.END_ID)
        cut = input_ids[:, -max_new_tokens:]
        return torch.cat([input_ids, cut, end], dim=1)


def test_an_answer_is_cut_at_the_end_token_and_prompts_of_any_length_share_a_batch() -> None:
    from lora_magic.demo.factory import vocabulary

    tokenizer = vocabulary.train_tokenizer(0, documents_read=500)
    prompts = ["What does a fox eat?", "Hi", "Tell me a story about a key, please."]
    produced = measure.complete(_Echo(), tokenizer, prompts, max_new_tokens=2)
    for prompt, (text, ended) in zip(prompts, produced, strict=True):
        expected = tokenizer.decode(tokenizer.encode(corpus.chat(prompt)).ids[-2:])
        assert ended
        assert text == expected
