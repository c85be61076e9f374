"""A mistake is one line that says what to type, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lora_magic.errors import (
    AdapterError,
    DataError,
    LoraMagicError,
    PromptError,
    StateError,
)
from lora_magic.state.session import Session
from tests.conftest import perturb
from tests.state.shared import ROWS, snapshot
from tests.tiny import tiny_model


@pytest.mark.parametrize(
    "wrong",
    [
        lambda s: s.ask(5),
        lambda s: s.load("demo", home=5, replace=True),
        lambda s: s.load("~nobody-of-this-name/x", replace=True),
        lambda s: s.load("", replace=True),
        lambda s: s.load("demo", device=7, replace=True),
        lambda s: s.attach("a" * 300),
        lambda s: s.attach("two", targets=5),
        lambda s: s.attach("two", alpha=1e300),
        lambda s: s.spectrum(module=5),
        lambda s: s.train("one", text=ROWS, steps=3.5),
        lambda s: s.train("one", text=ROWS, steps=float("nan")),
        lambda s: s.train("one", text=ROWS, steps=10**9),
        lambda s: s.train("one", text=ROWS, epochs=1e9),
        lambda s: s.train("one", text=5),
        lambda s: s.compare([["a"]]),
        lambda s: s.compare({"a"}),
        lambda s: s.compare("a", adapters="base,"),
        lambda s: s.save("one", ""),
        lambda s: s.open("~nobody-of-this-name/x"),
        lambda s: s.compare(5),
        lambda s: s.compare("a", adapters=5),
        lambda s: s.compare("a", adapters=[]),
        lambda s: s.ask("hi", temperature="hot"),
        lambda s: s.ask("hi", seed=10**20),
        lambda s: s.ask("hi", max_new_tokens="x"),
        lambda s: s.attach(5),
        lambda s: s.attach("two", targets=["q_proj", 3]),
        lambda s: s.attach("two", seed="x"),
        lambda s: s.swap(None),
        lambda s: s.merge(3),
        lambda s: s.open(5),
        lambda s: s.save("one", 5),
        lambda s: s.save("one", " "),
        lambda s: s.train("one", text=ROWS, steps="x"),
        lambda s: s.train("one", data=["a"], text=ROWS),
        lambda s: s.ratio(rank=9999, targets="q_proj"),
    ],
)
def test_a_wrong_type_is_one_line_and_changes_nothing(
    session: Session, wrong: Callable[[Session], object]
) -> None:
    session.attach("one", rank=2)
    before = snapshot(session)
    with pytest.raises(LoraMagicError) as seen:
        wrong(session)
    assert "\n" not in str(seen.value)
    assert snapshot(session) == before


MISTAKES: list[tuple[str, Callable[[Session], object], type[LoraMagicError], str]] = [
    ("a misspelt adapter", lambda s: s.swap("on"), AdapterError, "Did you mean 'one'"),
    ("swap to a missing name", lambda s: s.swap("x"), AdapterError, "%lora attach x"),
    ("a misspelt module", lambda s: s.attach("n", targets="q_prj"), AdapterError, "'q_proj'"),
    ("rank 0", lambda s: s.attach("n", rank=0), AdapterError, "--rank 8"),
    ("too large a rank", lambda s: s.attach("n", rank=999), AdapterError, "at most"),
    ("a negative alpha", lambda s: s.attach("n", alpha=-1), AdapterError, "positive"),
    ("a name with a slash", lambda s: s.attach("a/b"), AdapterError, "a_b"),
    ("a name with a dot", lambda s: s.attach("a.b"), AdapterError, "a_b"),
    ("another spec", lambda s: s.attach("one", rank=3), AdapterError, "--replace"),
    (
        "training before attaching",
        lambda s: s.train("n", text=ROWS),
        AdapterError,
        "%lora attach n",
    ),
    ("an empty body", lambda s: s.train("one", text=" \n"), DataError, "=>"),
    (
        "a row without completion",
        lambda s: s.train("one", text="a => b\nc => "),
        DataError,
        "line 2",
    ),
    ("unmerging the unmerged", lambda s: s.unmerge(), StateError, "%lora merge"),
    ("an empty prompt", lambda s: s.ask(" "), PromptError, "empty"),
    ("too long a prompt", lambda s: s.ask("word " * 400), PromptError, "128"),
    ("too long to compare", lambda s: s.compare("word " * 400), PromptError, "128"),
    ("a missing module", lambda s: s.spectrum("one", module="zzz"), AdapterError, "no such module"),
    ("a missing folder", lambda s: s.open("./nowhere"), AdapterError, "no folder"),
    ("a misspelt start", lambda s: s.attach("n", init="pisa"), AdapterError, "mean 'pissa'?)."),
    ("a misspelt bias", lambda s: s.attach("n", bias="non"), AdapterError, "mean 'none'?)."),
    ("QLoRA as a method", lambda s: s.attach("n", method="QLoRA"), AdapterError, "--bits 4"),
    ("LoRA+ as a method", lambda s: s.attach("n", method="LoRA+"), AdapterError, "--lora-plus 16"),
    (
        "no such method",
        lambda s: s.attach("n", method="magic"),
        AdapterError,
        "%lora attach --help",
    ),
    (
        "a flag of another method",
        lambda s: s.attach("n", method="prefix", rank=4),
        AdapterError,
        "prefix tuning does not use --rank (it uses --virtual-tokens).",
    ),
    (
        "a flag of a method without any",
        lambda s: s.attach("n", method="full", rank=4),
        AdapterError,
        "full fine-tuning does not use --rank (omit it).",
    ),
    (
        "more virtual tokens than context",
        lambda s: s.attach("n", method="prompt", virtual_tokens=10**6),
        AdapterError,
        "for example --virtual-tokens",
    ),
    ("a weight that is no number", lambda s: s.swap("one=x"), AdapterError, "%lora swap a=0.7"),
    (
        "a misspelt way to blend",
        lambda s: s.blend("n", "one=1", method="tise"),
        AdapterError,
        "magnitude (Did you mean 'ties'?).",
    ),
    (
        "a blend without a name",
        lambda s: s.blend("one=1", ""),
        AdapterError,
        "name comes first",
    ),
    (
        "a comma for the arrow between columns",
        lambda s: s.train("one", data=[{"body": "a", "reply": "b"}], columns="body,reply"),
        DataError,
        '--columns "body => reply"',
    ),
    ("no such file of rows", lambda s: s.train("one", data="no.csv"), DataError, "--data PATH"),
    (
        "an arrow on some lines",
        lambda s: s.train("one", text="a => b\nc"),
        DataError,
        "line 2: no ' => ', but line 1 has it",
    ),
    ("saving base", lambda s: s.save("base"), AdapterError, "base is not an adapter"),
]


@pytest.mark.parametrize(
    ("verb", "kind", "hint"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_a_mistake_is_one_line_and_changes_nothing(
    verb: Callable[[Session], object], kind: type[LoraMagicError], hint: str, session: Session
) -> None:
    session.attach("one", rank=2)
    perturb(session, "one")
    before = snapshot(session)
    with pytest.raises(kind) as seen:
        verb(session)
    assert hint in str(seen.value)
    assert "\n" not in str(seen.value)
    assert snapshot(session) == before
    assert session.verify()


@pytest.mark.parametrize("verb", ["attach", "swap", "merge", "ask", "spectrum", "verify", "save"])
def test_without_a_base_every_verb_says_how_to_load_one(verb: str) -> None:
    session = Session()
    arguments = ["x"] if verb in ("attach", "swap", "ask") else []
    with pytest.raises(StateError, match="%lora load demo"):
        getattr(session, verb)(*arguments)


def test_without_a_tokenizer_prompts_say_what_is_missing() -> None:
    session = Session()
    session.use(tiny_model())
    session.attach("one", rank=2)
    perturb(session, "one")
    session.merge()
    session.unmerge()
    assert session.verify()
    with pytest.raises(PromptError, match="tokenizer"):
        session.ask("Hello")
