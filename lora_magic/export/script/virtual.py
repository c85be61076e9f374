"""The lines of a script that train virtual tokens: prefix tuning and prompt tuning.

PEFT has both. It repeats a prompt's embeddings in every row, and casts a prefix after it has summed
over the rows: where that rounds otherwise than the run did, the lines fill the cache themselves,
and PEFT only saves. Knows planned runs; knows no row and no step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lora_magic.adapters.methods import METHODS
from lora_magic.adapters.prefix import cache_name

from .planned import Planned
from .source import Part

_CONFIGS = {"prefix": "PrefixTuningConfig", "prompt": "PromptTuningConfig"}

#: Virtual tokens start as words of the vocabulary.
_WORDS = """
table = base.get_input_embeddings().weight.detach()
first = table[torch.randperm(len(table))[:{count}]]
"""

#: A prefix starts as the keys and values that the base computes of them.
_KEYS = """
cache = DynamicCache(config=base.config)
with torch.no_grad():
    base.eval().base_model(inputs_embeds=first[None], {cache}=cache, use_cache=True)
keys_and_values = [part[0] for layer in cache.layers for part in (layer.keys, layer.values)]
first = torch.stack(keys_and_values).permute(2, 0, 1, 3).reshape({count}, -1)
"""

_HOOK = '''
def with_virtual_tokens(model, args, inputs):
    """What the model reads, with the virtual tokens in its cache."""
    mask = inputs["attention_mask"]
    cache = DynamicCache(config=model.config)
    {fill}
    mask = torch.cat([mask.new_ones(len(mask), {count}), mask], dim=1)
    return args, {**inputs, "attention_mask": mask, "{cache}": cache}
'''

_PROMPT = """
    embeds = model.virtual_tokens.to(torch.{dtype})[None]
    model.base_model(inputs_embeds=embeds, {cache}=cache, use_cache=True)
    cache.batch_repeat_interleave(len(mask))
"""

_PREFIX = """
    parts = model.virtual_tokens.to(torch.{dtype}).view({count}, {shape}, -1).permute(1, 2, 0, 3)
    for layer in range(len(parts) // 2):
        keys, values = (part.expand(len(mask), -1, -1, -1) for part in parts[2 * layer :][:2])
        cache.update(keys, values, layer)
"""


def by_peft(run: Planned) -> bool:
    """Does PEFT's own forward give the run's bits?"""
    return run.spec.method == "prefix" and run.about.dtype == "float32"


def part(run: Planned) -> Part:
    """The function that puts the virtual tokens into the cache."""
    fill = _PROMPT if run.spec.method == "prompt" else _PREFIX
    return Part("Virtual tokens", _filled(_HOOK.replace("{fill}", fill.strip()), run))


def lines(run: Planned, start: str | None) -> Iterator[str]:
    """A base with virtual tokens: words of its vocabulary, or those of the folder `start`."""
    peft = by_peft(run)
    if start is not None and peft:
        yield f"model = PeftModel.from_pretrained(load_base(), {start}, is_trainable=True)"
        return
    if start is not None:
        yield f'first = load_file({start} / "adapter_model.safetensors")["prompt_embeddings"]'
        yield "base = load_base()"
    else:
        yield "base = load_base()"
        yield f"torch.manual_seed({run.spec.seed})  # the words are drawn from here"
        yield _filled(_WORDS, run)
        if run.spec.method == "prefix":
            yield _filled(_KEYS, run)
    yield _config(run)
    if peft:
        yield "model = get_peft_model(base, config)"
        yield 'model.prompt_encoder["default"].embedding.weight.data.copy_(first)'
    else:
        yield "model = base"
        yield "model.virtual_tokens = nn.Parameter(first.float().clone())"
        yield "model.register_forward_pre_hook(with_virtual_tokens, with_kwargs=True)"


def saved(run: Planned) -> Iterator[str]:
    """The lines that save what `part` trained, as PEFT does."""
    yield "get_peft_model(load_base(), config)  # completes the config"
    yield "config.inference_mode = True"
    yield f'config.save_pretrained(HERE / "{run.name}")'
    yield 'tensors = {"prompt_embeddings": model.virtual_tokens.detach()}'
    yield f'save_file(tensors, HERE / "{run.name}" / "adapter_model.safetensors")'


def _config(run: Planned) -> str:
    name, count = _CONFIGS[run.spec.method], run.spec.virtual_tokens
    return f'config = {name}(task_type="CAUSAL_LM", num_virtual_tokens={count})'


def _filled(code: str, run: Planned) -> str:
    model = run.about.base.model
    given = {
        "{count}": str(run.spec.virtual_tokens),
        "{cache}": cache_name(model, METHODS[run.spec.method].title),
        "{shape}": _shape(model),
        "{dtype}": run.about.dtype,
    }
    code = code.strip()
    for name, value in given.items():
        code = code.replace(name, value)
    return code


def _shape(model: Any) -> str:
    """Twice the layers, and the heads that have keys of their own: `8, 2`."""
    sizes = model.config.get_text_config()
    heads = getattr(sizes, "num_key_value_heads", None) or sizes.num_attention_heads
    return f"{2 * sizes.num_hidden_layers}, {heads}"
