"""A tokenizer as llama.cpp reads it: tokens, merges or scores, special ids, and the template.

llama.cpp knows pre-tokenizers by name, each written in C++, so a tokenizer has one of these or
none: its rules are compared with those that are known. Knows tokenizers; knows no model.

Sources, all in ggml-org/llama.cpp: `src/llama-vocab.cpp` (names, rules, defaults),
`conversion/base.py` (types of tokens, padding of the list).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from unicodedata import normalize

from gguf import GGUFWriter, TokenType

from lora_magic.base.prompt import PromptForm
from lora_magic.base.tokens import added_ids
from lora_magic.errors import ExportError, listed
from lora_magic.export.job import Job

#: What an export that cannot have this tokenizer is told.
_INSTEAD = "Type: --to merged"
_SPACE = "\u2581"
#: Tokens that are found in a text before anything is joined.
_IN_TEXT = (TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.UNKNOWN)
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def _words(letters: str, digits: str) -> str:
    """The pattern that Llama 3, Qwen2 and their relatives share, but for the digits in a token."""
    return (
        rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?{letters}|{digits}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

#: llama.cpp's name of a pre-tokenizer, by its steps and by whether whole words skip the merges.
_NAMES: Mapping[tuple[tuple[str, ...], bool], str] = {
    (("words",), False): "gpt-2",
    (("digits", "words"), False): "smollm",
    ((_words(r"\p{L}+", r"\p{N}{1,3}"), "bytes"), True): "llama-bpe",
    ((_words(r"\p{L}+", r"\p{N}{1,3}"), "bytes"), False): "smaug-bpe",
    ((_words(r"\p{L}+", r"\p{N}"), "bytes"), False): "qwen2",
    ((_TEKKEN, "bytes"), True): "tekken",
}


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """A tokenizer in llama.cpp's terms.

    `kind` is "gpt2" (byte-level BPE: `pre` and `merges`) or "llama" (SentencePiece's BPE: `scores`
    and `space`, a space before the text). `special` has the ids by their role. `notes` say where
    llama.cpp reads a text otherwise.
    """

    kind: str
    tokens: tuple[str, ...]
    types: tuple[TokenType, ...]
    pre: str = "default"
    merges: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    space: bool = False
    special: Mapping[str, int] = field(default_factory=dict)
    add_bos: bool = False
    add_eos: bool = False
    template: str | None = None
    notes: tuple[str, ...] = ()
    #: Where a text is not read alike: `comparable` leaves that out.
    composes: bool = False
    spaces: str = ""
    strips: tuple[str, ...] = ()

    def comparable(self, texts: Iterable[str]) -> tuple[str, ...]:
        """The texts, or the nearest ones, that llama.cpp reads as the tokenizer does.

        Without what `notes` says: accents are composed, and where spaces are put otherwise, texts
        follow the beginning token, or have no space or special token where it matters.
        """
        signs = [_SPACE] if self.kind == "llama" else []
        found = [
            normalize("NFC", text) if self.composes else text
            for text in texts
            if not any(token in text for token in (*self.strips, *signs))
        ]
        if self.spaces == "first" and not self.space:
            begin = self.tokens[self.special["bos"]]
            return tuple(begin + text for text in found)
        if self.spaces:
            pairs = zip(self.tokens, self.types, strict=True)
            special = [token for token, kind in pairs if kind in _IN_TEXT]
            return tuple(
                text
                for text in found
                if not text.startswith(" ") and not any(one in text for one in special)
            )
        return tuple(found)

    def write(self, writer: GGUFWriter) -> None:
        """Add the keys `tokenizer.*`."""
        writer.add_tokenizer_model(self.kind)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.kind == "gpt2":
            writer.add_token_merges(self.merges)
        else:
            writer.add_token_scores(self.scores)
            writer.add_add_space_prefix(self.space)
        for role, number in self.special.items():
            writer.add_uint32(f"tokenizer.ggml.{role}_token_id", number)
        # Both always: some pre-tokenizers add a beginning token unless told not to.
        writer.add_add_bos_token(self.add_bos)
        writer.add_add_eos_token(self.add_eos)
        if self.template is not None:
            writer.add_chat_template(self.template)


def vocabulary(tokenizer: Any, rows: int, form: PromptForm) -> Vocabulary:
    """A tokenizer for an embedding of `rows` rows, and for prompts of this form.

    Raises `ExportError` for one that llama.cpp cannot read so that texts keep their ids.
    """
    rules = _rules(tokenizer)
    model = rules["model"]
    _check_model(model)
    tokens, types = _tokens(rules, rows, tokenizer.backend_tokenizer.normalizer)
    begins, ends = _adds(tokenizer)
    shared: dict[str, Any] = {
        "tokens": tokens,
        "types": types,
        "special": _special(tokenizer, model, form),
        "add_bos": begins,
        "add_eos": ends,
        "template": _template(tokenizer),
        "strips": (strips := _strips(rules)),
    }
    notes: tuple[str, ...] = ()
    if strips:
        notes = (f"llama.cpp does not strip the spaces beside {listed(strips)}",)
    if not model.get("byte_fallback"):
        pre, composes = _pre(rules)
        merges = tuple(one if isinstance(one, str) else " ".join(one) for one in model["merges"])
        notes += (_DECOMPOSED,) if composes else ()
        return Vocabulary("gpt2", pre=pre, merges=merges, composes=composes, notes=notes, **shared)
    scheme = _space(rules)
    # "first" puts no space after a special token, and chat templates begin with one.
    begun = scheme == "first" and form.kind == "chat" and "bos" in shared["special"]
    if spaces := scheme if scheme in _SPACES else "":
        notes += (_BEGUN if begun else _SPACES[spaces],)
    space = scheme != "never" and not begun
    scores = _scores(model, rules, rows)
    return Vocabulary("llama", scores=scores, space=space, spaces=spaces, notes=notes, **shared)


def vocabulary_of(job: Job) -> Vocabulary:
    """The vocabulary of a job's base, with a token for each row of its embedding."""
    assert job.form is not None  # a classifier was refused
    model: Any = job.base.model
    embedding = model.get_input_embeddings()
    return vocabulary(job.base.needs_tokenizer(), embedding.num_embeddings, job.form)


def _adds(tokenizer: Any) -> tuple[bool, bool]:
    """Does the tokenizer put a beginning token before a text, and an end token after it?"""
    before, after = added_ids(tokenizer, "a")
    if before not in ([], [tokenizer.bos_token_id]) or after not in ([], [tokenizer.eos_token_id]):
        raise ExportError(
            f"--to gguf: the tokenizer adds {before + after} to a text, and llama.cpp only a "
            f"beginning and an end token. {_INSTEAD}"
        )
    return bool(before), bool(after)


def _rules(tokenizer: Any) -> dict[str, Any]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ExportError(
            f"--to gguf: {type(tokenizer).__name__} has no tokenizer.json, which this export "
            f"reads. {_INSTEAD}"
        )
    found: dict[str, Any] = json.loads(backend.to_str())
    return found


def _check_model(model: Mapping[str, Any]) -> None:
    if model["type"] != "BPE":
        raise ExportError(
            f"--to gguf: the tokenizer is a {model['type']} model, expected BPE. {_INSTEAD}"
        )
    odd = [
        name
        for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix")
        if model.get(name)
    ]
    if odd:
        raise ExportError(
            f"--to gguf: the tokenizer's BPE has a {listed(odd)}, which llama.cpp lacks. {_INSTEAD}"
        )


def _tokens(
    rules: Mapping[str, Any], rows: int, normalizer: Any
) -> tuple[tuple[str, ...], tuple[TokenType, ...]]:
    """Tokens and types, one for each row of the embedding; rows without a token are unused."""
    model = rules["model"]
    fallback = bool(model.get("byte_fallback"))
    tokens = [f"[PAD{number}]" for number in range(rows)]
    types = [TokenType.UNUSED] * rows
    for token, number in model["vocab"].items():
        if number < rows:
            is_byte = fallback and _BYTE.fullmatch(token)
            tokens[number] = token
            types[number] = TokenType.BYTE if is_byte else TokenType.NORMAL
    unknown = model.get("unk_token")
    for added in rules["added_tokens"]:
        if (number := added["id"]) < rows:
            tokens[number] = _written(added, normalizer, fallback)
            types[number] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
            if added["content"] == unknown:
                types[number] = TokenType.UNKNOWN
            elif fallback and _is_merged(added):
                types[number] = TokenType.NORMAL
    if len(set(tokens)) < rows:
        raise ExportError(f"--to gguf: two tokens of the tokenizer have one text. {_INSTEAD}")
    return tuple(tokens), tuple(types)


def _is_merged(added: Mapping[str, Any]) -> bool:
    """Is it one of SentencePiece's tokens for spaces, which no text has before spaces are _SPACE?

    So only merges make it, as they make any other token.
    """
    return _SPACE in added["content"] and not added["normalized"] and not added["special"]


def _written(added: Mapping[str, Any], normalizer: Any, fallback: bool) -> str:
    """An added token as llama.cpp looks for it: in the text itself, as it was typed."""
    content: str = added["content"]
    if not added["normalized"]:
        return content
    seen = content if normalizer is None else normalizer.normalize_str(content)
    if fallback:
        content, seen = content.replace(_SPACE, " "), seen.replace(_SPACE, " ")
    if seen != content:
        raise ExportError(
            f"--to gguf: the tokenizer looks for its added token {content!r} as {seen!r} in a "
            f"normalised text, and llama.cpp in the text itself. {_INSTEAD}"
        )
    return content


def _special(tokenizer: Any, model: Mapping[str, Any], form: PromptForm) -> dict[str, int]:
    """Ids by role; `eot` ends an answer where the form's end token is not the end of text."""
    end = tokenizer.eos_token_id
    if end is None:
        end = form.end_token_id
    if end is None:
        # llama.cpp would take token 11 for it.
        raise ExportError(f"--to gguf: the tokenizer has no end token. {_INSTEAD}")
    found = {
        "bos": tokenizer.bos_token_id,
        "eos": end,
        "eot": None if form.end_token_id == end else form.end_token_id,
        "unknown": model["vocab"].get(model.get("unk_token")),
        "padding": tokenizer.pad_token_id,
    }
    return {role: int(number) for role, number in found.items() if number is not None}


def _template(tokenizer: Any) -> str | None:
    found = tokenizer.chat_template
    if isinstance(found, Mapping):
        found = found.get("default")
    return found if isinstance(found, str) else None


def _strips(rules: Mapping[str, Any]) -> tuple[str, ...]:
    """Added tokens that take the spaces beside them, or are no part of a word."""
    return tuple(
        token["content"]
        for token in rules["added_tokens"]
        if token["lstrip"] or token["rstrip"] or token["single_word"]
    )


def _steps(rules: Any) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, one or a sequence."""
    if rules is None:
        return []
    inner = rules.get("normalizers") or rules.get("pretokenizers")
    return list(inner) if rules["type"] == "Sequence" else [rules]


_DECOMPOSED = "llama.cpp does not compose accents (NFC): decomposed ones get other tokens"


def _pre(rules: Mapping[str, Any]) -> tuple[str, bool]:
    """The name of a byte-level pre-tokenizer, and whether accents are composed before it."""
    steps = tuple(_step(step) for step in _steps(rules["pre_tokenizer"]))
    whole = bool(rules["model"].get("ignore_merges"))
    if (name := _NAMES.get((steps, whole))) is None:
        known = sorted(_NAMES.values())
        merging = ", where whole words skip the merges," if whole else ""
        raise ExportError(
            f"--to gguf: the pre-tokenizer {' + '.join(steps) or 'none'}{merging} is not one that "
            f"llama.cpp has by name ({listed(known)}). {_INSTEAD}"
        )
    kinds = [step["type"] for step in _steps(rules["normalizer"])]
    if kinds not in ([], ["NFC"]):
        raise ExportError(
            f"--to gguf: the tokenizer's normalizer {' + '.join(kinds)} is one that llama.cpp "
            f"lacks. {_INSTEAD}"
        )
    return name, bool(kinds)


def _step(step: Mapping[str, Any]) -> str:
    """One step of a pre-tokenizer, as the table names it: other settings never equal it."""
    match step:
        case {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}:
            return "words"
        case {"type": "ByteLevel", "add_prefix_space": False}:
            return "bytes"
        case {"type": "Digits", "individual_digits": True}:
            return "digits"
        case {"type": "Split", "behavior": "Isolated", "invert": False, "pattern": {"Regex": text}}:
            return str(text)
    settings = [f"{name}={value}" for name, value in step.items() if name != "type"]
    return f"{step['type']}({listed(settings)})"


_SPACES = {
    "always": "llama.cpp also puts a space before a text that begins with one",
    "first": "llama.cpp also puts a space before a text that begins with one, and after each "
    "special token",
}
_BEGUN = "llama.cpp puts no space before a text that does not begin with a special token"


def _space(rules: Mapping[str, Any]) -> str:
    """When SentencePiece's BPE puts a space before a text.

    "prepended" is what llama.cpp does: before every text between special tokens; "never". Under
    "always" and "first" (before the first text only) none is put before another space.
    """
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    prepend = {"type": "Prepend", "prepend": _SPACE}
    split = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious"}
    normal, before = _steps(rules["normalizer"]), _steps(rules["pre_tokenizer"])
    if normal == [prepend, replace] and not before:
        return "prepended"
    # After the normalizer there is no space to split at.
    if normal == [replace] and (not before or before == [{**split, "invert": False}]):
        return "never"
    if not normal and len(before) == 1 and before[0]["type"] == "Metaspace":
        step = before[0]
        scheme = str(step.get("prepend_scheme"))
        if step.get("replacement") == _SPACE and not step.get("split", True):
            return scheme
    kinds = [step["type"] for step in (*normal, *before)]
    raise ExportError(
        f"--to gguf: the tokenizer's {' + '.join(kinds) or 'lack of rules for spaces'} is not what "
        f"llama.cpp does for SentencePiece's BPE. {_INSTEAD}"
    )


def _scores(model: Mapping[str, Any], rules: Mapping[str, Any], rows: int) -> tuple[float, ...]:
    """SentencePiece's scores: minus the rank of the first merge that makes a token.

    It joins the two neighbours whose union has the highest score, BPE the pair of the lowest rank.
    That is the same if every pair of tokens whose union is a token is a merge, and all merges into
    one token follow one another; raises `ExportError` if not.
    """
    vocab: Mapping[str, int] = model["vocab"]
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    ranks: dict[str, int] = {}
    last = None
    orderly = not model.get("ignore_merges")
    for rank, (left, right) in enumerate(pairs):
        union = left + right
        orderly &= union == last or union not in ranks
        ranks.setdefault(union, rank)
        last = union
    merges = {(left, right) for left, right in pairs}
    # Other added tokens are found in the text before anything is joined.
    added = {token["content"] for token in rules["added_tokens"] if not _is_merged(token)}
    merged = {token["content"] for token in rules["added_tokens"] if _is_merged(token)}
    joined = vocab.keys() | merged
    if not orderly or any(_unmerged(token, joined, merges) for token in joined - added):
        raise ExportError(
            "--to gguf: the tokenizer's merges have no order by token, so llama.cpp's reading of "
            f"byte fallback (SentencePiece) would give other tokens. {_INSTEAD}"
        )
    found = [0.0] * rows
    for token, rank in ranks.items():
        if (number := vocab.get(token, rows)) < rows:
            found[number] = -float(rank)
    return tuple(found)


def _unmerged(token: str, vocab: set[str], merges: set[tuple[str, str]]) -> bool:
    """Can two tokens be joined to this one without a merge?"""
    if _BYTE.fullmatch(token):
        return False
    halves: Sequence[tuple[str, str]] = [(token[:at], token[at:]) for at in range(1, len(token))]
    return any(
        left in vocab and right in vocab and (left, right) not in merges for left, right in halves
    )
