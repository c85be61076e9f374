"""The mutations: each makes a valid folder hostile in one way, chosen by a seeded generator.

A kind is a small function of a `Scene`, registered for adapters, bases or data files. A kind that
does not suit a folder raises anything; the generator then leaves it out.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVIL = "x\n\x1b]0;owned\x07\x1b[31mred\u202e\u2066\u2028\x85\x00\ud800"
NAME = EVIL.translate({0: None, 0xD800: None}) + "/y"
#: Exponential in Python's `re` on any module path.
SLOW = r"((\w|\.)+)+!"
CONFIG, CARD, WEIGHTS = "adapter_config.json", "lora_magic.json", "adapter_model.safetensors"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
JSON_FILES = (CONFIG, CARD, "config.json", "generation_config.json", *TOKENIZER)
INDEX, MODEL = "model.safetensors.index.json", "model.safetensors"

#: JSON text of every wrong type and of absurd sizes.
VALUES = [
    *("null", "[]", "{}", '""', '"x"', "-1", "0", "1", "0.5", "1e308", "1e999", "true", "false"),
    *(str(10**30), "NaN", "-Infinity", "[[]]", "[null]", '["x"]', '{"x": 1}', '{"": null}', "[-1]"),
    *("1" * 5001, "[" * 20000 + "]" * 20000, '{"a":' * 20000 + "1" + "}" * 20000, "2147483648"),
    *(json.dumps("x" * 1_000_000), json.dumps(EVIL), json.dumps([EVIL]), json.dumps({EVIL: EVIL})),
    *('"../../../etc/passwd"', '"__class__"', '"(((("', json.dumps(SLOW), json.dumps({SLOW: 2})),
    *('"{0.__class__}%s%n"', "1000000000", "[1, 2, 3]", '"auto"', '"float8_e4m3fn"', '"nan"'),
]
#: Fields that make a reader load code or do something else than read.
ADDED = {
    "auto_map": {"AutoConfig": "evil.E", "AutoModelForCausalLM": "evil.E", "AutoTokenizer": "x.E"},
    "trust_remote_code": True,
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "rope_scaling": {"rope_type": "yarn", "factor": -1},
    "rope_parameters": {"rope_type": "dynamic", "factor": "x"},
    "custom_pipelines": {"x": {"impl": "evil.E"}},
    "attn_implementation": "kernels-community/evil",
    "_name_or_path": "../../outside",
    "tokenizer_class": "EvilTokenizer",
    "torch_dtype": "float128",
    "dtype": "int8",
    "use_dora": True,
    "layers_to_transform": [10**9],
    "layers_pattern": SLOW,
    "trainable_token_indices": [10**9],
    "target_parameters": ["x.y"],
    "eva_config": {"rho": -1},
    "loftq_config": {"loftq_bits": 4},
    "corda_config": {"cache_file": "/etc/passwd"},
    "init_lora_weights": "eva",
    "megatron_config": {"x": 1},
    "alora_invocation_tokens": [1, 2],
    "modules_to_save": ["lm_head", "x"],
    "fan_in_fan_out": True,
    "runtime_config": {"ephemeral_gpu_offload": True},
    "per_layer_config": [1],
    "is_encoder_decoder": True,
    "tie_word_embeddings": "no",
    "architectures": ["__import__"],
    "model_type": "evil",
    "chat_template": "{{ ''.__class__.__mro__ }}",
    "added_tokens_decoder": {"x": 1},
    "extra_special_tokens": [EVIL],
    "eos_token": {"content": EVIL},
}
HUGE = (
    *("r", "rank", "lora_alpha", "num_virtual_tokens", "hidden_size", "vocab_size", "n_embd"),
    *("num_hidden_layers", "n_layer", "num_attention_heads", "intermediate_size", "target_r"),
    *("init_r", "num_layers", "token_dim", "virtual_tokens", "adapter_size", "n_positions"),
    *("max_position_embeddings", "num_transformer_submodules", "parameters", "steps"),
)


class Payload:
    """Unpickling this creates the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = str(canary)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.canary,)


@dataclass(frozen=True)
class Scene:
    """`folder` is mutated; nothing in `outside` may be read, `own` is where a person's links lead.

    `canary` must never exist, `good` has the valid folders.
    """

    folder: Path
    work: Path
    rng: random.Random

    @property
    def outside(self) -> Path:
        return self.work / "outside"

    @property
    def own(self) -> Path:
        return self.work / "own"

    @property
    def canary(self) -> Path:
        return self.work / "canary"

    @property
    def good(self) -> Path:
        return self.work / "good"

    def file(self) -> Path:
        """One of the files; the weights and the configs three times as often as the rest."""
        files = sorted(f for f in self.folder.iterdir() if f.is_file() and f.suffix != ".md")
        often = [f for f in files if f.name in (*JSON_FILES, WEIGHTS, MODEL)]
        return self.rng.choice(files + often * 2)

    def json_file(self) -> Path:
        return self.rng.choice([p for n in JSON_FILES if (p := self.folder / n).is_file()])

    def weights(self) -> Path:
        return self.rng.choice(self.all_weights())

    def all_weights(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*.safetensors") if path.is_file())

    def replaced(self) -> Path:
        """The path of a file that was removed, for another object in its place."""
        path = self.file()
        shutil.copy(path, self.own / path.name)
        path.unlink()
        return path


Kind = Callable[[Scene], None]
KINDS: dict[str, dict[str, Kind]] = {"adapter": {}, "base": {}, "data": {}}


def kind(*places: str) -> Callable[[Kind], Kind]:
    def register(function: Kind) -> Kind:
        for place in places:
            KINDS[place][function.__name__] = function
        return function

    return register


everywhere, model, adapter = (
    kind("adapter", "base", "data"),
    kind("adapter", "base"),
    kind("adapter"),
)
base, data = kind("base"), kind("data")

# JSON


def places_in(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    keys = (
        value.keys() if isinstance(value, dict) else range(len(value) if type(value) is list else 0)
    )
    return [place for key in keys for place in [(value, key), *places_in(value[key])]]


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def put(path: Path, container: Any, key: Any, content: Any, text: str) -> None:
    """Write `content` with JSON text, which need not be valid, in place of one value."""
    container[key] = "\x00here"
    path.write_text(json.dumps(content).replace('"\\u0000here"', text))


@model
def field_of_another_type(s: Scene) -> None:
    """One to three top-level fields have a wrong type or an absurd size."""
    path = s.json_file()
    for _ in range(s.rng.randint(1, 3)):
        content = json.loads(path.read_text())
        put(path, content, s.rng.choice(sorted(content)), content, s.rng.choice(VALUES))


@model
def nested_value_of_another_type(s: Scene) -> None:
    """A value anywhere in a JSON file has a wrong type or an absurd size."""
    path = s.json_file()
    content = json.loads(path.read_text())
    put(path, *s.rng.choice(places_in(content)), content, s.rng.choice(VALUES))


@model
def field_removed(s: Scene) -> None:
    """One to five fields are missing."""
    path = s.json_file()
    for _ in range(s.rng.randint(1, 5)):
        edit(path, lambda c: c.pop(s.rng.choice(sorted(c))))


@model
def field_added(s: Scene) -> None:
    """A field that asks for code, for quantisation, for another method."""
    added = s.rng.sample(sorted(ADDED), 2)
    edit(s.json_file(), lambda c: c.update({key: ADDED[key] for key in added}))


@model
def field_huge(s: Scene) -> None:
    """A claimed rank, width, vocabulary, count of layers or virtual tokens is huge."""
    path, value = s.json_file(), s.rng.choice([10**5, 2**31, 10**9, 10**18, 10**30])
    content = json.loads(path.read_text())
    found = [place for place in places_in(content) if place[1] in HUGE]
    put(path, *s.rng.choice(found or places_in(content)), content, str(value))


@model
def field_zero_or_negative(s: Scene) -> None:
    """A claimed size is 0, negative, or a fraction."""
    path = s.rng.choice([p for n in (CONFIG, "config.json") if (p := s.folder / n).is_file()])
    content = json.loads(path.read_text())
    found = [(c, k) for c, k in places_in(content) if type(c[k]) is int]
    put(path, *s.rng.choice(found), content, s.rng.choice(["0", "-1", "0.5", "3", "-1e300"]))


@model
def duplicated_keys(s: Scene) -> None:
    """Every key twice, the second time with a wrong value."""
    path = s.json_file()
    keys = json.loads(path.read_text())
    more = "".join(f",{json.dumps(key)}:{s.rng.choice(VALUES[:20])}" for key in keys)
    path.write_text(path.read_text().rstrip().removesuffix("}") + more + "}")


@model
def not_this_encoding(s: Scene) -> None:
    """A byte order mark, UTF-16, Latin-1, or bytes that are no text."""
    path = s.json_file()
    text = path.read_text()
    forms = [text.encode("utf-8-sig"), text.encode("utf-16"), b"\xff" + text.encode(), b"\x00" * 99]
    path.write_bytes(s.rng.choice(forms))


@model
def not_an_object(s: Scene) -> None:
    """JSON that is a list, a number, text, or nothing."""
    s.json_file().write_text(s.rng.choice([*VALUES, "", " ", "[", "{,}", "'x'", "[{}]"]))


@everywhere
def truncated(s: Scene) -> None:
    """A file ends early."""
    path = s.file()
    path.write_bytes(path.read_bytes()[: s.rng.randrange(path.stat().st_size)])


@adapter
def slow_pattern(s: Scene) -> None:
    """A pattern that takes exponential time, in each field that PEFT matches."""
    name = s.rng.choice(["target_modules", "exclude_modules", "rank_pattern", "alpha_pattern"])
    value = {SLOW: 4} if name.endswith("pattern") else SLOW
    edit(s.folder / CONFIG, lambda c: c.update({name: value}))


@adapter
def slow_pattern_in_the_card(s: Scene) -> None:
    """The same in a card's spec, whose targets may be a pattern."""
    pair = s.rng.choice([{"targets": "re:" + SLOW}, {"rank_pattern": [[SLOW, 2]]}])
    edit(s.folder / CARD, lambda c: c["spec"].update(pair))


@adapter
def card_of_another_base(s: Scene) -> None:
    """The card names another base, as text that is not safe to show."""
    name = s.rng.choice([EVIL, "x" * 10**6, "--trust-remote-code", "'; rm -rf ~", "../outside"])
    other = {"name": name, "fingerprint": "0" * 16, "architecture": name, "parameters": 7}
    edit(s.folder / CARD, lambda c: c["base"].update(other))


@adapter
def card_of_another_save(s: Scene) -> None:
    """Files of two saves are mixed."""
    others = sorted(f for f in (s.good / "adapters").glob("*/*") if f.name != "README.md")
    shutil.copy(other := s.rng.choice(others), s.folder / other.name)


@adapter
def prompt_form_hostile(s: Scene) -> None:
    """The form in which prompts are written holds control characters, or tokens out of range."""
    form = {"kind": s.rng.choice(["chat", "plain", EVIL]), "system": EVIL, "end_token": EVIL}
    ids = {"end_token_id": s.rng.choice([-1, 10**9, None]), "stop_ids": [-1, 2**63]}
    edit(s.folder / CARD, lambda c: c.update(prompt_form=form | ids))


@adapter
def history_hostile(s: Scene) -> None:
    """What views show of an adapter's past is unsafe text and numbers."""
    past = {"steps": 3, "first_loss": 1e308, "last_loss": -1e308, "made": EVIL, "lost": EVIL}
    edit(
        s.folder / CARD, lambda c: c.update(history=past, parents=[EVIL], name=EVIL, run={EVIL: 1})
    )


# Tensors


def parts(path: Path) -> tuple[dict[str, Any], bytes]:
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def put_parts(path: Path, header: object, body: bytes, length: int | None = None) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body)


def tensor_edit(s: Scene, change: Callable[[dict[str, Any], str], object]) -> None:
    """Change the header of a weight file at one to three tensors."""
    header, body = parts(path := s.weights())
    names = sorted(header.keys() - {"__metadata__"})
    for name in s.rng.sample(names, min(len(names), s.rng.randint(1, 3))):
        change(header, name)
    put_parts(path, header, body)


@model
def header_too_long(s: Scene) -> None:
    """The header's length is huge, negative, or one too many."""
    header, body = parts(path := s.weights())
    put_parts(path, header, body, s.rng.choice([2**63, 2**64 - 1, 10**9, 0, 1, 10**5]))


@model
def header_hostile(s: Scene) -> None:
    """The header is deeply nested, a list, or has no entries."""
    body = s.rng.choice([b"[" * 20000, b"[]", b"{}", b"null", b"", b'{"x":1}', b"\xff\xfe{}"])
    s.weights().write_bytes(struct.pack("<Q", len(body)) + body + b"\0" * 64)


@model
def offsets_hostile(s: Scene) -> None:
    """Tensors overlap, run backwards or lie behind the end."""
    pairs = [[0, 4], [8, 0], [0, 10**12], [-4, 0], [2**63, 2**63 + 4], [0, 0], [0]]
    tensor_edit(s, lambda h, n: h[n].update(data_offsets=s.rng.choice(pairs)))


@model
def dtype_relabelled(s: Scene) -> None:
    """The bytes are said to be of another number format."""
    pool = ["I64", "F64", "BF16", "F16", "F8_E4M3", "BOOL", "U8", "I32", "C64", "F4", EVIL, None]
    tensor_edit(s, lambda h, n: h[n].update(dtype=s.rng.choice(pool)))


@model
def shape_relabelled(s: Scene) -> None:
    """The shapes are transposed, flattened, or do not fit the bytes."""
    pool = [[], [0], [1, 1, 1], [2**40], [2**32, 2**32], [-1]]
    tensor_edit(s, lambda h, n: h[n].update(shape=s.rng.choice([h[n]["shape"][::-1], *pool])))


@model
def tensors_of_another_kind(s: Scene) -> None:
    """Valid tensors of wrong number formats, shapes or values, rewritten with matching bytes."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(path := s.weights())
    formats = [torch.int64, torch.float64, torch.bool, torch.uint8, torch.float8_e4m3fn]
    changes: list[Callable[[Any], Any]] = [
        lambda t: t.to(s.rng.choice(formats)),
        lambda t: torch.full_like(
            t, s.rng.choice([float("nan"), float("inf"), -float("inf"), 3e38])
        ),
        lambda t: t.mT.contiguous(),
        lambda t: t[:1].clone(),
        lambda t: t.repeat(2, *[1] * (t.ndim - 1)),
        lambda t: t[None].clone(),
        lambda t: t.flatten().clone(),
        lambda t: torch.zeros(0, *t.shape[1:]),
        lambda t: torch.zeros(()),
        lambda t: t.to(torch.complex64),
    ]
    change, every = s.rng.choice(changes), s.rng.random() < 0.5
    chosen = sorted(tensors) if every else s.rng.sample(sorted(tensors), 1)
    save_file({k: change(t) if k in chosen else t for k, t in tensors.items()}, path)


@model
def tensor_missing(s: Scene) -> None:
    """Tensors are missing, their bytes too."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(path := s.weights())
    save_file({k: t for k, t in tensors.items() if s.rng.random() < s.rng.random()}, path)


@model
def tensor_renamed(s: Scene) -> None:
    """Tensors have names that are unsafe to show, very long, or another module's."""
    pool = [
        EVIL,
        "",
        "x" * 10**5,
        "../x",
        "base_model.model.lm_head.weight",
        "__class__",
        "a..b",
        ".",
    ]
    pool += [
        "base_model.model.model.layers.99.self_attn.q_proj.lora_A.weight",
        EVIL + ".lora_A.weight",
    ]
    tensor_edit(s, lambda h, n: h.update({s.rng.choice(pool): h.pop(n)}))


@model
def metadata_hostile(s: Scene) -> None:
    """The metadata of the weights has another format, unsafe text, or a wrong type."""
    header, body = parts(path := s.weights())
    pool: list[object] = [
        {"format": "tf"},
        {"format": EVIL},
        {EVIL: EVIL},
        {"format": 1},
        [],
        None,
        {},
    ]
    put_parts(path, {**header, "__metadata__": s.rng.choice(pool)}, body)


@model
def tensors_in_great_number(s: Scene) -> None:
    """100,000 further tensors of no bytes."""
    header, body = parts(path := s.weights())
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [len(body)] * 2}
    put_parts(
        path, header | {f"base_model.model.x{n}.lora_A.weight": empty for n in range(10**5)}, body
    )


@model
def pickle_in_place(s: Scene) -> None:
    """The weights are a pickle with a payload."""
    s.weights().write_bytes(pickle.dumps(Payload(s.canary)))


@model
def pickle_beside(s: Scene) -> None:
    """Pickles with a payload beside, or instead of, the weights."""
    for name in (
        "adapter_model.bin",
        "pytorch_model.bin",
        "model.pt",
        "training_args.bin",
        "x.pkl",
    ):
        (s.folder / name).write_bytes(pickle.dumps(Payload(s.canary)))
    if s.rng.random() < 0.5:
        s.weights().unlink()


# Indexes


def index(s: Scene, name: str) -> None:
    """An index that places one tensor, or every one, in the file `name`."""
    placed = {
        key: path.name
        for path in s.all_weights()
        for key in parts(path)[0]
        if key != "__metadata__"
    }
    if (s.folder / MODEL).exists():
        (s.folder / MODEL).rename(s.folder / "part.safetensors")
        placed = dict.fromkeys(placed, "part.safetensors")
    chosen = placed if s.rng.random() < 0.5 else [s.rng.choice(sorted(placed))]
    content = {"metadata": {"total_size": 1}, "weight_map": placed | dict.fromkeys(chosen, name)}
    (s.folder / INDEX).write_text(json.dumps(content))


@base
def index_leads_outside(s: Scene) -> None:
    """An index names a file outside the folder, relative, absolute or through a link."""
    secret = s.outside / "secret.safetensors"
    pool = ["../../../outside/secret.safetensors", str(secret), "linked/secret.safetensors"]
    index(s, s.rng.choice([*pool, "link.safetensors", "./../../../outside/secret.safetensors"]))
    (s.folder / "link.safetensors").symlink_to(secret)
    (s.folder / "linked").symlink_to(s.outside)


@base
def index_names_something_else(s: Scene) -> None:
    """An index names a pickle, itself, a missing file, a folder, a device or a wrong type."""
    (s.folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(s.canary)))
    (s.folder / "sub.safetensors").mkdir()
    os.mkfifo(s.folder / "pipe.safetensors")
    pool = ["pytorch_model.bin", INDEX, "missing.safetensors", "sub.safetensors", "/etc/passwd"]
    index(s, s.rng.choice([*pool, "pipe.safetensors", "/dev/zero", "", ".", EVIL, "config.json"]))


@base
def index_of_another_type(s: Scene) -> None:
    """An index whose parts have wrong types."""
    index(s, "part.safetensors")
    content = json.loads((s.folder / INDEX).read_text())
    put(s.folder / INDEX, *s.rng.choice(places_in(content)[:6]), content, s.rng.choice(VALUES))


# Files


@everywhere
def pipe_in_place(s: Scene) -> None:
    """A named pipe in place of a file."""
    os.mkfifo(s.replaced())


@everywhere
def zeros_in_place(s: Scene) -> None:
    """A link to /dev/zero in place of a file."""
    s.replaced().symlink_to("/dev/zero")


@everywhere
def folder_in_place(s: Scene) -> None:
    """A folder in place of a file."""
    s.replaced().mkdir()


@everywhere
def dangling_link(s: Scene) -> None:
    """A link to nothing."""
    s.replaced().symlink_to(s.own / "nothing")


@everywhere
def looping_link(s: Scene) -> None:
    """A link to itself."""
    path = s.replaced()
    path.symlink_to(path.name)


@everywhere
def link_of_ones_own(s: Scene) -> None:
    """A link to a good file elsewhere, as a person makes to save space."""
    path = s.replaced()
    path.symlink_to(s.own / path.name)


@everywhere
def sparse(s: Scene) -> None:
    """A file of 1 TB that takes no space."""
    os.truncate(s.file(), 2**40)


@everywhere
def unreadable(s: Scene) -> None:
    """A file without permissions; root reads it all the same."""
    s.file().chmod(0)


@everywhere
def empty(s: Scene) -> None:
    """A file of no bytes."""
    s.file().write_bytes(b"")


@everywhere
def pointer(s: Scene) -> None:
    """A git-lfs pointer in place of a file."""
    s.file().write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n"
    )


@everywhere
def bits_flipped(s: Scene) -> None:
    """Some bytes of a file are others."""
    raw = bytearray((path := s.file()).read_bytes())
    for _ in range(s.rng.randint(1, 20)):
        raw[s.rng.randrange(min(len(raw), 4000))] ^= 1 << s.rng.randrange(8)
    path.write_bytes(raw)


@adapter
def base_beside(s: Scene) -> None:
    """A whole base lies beside the adapter."""
    shutil.copytree(s.good / "bases" / "llama", s.folder, dirs_exist_ok=True)


@base
def adapter_beside(s: Scene) -> None:
    """An adapter lies beside the base, sometimes as a pickle with a payload."""
    shutil.copytree(s.good / "adapters" / "lora", s.folder, dirs_exist_ok=True)
    if s.rng.random() < 0.5:
        (s.folder / WEIGHTS).unlink()
        (s.folder / "adapter_model.bin").write_bytes(pickle.dumps(Payload(s.canary)))


@base
def code_beside(s: Scene) -> None:
    """Python files that create the canary when they are imported, and a config that names them."""
    for name in ("evil.py", "x.py", "__init__.py", "transformers.py", "torch.py"):
        (s.folder / name).write_text(f"import os\nos.mkdir({str(s.canary)!r})\nclass E: pass\n")
    path = s.folder / s.rng.choice(
        ["config.json", "tokenizer_config.json", "generation_config.json"]
    )
    edit(path, lambda c: c.update(auto_map=ADDED["auto_map"], custom_generate="x"))


@base
def template_hostile(s: Scene) -> None:
    """A chat template that raises, escapes, prints too much, or reaches for Python's objects."""
    pool = ["{{ raise_exception(x) }}", "{% for", "{{ ''.__class__.__mro__[1].__subclasses__() }}"]
    pool += [EVIL.encode("utf-8", "replace").decode(), "{{ 'x' * 10**7 }}", "{{ 1/0 }}", ""]
    pool += ["{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"]
    pool += [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% include 'x' %}",
        "{{ messages[9].x }}",
    ]
    (s.folder / "chat_template.jinja").write_text(s.rng.choice(pool))


@model
def files_in_great_number(s: Scene) -> None:
    """Thousands of other files, and folders in folders."""
    for number in range(3000):
        (s.folder / f"{number}.safetensors.tmp").touch()
    (s.folder.joinpath(*["deep"] * 200)).mkdir(parents=True)


@model
def names_hostile(s: Scene) -> None:
    """Files with control characters, spaces and bytes that are not UTF-8 in their names."""
    for name in (
        NAME.replace("/", "_"),
        " ",
        "a b",
        "-rf",
        "$(id)",
        "%s",
        "\u202e.json",
        "ü" * 100,
    ):
        (s.folder / name).write_text("x")
    Path(os.fsdecode(os.fsencode(s.folder) + b"/\xff\xfe.safetensors")).write_text("x")
    if s.rng.random() < 0.5:
        s.weights().unlink()


@model
def leftovers(s: Scene) -> None:
    """What a killed save leaves: temporary folders beside and within, and locks."""
    for place in (s.folder, s.folder.parent):
        shutil.copytree(s.good / "adapters" / "lora", place / f".{s.folder.name}-x1" / "old")
    for name in (".lock", ".lora_magic.lock", f".{WEIGHTS}.tmp", f"{WEIGHTS}.incomplete"):
        (s.folder / name).write_text("1")


@model
def folder_nested(s: Scene) -> None:
    """Everything lies one folder deeper."""
    shutil.move(s.folder, kept := s.folder.parent / "moved")
    s.folder.mkdir()
    shutil.move(kept, s.folder / "inner")


@data
def rows_hostile(s: Scene) -> None:
    """Rows of wrong types, with unsafe text, of one huge line, or nested."""
    path = s.file()
    pool = [json.dumps({EVIL: EVIL}), *VALUES, '{"prompt": 1, "completion": NaN}', "\x00" * 99]
    pool += ["a,a,a\n1,2,3", f'"{"x" * 300_000}",1', '{"prompt": "x"}\n' * 3 + "{", "a\n\x1b[31m,b"]
    text = s.rng.choice(pool)
    path.write_bytes(text.encode("utf-8", "surrogatepass") * s.rng.choice([1, 1, 50]))


@data
def rows_in_another_encoding(s: Scene) -> None:
    """UTF-16, a byte order mark, or bytes that are no text."""
    raw = s.file().read_bytes()
    forms = [raw.decode().encode("utf-16"), b"\xef\xbb\xbf" + raw, raw + b"\xff\xfe", b"PAR1" + raw]
    s.file().write_bytes(s.rng.choice(forms))


@data
def another_ending(s: Scene) -> None:
    """The ending promises another format."""
    path = s.file()
    path.rename(
        path.with_suffix(s.rng.choice([".parquet", ".csv", ".jsonl", ".json", ".tsv", ".txt"]))
    )
