"""Merged models: plain transformers reads the same tensors and gives the same answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lora_magic.errors import ExportError, PromptError
from lora_magic.export.merged import Merged
from lora_magic.export.receipt import Check, Export
from lora_magic.state.session import Session
from tests.classifiers import saved, tiny_classifier
from tests.conftest import Saver
from tests.export.shared import changed, read_here
from tests.quantised import nf4
from tests.state.shared import snapshot
from tests.tiny import tiny_model, tiny_tokenizer

PROMPTS = ["What does a fox eat?", "Where is the library?"]


@pytest.fixture
def made() -> Iterator[Session]:
    session = Session()
    yield session
    session.reset()


def exported(session: Session, name: str = "one", **flags: Any) -> tuple[Export, Check]:
    """A merged export in `out`, whose session is as it was before."""
    before = snapshot(session)
    found = session.export(name, "out", to="merged", prompts=PROMPTS, **flags)
    assert snapshot(session) == before
    assert session.verify()
    assert found.check is not None
    assert 0 <= found.check.worst <= found.check.limit
    return found, found.check


def written(folder: str = "out") -> dict[str, Tensor]:
    """All tensors of a folder, read by safetensors alone."""
    return {k: v for file in Path(folder).glob("*.safetensors") for k, v in load_file(file).items()}


def config(folder: str = "out") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(folder, "config.json").read_text())
    return found


def test_the_folder_has_w0_plus_dw_and_another_process_answers_the_same(
    made: Session, saved_model: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = saved_model()
    made.load(str(base))
    made.attach("one", rank=4, alpha=8, targets="q_proj,v_proj")
    changed(made, "one")
    monkeypatch.setattr(Merged.__init__, "__defaults__", (50_000,))
    found, check = exported(made)
    assert check.same == len(PROMPTS)
    assert check.reader.startswith("transformers ")
    assert check.difference < 1e-5
    names = {name for name, _ in found.files}
    assert sum(name.startswith("model-0000") for name in names) > 1
    assert {"model.safetensors.index.json", "chat_template.jinja", "tokenizer.json"} <= names
    assert config()["dtype"] == "float32"
    # W0 + α/r·B·A in float64, from the base's own file and the adapter's own factors.
    original, after = load_file(base / "model.safetensors"), written()
    assert original.keys() == after.keys()
    own = {n: t.detach().double() for n, t in made._state.attached["one"].tensors()}
    for name, weight in original.items():
        path = name.removesuffix(".weight")
        expected = weight.double()
        if path.endswith(("q_proj", "v_proj")):
            up, down = (own[f"{path}.lora_{part}.default.weight"] for part in "BA")
            expected = expected + 2.0 * up @ down
            assert not torch.equal(after[name], weight)
        assert float((after[name].double() - expected).abs().max()) < 1e-7


# The other cases are read by the same script in this process.


def test_a_quantised_base_is_dequantised_and_the_receipt_says_so(
    made: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_here(monkeypatch)
    model = tiny_model("llama", hidden_size=128, intermediate_size=128)
    made.load(saved(model, Path("base"), tiny_tokenizer(chat=True)), bits=4)
    made.attach("one", rank=4, targets="q_proj")
    changed(made, "one")
    found, check = exported(made)
    assert check.same == len(PROMPTS)
    assert "quantization_config" not in config()
    assert any("nf4" in note and "of memory" in note for note in found.notes)
    after, original = written(), model.state_dict()
    for name in ("model.layers.0.self_attn.k_proj.weight", "model.layers.1.mlp.up_proj.weight"):
        assert torch.equal(after[name], nf4(original[name]))


def test_a_classifier_keeps_its_labels_and_its_trained_head(
    made: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_here(monkeypatch)
    folder = saved(tiny_classifier("bert", 3), Path("base"))
    made.load(folder, task="classification", labels="day,dusk,night")
    made.attach("one", rank=4)
    changed(made, "one")
    found, check = exported(made)
    assert check.measure == "label probabilities"
    assert check.same == len(PROMPTS)
    assert "the same label on 2 of 2" in found.line
    page = Path("out/README.md").read_text()
    assert "labelled 2 prompts." in page
    assert "- same label as in the notebook: 2 of 2 prompts" in page
    assert config()["id2label"] == {"0": "day", "1": "dusk", "2": "night"}
    assert not torch.equal(
        written()["classifier.weight"], load_file("base/model.safetensors")["classifier.weight"]
    )


LLAMA: dict[str, Any] = {"architecture": "llama"}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "bf16": (LLAMA, {"dtype": "bfloat16"}, {}),
    "fp16": (LLAMA, {"dtype": "float16"}, {}),
    "gpt2": ({"architecture": "gpt2", "chat": False}, {}, {"targets": "all-linear"}),
    "tied": ({"architecture": "qwen2"}, {}, {"targets": "all-linear"}),
    "dora": (LLAMA, {}, {"dora": True}),
    "pissa": (LLAMA, {}, {"init": "pissa"}),
    "ia3": (LLAMA, {}, {"method": "ia3"}),
    "full": ({"architecture": "qwen2"}, {}, {"method": "full"}),
    "bitfit": ({"architecture": "gpt2", "chat": False}, {}, {"method": "bitfit"}),
}


@pytest.mark.parametrize("case", CASES)
def test_every_number_format_and_method_that_merges_is_read_bit_for_bit(
    case: str, made: Session, saved_model: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_here(monkeypatch)
    base, loading, spec = CASES[case]
    made.load(str(saved_model(**base)), **loading)
    made.attach("one", **spec)
    changed(made, "one")
    _, check = exported(made)
    assert check.worst == 0
    width = loading.get("dtype", "float32")
    assert config()["dtype"] == width
    assert {tensor.dtype for tensor in written().values()} == {getattr(torch, width)}
    assert (check.difference < 1e-5) == (width == "float32")
    assert all(one.why for one in check.prompts if one.difference > check.limit or not one.same)


def test_a_tied_weight_that_only_one_of_both_changes_is_two_in_the_files(
    made: Session, saved_model: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_here(monkeypatch)
    made.load(str(saved_model("qwen2")))
    for name, targets in (("head", "lm_head"), ("rows", "embed_tokens"), ("neither", "q_proj")):
        made.attach(name, rank=2, targets=targets)
        changed(made, name)
        found, _ = exported(made, name, replace=True)
        tied = name == "neither"
        assert config()["tie_word_embeddings"] is tied
        assert ("lm_head.weight" in written()) is not tied
        assert any("two here" in note for note in found.notes) is not tied


def test_a_blend_a_live_model_and_a_merged_session_are_exported_too(
    made: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_here(monkeypatch)
    model = tiny_model("mistral")
    # A combination of settings that `save_pretrained` refuses.
    model.generation_config.temperature = 0.7  # type: ignore[union-attr]  # transformers' model
    made.use(model, tiny_tokenizer(chat=True))
    made.attach("one", rank=2)
    changed(made, "one")
    made.blend("half", "one=0.5")
    exported(made, "half")
    assert json.loads(Path("out/generation_config.json").read_text())["temperature"] == 0.7
    half = written()
    made.merge("one")
    exported(made, "one", replace=True)
    name = "model.layers.0.self_attn.q_proj.weight"
    assert torch.equal(written()[name], made.model.get_submodule(name[:-7]).weight)
    exported(made, "base", replace=True)
    assert torch.equal(written()[name], model.get_submodule(name[:-7]).weight) is False
    made.unmerge()
    assert torch.equal(written()[name], model.get_submodule(name[:-7]).base_layer.weight)  # type: ignore[union-attr]  # PEFT's layer
    assert not torch.equal(half[name], written()[name])


def test_a_quantised_conv1d_gets_its_own_layout_back(
    made: Session, saved_model: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_here(monkeypatch)
    base = saved_model("gpt2", chat=False, n_embd=128)
    made.load(str(base), bits=4)
    made.attach("one", rank=2, targets="c_attn")
    changed(made, "one")
    exported(made)
    original = load_file(base / "model.safetensors")
    name = next(name for name in original if name.endswith("h.0.mlp.c_fc.weight"))
    assert torch.equal(written()[name].mT, nf4(original[name].mT))


def test_the_code_of_a_remote_model_is_kept_with_it(
    made: Session, saved_model: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_here(monkeypatch)
    base = Path("remote")
    saved(tiny_model(), base, tiny_tokenizer(chat=True))
    code = (
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
        "class Own(LlamaForCausalLM):\n    config_class = OwnConfig\n"
    )
    (base / "modeling_own.py").write_text(code)
    classes = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.Own"}
    own = {**config("remote"), "model_type": "own", "auto_map": classes}
    (base / "config.json").write_text(json.dumps(own))
    made.load("remote", trust_remote_code=True)
    found, _ = exported(made, "base")
    assert Path("out/modeling_own.py").read_text() == code
    assert "--trust-remote-code" in dict(found.commands)["load it here"]
    assert "trust_remote_code=True" in dict(found.commands)["in Python"]


class Unknown(type(tiny_model())):  # type: ignore[misc]  # the class behind the tiny model
    """A model whose class no other process has."""


REFUSED: dict[str, tuple[Callable[[Session], object], str]] = {
    "virtual tokens": (lambda s: s.attach("one", method="prefix"), "cannot be merged.*%lora save"),
    "a nonlinearity": (lambda s: s.attach("one", method="houlsby"), "cannot be merged.*%lora save"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_merged_is_refused_with_the_alternative(case: str, session: Session) -> None:
    prepare, told = REFUSED[case]
    prepare(session)
    with pytest.raises(ExportError, match=told):
        session.export("one", "out/there", to="merged", unchecked=True)
    assert not Path("out").exists()


def test_a_class_of_the_notebook_and_a_base_without_tokenizer_are_refused(made: Session) -> None:
    made.use(Unknown(tiny_model().config), tiny_tokenizer())
    made.attach("one", rank=2)
    with pytest.raises(ExportError, match="Unknown is defined in this notebook"):
        made.export("one", to="merged")
    made.use(tiny_model(), replace=True)
    with pytest.raises(PromptError, match="no tokenizer"):
        made.export("base", to="merged")
