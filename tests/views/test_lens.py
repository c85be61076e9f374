"""What a lens shows: both readings apart, what each cannot show, and a random direction beside."""

from __future__ import annotations

import re

from lora_magic.compare.lens import Lens, LensLayer, LensToken
from lora_magic.views.lens import ANSWERS_LIMIT, LAYERS, STATES_LIMIT
from tests.views.page import Page


def a_lens(layers: int, **more: object) -> Lens:
    tokens = [LensToken("answers", f" w{rank}", f"word{rank}", 1 / rank, rank) for rank in (1, 2)]
    for layer in range(layers):
        tokens.append(LensToken("states", "s", f"state{layer}!", 1.0, 1, layer))
        tokens.append(LensToken("random", "r", f"chance{layer}!", 1.0, 1, layer))
    at = tuple(LensLayer(layer, layer / 100) for layer in range(layers))
    usual = {"asked": 100, "answered": 100, "positions": 2400, "seconds": 2.5}
    return Lens("pirate", tuple(tokens), at, **{**usual, **more})  # type: ignore[arg-type]


def both(found: Lens) -> tuple[str, str]:
    bundle = found._repr_mimebundle_()
    return str(bundle["text/plain"]), Page(str(bundle["text/html"])).text


def test_each_reading_says_what_it_cannot_show_and_the_states_come_second() -> None:
    for text in both(a_lens(2)):
        answers, _, states = text.partition("From its answers")[2].partition(
            "From its states (weaker)"
        )
        assert 0 < answers.index("word1") < answers.index("word2")
        assert "state0" in states
        assert "state0" not in answers
        assert " ".join(ANSWERS_LIMIT.split()) in " ".join(text.split())
        assert " ".join(STATES_LIMIT.split()) in " ".join(text.split())


def test_the_random_direction_is_beside_its_own_in_every_layer_that_is_shown() -> None:
    plain, page = both(a_lens(30))
    for text in (plain, page):
        assert len(set(re.findall(r"state(\d+)!", text))) == LAYERS
        assert re.findall(r"state(\d+)!", text) == re.findall(r"chance(\d+)!", text)
    lines = [line for line in plain.splitlines() if "state" in line and "chance" in line]
    assert len(lines) == LAYERS
    assert lines[0].split() == ["0", "0%", "state0!", "chance0!"]
    assert lines[-1].split() == ["29", "29.0%", "state29!", "chance29!"]


def test_a_missing_reading_says_why_in_its_place() -> None:
    plain, page = both(a_lens(0, no_states="its positions are others"))
    assert "n/a: its positions are others." in plain
    assert "n/a: its positions are others." in page
    assert STATES_LIMIT not in plain


def test_one_question_is_a_question() -> None:
    assert " · 1 question, " in a_lens(1, asked=1, answered=1).line
    assert " · 1 of 2 questions, " in a_lens(1, asked=2, answered=1).line


def test_without_any_token_there_is_one_line() -> None:
    found = Lens("new", (), (), 100, no_words="no words: it is not trained")
    plain, page = both(found)
    assert plain == page.strip() == "new: no words: it is not trained"
