"""The specification of an adapter: its method, rank, alpha, targets, initialisation and seed.

Knows numbers and names only. `methods` knows which fields a method reads, `targets` whether the
targets exist.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from lora_magic.checks import is_number, is_whole
from lora_magic.errors import AdapterError, near

from .methods import Method, method_of

#: Values by module name, sorted: hashable, unlike a dict.
Pattern = tuple[tuple[str, float], ...]

#: The method's default targets for the architecture.
USUAL = "usual"

#: Targets by keyword, and the prefix of a pattern.
ALL_LINEAR = "all-linear"
ATTENTION = "attention"
PATTERN = "re:"

INITS = ("default", "gaussian", "pissa", "olora", "eva", "loftq")
BIASES = ("none", "all", "lora_only")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
BASE_NAME = "base"
_LARGEST_ALPHA = 1e6  # Above it α/r leaves the range of half precision.
_FROM_ONE, _POSITIVE = "a whole number from 1", "a positive number"


@dataclass(frozen=True)
class AdapterSpec:
    """One adapter: its method and the values that the method reads.

    For `lora`, W = W0 + s·B·A with W0 frozen (Hu et al. 2021, section 4.1): for a target of d
    outputs and k inputs A is r×k and B is d×r; s = α/r, or α/√r with `rslora`. `init` is how A and
    B are initialised: `default` (A Kaiming-uniform, B zero), `gaussian` (A normal with std 1/r, B
    zero), `pissa` and `olora` (W0's SVD and QR, subtracted from W0's output, so that the initial
    output is the base's), `eva` (A from the inputs' directions on the training rows, B zero),
    `loftq` (the error of rounding W0 to 4 bits). `dora` trains each output's magnitude separately.
    `bias` (none, all, lora_only) and `norms` also train those parameters; `rank_pattern` and
    `alpha_pattern` are pairs (module name, value). `rank` is also r of the bottleneck methods, and
    AdaLoRA's final average rank. `virtual_tokens` belongs to prefix and prompt. `dropout` is the
    share of A's inputs dropped in training, `seed` that of the initialisation.

    A field that the method does not read is 0 or empty. Raises one
    `AdapterError` with every value out of range and every field that the method does not read.
    """

    rank: int = 0
    alpha: float = 0.0
    dropout: float = 0.0
    targets: str = ""
    seed: int = 0
    method: str = "lora"
    rslora: bool = False
    dora: bool = False
    init: str = "default"
    bias: str = "none"
    norms: bool = False
    rank_pattern: Pattern = ()
    alpha_pattern: Pattern = ()
    virtual_tokens: int = 0

    def __post_init__(self) -> None:
        method = method_of(self.method)
        faults = [*self._unread(method), *self._out_of_range(method), *self._conflicts()]
        if faults:
            raise AdapterError("; ".join(faults) + ".")
        # One type for each field, so that equal specs are equal: 16 and 16.0 are the same alpha.
        for name in ("rank", "seed", "virtual_tokens"):
            object.__setattr__(self, name, int(getattr(self, name)))
        for name in ("alpha", "dropout"):
            object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "rank_pattern", tuple(sorted(self.rank_pattern)))
        object.__setattr__(self, "alpha_pattern", tuple(sorted(self.alpha_pattern)))

    def _unread(self, method: Method) -> list[str]:
        given = [
            f"--{flag_of(field.name)}"
            for field in fields(self)
            if field.name != "method"
            and getattr(self, field.name) != field.default
            and not method.reads(field.name)
        ]
        used = [f"--{flag_of(f.name)}" for f in fields(self) if f.name in method.takes]
        hint = f"it uses {', '.join(used)}" if used else "omit it"
        return [f"{method.title} does not use {', '.join(given)} ({hint})"] if given else []

    def _out_of_range(self, method: Method) -> list[str]:
        checks = {
            "rank": _from_one(self.rank) or f"{_FROM_ONE}, for example --rank 8",
            "alpha": _is_alpha(self.alpha) or f"{_POSITIVE}, for example --alpha 16",
            "dropout": (is_number(self.dropout) and 0 <= self.dropout < 1)
            or "0 ≤ dropout < 1, for example --dropout 0.05",
            "virtual_tokens": _from_one(self.virtual_tokens)
            or f"{_FROM_ONE}, for example --virtual-tokens 10",
            "init": self.init in INITS or one_of(INITS, self.init),
            "bias": self.bias in BIASES or one_of(BIASES, self.bias),
            "seed": (is_whole(self.seed) and 0 <= self.seed < 2**63) or "a whole number from 0",
        }
        faults = [
            f"{flag_of(name).replace('-', ' ')} {getattr(self, name)!r}: expected {expected}"
            for name, expected in checks.items()
            if method.reads(name) and isinstance(expected, str)
        ]
        for name, rank in self.rank_pattern:
            if not _from_one(rank):
                faults.append(f"rank pattern {name}={rank!r}: expected {_FROM_ONE}")
        for name, alpha in self.alpha_pattern:
            if not _is_alpha(alpha):
                faults.append(f"alpha pattern {name}={alpha!r}: expected {_POSITIVE}")
        return faults

    def _conflicts(self) -> list[str]:
        """Flags that exclude each other."""
        if self.dora and self.init in ("pissa", "olora", "loftq"):
            return [f"--dora with --init {self.init}: DoRA's magnitude is W0's; use one of the two"]
        if self.bias != "none" and self.init in ("pissa", "olora"):
            return [
                f"--bias {self.bias} with --init {self.init}: the initialisation is subtracted "
                "from an unchanged layer, so its bias cannot be trained; use one of the two"
            ]
        if self.init == "eva" and self.rank_pattern:
            return ["--init eva with --rank-pattern: EVA needs equal ranks; use one of the two"]
        return []

    def difference(self, other: AdapterSpec) -> str:
        """Where two specs differ: `rank 8, not 4; …`."""
        one, two = asdict(self), asdict(other)
        return "; ".join(f"{k} {one[k]}, not {two[k]}" for k in one if one[k] != two[k])

    @property
    def scaling(self) -> float:
        """s of ΔW = s·B·A outside the patterns: α/r, or α/√r with `rslora`."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    @property
    def variant(self) -> str:
        """The method with its variants: `lora`, `rslora+dora`, `lora init pissa`."""
        kinds = [name for name in ("rslora", "dora") if getattr(self, name)]
        start = f" init {self.init}" if self.init != "default" else ""
        return ("+".join(kinds) or self.method) + start

    @property
    def line(self) -> str:
        """`lora r8 α16 q_proj,v_proj`, with the other fields that were set."""
        parts = [self.variant]
        parts += [f"r{self.rank}"] if self.rank else []
        parts += [f"(initial r{first_rank(self.rank)})"] if self.method == "adalora" else []
        parts += [f"α{self.alpha:g}"] if self.alpha else []
        parts += [f"{self.virtual_tokens} tokens"] if self.virtual_tokens else []
        parts += [self.targets] if self.targets not in ("", USUAL) else []
        parts += ["r varies"] if self.rank_pattern else []
        parts += ["α varies"] if self.alpha_pattern else []
        parts += [f"bias {self.bias}"] if self.bias != "none" else []
        parts += ["norms"] if self.norms else []
        parts += [f"dropout {self.dropout:g}"] if self.dropout else []
        return " ".join(parts)


def _from_one(value: object) -> bool:
    return is_whole(value) and value >= 1  # type: ignore[operator]  # a number


def _is_alpha(value: object) -> bool:
    return is_number(value) and 0 < value <= _LARGEST_ALPHA  # type: ignore[operator]  # a number


def one_of(options: Sequence[str], seen: object) -> str:
    """The end of a message: the options, and the nearest one."""
    hint = near(str(seen), options).strip()
    return f"one of {', '.join(options)}" + (f" ({hint})" if hint else "")


def flag_of(field: str) -> str:
    """A field's name as it is typed: `rank-pattern`."""
    return field.replace("_", "-")


def pattern_of(given: object, flag: str, kind: Callable[[str], float]) -> Pattern:
    """`q_proj=16,v_proj=4`, or a dict, as sorted pairs. Raises `AdapterError` with an example."""
    if isinstance(given, str):
        parts = [part.partition("=") for part in given.split(",") if part.strip()]
        try:
            return tuple(sorted((name.strip(), kind(value)) for name, _, value in parts))
        except ValueError:
            pass
    elif isinstance(given, Mapping):
        return tuple(sorted((str(name), value) for name, value in given.items()))
    raise AdapterError(f"--{flag} {given!r}: expected NAME=VALUE,…, for example --{flag} q_proj=16")


def first_rank(rank: int) -> int:
    """AdaLoRA's initial rank, 1.5 times its final rank (section 4 of its paper)."""
    return max(rank + 1, -(-3 * rank // 2))


def seed_of(name: str) -> int:
    """The default seed of a name: two adapters never start identical by accident."""
    return zlib.crc32(name.encode())


def check_name(name: str, command: str = "%lora attach", rest: str = "") -> str:
    """The name itself; raises `AdapterError` for one that is invalid in a path or in PEFT.

    The error suggests `command` with a valid name, then the `rest` of the line.
    """
    if not isinstance(name, str):
        raise AdapterError(f"adapter name {name!r}: expected text; type: {command} pirate{rest}")
    if name == BASE_NAME:
        raise AdapterError(
            f"{BASE_NAME!r} is the base model's own name; choose another name: "
            f"{command} pirate{rest}"
        )
    if name.startswith("$"):
        raise AdapterError(
            f"adapter name {name!r}: to use a variable's value type {command} {{{name[1:]}}}{rest}"
        )
    if _NAME.fullmatch(name) is None:
        raise AdapterError(
            f"adapter name {name!r}: expected a–z, A–Z, digits, - and _ (no slash, dot or space), "
            f"at most 64, starting with a letter; type: {command} {valid_name(name)}{rest}"
        )
    return name


def valid_name(name: str) -> str:
    """The name itself if it is valid, else a similar one that is."""
    if _NAME.fullmatch(name) is not None and name != BASE_NAME:
        return name
    valid = (re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-") or "adapter")[:40]
    return valid if _NAME.fullmatch(valid) and valid != BASE_NAME else f"a_{valid}"
