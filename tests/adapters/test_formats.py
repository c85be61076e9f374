"""Written and read again, here and by plain PEFT: the same adapter, the same logits."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from packaging import version
from peft import (
    AdaLoraConfig,
    IA3Config,
    LoraConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
    get_peft_model,
)
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from lora_magic.adapters.methods import METHODS
from lora_magic.errors import AdapterError
from lora_magic.state.session import Session
from tests.adapters.conftest import PlainPeft
from tests.adapters.shared import BIASED, VARIANTS, moved, uneven
from tests.classifiers import saved, tiny_classifier, tiny_of
from tests.conftest import Saver, logits
from tests.tiny import tiny_model, tiny_tokenizer

CASES = [
    (architecture, variant)
    for architecture in ("llama", "gpt2", "qwen2")
    for variant in VARIANTS
    if not (architecture == "llama" and variant in BIASED)
]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A model saved with uneven biases and norms, made once."""
    made: dict[str, Path] = {}

    def save(architecture: str) -> Path:
        if architecture not in made:
            model: Any = tiny_model(architecture)
            uneven(model)
            made[architecture] = tmp_path_factory.mktemp(architecture)
            model.save_pretrained(made[architecture])
            tiny_tokenizer().save_pretrained(made[architecture])
        return made[architecture]

    return save


def loaded(folder: Path) -> Session:
    session = Session()
    session.load(str(folder))
    return session


def attached(session: Session, variant: str, **more: Any) -> Tensor:
    """Attach a variant as `one`, move all of its tensors, and answer."""
    session.attach("one", **{**VARIANTS[variant], **more})
    bare = logits(session)
    moved(session._state.attached["one"])
    found = logits(session)
    assert not torch.allclose(found, bare, atol=1e-3)
    return found


@pytest.mark.parametrize(("architecture", "variant"), CASES)
def test_in_a_fresh_session_the_logits_are_bit_equal(
    architecture: str, variant: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    session = loaded(folder_of(architecture))
    expected = attached(session, variant)
    state = session._state.attached["one"].state()
    spec = session.adapters["one"].spec
    session.save("one", tmp_path / "one")
    fresh = loaded(folder_of(architecture))
    record = fresh.open(tmp_path / "one", "again")
    assert torch.equal(logits(fresh), expected)
    assert record.spec == spec
    again = fresh._state.attached["again"]
    assert set(again.state()) == set(state)
    assert all(torch.equal(tensor, state[key]) for key, tensor in again.state().items())
    # What was opened is saved again to the same tensors.
    fresh.save("again", tmp_path / "again")
    files = [load_file(tmp_path / n / "adapter_model.safetensors") for n in ("one", "again")]
    assert set(files[0]) == set(files[1])
    assert all(torch.equal(files[0][key], files[1][key]) for key in files[0])
    assert fresh.verify()


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v not in BIASED])
def test_opened_on_half_precision_it_is_the_live_one_bit_for_bit(
    variant: str, saved_model: Saver, tmp_path: Path
) -> None:
    folder = str(saved_model())
    live, fresh = Session(), Session()
    for session in (live, fresh):
        session.load(folder, dtype="bf16")
    expected = attached(live, variant)
    live.save("one", tmp_path / "one")
    fresh.open(tmp_path / "one")
    assert torch.equal(logits(fresh), expected)


@pytest.mark.parametrize("init", ["default", "pissa", "eva"])
def test_what_was_trained_begins_and_ends_the_same_after_it_was_opened(
    init: str, saved_model: Saver, tmp_path: Path
) -> None:
    rows = "What is for dinner? => Fish, matey!\nWhere is it? => Arr, by the harbour."
    session = loaded(saved_model())
    session.attach("one", rank=2, init=init)
    session.train("one", text=rows, steps=3)
    expected = logits(session)
    session.save("one", tmp_path / "one")
    session.train("one", text=rows, steps=3, continue_=True)
    further = logits(session)
    fresh = loaded(saved_model())
    fresh.open(tmp_path / "one")
    assert torch.equal(logits(fresh), expected)
    fresh.train("one", text=rows, steps=3, continue_=True)
    assert torch.equal(logits(fresh), further)


def test_what_eva_learned_is_not_given_new_directions_by_the_next_run(
    saved_model: Saver, tmp_path: Path
) -> None:
    session = loaded(saved_model())
    session.attach("one", rank=2, init="eva")
    session.train("one", text="Where? => Arr, there!\nWho? => Me, matey!", steps=3)
    session.save("one", tmp_path / "one")
    fresh = loaded(saved_model())
    fresh.open(tmp_path / "one")
    expected = logits(fresh)
    # Other rows, and a rate that moves nothing: what was learned has to be there still.
    fresh.train("one", text="When? => At noon.\nHow? => By boat.", steps=1, lr=1e-12)
    assert torch.allclose(logits(fresh), expected, atol=1e-6)


def test_adalora_after_its_budget_is_spent_opens_bit_for_bit_and_in_plain_peft(
    plain_peft: PlainPeft, saved_model: Saver, tmp_path: Path
) -> None:
    session = loaded(saved_model())
    session.attach("one", method="adalora", rank=2)
    session.train("one", text="Where? => Arr, there!\nWho? => Me, matey!", steps=20, lr=0.02)
    left = session._state.attached["one"].ranks()
    assert min(left.values()) < 3
    expected = logits(session)
    session.save("one", tmp_path / "one")
    fresh = loaded(saved_model())
    fresh.open(tmp_path / "one")
    assert torch.equal(logits(fresh), expected)
    assert fresh._state.attached["one"].ranks() == left
    (theirs,) = plain_peft([(saved_model(), tmp_path / "one")])
    assert torch.allclose(theirs, expected, atol=1e-5)


@pytest.mark.parametrize("variant", ["lora", "ia3", "norms", "full", "houlsby", "dora"])
@pytest.mark.parametrize("architecture", ["bert", "llama", "gpt2"])
def test_a_classifiers_head_travels_with_its_adapter(
    architecture: str, variant: str, tmp_path: Path
) -> None:
    folder = saved(tiny_classifier(architecture, labels=3), tmp_path / "base")
    sessions = [Session(), Session()]
    for session in sessions:
        session.load(folder, task="classification")
    expected = attached(sessions[0], variant)
    sessions[0].save("one", tmp_path / "one")
    sessions[1].open(tmp_path / "one")
    assert torch.equal(logits(sessions[1]), expected)
    assert sessions[1].verify()


@pytest.mark.parametrize("method", ["prefix", "prompt"])
def test_virtual_tokens_of_a_classifier_travel_with_its_head(method: str, tmp_path: Path) -> None:
    folder = saved(tiny_classifier("llama"), tmp_path / "base")
    sessions = [Session(), Session()]
    for session in sessions:
        session.load(folder, task="classification")
    expected = attached(sessions[0], method)
    sessions[0].save("one", tmp_path / "one")
    sessions[1].open(tmp_path / "one")
    assert torch.equal(logits(sessions[1]), expected)


# Plain PEFT reads ours


def test_plain_peft_in_another_process_reads_every_method_that_it_has(
    plain_peft: PlainPeft, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    patterns = {
        "rank_pattern": {"layers.0.self_attn.q_proj": 4},
        "alpha_pattern": {"v_proj": 5.0},
        "targets": "q_proj,v_proj",
    }
    cases: list[tuple[str, str, dict[str, Any]]] = [
        ("llama", "lora", patterns),
        ("llama", "pissa", {**patterns, "init": "pissa"}),
        ("llama", "olora", {**patterns, "init": "olora"}),
        ("llama", "lora", {"targets": "embed_tokens,q_proj"}),
        *(
            (architecture, variant, {})
            for architecture, variant in CASES
            if METHODS[VARIANTS[variant].get("method", "lora")].peft
        ),
    ]
    jobs, ours = [], []
    for number, (architecture, variant, more) in enumerate(cases):
        session = loaded(folder_of(architecture))
        ours.append(attached(session, variant, **more))
        folder = tmp_path / f"{number}"
        session.save("one", folder)
        jobs.append((folder_of(architecture), folder))
    found = plain_peft(jobs)
    for case, expected, seen in zip(cases, ours, found, strict=True):
        assert torch.allclose(seen, expected, atol=1e-5), case


def test_a_start_taken_off_is_written_as_a_lora_of_twice_the_rank(
    saved_model: Saver, tmp_path: Path
) -> None:
    session = loaded(saved_model())
    session.attach("one", rank=3, alpha=6, init="pissa", rslora=True, targets="q_proj")
    session.save("one", tmp_path / "one")
    config = json.loads((tmp_path / "one" / "adapter_config.json").read_text())
    assert (config["r"], config["peft_type"]) == (6, "LORA")
    assert config["lora_alpha"] == pytest.approx(6 * 2**0.5)
    tensors = load_file(tmp_path / "one" / "adapter_model.safetensors")
    for key, tensor in tensors.items():
        assert tensor.shape[0 if "lora_A" in key else 1] == 6
        # Before training the second half takes off what the first half adds.
        one, other = tensor.chunk(2, dim=0 if "lora_A" in key else 1)
        assert torch.equal(one, other if "lora_A" in key else -other)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_config_names_the_method_and_what_is_no_pefts_is_not_called_so(
    variant: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = folder_of("gpt2")
    session = loaded(folder)
    attached(session, variant)
    session.save("one", tmp_path / "one")
    config = json.loads((tmp_path / "one" / "adapter_config.json").read_text())
    method = METHODS[VARIANTS[variant].get("method", "lora")]
    kinds = {
        "lora": "LORA",
        "adalora": "ADALORA",
        "ia3": "IA3",
        "prefix": "PREFIX_TUNING",
        "prompt": "PROMPT_TUNING",
    }
    assert config["peft_type"] == kinds.get(method.name, "LORA_MAGIC")
    assert config["base_model_name_or_path"] == str(folder)
    assert (tmp_path / "one" / "adapter_model.safetensors").is_file()


# Ours reads plain PEFT

NAMES = ["q_proj", "v_proj"]
CONV = {"target_modules": ["c_attn", "c_fc"], "fan_in_fan_out": True}

THEIRS: dict[str, tuple[str, Any]] = {
    "lora": ("llama", LoraConfig(r=4, lora_alpha=3, target_modules=NAMES)),
    "rslora": ("llama", LoraConfig(r=4, use_rslora=True, target_modules=NAMES)),
    "dora": ("llama", LoraConfig(r=4, use_dora=True, target_modules=NAMES)),
    "dora, Conv1D": ("gpt2", LoraConfig(r=4, use_dora=True, **CONV)),
    "patterns": (
        "llama",
        LoraConfig(
            r=4,
            rank_pattern={"v_proj": 2},
            alpha_pattern={"layers.1.self_attn.q_proj": 3},
            target_modules=NAMES,
        ),
    ),
    "gaussian": ("llama", LoraConfig(r=4, init_lora_weights="gaussian", target_modules=NAMES)),
    "embedding": ("llama", LoraConfig(r=4, target_modules=["embed_tokens", "q_proj"])),
    "pattern of targets": ("llama", LoraConfig(r=4, target_modules=r".*layers\.1.*up_proj")),
    "all-linear": ("gpt_neox", LoraConfig(r=4, target_modules="all-linear")),
    "bias all": ("gpt2", LoraConfig(r=4, bias="all", **CONV)),
    "bias all, linear": ("phi", LoraConfig(r=4, bias="all", target_modules=NAMES)),
    "lora_only": ("phi", LoraConfig(r=4, bias="lora_only", target_modules=NAMES)),
    "lora_only, Conv1D": ("gpt2", LoraConfig(r=4, bias="lora_only", **CONV)),
    "every norm": (
        "llama",
        LoraConfig(
            r=4,
            target_modules=NAMES,
            modules_to_save=["input_layernorm", "post_attention_layernorm", "norm"],
        ),
    ),
    "some norms": ("gpt2", LoraConfig(r=4, modules_to_save=["ln_f", "ln_1"], **CONV)),
    "one norm": ("llama", LoraConfig(r=4, target_modules=NAMES, modules_to_save=["norm"])),
    "adalora": (
        "llama",
        AdaLoraConfig(init_r=4, target_r=2, total_step=10, target_modules=NAMES),
    ),
    "ia3": (
        "llama",
        IA3Config(
            target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]
        ),
    ),
    "ia3, Conv1D": (
        "gpt2",
        IA3Config(
            target_modules=["c_attn", "mlp.c_proj"],
            feedforward_modules=["mlp.c_proj"],
            fan_in_fan_out=True,
        ),
    ),
    "ia3, all outer": ("phi", IA3Config(target_modules=["fc1", "dense"], feedforward_modules=[])),
    "prefix": ("llama", PrefixTuningConfig(num_virtual_tokens=3)),
    "prefix, Conv1D": ("gpt2", PrefixTuningConfig(num_virtual_tokens=3)),
    "prompt": ("llama", PromptTuningConfig(num_virtual_tokens=3)),
    "prompt, tied": ("qwen2", PromptTuningConfig(num_virtual_tokens=3)),
}


if version.parse(peft.__version__) < version.parse("0.21"):
    # PEFT 0.20 leaves these biases out of the folder: what it trained is not in there to be read.
    THEIRS = {kind: made for kind, made in THEIRS.items() if not kind.startswith("lora_only")}


def by_peft(folder: Path, config: Any, out: Path) -> Any:
    """A model of plain PEFT whose every trained tensor was moved; saved to `out`."""
    config = copy.deepcopy(config)
    config.task_type = "CAUSAL_LM"
    wrapper = get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in wrapper.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    wrapper.save_pretrained(out)
    return wrapper


def logits_of(wrapper: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = wrapper(input_ids=torch.arange(10, 26)[None]).logits[:, -16:]
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", THEIRS)
def test_a_folder_made_by_plain_peft_opens_with_its_logits(
    kind: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    architecture, config = THEIRS[kind]
    folder = folder_of(architecture)
    expected = logits_of(by_peft(folder, config, tmp_path / "theirs"))
    session = loaded(folder)
    bare = logits(session)
    record = session.open(tmp_path / "theirs", "one")
    found = logits(session)
    assert torch.allclose(found, expected, atol=1e-5)
    if "prompt" not in kind:
        assert torch.equal(found, expected)
    assert not torch.allclose(found, bare, atol=1e-3)
    assert record.history.line == "trained elsewhere"
    # Saved here it is read again.
    session.save("one", tmp_path / "ours")
    again = loaded(folder)
    again.open(tmp_path / "ours", "one")
    assert torch.equal(logits(again), found)
    assert session.verify()


@pytest.mark.filterwarnings("ignore")
def test_what_came_from_plain_peft_goes_back_to_it(
    plain_peft: PlainPeft, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    jobs, expected = [], []
    for number, (architecture, config) in enumerate(THEIRS.values()):
        folder = folder_of(architecture)
        wrapper = by_peft(folder, config, tmp_path / f"theirs-{number}")
        expected.append(logits_of(wrapper))
        session = loaded(folder)
        session.open(tmp_path / f"theirs-{number}", "one")
        session.save("one", tmp_path / f"ours-{number}")
        jobs.append((folder, tmp_path / f"ours-{number}"))
    for kind, found, wanted in zip(THEIRS, plain_peft(jobs), expected, strict=True):
        assert torch.allclose(found, wanted, atol=1e-5), kind


@pytest.mark.filterwarnings("ignore")
def test_opening_does_not_look_at_what_is_in_force_just_then(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    for kind in ("some norms", "embedding"):
        architecture, config = THEIRS[kind]
        folder = folder_of(architecture)
        expected = logits_of(by_peft(folder, config, tmp_path / kind))
        session = loaded(folder)
        for number, flags in enumerate(({"method": "full"}, {"rank": 2, "norms": True})):
            session.attach(f"other{number}", **flags)
            moved(session._state.attached[f"other{number}"])
            session.open(tmp_path / kind, f"one{number}")
            assert torch.equal(logits(session), expected), kind


@pytest.mark.filterwarnings("ignore")
def test_an_embedding_that_is_not_the_bases_own_is_no_part_of_an_adapter(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    architecture, config = THEIRS["embedding"]
    by_peft(folder_of(architecture), config, tmp_path / "theirs")
    file = tmp_path / "theirs" / "adapter_model.safetensors"
    tensors = load_file(file)
    tensors["base_model.model.model.embed_tokens.base_layer.weight"][3, 3] += 1.0
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(AdapterError, match=r"unexpected model\.embed_tokens\.base_layer\.weight"):
        loaded(folder_of(architecture)).open(tmp_path / "theirs")


@pytest.mark.filterwarnings("ignore")
def test_adalora_of_plain_peft_after_a_real_allocation_opens(
    plain_peft: PlainPeft, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = folder_of("llama")
    config = AdaLoraConfig(
        init_r=6,
        target_r=2,
        tinit=2,
        tfinal=4,
        deltaT=1,
        total_step=14,
        target_modules=[*NAMES, "down_proj"],
        task_type="CAUSAL_LM",
    )
    wrapper = get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config).train()
    optimizer = torch.optim.AdamW([p for p in wrapper.parameters() if p.requires_grad], lr=0.02)
    ids = torch.arange(10, 26)[None]
    for step in range(14):
        optimizer.zero_grad()
        wrapper(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        wrapper.base_model.update_and_allocate(step)
    wrapper.eval().save_pretrained(tmp_path / "theirs")
    pattern = json.loads((tmp_path / "theirs" / "adapter_config.json").read_text())["rank_pattern"]
    kept = {name: sum(flags) for name, flags in pattern.items()}
    assert sum(kept.values()) == 2 * len(kept)
    (read,) = plain_peft([(folder, tmp_path / "theirs")])
    session = loaded(folder)
    session.open(tmp_path / "theirs", "one")
    assert torch.allclose(logits(session), read, atol=1e-5)
    assert torch.allclose(logits(session), logits_of(wrapper), atol=1e-5)
    ranks = session._state.attached["one"].ranks()
    assert sorted(ranks.values()) == sorted(kept.values())
    session.save("one", tmp_path / "ours")
    fresh = loaded(folder)
    fresh.open(tmp_path / "ours", "one")
    assert torch.equal(logits(fresh), logits(session))
    (again,) = plain_peft([(folder, tmp_path / "ours")])
    assert torch.allclose(again, read, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (LoraConfig(target_modules=["up_proj"], lora_bias=True), "biases in B"),
        (LoraConfig(target_modules=["up_proj"], init_lora_weights="pissa"), "changed base"),
        (LoraConfig(target_modules=["up_proj"], modules_to_save=["mlp.down_proj"]), "whole mod"),
        (LoraConfig(target_modules=["up_proj"], trainable_token_indices=[3]), "single tokens"),
    ],
)
def test_what_of_plain_peft_would_be_misread_is_refused(
    config: Any, reason: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    by_peft(folder_of("llama"), config, tmp_path / "theirs")
    session = loaded(folder_of("llama"))
    before = logits(session)
    with pytest.raises(AdapterError, match=reason):
        session.open(tmp_path / "theirs")
    assert dict(session.adapters) == {}
    assert torch.equal(logits(session), before)
    assert session.verify()


def test_a_tensor_of_a_norm_that_the_config_names_may_not_be_missing(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    config = LoraConfig(r=4, target_modules=NAMES, modules_to_save=["norm"])
    by_peft(folder_of("llama"), config, tmp_path / "theirs")
    file = tmp_path / "theirs" / "adapter_model.safetensors"
    tensors = load_file(file)
    del tensors["base_model.model.model.norm.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(AdapterError, match=r"missing model\.norm\.weight"):
        loaded(folder_of("llama")).open(tmp_path / "theirs")


# Heads of several modules

HEADS = ("roberta", "electra", "distilbert", "modernbert", "bert", "gpt2")


def classifier_folder(kind: str, folder: Path) -> str:
    """A saved classifier; its config has the names that each architecture knows."""
    sizes = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
    own = {"distilbert": sizes, "electra": {"embedding_size": 32}}
    model = tiny_of("classifier", kind, num_labels=3, **own.get(kind, {}))
    return saved(model, folder)


def shift(parameters: Iterable[Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)


def test_plain_peft_in_another_process_reads_heads_of_every_shape(
    plain_peft: PlainPeft, tmp_path: Path
) -> None:
    jobs, ours = [], []
    for kind in HEADS:
        folder = classifier_folder(kind, tmp_path / kind)
        session = Session()
        session.load(folder, task="classification")
        session.attach("one", rank=2)
        moved(session._state.attached["one"])
        ours.append(logits(session))
        session.save("one", tmp_path / f"{kind}-one")
        jobs.append((folder, tmp_path / f"{kind}-one"))
    for kind, expected, found in zip(HEADS, ours, plain_peft(jobs, classifier=True), strict=True):
        assert torch.allclose(found, expected, atol=1e-6), kind


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", HEADS)
def test_a_classifier_of_plain_peft_opens_with_its_logits(kind: str, tmp_path: Path) -> None:
    folder = classifier_folder(kind, tmp_path / "base")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    names = {"distilbert": "q_lin", "modernbert": "Wqkv", "gpt2": "c_attn"}
    config = LoraConfig(r=2, task_type="SEQ_CLS", target_modules=[names.get(kind, "query")])
    wrapper = get_peft_model(model, config).eval()
    shift(parameter for parameter in wrapper.parameters() if parameter.requires_grad)
    wrapper.save_pretrained(tmp_path / "theirs")
    session = Session()
    session.load(folder, task="classification")
    session.open(tmp_path / "theirs", "one")
    # Some CPUs sum in another order where a weight begins at another address, in a copy too.
    torch.testing.assert_close(logits(session), logits_of(wrapper), rtol=1e-6, atol=1e-6)


def test_a_head_whose_parts_are_listed_one_by_one_still_opens(tmp_path: Path) -> None:
    """As the first version of this format listed them."""
    folder = classifier_folder("roberta", tmp_path / "base")
    sessions = [Session(), Session()]
    for session in sessions:
        session.load(folder, task="classification")
    sessions[0].attach("one", rank=2)
    moved(sessions[0]._state.attached["one"])
    sessions[0].save("one", tmp_path / "one")
    path = tmp_path / "one" / "adapter_config.json"
    config = json.loads(path.read_text())
    assert config["modules_to_save"] == ["classifier"]
    config["modules_to_save"] = ["classifier.dense", "classifier.out_proj"]
    path.write_text(json.dumps(config))
    sessions[1].open(tmp_path / "one")
    assert torch.equal(logits(sessions[1]), logits(sessions[0]))
