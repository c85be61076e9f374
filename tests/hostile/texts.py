"""Mutations of JSON files: wrong types, absurd sizes, slow patterns, unsafe text."""

from __future__ import annotations

import json
import shutil

from .scene import (
    ADDED,
    CARD,
    CONFIG,
    EVIL,
    HUGE,
    SLOW,
    VALUES,
    Scene,
    adapter,
    edit,
    everywhere,
    model,
    places_in,
    put,
)


@model
def field_of_another_type(s: Scene) -> None:
    """One to three top-level fields have a wrong type or an absurd size."""
    path = s.json_file()
    for _ in range(s.rng.randint(1, 3)):
        content = json.loads(path.read_text())
        put(path, content, s.rng.choice(sorted(content)), content, s.rng.choice(VALUES))


@model
def nested_value_of_another_type(s: Scene) -> None:
    """A value anywhere in a JSON file has a wrong type or an absurd size."""
    path = s.json_file()
    content = json.loads(path.read_text())
    put(path, *s.rng.choice(places_in(content)), content, s.rng.choice(VALUES))


@model
def field_removed(s: Scene) -> None:
    """One to five fields are missing."""
    path = s.json_file()
    for _ in range(s.rng.randint(1, 5)):
        edit(path, lambda c: c.pop(s.rng.choice(sorted(c))))


@model
def field_added(s: Scene) -> None:
    """A field that asks for code, for quantisation, for another method."""
    added = s.rng.sample(sorted(ADDED), 2)
    edit(s.json_file(), lambda c: c.update({key: ADDED[key] for key in added}))


@model
def field_huge(s: Scene) -> None:
    """A claimed rank, width, vocabulary, count of layers or virtual tokens is huge."""
    path, value = s.json_file(), s.rng.choice([10**5, 2**31, 10**9, 10**18, 10**30])
    content = json.loads(path.read_text())
    found = [place for place in places_in(content) if place[1] in HUGE]
    put(path, *s.rng.choice(found or places_in(content)), content, str(value))


@model
def field_zero_or_negative(s: Scene) -> None:
    """A claimed size is 0, negative, or a fraction."""
    path = s.rng.choice([p for n in (CONFIG, "config.json") if (p := s.folder / n).is_file()])
    content = json.loads(path.read_text())
    found = [(c, k) for c, k in places_in(content) if type(c[k]) is int]
    put(path, *s.rng.choice(found), content, s.rng.choice(["0", "-1", "0.5", "3", "-1e300"]))


@model
def duplicated_keys(s: Scene) -> None:
    """Every key twice, the second time with a wrong value."""
    path = s.json_file()
    keys = json.loads(path.read_text())
    more = "".join(f",{json.dumps(key)}:{s.rng.choice(VALUES[:20])}" for key in keys)
    path.write_text(path.read_text().rstrip().removesuffix("}") + more + "}")


@model
def not_this_encoding(s: Scene) -> None:
    """A byte order mark, UTF-16, Latin-1, or bytes that are no text."""
    path = s.json_file()
    text = path.read_text()
    forms = [text.encode("utf-8-sig"), text.encode("utf-16"), b"\xff" + text.encode(), b"\x00" * 99]
    path.write_bytes(s.rng.choice(forms))


@model
def not_an_object(s: Scene) -> None:
    """JSON that is a list, a number, text, or nothing."""
    s.json_file().write_text(s.rng.choice([*VALUES, "", " ", "[", "{,}", "'x'", "[{}]"]))


@everywhere
def truncated(s: Scene) -> None:
    """A file ends early."""
    path = s.file()
    path.write_bytes(path.read_bytes()[: s.rng.randrange(path.stat().st_size)])


@adapter
def slow_pattern(s: Scene) -> None:
    """A pattern that takes exponential time, in each field that PEFT matches."""
    name = s.rng.choice(["target_modules", "exclude_modules", "rank_pattern", "alpha_pattern"])
    value = {SLOW: 4} if name.endswith("pattern") else SLOW
    edit(s.folder / CONFIG, lambda c: c.update({name: value}))


@adapter
def slow_pattern_in_the_card(s: Scene) -> None:
    """The same in a card's spec, whose targets may be a pattern."""
    pair = s.rng.choice([{"targets": "re:" + SLOW}, {"rank_pattern": [[SLOW, 2]]}])
    edit(s.folder / CARD, lambda c: c["spec"].update(pair))


@adapter
def card_of_another_base(s: Scene) -> None:
    """The card names another base, as text that is not safe to show."""
    name = s.rng.choice([EVIL, "x" * 10**6, "--trust-remote-code", "'; rm -rf ~", "../outside"])
    other = {"name": name, "fingerprint": "0" * 16, "architecture": name, "parameters": 7}
    edit(s.folder / CARD, lambda c: c["base"].update(other))


@adapter
def card_of_another_save(s: Scene) -> None:
    """Files of two saves are mixed."""
    others = sorted(f for f in (s.work / "good" / "adapters").glob("*/*") if f.name != "README.md")
    shutil.copy(other := s.rng.choice(others), s.folder / other.name)


@adapter
def prompt_form_hostile(s: Scene) -> None:
    """The form in which prompts are written holds control characters, or tokens out of range."""
    form = {"kind": s.rng.choice(["chat", "plain", EVIL]), "system": EVIL, "end_token": EVIL}
    ids = {"end_token_id": s.rng.choice([-1, 10**9, None]), "stop_ids": [-1, 2**63]}
    edit(s.folder / CARD, lambda c: c.update(prompt_form=form | ids))


@adapter
def history_hostile(s: Scene) -> None:
    """What views show of an adapter's past is unsafe text and numbers."""
    past = {"steps": 3, "first_loss": 1e308, "last_loss": -1e308, "made": EVIL, "lost": EVIL}
    edit(
        s.folder / CARD, lambda c: c.update(history=past, parents=[EVIL], name=EVIL, run={EVIL: 1})
    )
