"""The check of an export: what it must find, and what it must not mind."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lora_magic.errors import ExportError
from lora_magic.export import adapter_folder, merged, process, weights
from lora_magic.export.check import compared, noise
from lora_magic.export.job import Job
from lora_magic.export.merged import Merged
from lora_magic.export.process import ReadBack
from lora_magic.export.reference import Reference
from lora_magic.state.session import Session
from tests.conftest import Saver
from tests.export.shared import changed, read_here
from tests.tiny import tiny_tokenizer

PROMPTS = ["What does a fox eat?", "Where is the library?"]


# Of a real export: what was written is damaged before it is read.


def one_module_left_out(job: Job, folder: Path) -> None:
    path = next(iter(job.modules))
    original: Any = job.slots.original(path)
    _edit(folder, f"{path}.weight", lambda _: original.weight.detach().clone())


def one_bit_changed(job: Job, folder: Path) -> None:
    def flipped(weight: Tensor) -> Tensor:
        bits = weight.view(torch.int32).clone()
        bits.view(-1)[5] ^= 1
        return bits.view(torch.float32)

    _edit(folder, "model.norm.weight", flipped)


def another_tokenizer(job: Job, folder: Path) -> None:
    other: Any = tiny_tokenizer(chat=True)
    other.chat_template = other.chat_template.replace("\\n", " ").replace("\n", " ")
    other.save_pretrained(folder)


def no_weights(job: Job, folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def another_number_format(job: Job, folder: Path) -> None:
    file = folder / "config.json"
    file.write_text(file.read_text().replace('"float32"', '"bfloat16"'))


def no_settings_of_generate(job: Job, folder: Path) -> None:
    (folder / "generation_config.json").unlink()


def _edit(folder: Path, name: str, change: Callable[[Tensor], Tensor]) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors[name] = change(tensors[name])
    save_file(tensors, file, metadata={"format": "pt"})


DAMAGE: dict[Callable[[Job, Path], None], str] = {
    one_module_left_out: r"loads 1 of \d+ tensors with other values .*\(model\.layers\.0",
    one_bit_changed: r"loads 1 of \d+ tensors with other values .*\(model\.norm\.weight\)",
    another_tokenizer: "reads 'What does a fox eat.' as other tokens",
    another_number_format: r"loads (\d+) of \1 tensors with other values",
    no_settings_of_generate: r"other settings of generate .*repetition_penalty",
    no_weights: "could not be read back: OSError",
}


def damaged(patch: pytest.MonkeyPatch, damage: Callable[[Job, Path], None]) -> None:
    written = Merged.write

    def write(self: Merged, job: Job, folder: Path) -> tuple[str, ...]:
        notes = written(self, job, folder)
        damage(job, folder)
        return notes

    patch.setattr(Merged, "write", write)


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_export_that_is_damaged_fails_and_leaves_nothing(
    damage: Callable[[Job, Path], None], session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_here(monkeypatch)
    damaged(monkeypatch, damage)
    session.model.generation_config.repetition_penalty = 1.25
    session.attach("one", rank=2)
    changed(session, "one")
    with pytest.raises(ExportError, match=DAMAGE[damage]) as error:
        session.export("one", "out/there", to="merged", prompts=PROMPTS)
    assert "\n" not in str(error.value)
    assert not Path("out").exists()
    assert session.verify()


def test_the_logits_alone_find_a_module_that_was_left_out(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_here(monkeypatch)
    damaged(monkeypatch, one_module_left_out)
    monkeypatch.setattr(merged, "refuse_other_tensors", lambda *_: None)
    session.attach("one", rank=2)
    changed(session, "one")
    with pytest.raises(ExportError, match=r"differs from this notebook: .* apart, expected"):
        session.export("one", "out/there", to="merged", prompts=PROMPTS)


def test_a_module_that_is_not_folded_is_found_though_the_files_hold_what_was_meant(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_here(monkeypatch)
    folded = weights.folded
    monkeypatch.setattr(weights, "folded", lambda job: dict(list(folded(job).items())[1:]))
    session.attach("one", rank=2)
    changed(session, "one")
    with pytest.raises(ExportError, match="answers differently merged and unmerged: logits are"):
        session.export("one", "out/there", to="merged", prompts=PROMPTS)
    assert not Path("out").exists()


def test_a_square_conv1d_that_is_transposed_is_found(
    session: Session, saved_model: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_here(monkeypatch)
    tensors = weights.tensors

    def turned(job: Job, modules: Any) -> dict[str, Tensor]:
        found = tensors(job, modules)
        name = next(name for name in found if name.endswith("attn.c_proj.weight"))
        return {**found, name: found[name].T.contiguous()}

    monkeypatch.setattr(weights, "tensors", turned)
    session.load(str(saved_model("gpt2", chat=False)), replace=True)
    with pytest.raises(ExportError, match="differs from this notebook"):
        session.export("base", "out/there", to="merged", prompts=PROMPTS)


def test_a_wrong_alpha_is_found_where_no_logit_in_16_bits_tells_it(
    session: Session, saved_model: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_here(monkeypatch)
    config = adapter_folder._config
    monkeypatch.setattr(adapter_folder, "_config", lambda *job: {**config(*job), "lora_alpha": 6.0})
    session.load(str(saved_model()), dtype="bfloat16", replace=True)
    session.attach("one", rank=4)
    changed(session, "one", size=0.001)
    with pytest.raises(ExportError, match=r"scales the factors by \[1.5\], expected 1"):
        session.export("one", "out/there", to="peft", prompts=PROMPTS)


def test_readers_import_public_libraries_alone() -> None:
    for script in process.READERS.glob("*.py"):
        names = {
            name.partition(".")[0]
            for node in ast.walk(ast.parse(script.read_text(encoding="utf-8")))
            for name in (
                [one.name for one in node.names]
                if isinstance(node, ast.Import)
                else [f"{'.' * node.level}{node.module}"]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert names <= {*sys.stdlib_module_names, *PUBLIC}, script.name


PUBLIC = ("torch", "transformers", "peft", "safetensors", "xllamacpp", "gguf", "numpy")


# Of numbers alone: a vocabulary of 3, two tokens of an answer.

SURE = torch.tensor([[0.0, 5.0, 0.0], [0.0, 0.0, 5.0]])
TIED = torch.tensor([[0.0, 5.0, 0.0], [0.0, 4.9995, 5.0]])
LIMIT = 1e-3


def reference(logits: Tensor, answer: tuple[int, ...] = (1, 2)) -> Reference:
    return Reference(("Why?",), ((0,),), (answer,), (logits,))


def read(logits: Tensor, answer: tuple[int, ...] = (1, 2), ids: tuple[int, ...] = (0,)) -> ReadBack:
    return ReadBack("reader 1.0", (ids,), (answer,), (logits,), {})


def test_the_same_numbers_agree_and_a_small_difference_is_measured() -> None:
    check = compared(reference(SURE), reference(SURE), read(SURE), limit=LIMIT)
    assert (check.same, check.worst, check.difference) == (1, 0.0, 0.0)
    off = compared(reference(SURE), reference(SURE), read(SURE + 5e-4), limit=LIMIT, why="x")
    assert off.worst == pytest.approx(5e-4, rel=1e-3)
    assert off.prompts[0].why == ""


def test_a_difference_from_the_notebook_that_was_expected_has_its_reason() -> None:
    check = compared(
        reference(SURE), reference(SURE + 0.1), read(SURE + 0.1), limit=LIMIT, why="bf16"
    )
    assert check.worst == 0
    assert check.difference == pytest.approx(0.1)
    assert check.prompts[0].why == "bf16"
    assert "largest logit difference 0.10 (bf16)" in check.line


@pytest.mark.parametrize("worse", [float("nan"), float("inf"), 0.01], ids=str)
def test_logits_that_are_further_than_the_limit_are_refused(worse: float) -> None:
    with pytest.raises(ExportError, match="apart, expected at most"):
        compared(reference(SURE), reference(SURE), read(SURE + worse), limit=LIMIT)


def test_another_token_is_refused_unless_two_tie() -> None:
    with pytest.raises(ExportError, match=r"another token 2 \(1\) than expected \(2\)"):
        compared(reference(SURE), reference(SURE), read(SURE, (1, 1)), limit=LIMIT)
    with pytest.raises(ExportError, match="another token 2"):
        compared(reference(SURE), reference(SURE), read(SURE, (1,)), limit=LIMIT)
    check = compared(reference(TIED), reference(TIED), read(TIED, (1, 1)), limit=LIMIT)
    (row,) = check.prompts
    assert (row.same, row.differs_at) == (False, 2)
    assert "tie" in row.why


def test_what_was_written_may_depart_from_the_notebook_as_it_is_expected_to() -> None:
    other = SURE.flip(-1)
    check = compared(
        reference(SURE), reference(other), read(other, (1, 0, 0)), limit=LIMIT, why="f16"
    )
    assert (check.same, check.prompts[0].differs_at, check.prompts[0].why) == (0, 2, "f16")
    with pytest.raises(ExportError, match="another token 2"):
        compared(reference(SURE), reference(other), read(other, (1, 2)), limit=LIMIT)


def test_other_tokens_of_a_prompt_are_refused_with_their_place() -> None:
    with pytest.raises(ExportError, match=r"as other tokens .* from token 1 on \(0 here, 7 there"):
        compared(reference(SURE), reference(SURE), read(SURE, ids=(7,)), limit=LIMIT)


def test_labels_are_compared_by_their_probabilities() -> None:
    scores = torch.tensor([[1.0, 3.0]])
    given = Reference(("Why?",), ((0,),), ((),), (scores,))
    # A constant added to all logits changes no probability.
    found = ReadBack("reader 1.0", ((0,),), ((),), (scores + 2.0,), {})
    check = compared(given, given, found, limit=LIMIT, measure="label probabilities")
    assert check.same == 1
    assert check.difference == pytest.approx(0, abs=1e-9)
    turned = ReadBack("reader 1.0", ((0,),), ((),), (scores.flip(-1),), {})
    with pytest.raises(ExportError, match="label probabilities"):
        compared(given, given, turned, limit=LIMIT, measure="label probabilities")


def test_the_noise_follows_the_number_format_and_the_size_of_the_logits() -> None:
    given = reference(SURE * 4)
    assert noise(given, torch.float32) == 64 * 2**-23 * 20
    assert noise(given, torch.bfloat16) == 4 * 2**-7 * 20
