"""Plain PEFT, in another process, is the judge of what is saved and read."""

from __future__ import annotations

import json
import pickle
import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from lora_magic.adapters import files, replace
from lora_magic.errors import AdapterError, StateError
from lora_magic.state.session import HOME, Session
from tests.adapters.conftest import PlainPeft
from tests.adapters.shared import moved
from tests.classifiers import saved, tiny_classifier
from tests.conftest import REORDERED, Saver, logits, perturb
from tests.tiny import ARCHITECTURES, tiny_model, tiny_tokenizer


def test_plain_peft_in_another_process_gives_the_same_logits(
    plain_peft: PlainPeft, saved_model: Saver, tmp_path: Path
) -> None:
    jobs, ours = [], []
    for architecture in ARCHITECTURES:
        session = Session()
        session.load(str(saved_model(architecture)))
        for name, targets in (("usual", None), ("broad", "all-linear")):
            session.attach(name, rank=4, targets=targets)
            perturb(session, name)
            folder = tmp_path / architecture / name
            session.save(name, folder)
            jobs.append((saved_model(architecture), folder))
            ours.append(logits(session))
            assert not torch.equal(ours[-1], logits_of_base(session))
    for job, expected, found in zip(jobs, ours, plain_peft(jobs), strict=True):
        assert torch.equal(found, expected), job


def logits_of_base(session: Session) -> torch.Tensor:
    session.swap("base")
    return logits(session)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_saved_opens_to_the_same_logits(
    architecture: str, saved_model: Saver, tmp_path: Path
) -> None:
    session = Session()
    session.load(str(saved_model(architecture)))
    session.attach("one", rank=4)
    perturb(session, "one")
    before = logits(session)
    session.save("one", tmp_path / "one")
    session.detach("one")
    record = session.open(tmp_path / "one", "again")
    assert torch.equal(logits(session), before)
    assert record.spec.line == "lora r4 α32 all-linear"
    assert session.verify()


def test_an_adapter_saved_by_plain_peft_opens(saved_model: Saver, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    config = LoraConfig(
        r=4,
        lora_alpha=8,
        use_rslora=True,
        rank_pattern={"v_proj": 2},
        init_lora_weights=False,
        target_modules=["q_proj", "v_proj"],
        task_type="CAUSAL_LM",
    )
    plain = get_peft_model(AutoModelForCausalLM.from_pretrained(saved_model()), config).eval()
    plain.save_pretrained(tmp_path / "theirs")
    with torch.no_grad():
        expected = plain(input_ids=torch.arange(10, 26)[None]).logits
    session = Session()
    session.load(str(saved_model()))
    session.open(tmp_path / "theirs")
    assert torch.equal(logits(session), expected)
    # The merged weight follows the layers' own scale, which rsLoRA and the pattern change.
    session.merge()
    assert torch.allclose(logits(session), expected, atol=REORDERED)


def test_the_folder_appears_whole_or_not_at_all(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.attach("one", rank=2)
    session.save("one", tmp_path / "one")
    kept = sorted((f.name, f.read_bytes()) for f in (tmp_path / "one").iterdir())
    perturb(session, "one")

    def failing(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "_write_all", failing)
    with pytest.raises(KeyboardInterrupt):
        session.save("one", tmp_path / "one")
    assert sorted((f.name, f.read_bytes()) for f in (tmp_path / "one").iterdir()) == kept
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".one")] == []


def test_saving_over_something_else_is_refused(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=2)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(AdapterError, match="is not replaced"):
        session.save("one", tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


def test_every_fault_of_the_tensors_is_told_in_one_error(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=2, targets="q_proj")
    session.save("one", tmp_path / "one")
    file = tmp_path / "one" / "adapter_model.safetensors"
    tensors = load_file(file)
    first, second, third, *_ = sorted(tensors)
    tensors[first] = tensors[first].new_full(tensors[first].shape, float("nan"))
    tensors[second] = tensors[second].new_zeros(3, 3)
    tensors["stranger"] = tensors.pop(third)
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(AdapterError) as seen:
        session.open(tmp_path / "one", "two")
    one, _, three = [name.removeprefix("base_model.model.") for name in (first, second, third)]
    for fault in (f"{one} holds NaN", "(3, 3)", f"missing {three}", "unexpected stranger"):
        assert fault in str(seen.value)
    assert "made for this base, so its config and its weights disagree" in str(seen.value)
    assert list(session.adapters) == ["one"]
    assert session.verify()


@pytest.mark.parametrize("card", [True, False])
def test_an_adapter_of_another_base_is_refused_and_a_few_of_its_tensors_are_named(
    card: bool, saved_model: Saver, tmp_path: Path
) -> None:
    small, large = Session(), Session()
    small.load(str(saved_model()))
    small.attach("one", rank=2)
    small.save("one", tmp_path / "one")
    if not card:
        (tmp_path / "one" / files.CARD_FILE).unlink()
    large.load(str(saved_model("llama", hidden_size=64)))
    with pytest.raises(AdapterError, match=r"does not fit .* and \d+ more") as seen:
        large.open(tmp_path / "one")
    told = str(seen.value)
    assert told.count("expected (") <= 5
    assert told.count("was made for") == 1
    assert dict(large.adapters) == {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"use_dora": True}, "dora False in its card and True in its config"),
        ({"modules_to_save": ["lm_head"]}, "whole modules"),
        ({"bias": "all"}, "bias none in its card and all in its config"),
        ({"init_lora_weights": "pissa"}, "changed base"),
        ({"peft_type": "LOHA"}, "LOHA"),
    ],
)
def test_what_would_be_misread_is_refused(
    changes: dict[str, object], reason: str, session: Session, tmp_path: Path
) -> None:
    session.attach("one", rank=2)
    session.save("one", tmp_path / "one")
    file = tmp_path / "one" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(AdapterError, match=reason):
        session.open(tmp_path / "one", "two")
    assert session.verify()


def test_a_pickle_and_a_missing_folder_say_what_to_do(session: Session, tmp_path: Path) -> None:
    session.attach("pirate", rank=2)
    session.save("pirate", tmp_path / "adapters" / "pirate")
    with pytest.raises(AdapterError, match="Did you mean 'pirate'"):
        session.open(tmp_path / "adapters" / "pirat")
    (tmp_path / "adapters" / "pirate" / "adapter_model.safetensors").rename(
        tmp_path / "adapters" / "pirate" / "adapter_model.bin"
    )
    with pytest.raises(AdapterError, match="pickle"):
        session.open(tmp_path / "adapters" / "pirate", "two")


def test_the_prompt_form_and_the_history_come_back(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=2)
    session.train("one", text="a => b\nc => d", steps=2, template="plain")
    session.save("one")
    before = session.adapters["one"].history
    session.detach("one")
    record = session.open("one")
    assert record.history == before
    assert session._state.attached["one"].form is not None
    assert session._state.attached["one"].form.kind == "plain"


def test_a_replacement_that_fails_gives_the_old_folder_back(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.attach("one", rank=2)
    session.save("one", tmp_path / "one")
    before = {file.name: file.read_bytes() for file in (tmp_path / "one").iterdir()}
    perturb(session, "one")
    rename = Path.rename

    def broken(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError("no space left")
        return rename(self, target)

    monkeypatch.setattr(replace, "_exchanged", lambda *_: False)
    monkeypatch.setattr(Path, "rename", broken)
    with pytest.raises(AdapterError, match="no space left"):
        session.save("one", tmp_path / "one")
    assert {file.name: file.read_bytes() for file in (tmp_path / "one").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir() if path.name != HOME] == ["one"]


@pytest.mark.parametrize(
    "card",
    [
        '{"spec": {"seed": "x"}}',
        '{"spec": [1]}',
        '{"history": {"colour": 1}}',
        '{"prompt_form": {"kind": "chat"}}',
        "[1, 2]",
        "{broken",
    ],
)
def test_a_card_that_cannot_be_read_is_one_line(
    session: Session, tmp_path: Path, card: str
) -> None:
    session.attach("one", rank=2)
    session.save("one", tmp_path / "one")
    (tmp_path / "one" / "lora_magic.json").write_text(card)
    with pytest.raises(AdapterError, match=r"lora_magic\.json cannot be read.*remove it"):
        session.open(tmp_path / "one", "two")
    assert list(session.adapters) == ["one"]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("{broken", "cannot be read as JSON"),
        ("[]", "has no method"),
        ('{"peft_type": "FOO"}', "the method is FOO"),
    ],
)
def test_a_config_that_cannot_be_read_is_one_line(
    session: Session, tmp_path: Path, config: str, told: str
) -> None:
    session.attach("one", rank=2)
    session.save("one", tmp_path / "one")
    (tmp_path / "one" / "adapter_config.json").write_text(config)
    with pytest.raises(AdapterError, match=told):
        session.open(tmp_path / "one", "two")


def test_an_adapter_of_another_base_says_whose_it_is(saved_model: Saver, tmp_path: Path) -> None:
    theirs, ours = Session(), Session()
    theirs.load(str(saved_model("llama")))
    theirs.attach("one", rank=2)
    theirs.save("one", tmp_path / "one")
    ours.load(str(saved_model("gpt2")))
    with pytest.raises(AdapterError) as seen:
        ours.open(tmp_path / "one")
    assert f"It was made for {saved_model('llama')}; type: %lora load " in str(seen.value)
    assert "\n" not in str(seen.value)


def test_what_was_saved_opens_at_once_and_trained_elsewhere_is_told(
    session: Session, tmp_path: Path
) -> None:
    session.attach("one", rank=2)
    perturb(session, "one")
    session.save("one", tmp_path / "one")
    assert session.open(tmp_path / "one", "one") == session.adapters["one"]
    (tmp_path / "one" / "lora_magic.json").unlink()
    assert session.open(tmp_path / "one", "two").history.line == "trained elsewhere"
    session.attach("three", rank=2)
    assert session.adapters["three"].history.line == "not trained"


def test_a_missing_folder_names_what_is_saved_at_home(session: Session) -> None:
    session.attach("pirate", rank=2)
    session.save("pirate")
    with pytest.raises(AdapterError, match=r"in .*adapters: pirate.* Did you mean 'pirate'"):
        session.open("pirat")
    with pytest.raises(AdapterError, match='%lora open "my adapters/p one" p_one'):
        session.save("pirate", "my adapters/p one")
        session.open("my adapters/p one")


def test_files_that_are_not_the_adapters_are_never_replaced(
    session: Session, tmp_path: Path
) -> None:
    session.attach("one", rank=2)
    session.save("one", tmp_path / "one")
    (tmp_path / "one" / "notes.txt").write_text("mine")
    with pytest.raises(AdapterError, match=r"not part of an adapter \(notes\.txt\)"):
        session.save("one", tmp_path / "one")
    assert (tmp_path / "one" / "notes.txt").read_text() == "mine"


def test_one_adapter_is_not_saved_over_another(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=2)
    session.attach("two", rank=2)
    session.save("one", tmp_path / "a")
    with pytest.raises(AdapterError, match="contains the saved adapter one"):
        session.save("two", tmp_path / "a")
    # The folder may be all that is left of it.
    session.detach("one")
    with pytest.raises(AdapterError, match="contains the saved adapter one"):
        session.save("two", tmp_path / "a")


def test_a_saved_folder_that_is_gone_is_no_saved_adapter(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=2)
    session.train("one", text="Where? => Here.", steps=1)
    session.save("one", tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(StateError, match="trained and not saved"):
        session.load("demo")


def test_one_file_of_the_room_reads_and_writes_files() -> None:

    calls = ("read_text", "write_text", "read_bytes", "write_bytes", "load_file", "save_file")
    for path in Path(files.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert path.name == "files.py" or not any(call in text for call in calls), path.name


# Made for another base


def other_weights(tmp_path: Path, **changes: object) -> Path:
    """A base of the same architecture and shape whose weights are others."""
    folder = tmp_path / "other"
    model: Any = tiny_model("llama", seed=1, **changes)
    model.save_pretrained(folder)
    tiny_tokenizer(chat=True).save_pretrained(folder)
    return folder


METHODS_SAVED = {
    "lora": {"rank": 2, "targets": "q_proj"},
    "ia3": {"method": "ia3"},
    "prefix": {"method": "prefix", "virtual_tokens": 3},
    "houlsby": {"method": "houlsby", "rank": 2},
    "full": {"method": "full"},
}


@pytest.mark.parametrize("method", METHODS_SAVED)
def test_other_weights_of_the_same_shape_are_refused_and_other_base_opens_them(
    method: str, session: Session, saved_model: Saver, tmp_path: Path
) -> None:
    session.attach("one", **METHODS_SAVED[method])  # type: ignore[arg-type]  # flags by name
    moved(session._state.attached["one"])
    session.save("one", tmp_path / "one")
    state = session._state.attached["one"].state()
    other = Session()
    other.load(str(other_weights(tmp_path)))
    before = logits(other)
    with pytest.raises(AdapterError) as seen:
        other.open(tmp_path / "one")
    told = str(seen.value)
    for part in (
        f"made for {saved_model()} with the weights {session._state.base.fingerprint.digest}",
        f"those of {tmp_path / 'other'} are {other._state.base.fingerprint.digest}",
        f"%lora load {saved_model()}",
        "--allow-other-base",
    ):
        assert part in told
    assert "\n" not in told
    assert dict(other.adapters) == {}
    assert torch.equal(logits(other), before)
    other.open(tmp_path / "one", allow_other_base=True)
    found = other._state.attached["one"].state()
    assert all(torch.equal(found[key], tensor) for key, tensor in state.items())
    assert not torch.equal(logits(other), before)
    assert other.verify()


def test_the_same_base_under_another_name_or_in_another_format_is_the_same_base(
    session: Session, saved_model: Saver, tmp_path: Path
) -> None:
    session.attach("one", rank=2)
    perturb(session, "one")
    session.save("one", tmp_path / "one")
    expected = logits(session)
    shutil.copytree(saved_model(), tmp_path / "copy")
    copy, narrow = Session(), Session()
    copy.load(str(tmp_path / "copy"))
    copy.open(tmp_path / "one")
    assert torch.equal(logits(copy), expected)
    narrow.load(str(saved_model()), dtype="bf16")
    narrow.open(tmp_path / "one")
    assert torch.allclose(logits(narrow).float(), expected, atol=0.05)


def test_another_shape_says_both_sizes_beside_the_faults_of_the_tensors(
    session: Session, saved_model: Saver, tmp_path: Path
) -> None:
    session.attach("one", rank=2, targets="q_proj")
    session.save("one", tmp_path / "one")
    large = Session()
    large.load(str(saved_model("llama", hidden_size=64)))
    for other_base in (False, True):
        with pytest.raises(AdapterError) as seen:
            large.open(tmp_path / "one", allow_other_base=other_base)
        assert "lora_A.weight is (2, 32), expected (2, 64)" in str(seen.value)
        sizes = [f"{s._state.base.parameters:,}" for s in (session, large)]
        assert all(size in str(seen.value) for size in sizes) == (not other_base)
    assert dict(large.adapters) == {}


def test_other_labels_are_refused_and_other_base_opens_them(tmp_path: Path) -> None:
    model = tiny_classifier("bert", labels=2)
    model.config.id2label = {0: "no", 1: "yes"}
    model.config.label2id = {"no": 0, "yes": 1}
    first = saved(model, tmp_path / "first")
    model.config.id2label = {0: "bad", 1: "good"}
    model.config.label2id = {"bad": 0, "good": 1}
    second = saved(model, tmp_path / "second")
    session, other = Session(), Session()
    session.load(first, task="classification")
    session.attach("one", rank=2)
    moved(session._state.attached["one"])
    session.save("one", tmp_path / "one")
    other.load(second, task="classification")
    with pytest.raises(AdapterError, match=r"its labels are no, yes; the base's .*bad, good"):
        other.open(tmp_path / "one")
    assert dict(other.adapters) == {}
    other.open(tmp_path / "one", allow_other_base=True)
    assert torch.equal(logits(other), logits(session))


def test_a_wrong_base_and_every_fault_of_the_tensors_are_told_in_one_error(
    session: Session, tmp_path: Path
) -> None:
    session.attach("one", rank=2, targets="q_proj,v_proj")
    session.save("one", tmp_path / "one")
    file = tmp_path / "one" / "adapter_model.safetensors"
    tensors = load_file(file)
    first, second, third, fourth, *_ = sorted(tensors)
    tensors[first] = tensors[first].new_full(tensors[first].shape, float("nan"))
    tensors[second] = tensors[second].new_zeros(3, 3)
    tensors["stranger"] = tensors.pop(third)
    tensors[fourth][0, 0] = float("inf")
    save_file(tensors, file, metadata={"format": "pt"})
    other = Session()
    other.load(str(other_weights(tmp_path)))
    with pytest.raises(AdapterError) as seen:
        other.open(tmp_path / "one", "two")
    names = [n.removeprefix("base_model.model.") for n in (first, second, third, fourth)]
    for fault in (
        f"{names[0]} holds NaN or infinity",
        f"{names[1]} is (3, 3), expected",
        f"missing {names[2]}",
        "unexpected stranger",
        f"{names[3]} holds NaN or infinity",
        f"with the weights {session._state.base.fingerprint.digest}",
        "%lora load ",
    ):
        assert fault in str(seen.value), fault
    assert "\n" not in str(seen.value)
    assert dict(other.adapters) == {}
    assert other.verify()


@pytest.mark.parametrize("method", METHODS_SAVED)
def test_every_fault_of_any_methods_tensors_is_told_in_one_error(
    method: str, session: Session, tmp_path: Path
) -> None:
    session.attach("one", **METHODS_SAVED[method])  # type: ignore[arg-type]  # flags by name
    session.save("one", tmp_path / "one")
    file = tmp_path / "one" / "adapter_model.safetensors"
    tensors = load_file(file)
    first = min(tensors)
    tensors["stranger"] = tensors[first].clone()
    tensors[first] = tensors[first].new_full(tensors[first].shape, float("nan"))
    if len(tensors) > 2:
        del tensors[max(key for key in tensors if key not in (first, "stranger"))]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(AdapterError) as seen:
        session.open(tmp_path / "one", "two")
    for fault in ("unexpected stranger", "holds NaN", *(["missing "] * (len(tensors) > 2))):
        assert fault in str(seen.value)
    assert list(session.adapters) == ["one"]
    assert session.verify()


# A card that lies, and none


@pytest.mark.parametrize(
    ("flags", "lie", "told"),
    [
        ({"rank": 2}, {"rank": 4}, "rank 4 in its card and 2 in its config"),
        ({"rank": 2, "alpha": 4}, {"alpha": 8.0}, r"alpha 8\.0 in its card and 4\.0"),
        ({"rank": 2}, {"rslora": True}, "rslora True in its card and False"),
        ({"rank": 2}, {"norms": True}, "disagree on whether it trains norms"),
        ({"rank": 2}, {"init": "pissa"}, "rank 4 in its card and 2 in its config"),
        ({"rank": 2, "init": "pissa"}, {"init": "default"}, "rank 2 in its card and 4"),
        (
            {"rank": 2, "rank_pattern": {"q_proj": 3}},
            {"rank_pattern": []},
            r"rank_pattern \(\) in its card",
        ),
        (
            {"method": "prefix", "virtual_tokens": 3},
            {"virtual_tokens": 4},
            "virtual_tokens 4 in its card and 3",
        ),
        ({"method": "houlsby", "rank": 2}, {"rank": 3}, "rank 3 in its card and 2"),
        ({"method": "houlsby", "rank": 2}, {"method": "adapter-l"}, "method adapter-l in its card"),
    ],
)
def test_a_card_that_contradicts_its_config_is_refused(
    flags: dict[str, Any], lie: dict[str, Any], told: str, session: Session, tmp_path: Path
) -> None:
    session.attach("one", **flags)
    session.save("one", tmp_path / "one")
    file = tmp_path / "one" / "lora_magic.json"
    fields = json.loads(file.read_text())
    file.write_text(json.dumps({**fields, "spec": {**fields["spec"], **lie}}))
    with pytest.raises(AdapterError, match=told):
        session.open(tmp_path / "one", "two")
    assert list(session.adapters) == ["one"]
    assert session.verify()


def test_without_its_card_pefts_method_opens_and_ours_does_not(
    session: Session, tmp_path: Path
) -> None:
    for name, method in (("theirs", "ia3"), ("own", "houlsby")):
        session.attach(name, method=method)
        moved(session._state.attached[name])
        session.save(name, tmp_path / name)
        (tmp_path / name / "lora_magic.json").unlink()
    session.swap("theirs")
    expected = logits(session)
    session.open(tmp_path / "theirs", "again")
    assert torch.equal(logits(session), expected)
    with pytest.raises(AdapterError, match=r"card lora_magic\.json is missing"):
        session.open(tmp_path / "own", "other")
    assert "other" not in session.adapters


def test_a_pissa_without_its_card_is_the_plain_lora_of_twice_the_rank(
    session: Session, tmp_path: Path
) -> None:
    session.attach("one", rank=2, init="pissa")
    moved(session._state.attached["one"])
    expected = logits(session)
    session.save("one", tmp_path / "one")
    (tmp_path / "one" / "lora_magic.json").unlink()
    record = session.open(tmp_path / "one", "two")
    assert (record.spec.rank, record.spec.init) == (4, "default")
    assert torch.allclose(logits(session), expected, atol=REORDERED)


@pytest.mark.parametrize("method", ["lora", "houlsby"])
def test_broken_and_pickled_weights_are_refused(
    method: str, session: Session, tmp_path: Path
) -> None:
    session.attach("one", method=method)
    session.save("one", tmp_path / "one")
    file = tmp_path / "one" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(AdapterError, match=r"adapter_model\.safetensors cannot be read"):
        session.open(tmp_path / "one", "two")
    file.unlink()
    (tmp_path / "one" / "adapter_model.bin").write_bytes(Booby.trap())
    with pytest.raises(AdapterError, match="a pickle that can run code"):
        session.open(tmp_path / "one", "two")
    assert not Booby.sprung


class Booby:
    """A pickle that tells when somebody reads it."""

    sprung: ClassVar[list[str]] = []

    @staticmethod
    def trap() -> bytes:
        return pickle.dumps(Booby())

    def __reduce__(self) -> Any:
        return (Booby.sprung.append, ("read",))


# From the hub


def hub_with(monkeypatch: pytest.MonkeyPatch, answer: Path | Exception) -> list[dict[str, Any]]:
    """A stand-in for the hub's download; what it was asked for is noted."""
    asked: list[dict[str, Any]] = []

    def snapshot_download(name: str, **options: Any) -> str:
        asked.append({"name": name, **options})
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    return asked


def test_a_hub_id_is_fetched_without_pickles_and_opened_under_its_last_part(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.attach("one", rank=2)
    perturb(session, "one")
    expected = logits(session)
    session.save("one", tmp_path / "snapshots" / "abc")
    asked = hub_with(monkeypatch, tmp_path / "snapshots" / "abc")
    record = session.open("someone/pirate-lora")
    assert record.name == "pirate-lora"
    assert session.active == "pirate-lora"
    assert torch.equal(logits(session), expected)
    assert [ask["name"] for ask in asked] == ["someone/pirate-lora"]
    patterns = asked[0]["allow_patterns"]
    assert not any(fnmatch(f"adapter_model{end}", p) for p in patterns for end in (".bin", ".pt"))
    assert {"adapter_config.json", "adapter_model.safetensors", "lora_magic.json"} <= set(patterns)
    # The same line again returns the same adapter.
    assert session.open("someone/pirate-lora") == record
    assert session.open("someone/pirate-lora", "called").name == "called"


def test_a_folder_of_that_name_comes_before_the_hub(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = hub_with(monkeypatch, AssertionError("the hub was asked"))
    session.attach("one", rank=2)
    session.save("one", tmp_path / "someone" / "pirate")
    assert session.open("someone/pirate").name == "pirate"
    with pytest.raises(AdapterError, match=r"no folder 'someone/parrot'"):
        session.open("someone/parrot")
    assert asked == []


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("GatedRepoError", "is gated: accept its terms"),
        ("RepositoryNotFoundError", "no adapter 'someone/pirate' on the hub"),
        ("LocalEntryNotFoundError", r"the hub cannot be reached.*%lora open DIR"),
        ("HFValidationError", "no adapter 'someone/pirate' on the hub"),
    ],
)
def test_what_the_hub_refuses_is_one_line(
    kind: str, told: str, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import errors

    made: Any = getattr(errors, kind)
    answer = made.__new__(made)
    hub_with(monkeypatch, answer)
    with pytest.raises(AdapterError, match=told) as seen:
        session.open("someone/pirate")
    assert "\n" not in str(seen.value)
    assert dict(session.adapters) == {}


def test_a_hub_adapter_that_has_only_a_pickle_is_refused(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The pickle itself is never fetched.
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    hub_with(monkeypatch, tmp_path / "snapshot")
    with pytest.raises(AdapterError, match=r"expected adapter_model\.safetensors"):
        session.open("someone/pirate")


def test_a_name_that_cannot_be_asks_for_another(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.attach("one", rank=2)
    session.save("one", tmp_path / "snapshot")
    hub_with(monkeypatch, tmp_path / "snapshot")
    with pytest.raises(AdapterError, match=r"%lora open someone/pirate\.v2 pirate_v2"):
        session.open("someone/pirate.v2")
    assert session.open("someone/pirate.v2", "pirate_v2").name == "pirate_v2"
