"""The card of an export: what it says and never says, and what `open` and `save` make of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lora_magic.adapters.live_adapter import History, LiveAdapter
from lora_magic.base import hub
from lora_magic.base.prompt import PromptForm
from lora_magic.errors import AdapterError, ExportError
from lora_magic.export import FORMATS, card
from lora_magic.export.folder import is_export, refuse_used
from lora_magic.export.job import Job, Options
from lora_magic.export.page import code
from lora_magic.export.receipt import Check, PromptCheck
from lora_magic.state.session import Session
from tests.adapters.shared import based, made, moved
from tests.tiny import tiny_model, tiny_tokenizer

SECRET = "What does my neighbour earn?"

CHECK = Check(
    reader="transformers 5.24.0",
    measure="logits",
    prompts=(
        PromptCheck(SECRET, 12, True, 0.25),
        PromptCheck("And mine?", 9, False, 0.5, 4, "rounding of W0 + ΔW to bf16"),
    ),
    worst=1e-3,
    limit=4e-3,
    notes=("one note of the reader",),
)

RUN: dict[str, Any] = {
    "data_sha256": "ab" * 32,
    "examples": 55,
    "held_out": 5,
    "steps": 60,
    "learning_rate": 0.004,
    "batch_size": 8,
    "seed": 7,
    "held_out_before": 8.8822,
    "held_out_after": 0.50487,
    "base_held_out": 8.9011,
    "flags": {"steps": 60, "template": "chat"},
    "forgetting": {"measure": "text", "tokens": 90, "base_loss": 2.125, "loss": 2.375},
    "guard": {"before": 1.25, "after": 1.5, "rows": 40, "tokens": 900},
    "evaluations": {
        "cd" * 32: {
            "rows": 11,
            "loss": 0.75,
            "base_loss": 3.5,
            "seconds": 1.0,
            "when": "2026-11-30T00:00:00+00:00",
            "metrics": {"loss": 0.75, "exact_match": 0.625},
        }
    },
}


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    """An adapter that was trained, on a base from the hub, which is not asked."""
    monkeypatch.setattr(hub, "license_of", lambda source: {"license": "apache-2.0"})
    base, slots = based()
    base.source = base.name = "org/base"
    attached = moved(made(base, slots, "pirate", rank=4, alpha=8))
    attached.run = RUN
    attached.history = History(steps=60, first_loss=9.26, last_loss=0.59, rows=55)
    attached.parents = ("a", "b")
    form = PromptForm("chat", "Speak like a pirate.", "<|end|>", 1, (1, 0))
    attached.form = form
    prompts = tuple(one.prompt for one in CHECK.prompts)
    return Job("pirate", base, slots, attached, form, prompts, Options(), print, "merged")


def written(job: Job, folder: Path, check: Check | None = CHECK, **more: Any) -> tuple[Any, str]:
    """The values of lora_magic.json, and README.md."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "inner").mkdir(exist_ok=True)
    (folder / "inner" / "weights.bin").write_bytes(bytes(100))
    card.write(job, folder, check, **more)
    values = json.loads((folder / "lora_magic.json").read_text(encoding="utf-8"))
    return values, (folder / "README.md").read_text(encoding="utf-8")


def head(page: str) -> dict[str, Any]:
    assert page.startswith("---\n")
    found = yaml.safe_load(page.removeprefix("---\n").partition("\n---\n")[0])
    assert isinstance(found, dict)
    return found


# What it says


def test_the_card_holds_settings_run_receipt_and_the_files_hashes(job: Job, tmp_path: Path) -> None:
    values, _ = written(job, tmp_path, notes=["a note of the format"])
    assert values["base"]["name"] == values["base"]["hub"] == "org/base"
    assert values["base"]["fingerprint"] == job.base.fingerprint.digest
    assert (values["settings"]["rank"], values["settings"]["alpha"]) == (4, 8)
    assert values["run"] == RUN
    assert values["history"]["last_loss"] == 0.59
    assert values["parents"] == ["a", "b"]
    assert values["prompt_form"]["system"] == "Speak like a pirate."
    assert values["versions"]["torch"] == torch.__version__
    receipt = values["export"]["receipt"]
    assert (receipt["prompts"], receipt["same"], receipt["tokens"]) == (2, 1, 21)
    assert (receipt["difference"], receipt["worst"], receipt["limit"]) == (0.5, 1e-3, 4e-3)
    assert receipt["differs"] == [
        {"prompt": 2, "same": False, "token": 4, "why": "rounding of W0 + ΔW to bf16"}
    ]
    assert values["export"]["notes"] == ["a note of the format"]
    assert values["sha256"] == {
        name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        for name in ("README.md", "config.json", "inner/weights.bin")
    }


def test_the_page_says_it_to_people(job: Job, tmp_path: Path) -> None:
    _, page = written(job, tmp_path, notes=["a note of the format"])
    for told in (
        "[org/base](https://huggingface.co/org/base)",
        f"fingerprint {job.base.fingerprint.digest} in fp32",
        "learning rate 0.004, steps 60, batch 8, rows trained on 55, rows held out 5, seed 7",
        f"sha256 `{'ab' * 32}`",
        "held-out loss: 8.88 → 0.505 nats per token; the base's: 8.90",
        "loss on general text 2.12 → 2.38",
        "guard, loss on 40 general rows: 1.25 → 1.50",
        "evaluated on 11 rows (sha256 `cdcdcdcdcdcd`…): loss 0.750, exact_match 0.625",
        "the base's loss 3.50",
        "made from: `a`, `b`",
        "system prompt: `Speak like a pirate.`",
        "answers end with: `<|end|>`",
        "read by: transformers 5.24.0",
        "same tokens as in the notebook: 1 of 2 prompts",
        "largest difference of logits from the notebook: 0.500",
        "largest difference from what the files should give: 0.00100 (limit 0.00400)",
        "prompt 2 differs from token 4: rounding of W0 + ΔW to bf16",
        "- one note of the reader",
        "- a note of the format",
    ):
        assert told in page


@pytest.mark.parametrize(
    ("format", "options", "alone", "library", "relation"),
    [
        ("merged", Options(), False, "transformers", "finetune"),
        ("peft", Options(), False, "peft", "adapter"),
        ("vllm", Options(), False, "peft", "adapter"),
        ("gguf", Options(quantise="q8_0"), False, "gguf", "finetune"),
        ("gguf", Options(adapter_only=True), False, "gguf", "adapter"),
        ("gguf", Options(quantise="q8_0"), True, "gguf", "quantized"),
        ("merged", Options(), True, "transformers", None),
    ],
)
def test_the_head_is_what_the_hub_reads(
    format: str,
    options: Options,
    alone: bool,
    library: str,
    relation: str | None,
    job: Job,
    tmp_path: Path,
) -> None:
    changed = replace(job, format=format, options=options)
    if alone:
        changed = replace(changed, name="base", attached=None)
    _, page = written(changed, tmp_path)
    fields = head(page)
    assert fields.pop("base_model_relation", None) == relation
    assert fields == {
        "base_model": "org/base",
        "library_name": library,
        "pipeline_tag": "text-generation",
        "license": "apache-2.0",
        "tags": ["lora_magic", *([] if alone else ["lora"]), *(["vllm"] * (format == "vllm"))],
    }
    assert format in FORMATS


def test_an_export_that_was_not_read_back_says_so(job: Job, tmp_path: Path) -> None:
    values, page = written(job, tmp_path, check=None)
    assert values["export"]["receipt"] is None
    assert "Not read back" in page


def test_commands_name_no_folder_of_this_computer(job: Job, tmp_path: Path) -> None:
    line = ("serve it", f"vllm serve org/base --lora-modules pirate={tmp_path}/model")
    _, page = written(job, tmp_path, commands=[line])
    assert "Serve it:\n\n```\nvllm serve org/base --lora-modules pirate=FOLDER/model\n```" in page


def test_commands_name_a_base_beside_it_by_its_last_part(job: Job, tmp_path: Path) -> None:
    base = f"{tmp_path}/base-merged"
    line = ("serve it", f"vllm serve {base} --lora-modules pirate={tmp_path}/new")
    _, page = written(job, tmp_path / "new", commands=[line])
    assert "\nvllm serve base-merged --lora-modules pirate=FOLDER\n" in page


# What it never says


def test_no_prompt_and_no_path_is_in_it(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/bob smith"))
    base = tmp_path / "models of bob" / "my-llama"
    base.mkdir(parents=True)
    job.base.source = job.base.name = str(base)
    assert job.attached is not None
    job.attached.run = {**RUN, "flags": {"eval": "/srv/alice/held out/x.jsonl"}}
    job.attached.parents = (f"{tmp_path}/adapters/a",)
    job.attached.history = replace(job.attached.history, made="0.5·/srv/alice/one + 0.5·b")
    notes = ["read /home/bob smith/x/y.json", r"or C:\Users\carol\z.json", f"{base}/config.json"]
    values, page = written(job, tmp_path / "out", notes=notes)
    for text in (json.dumps(values, ensure_ascii=False), page):
        assert SECRET not in text
        for name in ("bob", "alice", "carol", str(tmp_path)):
            assert name not in text, name
        assert "my-llama" in text
    assert values["export"]["notes"] == ["read y.json", "or z.json", "my-llama/config.json"]
    assert "base_model" not in head(page)
    # It is not a path to whoever trained it.
    assert values["prompt_form"]["system"] == "Speak like a pirate."


def test_what_comes_from_outside_stays_one_string(job: Job, tmp_path: Path) -> None:
    evil = 'a"\n---\nlicense: mit\n# <b>` [x](y)\u202e\x1b'
    job.base.source, job.base.name = None, evil
    assert job.attached is not None
    job.attached.parents = (evil,)
    form = replace(job.form, system=evil) if job.form else None
    _, page = written(replace(job, form=form), tmp_path, notes=[evil])
    fields = head(page)
    assert fields["library_name"] == "transformers"
    assert "license" not in fields
    body = page.partition("\n---\n")[2]
    assert "\n---" not in body
    assert "\n# <b>" not in body
    assert "\u202e" not in page
    assert "\x1b" not in page
    # The note is no code, so HTML and links are escaped in it.
    assert r"\<b>` \[x](y)" in body


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", "`a`"), ("a`b", "``a`b``"), ("`a", "`` `a ``"), ("a\nb", "`a b`"), ("", "` `")],
)
def test_code_is_code_whatever_is_in_it(text: str, expected: str) -> None:
    assert code(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("---\nlicense: mit\n---\n# x", {"license": "mit"}),
        (
            "---\nlicense: other\nlicense_name: own\nlicense_link: LICENSE\nmore: 5\n---\n",
            {"license": "other", "license_name": "own", "license_link": "LICENSE"},
        ),
        ("---\nlicense: [mit, bsd]\n---\n", {}),
        ("---\nlicense: {a: [\n---\n", {}),
        ("# no head", {}),
        (None, {}),
    ],
)
def test_the_bases_license_is_what_its_own_card_says(
    text: str | None, expected: dict[str, str], tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "README.md").write_text(text)
    assert hub.license_of(str(tmp_path)) == expected


def test_without_the_hub_there_is_no_license(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    assert hub.license_of("org/base") == {}


# What the package makes of it


def test_only_what_an_export_wrote_may_be_replaced(job: Job, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    assert not is_export(folder)
    written(job, folder)
    assert is_export(folder)
    refuse_used(folder, True, "%lora export")
    with pytest.raises(ExportError, match="add --replace"):
        refuse_used(folder, False, "%lora export")
    page = folder / "README.md"
    before = page.read_text(encoding="utf-8")
    page.write_text(before + "My own words.\n", encoding="utf-8")
    with pytest.raises(ExportError, match=r"were edited since \(README\.md\)"):
        refuse_used(folder, True, "%lora export")
    page.write_text(before, encoding="utf-8")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match=r"\(notes\.txt\), so it is not replaced"):
        refuse_used(folder, True, "%lora export")


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.chdir(tmp_path)
    made = Session()
    made.use(tiny_model("llama"), tiny_tokenizer(chat=True))
    return made


def exported(session: Session, folder: Path) -> LiveAdapter:
    """A trained adapter, as a folder that `export --to peft` leaves."""
    session.attach("pirate", rank=2, alpha=8)
    state: Any = session._state
    rows = [("Where is it?", "Arr, there!"), ("Who are you?", "Arr, me!")]
    session.train("pirate", data=rows, steps=2, template="chat", system="Be brief.")
    session.save("pirate", folder)
    for name in ("lora_magic.json", "README.md"):
        (folder / name).unlink()
    attached: LiveAdapter = state.attached["pirate"]
    job = Job(
        "pirate", state.base, state.slots, attached, attached.form, (), Options(), print, "peft"
    )
    card.write(job, folder, CHECK)
    return attached


def test_open_reads_an_exported_adapter_with_its_history_and_save_spares_it(
    session: Session, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    attached = exported(session, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    record = session.open(folder, "again")
    state: Any = session._state
    again = state.attached["again"]
    assert record.history == attached.history
    assert again.form == attached.form
    assert again.run["data_sha256"] == attached.run["data_sha256"]
    for (name, one), (other, two) in zip(attached.tensors(), again.tensors(), strict=True):
        assert name == other
        assert torch.equal(one, two)
    refusals = {"pirate": "contains the saved adapter", "again": "has an export for other programs"}
    for name, told in refusals.items():
        with pytest.raises(AdapterError, match=told):
            session.save(name, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    # Saved where adapters are, it is an adapter like any other.
    session.save("again")
