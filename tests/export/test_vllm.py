"""`--to vllm`: the rules that vLLM publishes, and the lines that serve the folder.

The rules are vLLM's own (vllm/config/lora.py, vllm/lora/peft_helper.py, vllm/lora/utils.py and
docs/models/supported_models.md), written down here a second time.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lora_magic.errors import ExportError
from lora_magic.export.job import Job, Options
from lora_magic.export.vllm import WITH_LORA, WITHOUT_LORA, Vllm
from lora_magic.state.session import Session
from tests.adapters.shared import moved
from tests.conftest import Saver
from tests.tiny import tiny_model, tiny_tokenizer

#: The values that pydantic accepts for `max_lora_rank`.
ACCEPTED = {1, 8, 16, 32, 64, 128, 256, 320, 512}


def job_of(session: Session, name: str = "one", **options: Any) -> Job:
    state = session._state
    return Job(
        name=name,
        base=state.base,
        slots=state.slots,
        attached=state.attached[name],
        form=state.form_of(name),
        prompts=('What\'s for "dinner"?',),
        options=Options(**options),
        say=print,
        format="vllm",
    )


def loaded(folder: Path, **flags: Any) -> Session:
    session = Session()
    session.load(str(folder), **flags)
    return session


def accepted(folder: Path, max_rank: int, linear: set[str]) -> None:
    """Raise AssertionError where vLLM would refuse the folder."""
    config = json.loads((folder / "adapter_config.json").read_text())
    assert type(config["r"]) is int
    assert type(config["lora_alpha"]) is int
    assert config["r"] <= max_rank
    assert not config["modules_to_save"]
    assert not config["use_dora"]
    assert config["bias"] == "none"
    for name in load_file(str(folder / "adapter_model.safetensors")):
        parts = name.removeprefix("base_model.model.").split(".")
        assert name.startswith("base_model.model.")
        assert parts[-1] == "weight"
        assert parts[-2] in ("lora_A", "lora_B")
        assert parts[-3] in linear


@pytest.mark.parametrize(
    ("rank", "flag"),
    [(1, 1), (2, 8), (8, 8), (9, 16), (65, 128), (257, 320), (321, 512), (512, 512)],
)
def test_the_line_has_the_smallest_rank_that_vllm_accepts(
    rank: int, flag: int, session: Session, tmp_path: Path
) -> None:
    session.attach("one", rank=1, targets="all-linear")
    moved(session._state.attached["one"])
    job = job_of(session, rank=rank)
    written = Vllm()
    written.refuse(job)
    written.write(job, tmp_path)
    words = served(written.commands(job, tmp_path))
    assert flag in ACCEPTED
    assert words[words.index("--max-lora-rank") + 1] == str(flag)
    linear = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    accepted(tmp_path, flag, linear)


def served(commands: tuple[tuple[str, str], ...]) -> list[str]:
    return shlex.split(dict(commands)["serve it"])


def test_a_rank_above_the_largest_is_refused(saved_model: Saver) -> None:
    session = loaded(saved_model(hidden_size=640, intermediate_size=640, num_attention_heads=4))
    session.attach("one", rank=513, targets="o_proj")
    with pytest.raises(ExportError, match="rank 513 is above vLLM's largest, 512") as caught:
        Vllm().refuse(job_of(session))
    assert "%lora compress one --rank 512" in str(caught.value)
    session.reset()


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox"])
def test_an_architecture_without_lora_is_refused(architecture: str, saved_model: Saver) -> None:
    session = loaded(saved_model(architecture))
    session.attach("one", rank=2)
    with pytest.raises(ExportError, match=r"vLLM has no LoRA for GPT.*export one --to merged"):
        Vllm().refuse(job_of(session))
    session.reset()


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "mistral", "gemma", "phi", "opt"])
def test_the_others_that_the_package_promises_are_served(
    architecture: str, saved_model: Saver
) -> None:
    session = loaded(saved_model(architecture))
    session.attach("one", rank=2, targets="all-linear")
    Vllm().refuse(job_of(session))
    assert type(session.model).__name__ in WITH_LORA
    session.reset()


def test_no_architecture_is_in_both_lists() -> None:
    assert not WITH_LORA & WITHOUT_LORA


@pytest.mark.parametrize(
    ("architecture", "targets", "refused"),
    [
        ("llama", "embed_tokens,q_proj", False),
        ("llama", "lm_head,q_proj", False),
        ("qwen2", "embed_tokens,q_proj", True),
        ("gemma", "embed_tokens,q_proj", True),
    ],
)
def test_an_embedding_is_served_where_the_model_names_it(
    architecture: str, targets: str, refused: bool, saved_model: Saver, tmp_path: Path
) -> None:
    session = loaded(saved_model(architecture))
    session.attach("one", rank=2, targets=targets)
    job = job_of(session)
    if refused:
        with pytest.raises(ExportError, match=r"no LoRA on model\.embed_tokens of"):
            Vllm().refuse(job)
    else:
        Vllm().refuse(job)
        notes = Vllm().write(job, tmp_path)
        assert any("not every version of these reads a LoRA on" in note for note in notes)
    session.reset()


@pytest.mark.parametrize("method", ["prefix", "prompt", "ia3"])
def test_what_only_peft_reads_is_refused(method: str, session: Session) -> None:
    session.attach("one", method=method)
    with pytest.raises(ExportError, match=r"%lora export one --to (peft|merged)"):
        Vllm().refuse(job_of(session))


def test_the_lines_survive_a_shell(saved_model: Saver, tmp_path: Path) -> None:
    session = loaded(saved_model(), dtype="bf16")
    session.attach("one", rank=2)
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    commands = Vllm().commands(job_of(session), folder)
    words = served(commands)
    assert words[:3] == ["vllm", "serve", str(saved_model())]
    assert words[words.index("--dtype") + 1] == "bfloat16"
    assert words[words.index("--lora-modules") + 1] == f"one={folder}"
    asked = shlex.split(dict(commands)["ask it"])
    body = json.loads(asked[asked.index("-d") + 1])
    assert asked[1].endswith("/v1/chat/completions")
    assert body["model"] == "one"
    assert body["messages"] == [{"role": "user", "content": 'What\'s for "dinner"?'}]
    session.reset()


def test_a_path_with_an_equals_sign_is_given_as_json(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=2)
    folder = tmp_path / "a=b"
    words = served(Vllm().commands(job_of(session), folder))
    given = words[words.index("--lora-modules") + 1]
    assert json.loads(given) == {"name": "one", "path": str(folder)}


def test_a_prompt_in_the_plain_form_is_completed(saved_model: Saver, tmp_path: Path) -> None:
    session = loaded(saved_model(chat=False))
    session.attach("one", rank=2)
    asked = shlex.split(dict(Vllm().commands(job_of(session), tmp_path))["ask it"])
    body = json.loads(asked[asked.index("-d") + 1])
    assert asked[1].endswith("/v1/completions")
    assert body["prompt"] == 'What\'s for "dinner"?\n'
    session.reset()


def test_a_base_that_vllm_cannot_read_is_written_first(saved_model: Saver, tmp_path: Path) -> None:
    live, quantised, embedded = Session(), Session(), Session()
    live.use(tiny_model(dtype=torch.bfloat16), tiny_tokenizer())
    quantised.load(str(saved_model(hidden_size=64, intermediate_size=128)), bits=4)
    embedded.load("demo")
    for session in (live, quantised, embedded):
        session.attach("one", rank=2)
        commands = Vllm().commands(job_of(session), tmp_path / "exports" / "one-vllm")
        base = tmp_path / "exports" / "base-merged"
        assert commands[0] == ("write the base", f"%lora export base {base} --to merged")
        assert served(commands)[2] == str(base)
        folder = tmp_path / str(id(session))
        folder.mkdir()
        notes = Vllm().write(job_of(session), folder)
        assert "read by PEFT; not run by vLLM" in notes
        assert any("serve the dequantised base" in note for note in notes) == (session is quantised)
        session.reset()
