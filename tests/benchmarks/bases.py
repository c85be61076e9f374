"""The bases and rows that the benchmarks of methods share. Not collected by pytest."""

from __future__ import annotations

import copy

import torch
from transformers import LlamaForCausalLM

from lora_magic import demo
from lora_magic.base.recipe import Recipe
from lora_magic.state.session import Session


def rows(seed: int, count: int = 200) -> list[tuple[str, str]]:
    """Facts in a pirate's voice; none is a held-out prompt of the embedded model."""
    return list(demo.rows("pirate", count, seed=seed))


def plain() -> Session:
    """The embedded model."""
    session = Session()
    session.load("demo")
    return session


def quantised() -> Session:
    """The embedded model in NF4."""
    session = Session()
    session.load("demo", bits=4)
    return session


def biased() -> Session:
    """The embedded model with biases of 0 in every linear layer; its answers stay the same.

    BitFit needs biases, and Llama has none.
    """
    loaded = plain()
    config = copy.deepcopy(loaded.model.config)
    config.attention_bias = config.mlp_bias = True
    model = LlamaForCausalLM(config)
    model.load_state_dict(loaded.model.state_dict(), strict=False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".bias"):
                parameter.zero_()
    model.tie_weights()
    session = Session()
    session.use(model.eval().to(loaded.model.device), loaded.tokenizer)
    recipe: Recipe = loaded._state.base.recipe
    session._state.base.recipe = recipe
    loaded.reset()
    return session
