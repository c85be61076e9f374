"""The frame of 300 messages: its generator, what is odd in it, and what an adapter makes of it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lora_magic.data.row import Row
from lora_magic.demo.judge import judge
from lora_magic.demo.texts import answers, split
from lora_magic.state.session import Session
from tests.demo.messages import ANSWERED_AGAIN, FILE, SAME, Message, messages, table

OPENING, CLOSING = "Thank you for your message. ", " Your visitor desk"
READING = Path(__file__).parent / "reading"


@pytest.fixture(scope="module")
def rows() -> tuple[Message, ...]:
    return messages()


def held_out(rows: tuple[Message, ...]) -> list[Message]:
    return [row for row in rows if Row(row.text, row.reply).position < 0.1]


def test_the_file_is_what_its_generator_writes() -> None:
    assert FILE.read_bytes() == table().encode()


def test_the_file_has_300_messages_and_two_columns_that_no_run_needs(
    rows: tuple[Message, ...],
) -> None:
    with FILE.open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [(one["message"], one["reply"]) for one in read] == [(r.text, r.reply) for r in rows]
    assert len(read) == 300
    assert set(read[0]) == {"ticket", "message", "reply", "sent"}


def test_every_reply_states_the_fact_asked_for_in_the_desk_s_style(
    rows: tuple[Message, ...],
) -> None:
    doubled = Counter(row.text for row in rows)
    for row in rows:
        assert judge(row.question, row.reply).right, row
        if doubled[row.text] == 1:
            assert answers.is_right(row.question, row.reply), row
        assert row.reply.startswith(OPENING)
        assert row.reply.endswith(CLOSING)


def test_people_ask_in_many_ways_about_most_of_the_world(rows: tuple[Message, ...]) -> None:
    assert len({row.question.phrasing for row in rows}) >= 50
    assert len({row.question.family for row in rows}) == 7
    assert len({split.subject(row.question) for row in rows}) >= 150


def test_two_messages_are_there_twice_and_one_has_two_replies(rows: tuple[Message, ...]) -> None:
    texts = Counter(row.text for row in rows)
    pairs = Counter((row.text, row.reply) for row in rows)
    assert sorted(texts.values())[-4:] == [1, *[2] * (SAME + ANSWERED_AGAIN)]
    assert sorted(pairs.values())[-3:] == [1, *[2] * SAME]


def test_no_message_is_a_question_or_an_answer_that_measures_the_model(
    rows: tuple[Message, ...],
) -> None:
    asked = {split.plain(question.prompt) for question in split.everything()}
    labelled: dict[str, Any] = json.loads((READING / "answers.json").read_text(encoding="utf-8"))
    judged = {split.plain(answer["text"]) for answer in labelled["answers"]}
    for row in rows:
        assert split.plain(row.text) not in asked
        assert split.plain(row.reply) not in judged


def test_a_tenth_by_hash_is_30_messages_none_of_them_odd(rows: tuple[Message, ...]) -> None:
    held = held_out(rows)
    assert len(held) == 30
    once = Counter(row.text for row in rows)
    assert all(once[row.text] == 1 and len(row.text) < 200 for row in held)


@pytest.fixture(scope="module")
def demo() -> Session:
    session = Session()
    session.load("demo")
    return session


def test_one_message_is_longer_than_the_base_reads(
    demo: Session, rows: tuple[Message, ...]
) -> None:
    lengths = [len(demo.tokenizer(row.text)["input_ids"]) for row in rows]
    context = demo.model.config.max_position_embeddings
    assert sum(length > context for length in lengths) == 1
    assert sorted(lengths)[-2] < context / 4


def test_trained_without_a_flag_it_answers_24_of_30_held_out_messages_right(
    demo: Session, rows: tuple[Message, ...]
) -> None:
    held = held_out(rows)
    demo.attach("desk")
    demo.train("desk", str(FILE), columns="message => reply")
    frame = demo.compare([row.text for row in held], adapters=["desk"]).to_frame()
    texts = list(frame[frame["adapter"] == "desk"]["text"])
    right = [judge(row.question, text).right for row, text in zip(held, texts, strict=True)]
    shown = "\n".join(
        f"{'right' if ok else 'WRONG'}: {row.text!r} → {text!r}"
        for ok, row, text in zip(right, held, texts, strict=True)
    )
    print(f"{sum(right)} of {len(right)} right", shown, sep="\n")
    assert sum(right) >= 24, shown
    assert sum(text.startswith(OPENING) and text.endswith(CLOSING) for text in texts) >= 29, shown
