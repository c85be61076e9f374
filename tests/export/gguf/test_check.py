"""llama.cpp against the notebook: what is right passes, and each way to be wrong is named.

llama.cpp runs in a process of its own and shares no code with the writer or with the session.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch

from lora_magic.adapters.delta import low_rank_of
from lora_magic.errors import ExportError
from lora_magic.export.gguf import adapter, check, tensors
from lora_magic.export.gguf.format import Gguf
from lora_magic.export.readers.with_llama_cpp import Engine
from lora_magic.state.session import Session

from .jobs import adapted, checked, job, reference

Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with adapted() as made:
        yield made


@pytest.mark.parametrize("adapter_only", [False, True])
def test_llama_cpp_answers_as_the_notebook_does(
    session: Session, tmp_path: Path, adapter_only: bool
) -> None:
    one = job(session, adapter_only=adapter_only)
    Gguf().refuse(one)
    Gguf().write(one, tmp_path)
    found = checked(one, tmp_path)
    assert (found.same, len(found.prompts)) == (10, 10)
    assert found.worst < 1e-4
    assert found.limit == 1e-4
    assert found.difference < 1e-4
    assert found.measure == "log-probabilities"
    assert "llama.cpp" in found.reader
    compared, long = found.notes
    count, _, of, *_ = compared.split()
    # Fifty, and one for each token that the tokenizer has added.
    assert count == of == str(50 + len(session.tokenizer.added_tokens_decoder))
    assert 100 < int(long.split()[3]) <= 400


@pytest.mark.parametrize(("quantise", "most"), [("f16", 0.01), ("q8_0", 0.5)])
@pytest.mark.parametrize("adapter_only", [False, True])
def test_what_rounding_costs_is_measured_and_said(
    session: Session, tmp_path: Path, quantise: str, most: float, adapter_only: bool
) -> None:
    one = job(session, prompts=3, quantise=quantise, adapter_only=adapter_only)
    Gguf().write(one, tmp_path)
    found = checked(one, tmp_path)
    assert 1e-4 < found.worst <= found.limit < most
    reasons = {row.why for row in found.prompts if row.difference > 1e-4}
    assert reasons == {f"rounding to {quantise}"}


def test_differences_of_many_tokens_are_limited_together(
    session: Session, tmp_path: Path, monkeypatch: Patch
) -> None:
    one = job(session, prompts=2, quantise="q8_0")
    Gguf().write(one, tmp_path)
    monkeypatch.setattr(check, "_MEAN_NOISES", 0)
    with pytest.raises(ExportError, match=r"root mean square of .* expected at most"):
        checked(one, tmp_path)


def test_a_check_changes_nothing_in_the_session(session: Session, tmp_path: Path) -> None:
    before, mode = session.active, torch.is_grad_enabled()
    one = job(session, prompts=1, adapter_only=True)
    Gguf().write(one, tmp_path)
    checked(one, tmp_path)
    assert session.active == before
    assert torch.is_grad_enabled() is mode
    assert session.verify()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Modelfile", "pirate.gguf"]


def no_permutation(patch: Patch) -> None:
    patch.setattr(tensors, "interleaved", lambda rows, heads: rows)
    patch.setattr(adapter, "interleaved", lambda rows, heads: rows)


def other_words(patch: Patch) -> None:
    write = gguf.GGUFWriter.add_tokenizer_pre
    patch.setattr(gguf.GGUFWriter, "add_tokenizer_pre", lambda self, _: write(self, "falcon"))


def unknown_words(patch: Patch) -> None:
    write = gguf.GGUFWriter.add_tokenizer_pre
    patch.setattr(gguf.GGUFWriter, "add_tokenizer_pre", lambda self, _: write(self, "klingon"))


def no_types(patch: Patch) -> None:
    patch.setattr(gguf.GGUFWriter, "add_token_types", lambda self, types: None)


def no_scale(patch: Patch) -> None:
    found = adapter.factors

    def bare(one: Any) -> Any:
        low = {path: low_rank_of(layer) for path, layer in one.modules.items()}
        return {
            path: adapter.Factors(factors.down, factors.up / low[path].scale)  # type: ignore[union-attr]  # a LoRA
            for path, factors in found(one).items()
        }

    patch.setattr(adapter, "factors", bare)


def other_shape(patch: Patch) -> None:
    found = adapter.factors
    patch.setattr(
        adapter,
        "factors",
        lambda one: {
            path: adapter.Factors(factors.down[:, 1:], factors.up)
            for path, factors in found(one).items()
        },
    )


OTHERWISE = "differs from this notebook: for '"


@pytest.mark.parametrize(
    ("wrong", "options", "named"),
    [
        (no_permutation, {}, OTHERWISE),
        (no_permutation, {"adapter_only": True}, OTHERWISE),
        (no_permutation, {"quantise": "q8_0"}, OTHERWISE),
        (no_scale, {"adapter_only": True}, OTHERWISE),
        (other_shape, {"adapter_only": True}, "blk.0.attn_q.weight' has incorrect shape"),
        (other_words, {}, "reads the text "),
        (unknown_words, {}, "unknown pre-tokenizer type: 'klingon'"),
        (no_types, {}, "as other tokens than this tokenizer, from token 1 on"),
    ],
)
def test_a_file_that_is_written_wrong_is_refused_and_named(
    session: Session,
    tmp_path: Path,
    wrong: Callable[[Patch], None],
    options: dict[str, Any],
    named: str,
) -> None:
    one = job(session, prompts=3, **options)
    with pytest.MonkeyPatch.context() as patch:
        wrong(patch)
        Gguf().write(one, tmp_path)
    with pytest.raises(ExportError) as error:
        checked(one, tmp_path)
    assert named in str(error.value)
    assert "\n" not in str(error.value)


def test_greedy_tokens_alone_miss_a_permutation_that_is_left_out(
    session: Session, tmp_path: Path, monkeypatch: Patch
) -> None:
    for layer in session._state.attached["pirate"].replacements.values():
        monkeypatch.setitem(layer.scaling, next(iter(layer.scaling)), 0.02)  # type: ignore[arg-type]  # PEFT's
    one = job(session, prompts=5, adapter_only=True)
    with monkeypatch.context() as patch:
        no_permutation(patch)
        Gguf().write(one, tmp_path)
    notebook = reference(one)
    with pytest.raises(ExportError, match=OTHERWISE):
        checked(one, tmp_path, notebook)
    monkeypatch.setattr(check, "LIMIT", 1e9)
    assert checked(one, tmp_path, notebook).same == 5


def test_another_adapters_tensors_are_noticed(session: Session, tmp_path: Path) -> None:
    Gguf().write(job(session, "formal", adapter_only=True), tmp_path)
    with pytest.raises(ExportError, match=OTHERWISE):
        checked(job(session, "pirate", prompts=3, adapter_only=True), tmp_path)


@pytest.mark.parametrize("adapter_only", [False, True])
@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (lambda whole: whole[: len(whole) // 2], "not within the file bounds"),
        (lambda whole: b"no model " * 99, "invalid magic characters"),
        (lambda whole: b"", "cannot read pirate.gguf"),
    ],
)
def test_a_file_that_is_cut_or_is_none_is_named(
    session: Session, tmp_path: Path, harm: Callable[[bytes], bytes], named: str, adapter_only: bool
) -> None:
    one = job(session, prompts=1, adapter_only=adapter_only)
    Gguf().write(one, tmp_path)
    file = tmp_path / "pirate.gguf"
    file.write_bytes(harm(file.read_bytes()))
    with pytest.raises(ExportError, match=named):
        checked(one, tmp_path)


@pytest.mark.parametrize(
    ("library", "named"),
    [
        ("raise ImportError(\"No module named 'xllamacpp'\")", r"pip install .*lora_magic\[gguf\]"),
        ("import os; os.abort()", "signal 6"),
        (
            "import os; os.write(2, b'ggml.c:1: GGML_ASSERT(a == b) failed\\n'); os.abort()",
            r"GGML_ASSERT\(a == b\) failed",
        ),
    ],
)
def test_an_engine_that_is_missing_or_dies_is_one_line(
    session: Session, tmp_path: Path, monkeypatch: Patch, library: str, named: str
) -> None:
    one = job(session, prompts=1)
    Gguf().write(one, tmp_path)
    instead = tmp_path / "libraries"
    instead.mkdir()
    (instead / "xllamacpp.py").write_text(library)
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(instead), os.environ.get("PYTHONPATH", "")])
    )
    with pytest.raises(ExportError, match=named) as error:
        checked(one, tmp_path)
    assert "\n" not in str(error.value)


def test_an_answer_that_is_a_part_of_a_character_is_scored() -> None:
    """llama.cpp then sends no text, and leaves out the log-probabilities."""
    rows = [{"id": 9, "top_logprobs": [{"id": 7, "logprob": -0.5}]}]

    class Part(Engine):
        def __init__(self) -> None:
            self.biased = False

        def ask(self, path: str, **body: Any) -> dict[str, Any]:
            if path == "/tokenize":
                return {"tokens": [9]}
            if "logit_bias" in body:
                return {"tokens": [9], "completion_probabilities": rows}
            return {"tokens": [7], "stop_type": "limit"}

    assert Part().scores([1, 2], [7], 20) == ([[(7, -0.5)]], [])


def test_a_template_that_llama_cpp_lacks_is_said(
    session: Session, tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(gguf.GGUFWriter, "add_chat_template", lambda self, text: None)
    one = job(session, prompts=1)
    Gguf().write(one, tmp_path)
    assert any("chat endpoint does not read" in note for note in checked(one, tmp_path).notes)


def test_a_disk_without_room_for_the_base_is_said(
    session: Session, tmp_path: Path, monkeypatch: Patch
) -> None:
    one = job(session, prompts=1, adapter_only=True)
    Gguf().write(one, tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: _Usage)
    with pytest.raises(ExportError, match=r"9\.44 MB, and .* has 1 kB free"):
        checked(one, tmp_path)


class _Usage:
    free = 1000
