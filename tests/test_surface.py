"""The surface is frozen: verbs, flags, public names and frame columns. A change is a decision.

Whoever changes the surface changes these tables in the same commit, and design.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import lora_magic
from lora_magic.magics.verbs import VERBS
from lora_magic.state.doctor import Examination, Finding
from lora_magic.state.session import Session
from lora_magic.training.forgetting import ReadText, TextForgetting
from tests.classifiers import saved, tiny_of

NAMES = """
    Adapter AdapterSpec Board Comparison CostPlan Evaluation Lens LoraMagicError MergeReport
    RunSummary Session Similarity Spectrum Sweep TrainSpec Votes session
"""

#: Verb → its words, then its flags. Every cell with a body also takes --out.
SURFACE = {
    "plan": "MODEL --bits --4bit --dtype --task --labels --trust-remote-code --method --rank"
    " --alpha --targets --init --rslora --dora --bias --norms --rank-pattern --virtual-tokens --for"
    " --batch-size --max-length --optimizer --checkpointing --tokens --trained-tokens --tasks --gpu"
    " --price",
    "load": "MODEL --bits --4bit --dtype --device --task --labels --home --trust-remote-code"
    " --replace",
    "use": "VAR TOKENIZER --replace",
    "attach": "NAME --method --rank --alpha --dropout --targets --init --rslora --dora --bias"
    " --norms --rank-pattern --alpha-pattern --virtual-tokens --for --seed --replace",
    "detach": "NAME --discard",
    "data": "NAME --format",
    "preview": "NAME --data --columns --map --format --skip-bad --max-length --eval --template"
    " --system --rows",
    "train": "NAME --data --columns --map --format --skip-bad --epochs --steps --minutes --patience"
    " --lr --schedule --warmup --batch-size --max-length --eval --seed --lora-plus --optimizer"
    " --beta --guard --replay --plain-step --checkpointing --template --system --report-to"
    " --continue --resume --checkpoint-every --workers --engine --address --fsdp",
    "sweep": "NAME --data --columns --map --format --skip-bad --method --rank --alpha --dropout"
    " --targets --init --rslora --dora --bias --norms --rank-pattern --alpha-pattern"
    " --virtual-tokens --for --seed --lr --schedule --warmup --lora-plus --optimizer --seeds"
    " --epochs --steps --minutes --patience --batch-size --max-length --eval --beta --checkpointing"
    " --template --system --no-halving --finish --resume --replace --workers --engine --address",
    "swap": "NAME",
    "ask": "--data --column --mix --messages --max-new-tokens --temperature --top-p --seed",
    "compare": "--adapters --data --column --blind --scores --mix --max-new-tokens --temperature"
    " --top-p --seed",
    "evaluate": "ADAPTERS --data --columns --map --format --skip-bad --metric --rows --mix"
    " --max-new-tokens --temperature --top-p --seed --workers --engine --address",
    "status": "",
    "history": "NAME --all",
    "board": "NAME --sort",
    "doctor": "--report",
    "ratio": "NAME --method --rank --targets --virtual-tokens --matrix --model",
    "spectrum": "NAME --module --measure --intruders",
    "similarity": "NAME --module --side",
    "lens": "NAME --data --column --seed",
    "panel": "VIEW",
    "merge": "NAME --check",
    "unmerge": "",
    "blend": "NEW WEIGHTS --method --rank --density --seed --replace",
    "compress": "NAME NEW --rank --energy --budget --remove-intruders --data --columns --map"
    " --format --skip-bad --rows --replace",
    "save": "NAME FOLDER",
    "open": "FOLDER NAME --allow-other-base --replace",
    "export": "NAME FOLDER --to --quantise --adapter-only --rank --prompts --unchecked --replace"
    " --push --public --yes",
    "script": "NAME FILE --notebook --replace",
    "serve": "--port --token --no-token --stop",
    "verify": "--quick",
    "reset": "",
}

#: Result → the columns of its frame.
FRAMES = {
    "comparison": "prompt adapter text tokens seconds batched first_logit_change",
    "scores": "prompt answer_of adapter position token log_probability",
    "scores summary": "prompt answer_of adapter tokens log_probability perplexity",
    "answers": "prompt adapter answer tokens finished",
    "labelled answers": "prompt adapter label probability",
    "classification": "prompt adapter label probability chosen",
    "prediction": "prompt adapter label probability chosen",
    "evaluation": "adapter row prompt answer reference metric value",
    "evaluation summary": "adapter metric mean low high rows",
    "evaluation differences": "metric first second difference low high p holm more_than_noise",
    "confusion": "adapter label predicted rows",
    "spectrum": "adapter module index sigma",
    "spectrum summary": "adapter module rank effective_rank stable_rank energy_90 sigma_1 norm"
    " note relative_norm intruders",
    "lens": "adapter reading token word score rank layer",
    "similarity": "first second module i j phi chance",
    "similarity summary": "first second module rank_first rank_second phi_1 chance_1 i j phi chance"
    " cosine degrees note",
    "similarity at": "first second module i j phi chance",
    "angles": "first second module cosine degrees relative_norm_first relative_norm_second",
    "amplification": "adapter module rank in_change in_own in_random change weight factor",
    "intruders": "adapter module index cosine intruder",
    "removed intruders": "module intruders left relative_norm norm error",
    "ratio": "module outputs inputs rank formula trainable",
    "plan": "way part bytes",
    "merge": "module relative_change lost_to_rounding bytes",
    "compress": "module rank_before rank_after norm error",
    "compress by rank": "rank error worst_error worst_module",
    "ranks on rows": "rank parameters lost loss excess low high share_of_gain same_answers",
    "ranks of modules": "module rank shared",
    "one matrix": "part rows columns parameters",
    "training": "step loss",
    "inside a run": "step module measure index value",
    "several adapters": "adapter steps planned_steps ended best_step learning_rate first_loss"
    " last_loss held_out_before held_out_after seconds",
    "preview": "row position token id trained special",
    "forgetting": "prompt base adapter base_right right base_subject subject",
    "forgetting by text": "text tokens base_loss loss",
    "rates": "rate loss",
    "sweep": "arm seed rank lr method targets parameters steps held_out seconds state",
    "doctor": "part check state found advice",
    "history": "session number when verb adapter state method rank spec parents data rows held_out"
    " steps loss held_out_loss seed seconds result base fingerprint workers engine",
    "board": "adapter method rank parameters bytes steps data held_out base_held_out gain subject"
    " truth guard seconds when saved",
    "votes": "prompt left right vote",
    "answers voted on": "prompt left right",
    "votes summary": "winner other wins losses ties both_bad identical rate low high p more",
    "two runs": "part field first second",
    "accuracy": "label right total accuracy",
}


def test_the_public_names() -> None:
    assert sorted(lora_magic.__all__) == sorted(NAMES.split())
    assert all(hasattr(lora_magic, name) for name in lora_magic.__all__)


def test_the_verbs_and_their_flags() -> None:
    offered = {
        verb.name: _arguments(argument.name for argument in verb.arguments)
        for verb in VERBS.values()
    }
    assert offered == {verb: _arguments(names.split()) for verb, names in SURFACE.items()}


def _arguments(names: Iterable[str]) -> tuple[list[str], set[str]]:
    """Words in their order, flags in any."""
    listed = list(names)
    words = [name for name in listed if not name.startswith("--")]
    return words, set(listed) - set(words)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The frame of every result that has one, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("home"))
        return {**_of_a_language_model(), **_of_a_classifier(tmp_path_factory.mktemp("base"))}


#: A sweep of two short arms.
_TINY: dict[str, Any] = {"rank": [1, 2], "steps": 1, "eval": 8, "batch_size": 2}


def _of_a_language_model() -> dict[str, Any]:
    session = Session()
    session.load("demo")
    session.attach("pirate", rank=2)
    rates = session.train("pirate", text="What? => Arr!", lr="find")
    training: Any = session.train("pirate", text="What? => Arr!", steps=2)
    session.attach("calm", rank=4)
    session.train("calm", text="What? => Hm.", steps=1)
    several: Any = session.train("calm,pirate", text="What? => Arr!", steps=1)
    sweep = session.sweep("best", [(f"Where is {at}?", "Arr!") for at in range(12)], **_TINY)
    spectrum = session.spectrum("pirate")
    compression: Any = session.compress("pirate")
    ranks: Any = session.compress("pirate", text="What? => Arr!")
    removed: Any = session.compress("pirate", "less", remove_intruders=True)
    session.detach("less", discard=True)
    similarity, alone = session.similarity("pirate,calm"), session.similarity("pirate")
    ballot: Any = session.compare("Hi", adapters="calm,pirate", blind=True, max_new_tokens=2)
    votes = _voted(ballot)
    scored: Any = session.compare("What does a fox eat?", max_new_tokens=2, scores=True)
    evaluation = session.evaluate("pirate", text="What? => Arr!", max_new_tokens=2)
    frames = {
        "comparison": scored.to_frame(),
        "scores": scored.scores.to_frame(),
        "scores summary": scored.scores.summary(),
        "answers": session.ask(data=["What does a fox eat?"], max_new_tokens=2).to_frame(),
        "evaluation": evaluation.to_frame(),
        "evaluation summary": evaluation.summary(),
        "evaluation differences": evaluation.differences(),
        "spectrum": spectrum.to_frame(),
        "spectrum summary": spectrum.summary(),
        "lens": session.lens("pirate", data=["What does a fox eat?"]).to_frame(),
        "similarity": similarity.to_frame(),
        "similarity summary": similarity.summary(),
        "similarity at": similarity.at(1, 1),
        "angles": similarity.angles(),
        "amplification": alone.amplification(),
        "intruders": alone.intruders(),
        "removed intruders": removed.to_frame(),
        "ratio": session.ratio("pirate").to_frame(),
        "plan": session.plan().to_frame(),
        "compress": compression.to_frame(),
        "compress by rank": compression.by_rank(),
        "ranks on rows": ranks.to_frame(),
        "ranks of modules": ranks.by_module(),
        "one matrix": session.ratio(matrix="8x8").to_frame(),
        "training": training.to_frame(),
        "inside a run": training.inside.to_frame(),
        "several adapters": several.to_frame(),
        "history": session.history().to_frame(),
        "board": session.board().to_frame(),
        "votes": votes.to_frame(),
        "answers voted on": votes.answers,
        "votes summary": votes.summary(),
        "two runs": session.history("pirate,calm").to_frame(),
        "preview": session.preview("pirate", text="What? => Arr!").to_frame(),
        "forgetting": training.forgetting.to_frame(),
        "forgetting by text": TextForgetting.of([ReadText("a b", 1, 2.0, 3.0)]).to_frame(),
        "rates": rates.to_frame(),
        "sweep": sweep.to_frame(),
        "doctor": Examination((Finding("machine", "memory", "ok", "4 GB free"),), 1.0).to_frame(),
        "merge": session.merge("pirate").to_frame(),
    }
    session.reset()
    return frames


def _voted(ballot: Any) -> Any:
    while not ballot.done:
        ballot.vote("left")
    return ballot.result()


def _of_a_classifier(folder: Path) -> dict[str, Any]:
    session = Session()
    session.load(
        saved(tiny_of("causal", "llama"), folder), task="classification", labels="day,night"
    )
    session.attach("sky", rank=2, targets="attention")
    rows = "The sun => day\nA moon => night\nMy sun => day\nMy moon => night"
    accuracy = session.train("sky", text=rows, steps=2, eval=2).accuracy_after
    assert accuracy is not None
    frames = {
        "classification": session.compare("The sun").to_frame(),
        "labelled answers": session.ask(data=["The sun"]).to_frame(),
        "prediction": session.ask("The sun").to_frame(),
        "confusion": session.evaluate("sky", text="The sun => day").confusion(),
        "accuracy": accuracy.to_frame(),
    }
    session.reset()
    return frames


@pytest.mark.parametrize("result", FRAMES)
def test_the_columns_of_its_frame(result: str, frames: dict[str, Any]) -> None:
    assert " ".join(frames[result].columns) == FRAMES[result]
    assert len(frames[result]) > 0


def test_every_frame_is_frozen(frames: dict[str, Any]) -> None:
    assert set(frames) == set(FRAMES)
