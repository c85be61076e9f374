"""Plain PEFT, in another process, is the judge of what is saved and read."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from lora_magic.errors import AdapterError, StateError
from lora_magic.state.session import Session
from tests.conftest import REORDERED, Saver, logits, perturb
from tests.tiny import ARCHITECTURES

PLAIN_PEFT = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
jobs = sys.argv[1:]
for base, adapter, out in zip(jobs[::3], jobs[1::3], jobs[2::3]):
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).eval()
    with torch.no_grad():
        torch.save(model(input_ids=torch.arange(10, 26)[None]).logits, out)
"""


def test_plain_peft_in_another_process_gives_the_same_logits(
    saved_model: Saver, tmp_path: Path
) -> None:
    jobs: list[str] = []
    ours: dict[Path, torch.Tensor] = {}
    for architecture in ARCHITECTURES:
        session = Session()
        session.load(str(saved_model(architecture)))
        for name, targets in (("usual", None), ("broad", "all-linear")):
            session.attach(name, rank=4, targets=targets)
            perturb(session, name)
            folder = tmp_path / architecture / name
            session.save(name, folder)
            out = folder / "logits.pt"
            jobs += [str(saved_model(architecture)), str(folder), str(out)]
            ours[out] = logits(session)
            assert not torch.equal(ours[out], logits_of_base(session))
    subprocess.run([sys.executable, "-c", PLAIN_PEFT, *jobs], check=True, capture_output=True)
    for out, expected in ours.items():
        assert torch.equal(torch.load(out), expected), out


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
    from lora_magic.adapters import card

    def failing(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(card, "write", failing)
    with pytest.raises(KeyboardInterrupt):
        session.save("one", tmp_path / "one")
    assert sorted((f.name, f.read_bytes()) for f in (tmp_path / "one").iterdir()) == kept
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".one")] == []


def test_saving_over_something_else_is_refused(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=2)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(AdapterError, match="left alone"):
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


def test_an_adapter_of_another_base_is_refused(saved_model: Saver, tmp_path: Path) -> None:
    small, large = Session(), Session()
    small.load(str(saved_model()))
    small.attach("one", rank=2, targets="q_proj")
    small.save("one", tmp_path / "one")
    large.load(str(saved_model("llama", hidden_size=64)))
    with pytest.raises(AdapterError, match="does not fit"):
        large.open(tmp_path / "one")
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
    assert session._held.attached["one"].form is not None
    assert session._held.attached["one"].form.kind == "plain"


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

    monkeypatch.setattr(Path, "rename", broken)
    with pytest.raises(AdapterError, match="no space left"):
        session.save("one", tmp_path / "one")
    assert {file.name: file.read_bytes() for file in (tmp_path / "one").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


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
        ("[]", "names no method"),
        ('{"peft_type": "FOO"}', "holds a FOO adapter"),
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
    assert session.open(tmp_path / "one", "two").history.words == "trained elsewhere"
    session.attach("three", rank=2)
    assert session.adapters["three"].history.words == "not trained"


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
    with pytest.raises(AdapterError, match=r"no part of an adapter \(notes\.txt\)"):
        session.save("one", tmp_path / "one")
    assert (tmp_path / "one" / "notes.txt").read_text() == "mine"


def test_one_adapter_is_not_saved_over_another(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=2)
    session.attach("two", rank=2)
    session.save("one", tmp_path / "a")
    with pytest.raises(AdapterError, match="holds one, which was saved there"):
        session.save("two", tmp_path / "a")
    session.detach("one")
    session.save("two", tmp_path / "a")


def test_a_saved_folder_that_is_gone_is_no_saved_adapter(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=2)
    session.train("one", text="Where? => Here.", steps=1)
    session.save("one", tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(StateError, match="trained and not saved"):
        session.load("demo")
