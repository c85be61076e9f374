"""Prefix and prompt tuning: trained vectors before the prompt, on an untouched model.

Both fill the cache of keys and values before the model reads its first token; the mask and the
positions are shifted to match. Inputs, labels and logits keep their length.

Knows a decoder's cache; knows no PEFT, no adapter and no session.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.base.device import out_of_memory
from lora_magic.base.restore import evaluating
from lora_magic.errors import AdapterError, listed, sentence
from lora_magic.versions import untested

from .trial import one_token

#: Marks a cache for a single pass. Some models return the cache they were given even with
#: use_cache=False, and `generate` then passes it to the next pass together with the full text.
_ONCE = "_lora_magic_once"


class VirtualTokens(nn.Module):
    """The replacement at the root while n virtual tokens are active.

    Subclasses fill the cache. `embedding` [n, width] is float32; `cache_name` is the argument of
    the model's forward that takes the cache.
    """

    def __init__(self, embedding: nn.Parameter, cache_name: str) -> None:
        super().__init__()
        self.embedding, self.cache_name = embedding, cache_name

    @property
    def count(self) -> int:
        """n, the positions of the context that they use."""
        return int(self.embedding.shape[0])

    def fill(self, model: Any, cache: Any, rows: int) -> None:
        """Write the virtual tokens' keys and values into an empty cache, for this many rows."""
        raise NotImplementedError

    def before(
        self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the model's forward, with the virtual tokens in its cache."""
        named = _by_name(model, args, kwargs)
        tokens = named.get("input_ids")
        tokens = named["inputs_embeds"] if tokens is None else tokens
        rows, length = tokens.shape[:2]
        given = _cache_in(named)
        cache = None if given is None else named[given]
        if cache is None or getattr(cache, _ONCE, False):
            cache = named[given or self.cache_name] = empty_cache(model)
            setattr(cache, _ONCE, not _keeps_cache(model, named))
        if cache.get_seq_length() == 0:
            self.fill(model, cache, rows)
        whole = cache.get_seq_length() + length
        mask = named.get("attention_mask")
        if mask is not None and mask.dim() == 2 and mask.shape[1] < whole:
            named["attention_mask"] = torch.cat([mask.new_ones(rows, self.count), mask], dim=1)
        if named.get("position_ids") is not None:
            named["position_ids"] = named["position_ids"] + self.count
        return (), named


class Prefix(VirtualTokens):
    """Prefix tuning (Li and Liang 2021): the keys and values themselves are trained.

    `embedding` is [n, L·2·heads·size] in PEFT's order: layer by layer keys, then values.
    """

    def __init__(self, embedding: nn.Parameter, cache_name: str, layers: int, heads: int) -> None:
        super().__init__(embedding, cache_name)
        self.layers, self.heads = layers, heads

    def fill(self, model: Any, cache: Any, rows: int) -> None:
        """Keys and values of every layer, cast to the model's number format."""
        parts = self.embedding.to(model.dtype).view(self.count, 2 * self.layers, self.heads, -1)
        parts = parts.permute(1, 2, 0, 3)
        for layer in range(self.layers):
            keys, values = parts[2 * layer], parts[2 * layer + 1]
            cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), layer)


class Prompt(VirtualTokens):
    """Prompt tuning (Lester et al. 2021): n trained input embeddings [n, width], read first.

    In a decoder the first tokens attend to nothing after them, so their keys and values are
    computed once and shared by all rows.
    """

    def fill(self, model: Any, cache: Any, rows: int) -> None:
        """The keys and values that the model's own layers compute from the embeddings."""
        embeds = self.embedding.to(model.dtype)[None]
        model.base_model(inputs_embeds=embeds, **{self.cache_name: cache}, use_cache=True)
        cache.batch_repeat_interleave(rows)


def _by_name(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, without those that are None, a forward's defaults."""
    # Keyword arguments keep their names, even those that are not in the signature.
    placed = inspect.signature(model.forward).bind_partial(*args).arguments
    return {name: value for name, value in {**placed, **kwargs}.items() if value is not None}


def _cache_in(named: Mapping[str, Any]) -> str | None:
    """The name of transformers' cache among arguments or outputs.

    Found by its type: the name has changed before (`past_key_values` is `cache` from 5.24 on).
    """
    from transformers import Cache

    return next((name for name, value in named.items() if isinstance(value, Cache)), None)


def _keeps_cache(model: Any, named: dict[str, Any]) -> bool:
    """Does this call return a cache?"""
    requested = named.get("use_cache")
    return bool(getattr(model.config, "use_cache", True) if requested is None else requested)


def empty_cache(model: nn.Module) -> Any:
    """transformers' own cache for this model."""
    from transformers import DynamicCache

    return DynamicCache(config=model.config)


@torch.no_grad()
def cache_name(model: Any, title: str) -> str:
    """The argument of the model's forward that takes the cache, found by running one token.

    The model returns its cache under that name; an empty one passed in under it must then hold one
    position. Signatures and configs are not used: they are not always right. Raises `AdapterError`
    for a model without a cache of keys and values.
    """
    named = {**one_token(model), "use_cache": True, "return_dict": True}
    name, error = None, None
    try:
        with evaluating(model):
            name = _cache_in(model(**named))
            if name is not None:
                cache = empty_cache(model)
                model(**named, **{name: cache})
                # Raises ValueError for a cache of recurrent states only.
                name = name if cache.get_seq_length() else None
    except Exception as raised:
        if out_of_memory(raised):
            raise
        name, error = None, raised
    if name is None:
        why = f" ({sentence(error)})" if error else ""
        raise AdapterError(
            f"{title} needs a decoder's cache of keys and values, and {type(model).__name__} "
            f"has none{why}{untested('transformers')}; use another method: "
            "%lora attach NAME --method lora"
        ) from error
    return name


def embedding(tensor: Tensor) -> nn.Parameter:
    """A frozen float32 copy of a tensor, to be trained later."""
    return nn.Parameter(tensor.detach().float().clone(), requires_grad=False)


def drawn_words(model: Any, count: int) -> Tensor:
    """The embeddings [count, width] of tokens drawn from torch's generator.

    Words of the vocabulary are a better initialisation (Lester et al. 2021, figure 3).
    """
    table = model.get_input_embeddings().weight.detach()
    rows: Tensor = table[torch.randperm(table.shape[0])[:count].to(table.device)]
    return rows if len(rows) == count else rows.repeat(-(-count // len(rows)), 1)[:count]


@torch.no_grad()
def drawn_cache(model: Any, name: str, count: int) -> tuple[Tensor, int, int]:
    """Keys and values [count, L·2·heads·size] that the model computes from drawn words; L; heads.

    `name` is its forward's argument for the cache. Training a prefix from noise is unstable;
    activations of real words are a better initialisation (Li and Liang 2021, section 7.4).
    Raises `AdapterError` if the layers differ in size.
    """
    cache = empty_cache(model)
    words = drawn_words(model, count).to(model.dtype)[None]
    model.base_model(inputs_embeds=words, **{name: cache}, use_cache=True)
    found = [getattr(layer, kind, None) for layer in cache.layers for kind in ("keys", "values")]
    parts = [part[0] for part in found if part is not None]
    if len(parts) < len(found):
        raise AdapterError(
            f"some layers of {type(model).__name__} have no keys and values for a prefix; use "
            "--method prompt."
        )
    shapes = {tuple(part.shape) for part in parts}
    if len(shapes) != 1:
        raise AdapterError(
            f"the layers of {type(model).__name__} have keys and values of different sizes "
            f"({listed(map(str, sorted(shapes)))}), which one prefix cannot fill; use --method "
            "prompt."
        )
    heads = parts[0].shape[0]
    stacked = torch.stack(parts).permute(2, 0, 1, 3)
    return stacked.reshape(count, -1), len(cache.layers), heads
