from __future__ import annotations

import json
import shutil
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lora_magic.base import hub
from lora_magic.base.load import load, use
from lora_magic.errors import BaseModelError
from tests.conftest import Saver
from tests.tiny import ARCHITECTURES, tiny_model, tiny_tokenizer


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_folder_gives_the_logits_of_the_model_that_was_saved(
    architecture: str, saved_model: Saver
) -> None:
    base = load(str(saved_model(architecture)))
    ids = torch.arange(10, 20)[None]
    with torch.no_grad():
        assert torch.equal(base.model(ids).logits, tiny_model(architecture)(ids).logits)
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    assert base.context == 128


def test_casting_rounds_the_weights_and_leaves_the_rotary_frequencies(saved_model: Saver) -> None:
    base = load(str(saved_model("llama")), dtype="bf16")
    assert base.model.lm_head.weight.dtype is torch.bfloat16
    assert base.model.model.rotary_emb.inv_freq.dtype is torch.float32


def test_ties_survive_a_cast(saved_model: Saver) -> None:
    base = load(str(saved_model("qwen2")), dtype="bf16")
    assert base.model.lm_head.weight is base.model.model.embed_tokens.weight


def test_release_gives_every_flag_back_and_may_be_called_twice() -> None:
    model = tiny_model()
    model.train()
    model.lm_head.weight.requires_grad_(False)
    wanted = {name: p.requires_grad for name, p in model.named_parameters()}
    base = use(model, tiny_tokenizer())
    assert not model.training
    base.release()
    base.release()
    assert {name: p.requires_grad for name, p in model.named_parameters()} == wanted
    assert all(module.training for module in model.modules())


def test_a_folder_with_a_pickle_only_is_refused(tmp_path: Path, saved_model: Saver) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(saved_model(), folder)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(BaseModelError, match=r"pytorch_model\.bin.*safe_serialization=True"):
        load(str(folder))


def test_a_diffusion_pipeline_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(BaseModelError, match=r"diffusion.*%lora load demo"):
        load(str(tmp_path))


def test_an_adapter_folder_leads_to_open(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(BaseModelError, match="%lora open"):
        load(str(tmp_path))


def test_an_empty_folder_and_a_file_say_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match=r"config\.json"):
        load(str(tmp_path))
    file = tmp_path / "notes.txt"
    file.write_text("x")
    with pytest.raises(BaseModelError, match="is a file"):
        load(str(file))


def test_a_misspelt_name_is_not_looked_up_but_corrected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "check", lambda _: pytest.fail("asked the hub"))
    with pytest.raises(BaseModelError, match="Did you mean 'demo'"):
        load("dmo")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "my-llama").mkdir()
    with pytest.raises(BaseModelError, match="Did you mean 'my-llama'"):
        load("./models/my-lama")


def test_remote_code_is_refused_unless_asked_for(tmp_path: Path, saved_model: Saver) -> None:
    folder = tmp_path / "remote"
    shutil.copytree(saved_model(), folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_own.Own"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BaseModelError, match=r"modeling_own\.Own.*--trust-remote-code"):
        load(str(folder))


def test_an_unknown_architecture_or_broken_config_is_one_line(
    tmp_path: Path, saved_model: Saver
) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(saved_model(), folder)
    (folder / "config.json").write_text('{"model_type": "telepathy"}')
    with pytest.raises(BaseModelError) as seen:
        load(str(folder))
    assert "\n" not in str(seen.value)
    (folder / "config.json").write_text("{")
    with pytest.raises(BaseModelError, match="cannot be read"):
        load(str(folder))


def info(**changes: Any) -> Any:
    files = [types.SimpleNamespace(rfilename=f) for f in changes.pop("files")]
    return types.SimpleNamespace(siblings=files, gated=changes.pop("gated", False))


def hub_that(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    import huggingface_hub

    def model_info(self: object, name: str, **options: object) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)


def test_a_gated_model_without_a_token_says_how_to_log_in(monkeypatch: pytest.MonkeyPatch) -> None:
    hub_that(monkeypatch, info(files=["config.json", "model.safetensors"], gated="manual"))
    with pytest.raises(BaseModelError, match=r"gated.*HF_TOKEN"):
        load("meta/gated-model")


def test_the_hubs_pickles_and_pipelines_are_refused_before_a_download(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub_that(monkeypatch, info(files=["config.json", "pytorch_model.bin"]))
    with pytest.raises(BaseModelError, match="pickle"):
        load("org/old-model")
    hub_that(monkeypatch, info(files=["model_index.json", "unet/model.safetensors"]))
    with pytest.raises(BaseModelError, match="diffusion"):
        load("org/pictures")


def test_a_hub_out_of_reach_is_said_so_with_what_works_offline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub_that(monkeypatch, ConnectionError("no route"))
    with pytest.raises(BaseModelError, match=r"cannot be reached.*%lora load demo"):
        load("org/model")


def refusal(kind: str) -> Exception:
    """The hub library's own error for a request that was refused."""
    import httpx
    from huggingface_hub import errors

    made: type[Exception] = getattr(errors, kind)
    if kind == "HFValidationError":
        return made("Repo id must be alphanumeric")
    response = httpx.Response(403, request=httpx.Request("GET", "https://hub.invalid/org/model"))
    return made("refused", response=response)  # type: ignore[call-arg]  # its own argument


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("GatedRepoError", r"org/model is gated: accept its terms.*HF_TOKEN"),
        ("RepositoryNotFoundError", r"no model 'org/model' on the hub, and no folder"),
        ("HFValidationError", r"no model 'org/model' on the hub, and no folder"),
    ],
)
def test_what_the_hub_refuses_is_one_line(
    monkeypatch: pytest.MonkeyPatch, kind: str, told: str
) -> None:
    hub_that(monkeypatch, refusal(kind))
    with pytest.raises(BaseModelError, match=told) as seen:
        load("org/model")
    assert "\n" not in str(seen.value)


def test_a_cached_model_loads_from_the_cache_when_the_hub_is_out_of_reach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub_that(monkeypatch, ConnectionError("no route"))
    monkeypatch.setattr(hub, "is_cached", lambda _: True)
    assert hub.check("org/model") == (False, [])


def test_live_objects_that_are_no_model_or_tokenizer_are_refused() -> None:
    with pytest.raises(BaseModelError, match=r"got text \(demo\)"):
        use("demo", None)
    with pytest.raises(BaseModelError, match="cannot generate"):
        use(nn.Linear(2, 2), None)
    with pytest.raises(BaseModelError, match="expected a tokenizer, got int"):
        use(tiny_model(), 5)


def changed_config(folder: Path, target: Path, **changes: object) -> str:
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({**config, **changes}))
    return str(target)


def test_a_checkpoint_that_would_leave_weights_random_is_refused(
    tmp_path: Path, saved_model: Saver
) -> None:
    longer = changed_config(saved_model(), tmp_path / "longer", num_hidden_layers=3)
    with pytest.raises(BaseModelError, match=r"lacks \d+ tensors.*layers\.2\."):
        load(longer)
    wider = changed_config(saved_model(), tmp_path / "wider", intermediate_size=80)
    with pytest.raises(BaseModelError, match=r"other shapes than config\.json says \(model"):
        load(wider)


def test_a_checkpoint_of_another_task_is_refused(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    from tests.tiny import tiny_config

    model = AutoModelForSequenceClassification.from_config(tiny_config())
    model.save_pretrained(tmp_path / "classifier")
    tiny_tokenizer().save_pretrained(tmp_path / "classifier")
    with pytest.raises(BaseModelError, match=r"lacks 1 tensors of .* \(lm_head\.weight\)"):
        load(str(tmp_path / "classifier"))


def test_damaged_weights_are_one_line(tmp_path: Path, saved_model: Saver) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(saved_model(), folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(
        BaseModelError, match=r"model\.safetensors cannot be read.*Download it"
    ) as seen:
        load(str(folder))
    assert "\n" not in str(seen.value)


def test_a_folder_without_a_tokenizer_says_what_to_type(tmp_path: Path, saved_model: Saver) -> None:
    folder = tmp_path / "bare"
    tiny_model().save_pretrained(folder)
    with pytest.raises(BaseModelError, match=r"%lora use model tokenizer"):
        load(str(folder))


def test_a_config_that_leaves_weights_unused_says_so(tmp_path: Path, saved_model: Saver) -> None:
    shorter = changed_config(saved_model(), tmp_path / "shorter", num_hidden_layers=1)
    assert "tensors of its files are not used by this config" in load(shorter).reason
    # The output head is what a classifier has no use for.
    classifier = load(str(saved_model()), task="classification", labels="good,bad")
    assert "1 tensor of its files is not used by this config" in classifier.reason


def test_a_pointer_of_git_lfs_says_what_to_type(tmp_path: Path, saved_model: Saver) -> None:
    folder = tmp_path / "pointer"
    shutil.copytree(saved_model(), folder)
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(BaseModelError, match="git lfs pull"):
        load(str(folder))
