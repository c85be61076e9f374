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

from lora_magic.base.modes import evaluating
from lora_magic.errors import AdapterError, listed
from lora_magic.versions import untested

from .trial import one_token

#: Marks a cache that serves one pass. Some models hand back what they were given also where they
#: were told to keep none, and `generate` then gives it to the next pass beside the whole text.
_ONCE = "_lora_magic_once"


class VirtualTokens(nn.Module):
    """What stands at the root while n virtual tokens are in force.

    Subclasses say what the cache holds for them. `embedding` [n, width] is float32; `cache_name`
    is what the model's forward calls its cache.
    """

    def __init__(self, embedding: nn.Parameter, cache_name: str) -> None:
        super().__init__()
        self.embedding, self.cache_name = embedding, cache_name

    @property
    def count(self) -> int:
        """n, the positions that are taken of the context."""
        return int(self.embedding.shape[0])

    def fill(self, model: Any, cache: Any, rows: int) -> None:
        """Put the virtual tokens' keys and values into an empty cache, for so many rows."""
        raise NotImplementedError

    def before(
        self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the model's forward, with the virtual tokens in its cache."""
        told = _by_name(model, args, kwargs)
        tokens = told.get("input_ids")
        tokens = told["inputs_embeds"] if tokens is None else tokens
        rows, length = tokens.shape[:2]
        given = _cache_in(told)
        cache = None if given is None else told[given]
        if cache is None or getattr(cache, _ONCE, False):
            cache = told[given or self.cache_name] = empty_cache(model)
            setattr(cache, _ONCE, not _keeps_cache(model, told))
        if cache.get_seq_length() == 0:
            self.fill(model, cache, rows)
        whole = cache.get_seq_length() + length
        mask = told.get("attention_mask")
        if mask is not None and mask.dim() == 2 and mask.shape[1] < whole:
            told["attention_mask"] = torch.cat([mask.new_ones(rows, self.count), mask], dim=1)
        if told.get("position_ids") is not None:
            told["position_ids"] = told["position_ids"] + self.count
        return (), told


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

    In a decoder what stands first sees nothing after it, so that its keys and values can be
    computed once and shared by all rows.
    """

    def fill(self, model: Any, cache: Any, rows: int) -> None:
        """The keys and values that the model's own layers make of the embeddings."""
        embeds = self.embedding.to(model.dtype)[None]
        model.base_model(inputs_embeds=embeds, **{self.cache_name: cache}, use_cache=True)
        cache.batch_repeat_interleave(rows)


def _by_name(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, without those that are None: a forward's own defaults."""
    # What came by position gets its name; what has one keeps it, in the signature or not.
    placed = inspect.signature(model.forward).bind_partial(*args).arguments
    return {name: value for name, value in {**placed, **kwargs}.items() if value is not None}


def _cache_in(named: Mapping[str, Any]) -> str | None:
    """The name of transformers' cache among arguments or outputs.

    Found by its type: the name has changed before (`past_key_values` is `cache` from 5.24 on).
    """
    from transformers import Cache

    return next((name for name, value in named.items() if isinstance(value, Cache)), None)


def _keeps_cache(model: Any, told: dict[str, Any]) -> bool:
    """Does this pass, as it was called, hand on a cache?"""
    wanted = told.get("use_cache")
    return bool(getattr(model.config, "use_cache", True) if wanted is None else wanted)


def empty_cache(model: nn.Module) -> Any:
    """transformers' own cache for this model."""
    from transformers import DynamicCache

    return DynamicCache(config=model.config)


@torch.no_grad()
def cache_name(model: Any, title: str) -> str:
    """What the model's forward calls its cache of keys and values, found by running one token.

    The model's own answer holds the cache under that name; handed in under it, an empty one must
    come back with one position. Neither a signature nor a config is asked: what they promise is
    not always kept. Raises `AdapterError` for a model that keeps no keys and values.
    """
    told = {**one_token(model), "use_cache": True, "return_dict": True}
    cache = empty_cache(model)
    with evaluating(model):
        name = _cache_in(model(**told))
        if name is not None:
            model(**told, **{name: cache})
    if name is None or not _positions(cache):
        raise AdapterError(
            f"{title} needs a decoder's cache of keys and values, and {type(model).__name__} "
            f"keeps none{untested('transformers')}; use another method: "
            "%lora attach NAME --method lora"
        )
    return name


def _positions(cache: Any) -> int:
    """How many positions a cache holds; 0 for one that holds no keys and values at all."""
    try:
        return int(cache.get_seq_length())
    except ValueError:  # transformers' answer for a cache of recurrent states alone
        return 0


def embedding(tensor: Tensor) -> nn.Parameter:
    """A frozen float32 copy of a tensor, to be trained later."""
    return nn.Parameter(tensor.detach().float().clone(), requires_grad=False)


def drawn_words(model: Any, count: int) -> Tensor:
    """The embeddings [count, width] of tokens drawn from torch's generator.

    Words of the vocabulary are the better start (Lester et al. 2021, figure 3).
    """
    table = model.get_input_embeddings().weight.detach()
    rows: Tensor = table[torch.randperm(table.shape[0])[:count].to(table.device)]
    return rows if len(rows) == count else rows.repeat(-(-count // len(rows)), 1)[:count]


@torch.no_grad()
def drawn_cache(model: Any, name: str, count: int) -> tuple[Tensor, int, int]:
    """Keys and values [count, L·2·heads·size] that the model makes of drawn words, L, and heads.

    `name` is what its forward calls its cache.

    Trained at once from noise a prefix is unstable; activations of real words are the better start
    (Li and Liang 2021, section 7.4). Raises `AdapterError` where the layers differ in their sizes.
    """
    cache = empty_cache(model)
    words = drawn_words(model, count).to(model.dtype)[None]
    model.base_model(inputs_embeds=words, **{name: cache}, use_cache=True)
    found = [getattr(layer, kind, None) for layer in cache.layers for kind in ("keys", "values")]
    parts = [part[0] for part in found if part is not None]
    if len(parts) < len(found):
        raise AdapterError(
            f"some layers of {type(model).__name__} keep no keys and values, so a prefix has no "
            "place in them; use --method prompt."
        )
    shapes = {tuple(part.shape) for part in parts}
    if len(shapes) != 1:
        raise AdapterError(
            f"the layers of {type(model).__name__} keep keys and values of different sizes "
            f"({listed(map(str, sorted(shapes)))}), which one prefix cannot fill; use --method "
            "prompt."
        )
    heads = parts[0].shape[0]
    stacked = torch.stack(parts).permute(2, 0, 1, 3)
    return stacked.reshape(count, -1), len(cache.layers), heads


def formula(model: Any, method: str, count: int) -> int:
    """n·width for a prompt; n·2·L·(heads of keys)·(size of a head) for a prefix."""
    config = model.config.get_text_config()
    if method == "prompt":
        return count * int(config.hidden_size)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return count * 2 * int(config.num_hidden_layers) * int(heads) * int(size)
