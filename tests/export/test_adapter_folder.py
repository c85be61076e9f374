"""`--to peft`: the file has the session's ΔW, and any reader gives the session's logits."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lora_magic.adapters.delta import update_of
from lora_magic.errors import ExportError
from lora_magic.export import plain_lora
from lora_magic.export.adapter_folder import PeftFolder
from lora_magic.export.job import Job, Options
from lora_magic.lowrank.factors import LowRank
from lora_magic.state.session import Session
from tests.adapters.shared import moved
from tests.classifiers import saved, tiny_classifier
from tests.conftest import Saver, logits, perturb
from tests.export.shared import read_here
from tests.tiny import tiny_model, tiny_tokenizer

#: Reads every case with plain PEFT, and nothing of this package.
READER = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import peft, torch, transformers
from safetensors.torch import save_file
transformers.utils.logging.set_verbosity_error()
torch.set_num_threads(1)
cases, found = json.load(open(sys.argv[1])), {}
for name, (base, bits, folder, line) in cases.items():
    options = {}
    if bits:
        options["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=bits == 4, load_in_8bit=bits == 8, bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.float32)
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, **options)
    for module in model.modules():  # its kernel for such CPUs computes in bf16
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    model = peft.PeftModel.from_pretrained(model, folder).eval()
    if line:  # the receipt's own
        model = eval(line, vars(peft)).eval()
    with torch.no_grad():
        found[name] = model(input_ids=torch.arange(10, 26)[None]).logits[:, -16:].contiguous()
save_file(found, sys.argv[2])
"""

#: float32 logits of the tiny models, summed in another order.
LOGITS = 2e-5


@dataclass
class Case:
    """An adapter that was exported: what the session says of it, and its folders."""

    base: Path
    bits: int | None
    logits: Tensor
    updates: dict[str, Tensor]
    folder: Path
    saved: Path
    notes: tuple[str, ...]
    line: str

    @property
    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "adapter_config.json").read_text())
        return found


def job_of(session: Session, name: str = "one", **options: Any) -> Job:
    state = session._state
    return Job(
        name=name,
        base=state.base,
        slots=state.slots,
        attached=None if name == "base" else state.attached[name],
        form=None,
        prompts=("What does a fox eat?",),
        options=Options(**options),
        say=print,
        format="peft",
    )


def naive(folder: Path) -> dict[str, Tensor]:
    """ΔW as a server reads it: (α/r)·B·A with the config's α and r, whatever else it says."""
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(str(folder / "adapter_model.safetensors"))
    scale, found = config["lora_alpha"] / config["r"], {}
    for key, down in tensors.items():
        path, lora, part = key.removeprefix("base_model.model.").partition(".lora_")
        if lora and part in ("A.weight", "embedding_A"):
            up = tensors[key.replace("_A", "_B")]
            found[path] = scale * (up.double() @ down.double())
    return found


# The kinds of adapters


def plain(session: Session) -> None:
    session.attach("one", rank=4, alpha=8, seed=1)
    perturb(session, "one")


def of(**flags: Any) -> Callable[[Session], None]:
    def make(session: Session) -> None:
        session.attach("one", seed=1, **flags)
        moved(session._state.attached["one"])

    return make


def eva(session: Session) -> None:
    session.attach("one", rank=2, init="eva")
    session.train("one", data=[{"prompt": "a b c", "completion": "d e"}] * 4, steps=2)


def pruned(session: Session) -> None:
    session.attach("one", method="adalora", rank=3, targets="q_proj,k_proj", seed=1)
    moved(session._state.attached["one"], 0.2)
    kept = {"q_proj": 3, "k_proj": 1}
    for path, layer in session._state.attached["one"].replacements.items():
        with torch.no_grad():
            layer.lora_E["default"][kept[path.rpartition(".")[2]] :] = 0


def blended(session: Session) -> None:
    for name, rank in (("a", 2), ("b", 5)):
        session.attach(name, rank=rank, alpha=7, targets="q_proj,down_proj")
        moved(session._state.attached[name], seed=rank)
    session.blend("one", {"a": 0.7, "b": -1.3})


def compressed(session: Session) -> None:
    session.attach("a", rank=8, rslora=True)
    moved(session._state.attached["a"])
    session.compress("a", energy=0.9, new="one")


#: bitsandbytes' 4 bits need inputs in whole blocks of 64.
WIDE = {"hidden_size": 64, "intermediate_size": 128}

#: Architecture, bits, and what makes the adapter.
KINDS: dict[str, tuple[str, int | None, Callable[[Session], None]]] = {
    "plain": ("llama", None, plain),
    "rslora": ("llama", None, of(rank=4, alpha=16, rslora=True, targets="all-linear")),
    "patterns": (
        "llama",
        None,
        of(rank=4, rank_pattern="q_proj=7,k_proj=2", alpha_pattern="v_proj=3", targets="attention"),
    ),
    "pissa": ("llama", None, of(rank=3, init="pissa", alpha=5)),
    "olora": ("llama", None, of(rank=3, init="olora", rslora=True)),
    "eva": ("llama", None, eva),
    "adalora": ("llama", None, pruned),
    "blend": ("llama", None, blended),
    "compress": ("llama", None, compressed),
    "embedding": ("llama", None, of(rank=3, alpha=9, targets="embed_tokens,q_proj")),
    "head": ("llama", None, of(rank=3, alpha=9, targets="lm_head,q_proj")),
    "tied": ("qwen2", None, of(rank=3, alpha=9, targets="embed_tokens,v_proj")),
    "conv1d": ("gpt2", None, of(rank=3, alpha=10, rslora=True, targets="c_attn,c_proj")),
    "wte": ("gpt2", None, of(rank=3, alpha=9, targets="wte,c_fc")),
    "loftq": ("llama", 4, of(rank=4, alpha=6, init="loftq", targets="all-linear")),
    "int8": ("llama", 8, of(rank=4, alpha=6)),
}

#: Methods that PEFT reads and servers do not, written as they are.
AS_THEY_ARE: dict[str, dict[str, Any]] = {
    "ia3": {"method": "ia3"},
    "prefix": {"method": "prefix", "virtual_tokens": 3},
    "prompt": {"method": "prompt", "virtual_tokens": 3},
}


@pytest.fixture(scope="module")
def cases(saved_model: Saver, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    room = tmp_path_factory.mktemp("exports")
    found: dict[str, Case] = {}
    kinds = {**KINDS, **{kind: ("llama", None, of(**flags)) for kind, flags in AS_THEY_ARE.items()}}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(room)
        for kind, (architecture, bits, make) in kinds.items():
            session = Session()
            base = saved_model(architecture, **(WIDE if bits else {}))
            session.load(str(base), bits=bits)
            make(session)
            found[kind] = exported(session, room / kind, base, bits)
            session.reset()
    return found


def exported(session: Session, room: Path, base: Path, bits: int | None) -> Case:
    job = job_of(session)
    attached = session._state.attached["one"]
    session.swap("one")
    folder = room / "export"
    folder.mkdir(parents=True)
    written = PeftFolder()
    written.refuse(job)
    notes = written.write(job, folder)
    actual = sum(file.stat().st_size for file in folder.iterdir())
    assert abs(written.bytes(job) - actual) < 10_000
    session.save("one", room / "saved")
    ((_, line),) = written.commands(job, folder)
    updates = {
        path: update.dense(torch.float64)
        for path, layer in attached.replacements.items()
        if path and (update := update_of(attached.originals[path], layer)) is not None
    }
    return Case(base, bits, logits(session), updates, folder, room / "saved", notes, line)


@pytest.fixture(scope="module")
def read(cases: dict[str, Case], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The logits that plain PEFT gives in another process, for all cases."""
    room = tmp_path_factory.mktemp("reader")
    given = {
        kind: (str(case.base), case.bits, str(case.folder), "" if case.bits else case.line)
        for kind, case in cases.items()
    }
    (room / "cases.json").write_text(json.dumps(given))
    command = [sys.executable, "-c", READER, str(room / "cases.json"), str(room / "found")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return load_file(str(room / "found"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_that_knows_r_and_alpha_alone_gets_the_sessions_update(
    kind: str, cases: dict[str, Case]
) -> None:
    case = cases[kind]
    found = naive(case.folder)
    assert found.keys() == case.updates.keys()
    tensors = load_file(str(case.folder / "adapter_model.safetensors"))
    for path, expected in case.updates.items():
        down, up = factors(tensors, path)
        # Each factor is rounded to float32 at most twice: in the session, and here.
        bound = 2 * 2.0**-23 * (up.double().abs() @ down.double().abs())
        assert bool(((found[path] - expected).abs() <= bound + 1e-12).all()), path
        assert float(expected.abs().max()) > 0


def factors(tensors: dict[str, Tensor], path: str) -> tuple[Tensor, Tensor]:
    start = f"base_model.model.{path}.lora_"
    if f"{start}A.weight" in tensors:
        return tensors[f"{start}A.weight"], tensors[f"{start}B.weight"]
    return tensors[f"{start}embedding_A"], tensors[f"{start}embedding_B"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_config_has_one_rank_and_no_scale(kind: str, cases: dict[str, Case]) -> None:
    case = cases[kind]
    config, tensors = case.config, load_file(str(case.folder / "adapter_model.safetensors"))
    assert config["lora_alpha"] == config["r"]
    assert not config["use_rslora"]
    assert not config["use_dora"]
    assert (config["rank_pattern"], config["alpha_pattern"]) == ({}, {})
    assert (config["bias"], config["modules_to_save"]) == ("none", None)
    assert config["inference_mode"]
    assert config["base_model_name_or_path"] == str(case.base)
    for path in case.updates:
        down, up = factors(tensors, path)
        assert down.shape[0] == up.shape[1] == config["r"]
        assert down.dtype == up.dtype == torch.float32
    assert len(tensors) == 2 * len(case.updates)


@pytest.mark.parametrize("kind", [*KINDS, *AS_THEY_ARE])
def test_plain_peft_in_another_process_gives_the_sessions_logits(
    kind: str, cases: dict[str, Case], read: dict[str, Tensor]
) -> None:
    difference = float((read[kind] - cases[kind].logits).abs().max())
    assert difference < LOGITS, difference


@pytest.mark.parametrize("kind", ["rslora", "patterns"])
def test_a_save_read_by_such_a_reader_is_another_adapter(kind: str, cases: dict[str, Case]) -> None:
    case = cases[kind]
    off = [
        float((update - case.updates[path]).norm() / case.updates[path].norm())
        for path, update in naive(case.saved).items()
    ]
    assert max(off) > 0.3


def test_the_notes_tell_what_became_of_the_adapter(cases: dict[str, Case]) -> None:
    assert "modules of rank 2 to 7 are padded with zeros to 7" in cases["patterns"].notes
    assert "half of the factors subtract the initialisation (pissa) from the base" in (
        cases["pissa"].notes
    )
    assert cases["pissa"].config["r"] == 6
    assert "P·Λ·Q is written as B·A, without the pruned ranks" in cases["adalora"].notes
    assert cases["adalora"].config["r"] == 3
    assert cases["blend"].config["r"] == 7
    assert "α = r = 4: every scale is in B" in cases["plain"].notes
    assert "prefix tuning: PEFT reads it, no server does" in cases["prefix"].notes


def test_conv1d_is_marked_as_stored_inputs_first(cases: dict[str, Case]) -> None:
    assert cases["conv1d"].config["fan_in_fan_out"]
    assert not cases["plain"].config["fan_in_fan_out"]


# Padding


def test_padding_to_a_rank_changes_no_update(session: Session, tmp_path: Path) -> None:
    session.attach("one", rank=3, alpha=10, targets="attention")
    moved(session._state.attached["one"])
    for rank in (3, 8, 40):  # 40 is more than k_proj has outputs
        folder = tmp_path / str(rank)
        folder.mkdir()
        PeftFolder().refuse(job_of(session, rank=rank))
        PeftFolder().write(job_of(session, rank=rank), folder)
        assert json.loads((folder / "adapter_config.json").read_text())["r"] == rank
    first, *others = (naive(tmp_path / str(rank)) for rank in (3, 8, 40))
    for other in others:
        assert all(bool((other[path] == first[path]).all()) for path in first)


@pytest.mark.parametrize(("rank", "way"), [(2, "compress one --rank 2"), (5000, "4 to 512")])
def test_a_rank_that_would_cut_or_that_no_server_takes_is_refused(
    rank: int, way: str, session: Session
) -> None:
    session.attach("one", rank=4)
    with pytest.raises(ExportError, match="the largest rank here is 4") as caught:
        PeftFolder().refuse(job_of(session, rank=rank))
    assert way in str(caught.value)


@pytest.mark.parametrize("rank", [0, -1, 2.5, "8", True])
def test_a_rank_is_a_whole_number(rank: Any, session: Session) -> None:
    session.attach("one", rank=4)
    with pytest.raises(ExportError, match="expected 4 to 512"):
        PeftFolder().refuse(job_of(session, rank=rank))


def test_virtual_tokens_have_no_rank(session: Session) -> None:
    session.attach("one", method="prefix", virtual_tokens=3)
    with pytest.raises(ExportError, match="prefix tuning has no rank to pad; omit --rank"):
        PeftFolder().refuse(job_of(session, rank=8))


# What is refused


@pytest.mark.parametrize(
    ("architecture", "flags", "reason", "ways"),
    [
        ("llama", {"dora": True, "rank": 2}, "DoRA", ("%lora compress one --rank 2", "merged")),
        ("gpt2", {"bias": "all", "rank": 2}, "train their own bias", ("merged",)),
        ("gpt2", {"dora": True, "bias": "all", "rank": 2}, "train their own bias", ("merged",)),
        ("llama", {"norms": True, "rank": 2}, "train their own weight", ("merged",)),
        ("llama", {"method": "full"}, "train their own weight", ("merged",)),
        ("gpt2", {"method": "bitfit"}, "train their own bias", ("merged",)),
        ("llama", {"method": "houlsby", "rank": 3}, "nonlinearity", ("%lora save one",)),
        ("llama", {"method": "adapter-l", "rank": 3}, "nonlinearity", ("%lora save one",)),
    ],
)
def test_what_is_more_than_factors_is_refused_with_the_line_to_type(
    architecture: str,
    flags: dict[str, Any],
    reason: str,
    ways: tuple[str, ...],
    saved_model: Saver,
) -> None:
    session = Session()
    session.load(str(saved_model(architecture)))
    session.attach("one", **flags)
    moved(session._state.attached["one"])
    with pytest.raises(ExportError) as caught:
        PeftFolder().refuse(job_of(session))
    session.reset()
    assert reason in str(caught.value)
    assert all(way in str(caught.value) for way in ways)
    assert "\n" not in str(caught.value)


def test_a_classifiers_head_is_refused(tmp_path: Path) -> None:
    session = Session()
    session.load(saved(tiny_classifier("llama"), tmp_path / "labels"), task="classification")
    session.attach("one", rank=2)
    with pytest.raises(ExportError, match=r"head is trained in full.*%lora export one --to merged"):
        PeftFolder().refuse(job_of(session))
    session.reset()


def test_the_base_alone_is_refused(session: Session) -> None:
    with pytest.raises(ExportError, match="%lora export base --to merged"):
        PeftFolder().refuse(job_of(session, "base"))


def test_nan_is_refused(session: Session) -> None:
    session.attach("one", rank=2)
    perturb(session, "one", size=math.nan)
    with pytest.raises(ExportError, match=r"NaN or infinity in model\.layers\.0.*detach one"):
        PeftFolder().refuse(job_of(session))


def test_a_live_base_is_named_and_told() -> None:
    session = Session()
    session.use(tiny_model(), tiny_tokenizer())
    session.attach("one", rank=2)
    folder = Path("live")
    folder.mkdir()
    notes = PeftFolder().write(job_of(session), folder)
    assert any("live object: pass it to PEFT yourself" in note for note in notes)
    ((_, line),) = PeftFolder().commands(job_of(session), folder)
    assert line == f"PeftModel.from_pretrained(model, {str(folder.resolve())!r})"
    session.reset()


# The whole verb


def test_a_live_base_is_read_from_a_temporary_copy_while_it_is_merged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read_here(monkeypatch)
    session = Session()
    session.use(tiny_model(), tiny_tokenizer(chat=True))
    session.attach("one", rank=3, init="pissa")
    moved(session._state.attached["one"])
    session.merge("one")
    made = session.export("one", to="vllm", prompts=["What does a fox eat?"])
    assert made.check is not None
    assert made.check.reader.startswith("peft ")
    assert made.check.same == 1
    assert made.check.difference < made.check.limit < 1e-4
    (note,) = made.check.notes
    assert note.startswith("the base, a live object, was read from a temporary copy (")
    assert session.merged == "one"
    assert session.verify()
    session.reset()


def test_virtual_tokens_are_read_by_forward_passes(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_here(monkeypatch)
    session.attach("one", method="prompt", virtual_tokens=3)
    moved(session._state.attached["one"], 0.5)
    made = session.export("one", "elsewhere", to="peft", prompts=["What does a fox eat?"])
    assert made.check is not None
    assert made.check.same == 1
    # A release of PEFT whose generate() works has no such note.
    assert all("PEFT's own generate()" in note for note in made.check.notes)
    with pytest.raises(ExportError, match="prompt tuning changes no weight"):
        session.export("one", to="vllm")


def test_a_quantised_base_is_quantised_by_the_reader_too(
    saved_model: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_here(monkeypatch)
    session = Session()
    session.load(str(saved_model(**WIDE)), bits=4)
    session.attach("one", rank=2, init="loftq")
    moved(session._state.attached["one"])
    made = session.export("one", to="peft", prompts=["What does a fox eat?"])
    assert made.check is not None
    assert made.check.same == 1
    assert made.check.worst <= made.check.limit < 1e-4
    session.reset()


def test_a_file_without_its_scale_is_refused_and_leaves_nothing(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_here(monkeypatch)
    session.attach("one", rank=4, alpha=32)
    perturb(session, "one", 0.3)
    padded = plain_lora.padded

    def unscaled(update: LowRank, rank: int) -> tuple[Tensor, Tensor]:
        return padded(LowRank(update.down, update.up, 1.0), rank)

    monkeypatch.setattr(plain_lora, "padded", unscaled)
    with pytest.raises(ExportError, match="differs from this notebook"):
        session.export("one", to="peft", prompts=["What does a fox eat?"])
    assert not list(Path(".lora_magic").rglob("adapter_*"))
    assert session.verify()


def test_dora_is_refused_with_lines_that_work(session: Session) -> None:
    session.attach("one", rank=2, dora=True)
    moved(session._state.attached["one"])
    with pytest.raises(ExportError, match="so its ΔW is not a product of two factors"):
        session.export("one", to="peft")
    assert not Path(".lora_magic/exports").exists()


def test_a_rank_that_is_too_small_is_refused_with_a_line_that_works(session: Session) -> None:
    session.attach("one", rank=2)
    moved(session._state.attached["one"])
    with pytest.raises(ExportError, match="%lora compress one --rank 1"):
        session.export("one", to="peft", rank=1)
    assert not Path(".lora_magic/exports").exists()
