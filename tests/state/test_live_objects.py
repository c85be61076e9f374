"""Live objects as a base: by their state, or refused in one line; one session at a time."""

from __future__ import annotations

import copy
import gc
import signal
import sys
from collections.abc import Callable
from typing import Any

import accelerate
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    BartConfig,
    BartForSequenceClassification,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    WhisperConfig,
    WhisperForConditionalGeneration,
    pipeline,
)

from lora_magic.errors import BaseModelError, LoraMagicError, TrainingError
from lora_magic.state import session_state
from lora_magic.state.session import Session
from tests.conftest import logits, perturb
from tests.state.shared import ROWS
from tests.tiny import tiny_model, tiny_tokenizer

IDS = torch.arange(10, 26)[None]


def wrapped(**second: Any) -> Any:
    """A PeftModel with the trained adapters a (on q_proj) and b (on v_proj, unless told)."""
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)
    made = get_peft_model(tiny_model(), config, adapter_name="a").eval()
    other = {"r": 4, "target_modules": ["v_proj"], "init_lora_weights": False, **second}
    made.add_adapter("b", LoraConfig(**other))
    return made.eval()


def answer(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS).logits
    return found


def found(model: nn.Module) -> dict[str, object]:
    """All that reset gives back."""
    layers = [m for m in model.modules() if hasattr(m, "scaling") and hasattr(m, "active_adapters")]
    return {
        "tree": [(name, id(module)) for name, module in model.named_modules()],
        "modes": [module.training for module in model.modules()],
        "flags": [(name, id(p), p.requires_grad) for name, p in model.named_parameters()],
        "states": [(m.active_adapters, m.disable_adapters, dict(m.scaling)) for m in layers],
        "attributes": sorted(vars(model)),
    }


def scale(model: Any, name: str, factor: float) -> None:
    for module in model.modules():
        if hasattr(module, "set_scale"):
            module.set_scale(name, factor)


def partly(model: Any) -> None:
    next(m for m in model.modules() if hasattr(m, "set_scale")).set_adapter("b")


def half(model: Any) -> None:
    next(m for m in model.modules() if hasattr(m, "set_scale")).enable_adapters(False)


def in_bfloat16(model: Any) -> None:
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.bfloat16()


STATES: dict[str, tuple[Callable[[Any], object], str | None]] = {
    "as made": (lambda p: None, "a"),
    "the other": (lambda p: p.set_adapter("b"), "b"),
    "two at once": (lambda p: p.base_model.set_adapter(["a", "b"]), "a=1,b=1"),
    "switched off": (lambda p: p.base_model.disable_adapter_layers(), "base"),
    "off and on": (
        lambda p: (p.base_model.disable_adapter_layers(), p.base_model.enable_adapter_layers()),
        "a",
    ),
    "scaled by 1": (lambda p: scale(p, "a", 1.0), "a"),
    "in train mode": (lambda p: p.train(), "a"),
    "all flags set": (lambda p: p.requires_grad_(True), "a"),
    "scaled": (lambda p: scale(p, "a", 3.0), None),
    "inactive and scaled": (lambda p: scale(p, "b", 0.5), None),
    "another on one layer": (partly, None),
    "one layer off": (half, None),
    "in another format": (in_bfloat16, None),
}


@pytest.mark.parametrize("state", STATES)
def test_a_peft_model_answers_as_before_or_is_refused_and_comes_back_as_found(state: str) -> None:
    change, active = STATES[state]
    model, session = wrapped(), Session()
    change(model)
    before, expected = found(model), answer(model.eval() if state != "in train mode" else model)
    if active is None:
        with pytest.raises(BaseModelError) as refused:
            session.use(model, tiny_tokenizer())
        assert "\n" not in str(refused.value)
    else:
        session.use(model, tiny_tokenizer())
        assert session.active == active
        assert torch.equal(answer(session.model), expected)
        session.train("a", text=ROWS, steps=1)
        session.reset()
    assert found(model) == before
    assert torch.equal(answer(model), expected)


def test_two_adapters_on_one_module_are_refused_since_their_sum_is_not_the_same_bits() -> None:
    model, session = wrapped(target_modules=["q_proj", "v_proj"], r=3), Session()
    model.base_model.set_adapter(["a", "b"])
    expected = answer(model)
    with pytest.raises(BaseModelError, match="%lora swap a=1,b=1"):
        session.use(model, tiny_tokenizer())
    assert torch.equal(answer(model), expected)


def whisper() -> nn.Module:
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "d_model": 32, "encoder_ffn_dim": 32}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 32}
    ids = {"vocab_size": 400, "pad_token_id": 3, "eos_token_id": 0, "bos_token_id": 1}
    last = {"decoder_start_token_id": 1, "suppress_tokens": None, "begin_suppress_tokens": None}
    return WhisperForConditionalGeneration(WhisperConfig(**sizes, **heads, **ids, **last))


def t5() -> nn.Module:
    small = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4}
    return T5ForConditionalGeneration(T5Config(vocab_size=400, **small, decoder_start_token_id=3))


def bart() -> nn.Module:
    small = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 32}
    ids = {"pad_token_id": 3, "eos_token_id": 0, "bos_token_id": 1, "decoder_start_token_id": 0}
    return BartForSequenceClassification(BartConfig(vocab_size=400, **small, **heads, **ids))


def compiled_inside() -> nn.Module:
    model = tiny_model()
    model.model.layers[0] = torch.compile(model.model.layers[0], backend="eager")
    return model


def compiled_in_place() -> nn.Module:
    model = tiny_model()
    model.compile(backend="eager")
    return model


def compiled_forward() -> nn.Module:
    model = tiny_model()
    model.forward = torch.compile(model.forward, backend="eager")  # type: ignore[method-assign]
    return model


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return LlamaForCausalLM(tiny_model().config)


def in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return copy.deepcopy(tiny_model())


class Deaf(LlamaForCausalLM):  # type: ignore[misc]
    """A model that needs another input than text."""

    def forward(self, input_ids: Any = None, *, pixels: Any, **rest: Any) -> Any:
        return super().forward(input_ids, **rest)


#: What is no plain model on one device, and what its refusal names.
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "compiled": (lambda: torch.compile(tiny_model(), backend="eager"), "model._orig_mod"),
    "compiled in place": (compiled_in_place, "compiled"),
    "compiled inside": (compiled_inside, "model.layers.0"),
    "compiled forward": (compiled_forward, "compiled"),
    "offloaded": (lambda: accelerate.cpu_offload(tiny_model()), "offloaded"),
    "offloaded with a hook": (
        lambda: accelerate.cpu_offload_with_hook(tiny_model(), "cpu")[0],
        "offloaded",
    ),
    "on the meta device": (on_meta, "meta device"),
    "parallel": (lambda: nn.DataParallel(tiny_model()), "model = model.module"),
    "quantised by torch": (
        lambda: torch.ao.quantization.quantize_dynamic(tiny_model(), {nn.Linear}),
        "another library",
    ),
    "made in inference mode": (in_inference_mode, r"inference_mode\(\)"),
    "T5": (t5, "encoder-decoder"),
    "Whisper": (whisper, "encoder-decoder"),
    "BART's classifier": (bart, "encoder-decoder"),
    "in need of pixels": (lambda: Deaf(tiny_model().config), "pixels"),
    "a pipeline": (
        lambda: pipeline("text-generation", tiny_model(), tokenizer=tiny_tokenizer()),
        "pipe.model, pipe.tokenizer",
    ),
    "a tokenizer": (tiny_tokenizer, "the model comes first"),
    "a class": (lambda: LlamaForCausalLM, "LlamaForCausalLM.from_pretrained"),
    "a name": (lambda: "gpt2", "%lora load NAME"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_a_plain_model_is_refused_in_one_line_and_unchanged(kind: str) -> None:
    make, names = REFUSED[kind]
    model, session = make(), Session()
    before = found(model) if isinstance(model, nn.Module) else None
    with pytest.raises(BaseModelError, match=names) as refused:
        session.use(model, tiny_tokenizer())
    assert "\n" not in str(refused.value)
    assert session.status().base is None
    assert before is None or found(model) == before


def base_active(session: Session) -> None:
    return None


def houlsby(session: Session) -> None:
    session.attach("h", method="houlsby", rank=2)


def merged(session: Session) -> None:
    session.attach("h", rank=2)
    perturb(session, "h")
    session.merge("h")


@pytest.mark.parametrize("prepare", [base_active, houlsby, merged])
def test_a_model_belongs_to_one_session_until_its_reset(prepare: Callable[..., None]) -> None:
    model = tiny_model()
    first, second = Session(), Session()
    model.train()
    before = found(model)
    first.use(model, tiny_tokenizer())
    prepare(first)
    held = answer(first.model)
    relative = copy.copy(model)
    for given in (model, relative):
        with pytest.raises(BaseModelError, match="%lora reset there"):
            second.use(given, tiny_tokenizer())
    assert torch.equal(answer(first.model), held)
    assert first.verify()
    first.reset()
    assert found(model) == before
    second.use(model, tiny_tokenizer())
    second.reset()
    assert found(model) == before


def test_a_session_that_is_gone_gives_its_model_back() -> None:
    model = tiny_model()
    before = found(model)
    first, second = Session(), Session()
    first.use(model, tiny_tokenizer())
    first.attach("one", rank=2)
    del first
    gc.collect()
    assert found(model) == before
    second.use(model, tiny_tokenizer())
    second.reset()


def test_a_session_at_the_end_of_the_process_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    session = Session()
    session.use(tiny_model(), tiny_tokenizer())
    # The interpreter sets a module's names to None before it takes the last objects apart.
    monkeypatch.setattr(session_state, "sys", None)
    del session
    gc.collect()
    assert not said


def test_a_claim_does_not_keep_a_model_alive() -> None:
    import weakref

    session = Session()
    session.use(tiny_model(), tiny_tokenizer())
    seen = weakref.ref(session.model)
    session.reset()
    gc.collect()
    assert seen() is None


def unfreeze_all(model: Any) -> None:
    model.requires_grad_(True)


def unfreeze_one(model: Any) -> None:
    model.lm_head.weight.requires_grad_(True)


def train_mode(model: Any) -> None:
    model.train()
    model.model.norm.weight.requires_grad_(True)


def buffer_as_parameter(model: Any) -> None:
    model.extra = nn.Parameter(torch.ones(3))


@pytest.mark.parametrize("change", [unfreeze_all, unfreeze_one, train_mode, buffer_as_parameter])
@pytest.mark.parametrize("method", ["lora", "full", "bitfit", "prefix"])
def test_flags_that_a_person_sets_never_train_the_base(
    method: str, change: Callable[[Any], None]
) -> None:
    model, session = tiny_model("gpt2" if method == "bitfit" else "llama"), Session()
    if method == "bitfit" and change in (unfreeze_one, train_mode):
        model.model = nn.Module()
        model.model.norm = nn.LayerNorm(2)
    model.train()
    model.requires_grad_(False)
    flags = [p.requires_grad for p in model.parameters()]
    start = {name: t.clone() for name, t in model.state_dict().items()}
    session.use(model, tiny_tokenizer())
    session.attach("one", method=method)
    change(session.model)
    extra = getattr(model, "extra", None)
    session.train("one", text=ROWS, steps=3, lr=0.1)
    assert session.verify()
    assert not any(p.requires_grad for p in model.parameters())
    if extra is not None:
        assert torch.equal(extra, torch.ones(3))
        del model.extra
    session.reset()
    assert all(torch.equal(t, model.state_dict()[name]) for name, t in start.items())
    assert [p.requires_grad for p in model.parameters()] == flags
    assert model.training


def test_a_parameter_that_shares_the_bases_memory_is_refused_by_name(session: Session) -> None:
    session.attach("one", rank=2, targets="q_proj")
    weight = session.model.model.layers[0].mlp.up_proj.weight
    _, own = next(iter(session._state.attached["one"].tensors()))
    own.data = weight.data[: own.shape[0], : own.shape[1]]
    before = weight.clone()
    with pytest.raises(TrainingError, match=r"layers\.0\.mlp\.up_proj\.weight"):
        session.train("one", text=ROWS, steps=1)
    assert torch.equal(weight, before)


def test_a_replaced_parameter_is_not_trained(session: Session) -> None:
    session.attach("one", rank=2, targets="q_proj")
    fresh = nn.Parameter(session.model.lm_head.weight.detach().clone())
    session.model.lm_head.weight = fresh
    before = fresh.detach().clone()
    session.train("one", text=ROWS, steps=2, lr=0.1)
    assert torch.equal(fresh, before)


@pytest.mark.parametrize("kind", ["plain", "peft"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError])
def test_a_use_that_is_cut_short_gives_flags_and_modes_back(
    kind: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model() if kind == "plain" else wrapped()
    model.train()
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 2 == 0)
    before = found(model)
    real, calls, cut_at = nn.Module.train, [0], [0]

    def cut(self: nn.Module, mode: bool = True) -> nn.Module:
        calls[0] += 1
        if calls[0] == cut_at[0]:
            if error is KeyboardInterrupt:
                signal.raise_signal(signal.SIGINT)
            raise error("full")
        return real(self, mode)

    session = Session()
    for at in (1, 5, 40, 60, 80, 120):
        calls[0], cut_at[0] = 0, at
        with monkeypatch.context() as patch:
            patch.setattr(nn.Module, "train", cut)
            try:
                session.use(model, tiny_tokenizer())
            except (KeyboardInterrupt, LoraMagicError, RuntimeError):
                assert found(model) == before
        session.reset()
        assert found(model) == before


def modes() -> tuple[object, ...]:
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_anomaly_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
    )


class Defaults:
    """A number format or a device for new tensors."""

    def __init__(self, put: Callable[[Any], object], value: Any, back: Any) -> None:
        self.put, self.value, self.back = put, value, back

    def __enter__(self) -> None:
        self.put(self.value)

    def __exit__(self, *error: object) -> None:
        self.put(self.back)


MODES: dict[str, Callable[[], Any]] = {
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "gradients off": lambda: Defaults(torch.set_grad_enabled, False, True),
    "float16": lambda: Defaults(torch.set_default_dtype, torch.float16, torch.float32),
    "bfloat16": lambda: Defaults(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "float64": lambda: Defaults(torch.set_default_dtype, torch.float64, torch.float32),
    "meta": lambda: Defaults(torch.set_default_device, "meta", None),
    "cpu": lambda: Defaults(torch.set_default_device, "cpu", None),
    "meta block": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic": lambda: Defaults(torch.use_deterministic_algorithms, True, False),
    "anomalies": lambda: torch.autograd.set_detect_anomaly(True, check_nan=False),
}


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("mode", MODES)
def test_a_cells_modes_change_no_verb_and_are_left_as_they_were(
    mode: str, saved_model: Any
) -> None:
    def verbs(around: Callable[[], Any]) -> tuple[Session, list[Any]]:
        made = Session()
        said: list[Any] = []
        with around():
            before = modes()
            made.load(str(saved_model()))
            made.attach("one", rank=2, dora=True)
            said.append(made.train("one", text=ROWS, steps=2, lr=0.01).losses)
            made.attach("two", method="full")
            said.append(made.train("two", text=ROWS, steps=1).losses)
            said.append(made.compare("Hello", max_new_tokens=2).to_frame()["text"].tolist())
            made.merge("one")
            made.unmerge()
            said.append(made.save("one", "saved").line)
            made.open("saved", "three")
            assert modes() == before
        return made, said

    from contextlib import nullcontext

    plain, expected = verbs(nullcontext)
    other, said = verbs(MODES[mode])
    assert said == expected
    assert torch.equal(logits(other), logits(plain))
    for name, attached in plain._state.attached.items():
        for key, value in attached.state().items():
            assert torch.equal(other._state.attached[name].state()[key], value)
    other.train("three", text=ROWS, steps=1)
    assert other.verify()


@pytest.mark.parametrize(
    ("name", "mixed", "words"),
    [("base", False, "names that cannot be used"), ("a", True, "PeftMixedModel")],
)
def test_a_peft_model_that_cannot_be_copied_is_refused_by_name(
    name: str, mixed: bool, words: str
) -> None:
    model = tiny_model()
    config = LoraConfig(r=2, target_modules=["q_proj"])
    wrapped = get_peft_model(model, config, adapter_name=name, mixed=mixed)
    flags = [p.requires_grad for p in wrapped.parameters()]
    with pytest.raises(BaseModelError, match=words):
        Session().use(wrapped, tiny_tokenizer())
    assert [p.requires_grad for p in wrapped.parameters()] == flags
