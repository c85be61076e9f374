"""The card beside a saved adapter: complete, true, and read back as it was written."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from lora_magic.adapters import store
from lora_magic.adapters.card import Card
from lora_magic.adapters.live_adapter import History
from lora_magic.adapters.methods import METHODS
from lora_magic.errors import AdapterError
from lora_magic.state.session import Session
from tests.classifiers import saved, tiny_classifier
from tests.conftest import Saver, perturb
from tests.tiny import tiny_model, tiny_tokenizer

ROWS = "What is for dinner? => Fish, matey!\nWhere is it? => Arr, by the harbour."


def fields_of(folder: Path) -> Any:
    return json.loads((folder / "lora_magic.json").read_text(encoding="utf-8"))


@pytest.fixture
def trained(session: Session, tmp_path: Path) -> tuple[Session, Path]:
    """An adapter of two steps, saved."""
    session.attach("one", rank=2, rslora=True, rank_pattern={"v_proj": 3})
    session.train("one", text=ROWS, steps=2, lr=1e-3, system="Be brief.", seed=4)
    session.save("one", tmp_path / "one")
    return session, tmp_path / "one"


def test_it_says_which_base(trained: tuple[Session, Path], saved_model: Saver) -> None:
    session, folder = trained
    assert fields_of(folder)["base"] == {
        "name": str(saved_model()),
        "fingerprint": session._state.base.fingerprint.digest,
        "format": "fp32",
        "architecture": "LlamaForCausalLM",
        "parameters": sum(p.numel() for p in tiny_model().parameters()),
        "labels": [],
    }


def test_two_bases_of_one_shape_have_two_fingerprints_and_one_has_one(
    saved_model: Saver, tmp_path: Path
) -> None:
    told = []
    tiny_model("llama", seed=1).save_pretrained(tmp_path / "other")  # type: ignore[operator]  # transformers' own
    tiny_tokenizer().save_pretrained(tmp_path / "other")
    for number, folder in enumerate((saved_model(), saved_model(), tmp_path / "other")):
        session = Session()
        session.load(str(folder))
        session.attach("one", rank=2)
        session.save("one", tmp_path / f"{number}")
        told.append(fields_of(tmp_path / f"{number}")["base"]["fingerprint"])
    assert told[0] == told[1] != told[2]
    assert all(told)


def test_it_says_the_spec_the_form_and_the_run(trained: tuple[Session, Path]) -> None:
    session, folder = trained
    told = fields_of(folder)
    record = session.adapters["one"]
    assert told["spec"] == json.loads(json.dumps(asdict(record.spec)))
    assert (told["spec"]["rslora"], told["spec"]["rank_pattern"]) == (True, [["v_proj", 3]])
    form = told["prompt_form"]
    assert (form["kind"], form["system"], form["end_token"]) == ("chat", "Be brief.", "<|im_end|>")
    assert told["history"] == asdict(record.history)
    assert told["history"]["steps"] == 2
    run = told["run"]
    assert (run["steps"], run["planned_steps"], run["examples"]) == (2, 2, 2)
    assert (run["learning_rate"], run["seed"]) == (1e-3, 4)
    assert run["flags"] == {"steps": 2, "lr": 1e-3, "seed": 4}
    assert run["last_loss"] == record.history.last_loss


def test_its_data_hash_is_that_of_the_rows_however_they_came(
    session: Session, tmp_path: Path
) -> None:
    sets: dict[str, Any] = {
        "text": {"text": ROWS},
        "pairs": {
            "data": [
                ("What is for dinner?", "Fish, matey!"),
                ("Where is it?", "Arr, by the harbour."),
            ]
        },
        "other": {"text": ROWS.replace("Fish", "Stew")},
        "turned": {"text": "\n".join(reversed(ROWS.splitlines()))},
    }
    told = {}
    for name, flags in sets.items():
        session.attach(name, rank=2)
        summary = session.train(name, steps=1, **flags)
        session.save(name, tmp_path / name)
        told[name] = fields_of(tmp_path / name)["run"]["data_sha256"]
        assert told[name] == summary.data_hash
        assert len(bytes.fromhex(told[name])) == 32
    assert told["text"] == told["pairs"]
    assert len(set(told.values())) == 3


def test_it_says_with_what_it_was_made(trained: tuple[Session, Path]) -> None:
    versions = fields_of(trained[1])["versions"]
    assert versions["python"] == platform.python_version()
    for package in ("lora_magic", "torch", "transformers", "peft"):
        assert versions[package] == version(package)


def test_an_untrained_one_says_that_it_is(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=2)
    session.save("one", tmp_path / "one")
    told = fields_of(tmp_path / "one")
    assert (told["prompt_form"], told["run"], told["parents"]) == (None, {}, [])
    assert told["history"]["steps"] == 0


def test_it_comes_back_with_the_adapter_and_goes_into_the_next_one(
    trained: tuple[Session, Path], saved_model: Saver, tmp_path: Path
) -> None:
    session, folder = trained
    fresh = Session()
    fresh.load(str(saved_model()))
    record = fresh.open(folder, "two")
    assert record.history == session.adapters["one"].history
    assert record.spec == session.adapters["one"].spec
    held = fresh._state.attached["two"]
    assert held.form == session._state.attached["one"].form
    assert held.run == session._state.attached["one"].run
    fresh.save("two", tmp_path / "two")
    one, two = fields_of(folder), fields_of(tmp_path / "two")
    assert (one.pop("name"), two.pop("name")) == ("one", "two")
    # Their README.md have different titles.
    assert one["sha256"].pop("README.md") != two["sha256"].pop("README.md")
    assert one == two


def test_parents_are_kept(session: Session, saved_model: Saver, tmp_path: Path) -> None:
    session.attach("one", rank=2)
    perturb(session, "one")
    session._state.attached["one"].parents = ("left", "right")
    session.save("one", tmp_path / "one")
    assert fields_of(tmp_path / "one")["parents"] == ["left", "right"]
    assert "made from: left, right" in (tmp_path / "one" / "README.md").read_text()
    fresh = Session()
    fresh.load(str(saved_model()))
    assert fresh.open(tmp_path / "one").parents == ("left", "right")


def test_a_classifiers_labels_are_told(tmp_path: Path) -> None:
    model = tiny_classifier("bert", labels=2)
    model.config.id2label = {0: "no", 1: "yes"}
    model.config.label2id = {"no": 0, "yes": 1}
    session = Session()
    session.load(saved(model, tmp_path / "base"), task="classification")
    session.attach("one", rank=2)
    session.save("one", tmp_path / "one")
    assert fields_of(tmp_path / "one")["base"]["labels"] == ["no", "yes"]
    assert store.read_card(tmp_path / "one").labels == ("no", "yes")


def test_reading_gives_what_was_written(trained: tuple[Session, Path]) -> None:
    session, folder = trained
    held, base = session._state.attached["one"], session._state.base
    found = store.read_card(folder)
    assert found == Card(
        name="one",
        base=base.name,
        fingerprint=base.fingerprint.digest,
        format="fp32",
        architecture="LlamaForCausalLM",
        parameters=base.parameters,
        spec=held.spec,
        form=held.form,
        history=held.history,
        run=held.run,
    )
    assert found.mismatch(base) == ""


def test_a_folder_without_a_card_says_nothing_against_any_base(
    session: Session, tmp_path: Path
) -> None:
    none = store.read_card(tmp_path)
    assert none == Card()
    assert none.mismatch(session._state.base) == ""


def test_a_card_of_an_earlier_version_is_read(session: Session, tmp_path: Path) -> None:
    # Before fingerprints and methods there were only these.
    (tmp_path / "lora_magic.json").write_text(
        json.dumps({"spec": {"rank": 2, "alpha": 4.0, "targets": "q_proj", "seed": 1}})
    )
    found = store.read_card(tmp_path)
    assert found.spec is not None
    assert (found.spec.method, found.spec.rank) == ("lora", 2)
    assert found.history is None
    assert found.mismatch(session._state.base) == ""


def test_the_way_out_names_the_base_to_load(session: Session) -> None:
    base = session._state.base
    assert Card(base="org/model").remedy(base).endswith("type: %lora load org/model")
    assert '%lora load "my model"' in Card(base="my model").remedy(base)
    classifier = Card(base="demo", labels=("not good", "bad")).remedy(base)
    assert classifier.endswith('%lora load demo --task classification --labels "not good,bad"')
    assert "%lora use MODEL TOKENIZER" in Card(base="live model").remedy(base)
    own = Card(base=base.name, fingerprint=base.fingerprint.digest)
    assert "its config and its weights disagree" in own.remedy(base)


def test_strangeness_of_other_weights_other_sizes_and_other_labels(session: Session) -> None:
    base = session._state.base
    kind, size = type(base.model).__name__, base.parameters
    same: dict[str, Any] = {"base": "x", "architecture": kind, "parameters": size}
    other = Card(**same, fingerprint="0", format="fp32").mismatch(base)
    assert base.fingerprint.digest in other
    # In another format the bits say nothing.
    assert Card(**same, fingerprint="0", format="bf16").mismatch(base) == ""
    larger = Card(base="x", architecture=kind, parameters=size + 1, fingerprint="0", format="bf16")
    assert f"{size + 1:,}" in larger.mismatch(base)
    labels = Card(**same, fingerprint=base.fingerprint.digest, labels=("a", "b"))
    assert labels.mismatch(base) == "its labels are a, b; the base's labels are none"


@pytest.mark.parametrize("method", METHODS)
def test_the_page_for_people_has_the_hubs_head_and_the_methods_source(
    method: str, tmp_path: Path, saved_model: Saver
) -> None:
    session = Session()
    session.load(str(saved_model("gpt2")))
    session.attach("one", method=method)
    session.save("one", tmp_path / "one")
    page = (tmp_path / "one" / "README.md").read_text(encoding="utf-8")
    _, head, body = page.split("---\n")
    assert f'base_model: "{saved_model("gpt2")}"' in head
    assert ("library_name: peft" in head) == METHODS[method].peft
    assert METHODS[method].source in body
    assert session._state.base.fingerprint.digest in body
    assert ("Plain PEFT does not have this method" in body) != METHODS[method].peft


@pytest.mark.parametrize(
    "change",
    [
        {"history": {"steps": 1, "colour": 2}},
        {"base": {"parameters": "many"}},
        {"base": "x"},
        {"spec": {"rank": 0}},
        {"spec": {"rank": 2, "rank_pattern": [["q"]]}},
        {"prompt_form": {"kind": "chat"}},
        {"parents": 3},
        {"run": [1]},
        {"run": {"held_out_after": "low"}},
        {"run": {"base_held_out": [1.0]}},
        {"run": {"held_out_sha256": 7}},
        {"run": {"when": {}}},
        {"run": {"seconds": True}},
        {"run": {"workers": "2"}},
        {"run": {"engine": 2}},
        {"run": {"forgetting": {"questions": -1}}},
        {"run": {"forgetting": [24]}},
        {"run": {"guard": {"after": "x"}}},
        {"run": {"guard_sha256": 1}},
        {"run": {"sweep": {"reported": "x"}}},
        {"run": {"curve": {"points": [[1]]}}},
        {"run": {"curve": {"points": [["1", 2.0]]}}},
        {"run": {"evaluations": [1]}},
        {"run": {"evaluations": {"abc": 1.0}}},
        {"run": {"evaluations": {"abc": {"loss": "low"}}}},
        {"run": {"evaluations": {"abc": {"metrics": {"length": "long"}}}}},
    ],
)
def test_a_card_that_is_wrong_in_any_place_is_one_line(
    change: dict[str, Any], trained: tuple[Session, Path]
) -> None:
    folder = trained[1]
    file = folder / "lora_magic.json"
    file.write_text(json.dumps({**fields_of(folder), **change}))
    with pytest.raises(AdapterError, match=r"lora_magic\.json cannot be read .*remove it") as seen:
        store.read_card(folder)
    assert "\n" not in str(seen.value)


def test_history_in_words() -> None:
    assert History().line == "not trained"
    assert History(elsewhere=True).line == "trained elsewhere"
    assert History(steps=1, first_loss=3.0, last_loss=1.0).line == "1 step, loss 3.00 → 1.00"
