"""A run's passes: packed, by length, trained tokens alone; each against the model's own forward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedConfig

from lora_magic.training import held_out, way
from lora_magic.training.documents import Documents, pack
from lora_magic.training.encode import Example
from lora_magic.training.run import run
from lora_magic.training.trained_loss import chunked, trained_loss
from lora_magic.training.way import Way, choose
from tests.tiny import ARCHITECTURES
from tests.training.adapted import TOKENIZER, adapted, encoded, trainable, weights
from tests.training.test_run import spec_of

#: Their attention comes from transformers' table, so rows can be packed.
PACKED = {
    **{name: {} for name in ("Llama", "Qwen2", "Phi", "GPTNeoX", "OPT", "GPT2")},
    "Mistral": {"sliding_window": 8},
    "Gemma": {"head_dim": 8},
    "Mixtral": {"num_local_experts": 4},
    "Olmo2": {},
}

#: And why rows of these cannot: no position resets a state, ALiBi, local layers, caps, sinks.
PADDED = {
    "Mamba": ({"state_size": 8}, "read the one before"),
    "Bloom": ({}, "read the one before"),
    "GPTNeo": (
        {
            "attention_types": [[["global", "local"], 1]],
            "num_layers": 2,
            "num_heads": 4,
            "window_size": 8,
        },
        "read the one before",
    ),
    "Gemma2": ({"head_dim": 8}, "softcap"),
    "GptOss": ({"head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2}, "s_aux"),
}


def model_of(name: str, **changes: Any) -> Any:
    """Two layers, 300 tokens, weights from a seed, frozen but for two matrices."""
    sizes = {
        **{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 300},
        **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
        **{"max_position_embeddings": 128},
    }
    own = {"OPT": {"word_embed_proj_dim": 32, "ffn_dim": 64}}
    if name in ("GPT2", "Bloom", "GPTNeo", "OPT", "GPTNeoX", "Phi", "Mamba"):
        del sizes["num_key_value_heads"]
    config = getattr(transformers, f"{name}Config")(**{**sizes, **own.get(name, {}), **changes})
    kind = "LMHeadModel" if name == "GPT2" else "ForCausalLM"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, f"{name}{kind}")(config).eval().requires_grad_(False)
    matrices = [p for path, p in model.named_parameters() if p.dim() == 2 and "layers" in path]
    for parameter in (matrices or [p for p in model.parameters() if p.dim() == 2])[-2:]:
        parameter.requires_grad_()
    return model


def examples(lengths: Sequence[int] = (40, 17, 31), prompt: int = 5) -> list[Example]:
    generator = torch.Generator().manual_seed(1)
    made = []
    for row, length in enumerate(lengths):
        tokens = tuple(torch.randint(3, 300, (length,), generator=generator).tolist())
        made.append(Example(tokens, (-100,) * prompt + tokens[prompt:], row))
    return made


def alone(model: Any, rows: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Σ loss and its gradients in float64 sums, each row by itself, every logit computed."""
    loss = torch.zeros((), dtype=torch.float64)
    for row in rows:
        logits = model(input_ids=torch.tensor([row.tokens])).logits[0, :-1].double()
        loss = loss + cross_entropy(logits, torch.tensor(row.labels[1:]), reduction="sum")
    return loss.detach(), flat(torch.autograd.grad(loss, trainable(model)))


def flat(gradients: Sequence[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten().double() for gradient in gradients])


def found(chosen: Way, rows: list[Example]) -> tuple[Tensor, Tensor]:
    """Σ loss and gradients as a run's pass computes them."""
    inputs = chosen.batch(rows)
    with chosen.using(inputs):
        loss = chosen.total(inputs)
        return loss.detach().double(), flat(torch.autograd.grad(loss, trainable(chosen.model)))


@pytest.mark.parametrize("name", PACKED)
def test_a_packed_pass_has_the_loss_and_gradients_of_rows_read_alone(name: str) -> None:
    model, rows = model_of(name, **PACKED[name]), examples()
    chosen = choose(model, 0, rows, trainable(model))
    assert (chosen.packed, chosen.trained_only, chosen.reasons) == (True, True, ())
    loss, gradients = found(chosen, rows)
    wanted, wanted_gradients = alone(model, rows)
    torch.testing.assert_close(loss, wanted, rtol=1e-6, atol=0)
    assert (gradients - wanted_gradients).norm() <= 2e-6 * wanted_gradients.norm()


@pytest.mark.parametrize("name", sorted(PACKED.keys() - {"Mixtral"}))
def test_another_document_changes_no_bit_of_a_documents_logits(name: str) -> None:
    model, rows = model_of(name, **PACKED[name]), examples()
    other = replace(rows[1], tokens=tuple((token + 7) % 300 for token in rows[1].tokens))

    def logits(some: list[Example]) -> list[Tensor]:
        inputs = pack(some)
        lengths = inputs.pop("lengths").tolist()
        inputs.pop("labels")
        with torch.no_grad(), Documents(model).of(lengths):
            return list(model(**inputs, use_cache=False).logits[0].split(lengths))

    before, after = logits(rows), logits([rows[0], other, rows[2]])
    same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert same == [True, False, True]


@pytest.mark.parametrize("name", PADDED)
def test_where_packing_would_be_wrong_rows_are_padded_and_the_reason_is_told(name: str) -> None:
    changes, reason = PADDED[name]
    model = model_of(name, **changes)
    chosen = choose(model, 0, examples(), trainable(model))
    assert not chosen.packed
    assert chosen.sorted
    assert reason in chosen.line
    assert "not packed" in chosen.line


def test_rows_that_exceed_a_sliding_window_are_packed_exactly() -> None:
    model, rows = model_of("Mistral", sliding_window=8), examples((60, 9, 33))
    wide = model_of("Mistral", sliding_window=None)
    wanted, _ = alone(model, rows)
    loss, _ = found(choose(model, 0, rows, trainable(model)), rows)
    torch.testing.assert_close(loss, wanted, rtol=1e-6, atol=0)
    assert abs(alone(wide, rows)[0] - wanted) > 1e-4  # the window counts


def test_attention_in_chunks_packs_only_rows_that_fit_in_a_chunk() -> None:
    model = model_of("Llama")
    model.config.attention_chunk_size = 30
    assert "chunks of 30" in choose(model, 0, examples((40, 20)), trainable(model)).line
    assert choose(model, 0, examples((30, 20)), trainable(model)).packed


def test_a_window_that_only_the_mask_has_is_found_out_by_longer_rows() -> None:
    model = model_of("Phimoe", num_local_experts=4, sliding_window=30)
    chosen = choose(model, 0, examples((60, 9, 33)), trainable(model))
    assert "not packed: other hidden states in a row of 33 tokens" in chosen.line
    assert choose(model, 0, examples((20, 9, 13)), trainable(model)).packed


def test_attention_that_is_scaled_by_the_place_in_a_row_is_not_packed() -> None:
    model = model_of("Llama")
    model.config.attn_temperature_tuning = True
    assert "not packed: attention scaled by place" in choose(model, 0, examples()).line


#: Rotations that depend on the longest row of a pass.
LONG_ROPE: dict[str, Any] = {
    "rope_type": "longrope",
    "factor": 4.0,
    "rope_theta": 1e4,
    "original_max_position_embeddings": 24,
    "short_factor": [1.0] * 4,
    "long_factor": [30.0] * 4,
}


def test_where_a_row_depends_on_the_longest_one_beside_it_no_others_go_together() -> None:
    model = model_of("Llama", rope_parameters=LONG_ROPE)
    assert choose(model, 0, examples(), trainable(model)).packed
    model.register_forward_hook(lambda *_: None)
    chosen = choose(model, 0, examples(), trainable(model))
    assert not chosen.sorted
    assert "not by length: other hidden states in a row of 17 tokens" in chosen.line
    assert choose(model, 0, examples((20, 9, 13)), trainable(model)).sorted


def test_what_a_model_remembers_of_the_longest_row_is_as_before_a_trial() -> None:
    dynamic = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}
    model = model_of("Llama", rope_parameters=dynamic, max_position_embeddings=12)
    rotary = model.model.rotary_emb
    before, longest = rotary.inv_freq.clone(), rotary.max_seq_len_cached
    chosen = choose(model, 0, examples(), trainable(model))
    assert (chosen.packed, chosen.trained_only) == (True, True)
    assert torch.equal(rotary.inv_freq, before)
    assert rotary.max_seq_len_cached == longest
    model(input_ids=torch.tensor([examples()[0].tokens]))
    assert not torch.equal(rotary.inv_freq, before)  # longer rows count


class OwnLoss(transformers.LlamaForCausalLM):  # type: ignore[misc]  # transformers has no types here
    """A loss of another kind: see `own_loss`."""

    kind: str

    def forward(self, *args: Any, labels: Tensor | None = None, **rest: Any) -> Any:
        found = super().forward(*args, labels=labels, **rest)
        if labels is not None:
            following = labels[:, 1:]
            shape = following.shape
            each = cross_entropy(
                found.logits[:, :-1].flatten(0, 1), following.flatten(), reduction="none"
            ).view(shape)
            found.loss = self.own_loss(each, following, found.logits)
        return found

    def own_loss(self, each: Tensor, following: Tensor, logits: Tensor) -> Tensor:
        known = following.ne(-100)
        mean = each.sum() / known.sum()
        if self.kind == "mean of the rows' means":
            return (each.sum(1) / known.sum(1)).mean()
        if self.kind == "end tokens weigh more":
            return (each * torch.where(following == 2, 5.0, 1.0)).sum() / known.sum()
        return mean + 1e-3 * logits.logsumexp(-1).square().mean() * self.training


@pytest.mark.parametrize(
    "kind", ["mean of the rows' means", "end tokens weigh more", "more in training mode alone"]
)
def test_a_loss_of_the_models_own_is_computed_by_it_in_the_passes_asked_for(kind: str) -> None:
    model = model_of("Llama")
    model.__class__ = OwnLoss
    model.kind = kind
    rows = [replace(row, tokens=(*row.tokens, 2), labels=(*row.labels, 2)) for row in examples()]
    chosen = choose(model, 0, rows, trainable(model))
    assert (chosen.packed, chosen.sorted, chosen.trained_only) == (False, False, False)
    assert "the model's loss is not the mean cross entropy" in chosen.line


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_small_loss_of_routers_is_not_lost(dtype: torch.dtype) -> None:
    changes = {"num_local_experts": 4, "router_aux_loss_coef": 1e-4}
    model = model_of("Mixtral", output_router_logits=True, **changes).to(dtype)
    chosen = choose(model, 0, examples(), trainable(model))
    assert chosen.reasons[0].startswith("not packed: the model's loss")
    assert (chosen.packed, chosen.sorted, chosen.trained_only) == (False, False, False)


def test_a_trial_in_training_mode_leaves_running_means() -> None:
    model = model_of("Llama")
    norm = nn.BatchNorm1d(300)
    model.lm_head = nn.Sequential(model.lm_head, Across(norm))
    choose(model, 0, examples(), trainable(model))
    assert not norm.running_mean.any()
    assert not norm.num_batches_tracked


class Across(nn.Module):
    """A normalisation over all tokens of a batch."""

    def __init__(self, norm: nn.BatchNorm1d) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.flatten(0, 1)).view(x.shape)  # type: ignore[no-any-return]  # a tensor


def test_a_held_out_row_counts_among_the_longest() -> None:
    data = encoded()
    *train, held = sorted(data.examples, key=lambda row: len(row.tokens))
    data = replace(data, examples=tuple(train), held_out=(held,))
    longest = len(train[-1].tokens)
    model: Any = adapted()
    model.config.attention_chunk_size = longest
    summary = run("a", model, TOKENIZER, data, spec_of(steps=1))
    assert f"attention in chunks of {longest} tokens" in summary.step


@pytest.mark.parametrize(("name", "changes"), [("Cohere", {}), ("Granite", {"logits_scaling": 4})])
def test_scaled_logits_are_all_computed_by_the_model(name: str, changes: Any) -> None:
    model, rows = model_of(name, **changes), examples()
    chosen = choose(model, 0, rows, trainable(model))
    assert chosen.packed
    assert not chosen.trained_only
    assert "scaled or capped" in chosen.line
    loss, _ = found(chosen, rows)
    torch.testing.assert_close(loss, alone(model, rows)[0], rtol=1e-6, atol=0)


def test_a_hook_on_the_model_keeps_its_own_forward() -> None:
    model = model_of("Llama")
    model.register_forward_pre_hook(lambda *_: None)
    chosen = choose(model, 0, examples(), trainable(model))
    assert not chosen.packed
    assert not chosen.trained_only
    assert "another hook" in chosen.line


def test_a_hook_on_the_head_is_called_with_every_state() -> None:
    model, seen = model_of("Llama"), []
    model.lm_head.register_forward_hook(lambda _, args, out: seen.append(out.shape[1]))
    chosen = choose(model, 0, examples(), trainable(model))
    seen.clear()
    found(chosen, examples())
    assert chosen.packed
    assert not chosen.trained_only
    assert seen == [88]


def test_a_backward_hook_on_the_head_is_called() -> None:
    model = model_of("Llama")
    rows = examples()
    wanted = alone(model, rows)[1]
    model.lm_head.register_full_backward_hook(lambda _, ours, outer: (2 * ours[0],))
    chosen = choose(model, 0, rows, trainable(model))
    assert chosen.packed
    _, gradients = found(chosen, rows)
    assert (gradients - 2 * wanted).norm() <= 1e-5 * wanted.norm()


def test_a_trial_changes_nothing_of_the_model() -> None:
    model = model_of("Llama").train()
    before, state = weights(model), torch.get_rng_state()
    config = model.config.to_dict()
    layers = [dict(vars(module)) for module in model.modules()]
    choose(model, 0, examples(), trainable(model))
    assert all(
        torch.equal(a, b) for a, b in zip(weights(model).values(), before.values(), strict=True)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert model.config.to_dict() == config
    assert all(p.grad is None for p in model.parameters())
    assert model.training
    assert model.config._attn_implementation == "sdpa"
    assert [vars(module).keys() for module in model.modules()] == [one.keys() for one in layers]


def test_the_switch_of_attention_reaches_configs_within_configs_and_is_undone() -> None:
    class Outer(PreTrainedConfig):
        model_type = "outer"
        sub_configs: ClassVar = {"text_config": PreTrainedConfig}

    model = model_of("Llama")
    inner = PreTrainedConfig()
    inner._attn_implementation = "eager"
    model.config = Outer()
    model.config.text_config = inner
    model.config._attn_implementation_internal = "sdpa"
    with Documents(model).of([3]):
        assert inner._attn_implementation == model.config._attn_implementation != "eager"
    assert (model.config._attn_implementation, inner._attn_implementation) == ("sdpa", "eager")


@pytest.mark.parametrize("bias", [False, True])
def test_the_chunked_loss_is_the_cross_entropy_of_the_trained_tokens(
    bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_magic.training.trained_loss._CHUNK", 3 * 50)
    torch.manual_seed(0)
    head = nn.Linear(8, 50, bias=bias, dtype=torch.float64).requires_grad_(False)
    hidden = torch.randn(2, 11, 8, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 50, (2, 11))
    labels[0, :6] = -100
    assert chunked(head)

    def wanted(states: Tensor) -> Tensor:
        logits = head(states)[:, :-1].reshape(-1, 50)
        return cross_entropy(logits, labels[:, 1:].reshape(-1), reduction="sum")

    torch.testing.assert_close(trained_loss(hidden, labels, head), wanted(hidden))
    assert torch.autograd.gradcheck(lambda x: trained_loss(x, labels, head), hidden)
    (ours,) = torch.autograd.grad(3 * trained_loss(hidden, labels, head), hidden)
    (theirs,) = torch.autograd.grad(3 * wanted(hidden), hidden)
    torch.testing.assert_close(ours, theirs)


def test_a_head_that_is_trained_or_adapted_is_called_itself() -> None:
    head = nn.Linear(4, 9)
    assert not chunked(head)
    head.requires_grad_(False)
    assert chunked(head)
    head.forward = lambda x: x  # type: ignore[method-assign]  # as a library patches it
    assert not chunked(head)
    assert not chunked(nn.Sequential(nn.Linear(4, 9)).requires_grad_(False))


@pytest.mark.parametrize("name", ["Llama", "Cohere"])
def test_a_pass_without_a_trained_token_has_loss_and_gradients_of_zero(name: str) -> None:
    model, rows = model_of(name), examples(prompt=5)
    masked = [replace(row, labels=(-100,) * len(row.tokens)) for row in rows]
    chosen = choose(model, 0, rows, trainable(model))
    loss, gradients = found(chosen, masked)
    assert loss == 0
    assert not gradients.any()


def test_rows_of_about_equal_length_go_together_with_the_least_work() -> None:
    chosen = Way(model_of("Llama"), 0, sorted=True)
    rows = examples((60, 6, 62, 7, 8, 61))
    passes = chosen.passes([rows])
    assert [[len(e.tokens) for e in part] for part in passes] == [[6, 7, 8], [60, 61, 62]]
    # A pass costs more than to pad short rows of similar length.
    near = chosen.passes([examples((6, 9, 12))])
    assert [[len(e.tokens) for e in part] for part in near] == [[6, 9, 12]]
    # None is larger than those that were asked for.
    halves = chosen.passes([rows[:2], rows[2:4]])
    assert max(map(len, halves)) <= 2
    assert sum(map(len, halves)) == 4


def run_of(architecture: str, *, plain: bool, reverse: bool = False) -> tuple[Any, Any]:
    """A run of packed steps or plain ones; or one with the rows of each batch reversed."""
    model, data = adapted(architecture), encoded()
    spec = replace(spec_of(steps=12, batch=4, eval=2), plain_step=plain)
    if not reverse:
        return run("a", model, TOKENIZER, data, spec), weights(model)
    with pytest.MonkeyPatch.context() as patch:
        batch = Way.batch
        patch.setattr(Way, "batch", lambda self, some: batch(self, list(some)[::-1]))
        return run("a", model, TOKENIZER, data, spec), weights(model)


def change(after: dict[str, Tensor], start: dict[str, Tensor]) -> Tensor:
    return torch.cat([(after[k] - start[k]).flatten() for k in start if "lora_" in k])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_fast_run_ends_at_a_plain_runs_weights_but_for_rounding(architecture: str) -> None:
    start = weights(adapted(architecture))
    (fast, ours), (plain, theirs) = (run_of(architecture, plain=p) for p in (False, True))
    _, control = run_of(architecture, plain=True, reverse=True)
    assert fast.step.startswith("rows packed; loss of the trained tokens")
    assert not fast.notes
    assert plain.step == "rows padded"
    wanted = change(theirs, start)
    floor = float((change(control, start) - wanted).norm() / wanted.norm())
    assert float((change(ours, start) - wanted).norm() / wanted.norm()) < max(1e-3, 10 * floor)
    torch.testing.assert_close(torch.tensor(fast.losses), torch.tensor(plain.losses))
    torch.testing.assert_close(fast.held_out_after, plain.held_out_after, rtol=1e-4, atol=0)


def test_measuring_in_any_way_gives_the_mean_over_all_tokens() -> None:
    model, rows = model_of("Llama"), examples((40, 17, 31, 9, 25))
    chosen = choose(model, 0, rows, trainable(model))
    tokens = sum(row.trained for row in rows)
    wanted = float(alone(model, rows)[0]) / tokens
    for one in (chosen, Way(model, 0), Way(model, 0, sorted=True, trained_only=True)):
        found = held_out.measure(one, rows, 2)
        assert found is not None
        assert found.loss == pytest.approx(wanted, rel=1e-5)


def test_packed_passes_are_right_when_activations_are_recomputed() -> None:
    results = []
    for checkpointing in (False, True):
        model = adapted()
        spec = replace(spec_of(steps=4), checkpointing=checkpointing)
        summary = run("a", model, TOKENIZER, encoded(), spec)
        assert summary.step.startswith("rows packed")
        results.append(weights(model))
    for name, tensor in results[0].items():
        torch.testing.assert_close(results[1][name], tensor)


def test_without_memory_for_the_trial_the_run_takes_the_plain_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(*_: Any) -> str:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(way, "_apart", none_left)
    model = model_of("Llama")
    chosen = choose(model, 0, examples(), trainable(model))
    assert chosen.line == "rows padded; not packed: no memory to try it"
