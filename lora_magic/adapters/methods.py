"""The table of methods: what each adapter method is, its flags, and what can be done with it.

Every verb, `--help` and the README read this table. Knows names and numbers only: no torch, no
PEFT, no session.
"""

from __future__ import annotations

from typing import NamedTuple

from lora_magic.errors import AdapterError, listed, near

#: The fields that every method reads.
_COMMON = frozenset({"seed"})
_LOW_RANK = frozenset({"rank", "alpha", "dropout", "targets", "bias", "norms"})

CACHE = (
    "its vectors precede the prompt in every layer's cache and act through the attention, so there "
    "is no weight to add them to"
)
NONLINEAR = (
    "its layers have a nonlinearity between them, so they are not a matrix that can be added"
)


class Method(NamedTuple):
    """One row of the table.

    `takes` are the fields of a spec that the method reads. `not_merged`, `no_spectrum` and
    `not_quantised` are the reasons why something is impossible, empty if it is possible. `batched`
    is whether it can share one pass with other adapters in a comparison. `latency` is its cost at
    each token, `context` how much of the context is left, `storage` the parameters of one adapter.
    `rate` is its default learning rate as a multiple of LoRA's, measured
    (tests/benchmarks/rates.py).
    """

    name: str
    title: str
    source: str
    takes: frozenset[str]
    storage: str
    not_merged: str = ""
    no_spectrum: str = ""
    not_quantised: str = ""
    batched: bool = False
    latency: str = "none once merged"
    context: str = "whole"
    peft: bool = True
    rate: float = 1.0

    @property
    def abilities(self) -> dict[str, str]:
        """What can be done with it, by column of the table that people see."""
        return {
            "stored per task": self.storage,
            "merge": "no" if self.not_merged else "yes",
            "swap": "yes",
            "weighted with others": "no" if self.context != "whole" else "yes",
            "one pass with others": "yes" if self.batched else "no",
            "spectrum": "no" if self.no_spectrum else "yes",
            "on 4 or 8 bits": "no" if self.not_quantised else "yes",
            "extra latency": self.latency,
            "context": self.context,
        }

    def reads(self, field: str) -> bool:
        """Does it read this field of a spec?"""
        return field in self.takes or field in _COMMON


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "lora",
            "LoRA",
            "Hu et al. 2021, arXiv 2106.09685",
            _LOW_RANK | {"rslora", "dora", "init", "rank_pattern", "alpha_pattern"},
            "r·(d + k) per matrix",
            batched=True,
        ),
        Method(
            "adalora",
            "AdaLoRA",
            "Zhang et al. 2023, arXiv 2303.10512",
            _LOW_RANK - {"bias", "norms"},
            "r·(d + k + 1) per matrix, r by importance",
            batched=True,
            rate=8.0,
        ),
        Method(
            "ia3",
            "(IA)³",
            "Liu et al. 2022, arXiv 2205.05638",
            frozenset({"targets"}),
            "d or k per matrix",
            rate=16.0,
        ),
        Method(
            "prefix",
            "prefix tuning",
            "Li and Liang 2021, arXiv 2101.00190",
            frozenset({"virtual_tokens"}),
            "n·2·L·width",
            not_merged=CACHE,
            no_spectrum="it changes no weight, so there is no ΔW",
            latency="attention over n more positions",
            context="minus n tokens",
            rate=16.0,
        ),
        Method(
            "prompt",
            "prompt tuning",
            "Lester et al. 2021, arXiv 2104.08691",
            frozenset({"virtual_tokens"}),
            "n·width",
            not_merged=CACHE,
            no_spectrum="it changes no weight, so there is no ΔW",
            latency="n more tokens to read",
            context="minus n tokens",
            rate=4.0,
        ),
        Method(
            "houlsby",
            "bottleneck adapters (Houlsby)",
            "Houlsby et al. 2019, arXiv 1902.00751",
            frozenset({"rank", "targets"}),
            "2·d·r + r + d, twice per block",
            not_merged=NONLINEAR,
            no_spectrum="its change depends on the input, so there is no ΔW",
            latency="two small layers, twice per block",
            peft=False,
            rate=4.0,
        ),
        Method(
            "adapter-l",
            "bottleneck adapters (Lin)",
            "Lin et al. 2020, arXiv 2004.03829",
            frozenset({"rank", "targets"}),
            "2·d·r + r + 3·d per block",
            not_merged=NONLINEAR,
            no_spectrum="its change depends on the input, so there is no ΔW",
            latency="a norm and two small layers per block",
            peft=False,
            rate=4.0,
        ),
        Method(
            "bitfit",
            "BitFit",
            "Ben Zaken et al. 2021, arXiv 2106.10199",
            frozenset(),
            "every bias",
            no_spectrum="it changes biases, which are vectors",
            peft=False,
            rate=8.0,
        ),
        Method(
            "full",
            "full fine-tuning",
            "the baseline of Hu et al. 2021, table 2",
            frozenset(),
            "every parameter",
            not_quantised="4-bit and 8-bit weights have no gradient",
            peft=False,
            rate=1 / 16,
        ),
    )
}

#: Other names of methods, and the flags that each one means.
ALIASES: dict[str, dict[str, object]] = {
    "dora": {"method": "lora", "dora": True},
    "rslora": {"method": "lora", "rslora": True},
    "pissa": {"method": "lora", "init": "pissa"},
    "olora": {"method": "lora", "init": "olora"},
    "eva": {"method": "lora", "init": "eva"},
    "loftq": {"method": "lora", "init": "loftq"},
    "prefix-tuning": {"method": "prefix"},
    "prompt-tuning": {"method": "prompt"},
    "bottleneck": {"method": "houlsby"},
    "adapter-h": {"method": "houlsby"},
    "full-fine-tuning": {"method": "full"},
    "fine-tuning": {"method": "full"},
}


#: How a blend combines the ΔW of several adapters.
BLENDS = ("sum", "ties", "dare", "magnitude")


def method_of(name: str) -> Method:
    """The method of that name; raises `AdapterError` that suggests the nearest name."""
    if name in METHODS:
        return METHODS[name]
    if isinstance(name, str) and name.lower() in ("qlora", "lora+", "lora-plus"):
        four_bits = name.lower() == "qlora"
        way = "%lora load MODEL --bits 4" if four_bits else "%%lora_train NAME --lora-plus 16"
        raise AdapterError(f"--method {name} is LoRA; type: {way}")
    raise AdapterError(
        f"--method {name}: expected one of {listed([*METHODS, *ALIASES], 30)}."
        f"{near(str(name), [*METHODS, *ALIASES])} For a description of each: %lora attach --help"
    )
