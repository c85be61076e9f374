"""The undocumented parts of libraries that the code relies on, each by name.

A release that changes one of these fails here first, with the name, the file and the purpose. The
code tests some others itself, so they are not listed: what a forward calls its cache, whether a
method runs on a base (`adapters/trial.py`), whether bitsandbytes misreads a layer
(`base/bitsandbytes_patches.py`).
"""

from __future__ import annotations

import ast
import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipykernel
import pytest
import torch
from torch import nn

from tests.tiny import tiny_model

PACKAGE = Path(__file__).parent.parent / "lora_magic"
LIBRARIES = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "bitsandbytes",
    "safetensors",
    "huggingface_hub",
    "IPython",
    "ipykernel",
    "ipywidgets",
    "plotly",
)


@dataclass(frozen=True)
class Reliance:
    """One dependency: library, name, the file that uses it, its purpose, and a check."""

    library: str
    name: str
    where: str
    what_for: str
    holds: Callable[[], bool]


# The checks


def open_connections_are_counted() -> bool:
    from tornado.httpserver import HTTPServer

    return HTTPServer(lambda request: None)._connections == set()


def default_callbacks_can_be_left_out() -> bool:
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from lora_magic.scale.ray.group import _UNUSED

    made = TorchTrainer(print, scaling_config=ScalingConfig(num_workers=1), run_config=RunConfig())
    return {type(one).__name__ for one in made._create_default_callbacks()} >= set(_UNUSED)


def blocks_are_named() -> bool:
    return set(tiny_model("llama")._no_split_modules) == {"LlamaDecoderLayer"}  # type: ignore[arg-type]


def rotations_are_functions() -> bool:
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    return callable(ROPE_INIT_FUNCTIONS["llama3"])


def trainer(name: str) -> Callable[[], bool]:
    """Does the Trainer have this method, so that ours overrides it?"""

    def holds() -> bool:
        from transformers import Trainer

        return callable(getattr(Trainer, name, None))

    return holds


def peft_refuses_or_adapts_mamba() -> bool:
    from peft import LoraConfig
    from peft.tuners import tuners_utils

    check = getattr(tuners_utils, "_check_lora_target_modules_mamba", None)
    if check is None:
        return True
    model = tiny_model(architecture="llama")
    return check(LoraConfig(target_modules=["q_proj"]), model, "q_proj") is None


def states_are_shared() -> bool:
    from accelerate.state import AcceleratorState, GradientState, PartialState

    states = (PartialState, AcceleratorState, GradientState)
    return all(isinstance(state._shared_state, dict) for state in states)


def one_gpu_can_be_set() -> bool:
    from transformers import TrainingArguments

    arguments = TrainingArguments(output_dir="x", use_cpu=True, report_to=[])
    assert arguments.n_gpu is not None  # this access sets the private one
    arguments._n_gpu = 7
    return bool(arguments.n_gpu == 7)


def loss_kwargs_are_read() -> bool:
    from transformers import Trainer

    return "model_accepts_loss_kwargs" in inspect.getsource(Trainer)


def adapters_are_recognised() -> bool:
    """A quantised model is refused by the Trainer unless it has adapters, by this flag."""
    from transformers import trainer, trainer_utils

    sources = [inspect.getsource(module) for module in (trainer, trainer_utils)]
    return any("_hf_peft_config_loaded" in source for source in sources)


def logits_can_be_limited_to_the_last() -> bool:
    """Only memory depends on it: without it all logits are computed, and the last one read."""
    model: Any = tiny_model("llama")
    with torch.no_grad():
        return bool(
            model(torch.zeros(1, 4, dtype=torch.long), logits_to_keep=1).logits.shape[1] == 1
        )


def a_compiled_forward_is_marked() -> bool:
    layer = nn.Linear(2, 2)
    layer.forward = torch.compile(layer.forward, backend="eager")  # type: ignore[method-assign]
    return hasattr(layer.forward, "_torchdynamo_orig_callable")


def compiled_modules_are_marked() -> bool:
    layer = nn.Linear(2, 2)
    before = "_compiled_call_impl" in vars(layer) and vars(layer)["_compiled_call_impl"] is not None
    outside = torch.compile(layer, backend="eager")
    layer.compile(backend="eager")
    inside = vars(layer).get("_compiled_call_impl") is not None
    return not before and inside and isinstance(outside._modules["_orig_mod"], nn.Linear)


def renames_are_listed() -> bool:
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming, rename_source_key

    changes = [WeightRenaming("^old", "new")]
    assert isinstance(get_model_conversion_mapping(tiny_model("llama")), list)
    return str(rename_source_key("old.weight", changes, [], "model", {})[0]) == "new.weight"


def hooks_are_found() -> bool:
    from torch.nn.modules import module as modules

    layer = nn.Linear(2, 2)
    handles = [
        layer.register_forward_pre_hook(lambda *_: None),
        layer.register_forward_hook(lambda *_: None),
        layer.register_full_backward_hook(lambda *_: None),
        layer.register_full_backward_pre_hook(lambda *_: None),
    ]
    tables = ("_forward_pre_hooks", "_forward_hooks", "_backward_hooks", "_backward_pre_hooks")
    found = [len(getattr(layer, table)) == 1 for table in tables]
    for handle in handles:
        handle.remove()
    everywhere = modules.register_module_forward_hook(lambda *_: None)
    found.append(bool(modules._has_any_global_hook()))
    everywhere.remove()
    return all(found) and not modules._has_any_global_hook()


def hooks_on_saved_tensors_are_found() -> bool:
    top = torch._C._autograd._top_saved_tensors_default_hooks
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x):
        inside = top(True)
    return inside is not None and top(True) is None


def lists_are_copied_and_outputs_are_no_views() -> bool:
    copies = [torch.zeros(2, 3)]
    torch._foreach_copy_(copies, [torch.ones(2, 3)])
    x = torch.ones(6)
    return bool(copies[0].all()) and not torch.ops.aten._unsafe_view(x, (2, 3))._is_view()


def norms_of_a_list_are_wide() -> bool:
    (norm,) = torch._foreach_norm([torch.tensor([3.0, 4.0])], 2, torch.float64)
    return norm.dtype == torch.float64 and float(norm) == 5


def frames_of_threads_are_found() -> bool:
    return sys._current_frames()[threading.get_ident()] is inspect.currentframe()


def attention_comes_from_a_table() -> bool:
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    model: Any = tiny_model("llama")
    called: list[int] = []

    def attend(module: Any, query: Any, *rest: Any, **more: Any) -> Any:
        called.append(1)
        return query.transpose(1, 2), None

    AttentionInterface.register("tests_only", attend)
    AttentionMaskInterface.register("tests_only", lambda *_, **__: None)
    model.config._attn_implementation = "tests_only"
    model(torch.zeros(1, 4, dtype=torch.long))
    return bool(called)


def notebook_callback_exists() -> bool:
    from transformers.trainer import DEFAULT_PROGRESS_CALLBACK

    return isinstance(DEFAULT_PROGRESS_CALLBACK, type)


def wrapped(**options: Any) -> Any:
    """A captured layer of PEFT's, and its wrapper."""
    import peft

    kind = options.pop("kind", peft.LoraConfig)
    config = kind(target_modules=["q_proj"], task_type="CAUSAL_LM", **options)
    wrapper = peft.get_peft_model(tiny_model("llama"), config)
    return wrapper, wrapper.base_model.model.model.layers[0].self_attn.q_proj


def lora_has_its_layout() -> bool:
    _, layer = wrapped(r=2, lora_alpha=6)
    parts = layer.lora_A["default"].weight.shape, layer.lora_B["default"].weight.shape
    return parts == ((2, 32), (32, 2)) and layer.scaling["default"] == 3 and layer.r["default"] == 2


def dora_has_its_layout() -> bool:
    _, layer = wrapped(r=2, use_dora=True)
    magnitude = layer.lora_magnitude_vector["default"]
    return {"base_layer", "lora_A", "lora_B", "scaling"} <= set(
        inspect.signature(magnitude.update_layer).parameters
    )


def adalora_has_its_layout() -> bool:
    import peft

    wrapper, layer = wrapped(kind=peft.AdaLoraConfig, init_r=3, target_r=2, total_step=50)
    allocator = peft.tuners.adalora.layer.RankAllocator
    allocator(wrapper.model, wrapper.peft_config["default"], "default")
    parameters = inspect.signature(allocator.update_and_allocate).parameters
    ready = callable(allocator.mask_using_rank_pattern) and "force_mask" in parameters
    return ready and layer.lora_E["default"].shape == (3, 1) and "default" in layer.ranknum


def ia3_has_its_layout() -> bool:
    import peft

    _, layer = wrapped(kind=peft.IA3Config, feedforward_modules=[])
    return layer.ia3_l["default"].shape == (32, 1) and layer.is_feedforward is False


def targets_are_listed() -> bool:
    wrapper, _ = wrapped(r=2)
    named: list[str] = wrapper.base_model.targeted_module_names
    return len(named) == 2 and named[0].endswith("q_proj")


def a_config_is_left_on_the_base() -> bool:
    wrapper, _ = wrapped(r=2)
    return "peft_config" in vars(wrapper.base_model.model)


def ia3_targets_are_listed() -> bool:
    import peft

    table = peft.utils.constants.TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING
    return bool(table["llama"] == ["k_proj", "v_proj", "down_proj"])


def layers_are_known_by_class() -> bool:
    import peft

    return isinstance(wrapped(r=2)[1], peft.tuners.tuners_utils.BaseTunerLayer)


def eva_takes_functions() -> bool:
    import peft

    parameters = set(inspect.signature(peft.get_eva_state_dict).parameters)
    return {"prepare_model_inputs_fn", "prepare_layer_inputs_fn"} <= parameters


def packed() -> Any:
    import bitsandbytes

    layer = bitsandbytes.nn.Linear4bit(64, 64, compress_statistics=True, quant_type="nf4")
    return layer.to("cpu")


def packed_weights_have_their_state() -> bool:
    state = packed().weight.quant_state
    inner = state.state2
    parts = (state.absmax, state.code, state.offset, inner.absmax, inner.code)
    return all(isinstance(part, torch.Tensor) for part in parts) and len(state.shape) == 2


def repacking_can_be_disabled() -> bool:
    """Without this switch, an eval forward on some CPUs makes 4-bit weights unreadable for good."""
    from bitsandbytes.nn import modules

    source = inspect.getsource(modules)
    return "support_avx512bf16_for_cpu" in source and "packing_format_for_cpu" in source


def eight_bits_have_their_scales() -> bool:
    import bitsandbytes

    layer = bitsandbytes.nn.Linear8bitLt(64, 64, has_fp16_weights=False).to("cpu")
    place = layer.state if layer.state.SCB is not None else layer.weight
    return isinstance(place.SCB, torch.Tensor) and layer.weight.dtype == torch.int8


def allocations_are_profiled() -> bool:
    from lora_magic.training.peak import _profiled

    risen = _profiled(torch.device("cpu"))
    made = torch.zeros(1000, dtype=torch.float32)
    return risen is not None and risen() >= made.nbytes


def paged_optimizers_exist() -> bool:
    import bitsandbytes

    return all(hasattr(bitsandbytes.optim, f"PagedAdamW{bits}bit") for bits in (8, 32))


def module_tables_are_dicts() -> bool:
    module = nn.LayerNorm(2)
    tables = (module._modules, module._parameters, module._buffers, module._forward_hooks)
    return all(isinstance(table, dict) for table in tables)


def versions_count_writes() -> bool:
    tensor = torch.zeros(1)
    before = tensor._version
    tensor.add_(1)
    return tensor._version == before + 1


def comm_messages_reach_a_known_shell() -> bool:
    """If ipykernel routes comm messages to subshells, this name is the function that chooses."""
    from ipykernel.comm import Comm
    from ipykernel.kernelbase import Kernel

    subshells = hasattr(Kernel, "_supports_kernel_subshells")
    return subshells == (int(ipykernel.__version__.partition(".")[0]) >= 7) and (
        subshells or not hasattr(Comm, "_reply_subshell_for")
    )


def stdin_is_announced() -> bool:
    from ipykernel.kernelbase import Kernel

    return "_allow_stdin" in vars(Kernel)


def subshells_have_a_manager() -> bool:
    try:
        from ipykernel.subshell_manager import SubshellManager
    except ImportError:  # before ipykernel 7 there are no subshells, and none are used
        return True
    from ipykernel import shellchannel

    source = inspect.getsource(shellchannel)
    return "_manager" in source and callable(SubshellManager.list_subshell)


def lines_can_be_joined() -> bool:
    from IPython.core import inputtransformer2 as it

    joined = it.assemble_continued_line(["a \\\n", "b\n"], (0, 0), 1)
    return joined == "a  b" and it.find_end_of_continued_line(["a \\\n", "b\n"], 0) == 1


def transforms_have_priorities() -> bool:
    from IPython.core.inputtransformer2 import HelpEnd, MagicAssign, TokenTransformBase

    return HelpEnd.priority == 5 and MagicAssign.priority == TokenTransformBase.priority == 10


def completers_are_lists() -> bool:
    from IPython.core import completer

    new = hasattr(completer, "context_matcher")
    source = inspect.getsource(completer)
    return "custom_matchers" in source if new else "magic_arg_matchers" in source


def history_is_recorded() -> bool:
    from IPython.core.history import HistoryManager

    return {"input_hist_parsed", "input_hist_raw"} <= set(dir(HistoryManager))


def the_router_can_be_removed() -> bool:
    from IPython.core.magic import MagicsManager

    return {"magics", "registry"} <= set(dir(MagicsManager))


RELIANCES = [
    Reliance(
        "torch", "_modules", "adapters/slots.py", "a slot is a dict entry", module_tables_are_dicts
    ),
    Reliance(
        "tornado",
        "_connections",
        "serving/server.py",
        "more connections than a kernel has files for are refused",
        open_connections_are_counted,
    ),
    Reliance(
        "ray",
        "_create_default_callbacks",
        "scale/ray/group.py",
        "no actor stays on the cluster after a driver that was killed, none is started in vain",
        default_callbacks_can_be_left_out,
    ),
    Reliance(
        "transformers",
        "_no_split_modules",
        "scale/fsdp.py",
        "the blocks that are gathered one at a time; a model without names is refused",
        blocks_are_named,
    ),
    Reliance(
        "transformers",
        "modeling_rope_utils, ROPE_INIT_FUNCTIONS",
        "export/gguf/architectures.py",
        "the factors of llama3's rotation, which a GGUF file holds",
        rotations_are_functions,
    ),
    Reliance("torch", "_parameters", "adapters/merge.py", "likewise", module_tables_are_dicts),
    Reliance("torch", "_buffers", "base/fingerprint.py", "likewise", module_tables_are_dicts),
    Reliance(
        "torch", "_forward_hooks", "adapters/bridge/capture.py", "likewise", module_tables_are_dicts
    ),
    Reliance("torch", "_version", "base/fingerprint.py", "verify --quick", versions_count_writes),
    Reliance(
        "torch",
        "_forward_pre_hooks, _backward_hooks, _backward_pre_hooks, _has_any_global_hook",
        "adapters/fused.py",
        "a layer with hooks inside keeps its own forward",
        hooks_are_found,
    ),
    Reliance(
        "torch",
        "_C, _autograd, _top_saved_tensors_default_hooks",
        "adapters/fused.py",
        "layers that are checkpointed are computed alone",
        hooks_on_saved_tensors_are_found,
    ),
    Reliance(
        "torch",
        "_foreach_copy_, _unsafe_view",
        "lowrank/blocks.py",
        "factors are copied at once; an output may be changed in place",
        lists_are_copied_and_outputs_are_no_views,
    ),
    Reliance(
        "torch",
        "_foreach_norm",
        "state/inside_run.py",
        "the norms of many gradients at once",
        norms_of_a_list_are_wide,
    ),
    Reliance(
        "Python",
        "_current_frames",
        "interrupts.py",
        "whether a block that has a time limit still runs",
        frames_of_threads_are_found,
    ),
    Reliance(
        "transformers",
        "_attn_implementation, masking_utils",
        "training/documents.py",
        "attention one document at a time",
        attention_comes_from_a_table,
    ),
    Reliance(
        "torch",
        "_torchdynamo_orig_callable",
        "base/live.py",
        "a compiled forward is refused",
        a_compiled_forward_is_marked,
    ),
    Reliance(
        "torch",
        "_orig_mod, _compiled_call_impl",
        "base/live.py",
        "a compiled module is refused",
        compiled_modules_are_marked,
    ),
    *(
        Reliance("transformers", name, "training/trainer.py", "overridden", trainer(name))
        for name in (
            "_move_model_to_device",
            "_get_train_sampler",
            "floating_point_ops",
            "compute_loss",
            "training_step",
        )
    ),
    Reliance("transformers", "_n_gpu", "training/trainer.py", "one device", one_gpu_can_be_set),
    Reliance(
        "transformers",
        "model_accepts_loss_kwargs",
        "training/trainer.py",
        "a classifier's loss is a mean",
        loss_kwargs_are_read,
    ),
    Reliance(
        "transformers",
        "_hf_peft_config_loaded",
        "training/trainer.py",
        "a quantised base is trained",
        adapters_are_recognised,
    ),
    Reliance(
        "transformers",
        "logits_to_keep",
        "compare/generate.py",
        "memory of the first logits",
        logits_can_be_limited_to_the_last,
    ),
    Reliance(
        "transformers",
        "conversion_mapping, core_model_loading",
        "base/weight_files.py",
        "LoftQ's unquantised weights",
        renames_are_listed,
    ),
    Reliance(
        "transformers",
        "DEFAULT_PROGRESS_CALLBACK",
        "training/trainer.py",
        "no second progress table",
        notebook_callback_exists,
    ),
    Reliance(
        "peft",
        "_check_lora_target_modules_mamba",
        "adapters/bridge/configs.py",
        "asked what it refuses, where it exists",
        peft_refuses_or_adapts_mamba,
    ),
    Reliance(
        "accelerate", "state, _shared_state", "training/trainer.py", "restored", states_are_shared
    ),
    Reliance("peft", "lora_A, lora_B, scaling, r", "adapters/delta.py", "ΔW", lora_has_its_layout),
    Reliance(
        "peft",
        "lora_magnitude_vector",
        "adapters/build.py",
        "DoRA's magnitude",
        dora_has_its_layout,
    ),
    Reliance(
        "peft",
        "lora_E, RankAllocator",
        "adapters/bridge/runs.py",
        "AdaLoRA",
        adalora_has_its_layout,
    ),
    Reliance("peft", "ia3_l", "adapters/delta.py", "(IA)³'s ΔW", ia3_has_its_layout),
    Reliance("peft", "targeted_module_names", "adapters/build.py", "targets", targets_are_listed),
    Reliance(
        "peft",
        "peft_config on the base",
        "adapters/bridge/capture.py",
        "removed",
        a_config_is_left_on_the_base,
    ),
    Reliance(
        "peft", "utils.constants", "adapters/bridge/configs.py", "(IA)³", ia3_targets_are_listed
    ),
    Reliance(
        "peft",
        "tuners_utils.BaseTunerLayer",
        "adapters/bridge/unwrap.py",
        "use",
        layers_are_known_by_class,
    ),
    Reliance(
        "peft",
        "get_eva_state_dict",
        "adapters/bridge/runs.py",
        "EVA's initialisation",
        eva_takes_functions,
    ),
    Reliance(
        "bitsandbytes", "quant_state", "base/quantise.py", "4 bits", packed_weights_have_their_state
    ),
    Reliance("bitsandbytes", "SCB", "base/quantise.py", "8 bits", eight_bits_have_their_scales),
    Reliance(
        "bitsandbytes",
        "support_avx512bf16_for_cpu",
        "base/bitsandbytes_patches.py",
        "weights stay readable",
        repacking_can_be_disabled,
    ),
    Reliance(
        "torch",
        "_prepare_profiler, _enable_profiler, _disable_profiler, _profiler_enabled, _profiler",
        "training/peak.py",
        "a run's measured peak on a CPU",
        allocations_are_profiled,
    ),
    Reliance(
        "bitsandbytes", "PagedAdamW", "base/quantise.py", "--optimizer", paged_optimizers_exist
    ),
    Reliance(
        "ipykernel", "_allow_stdin", "magics/show.py", "can a user answer", stdin_is_announced
    ),
    Reliance(
        "ipykernel",
        "_reply_subshell_for",
        "views/controls/widgets.py",
        "Stop",
        comm_messages_reach_a_known_shell,
    ),
    Reliance(
        "ipykernel",
        "_supports_kernel_subshells",
        "magics/progress.py",
        "Stop",
        comm_messages_reach_a_known_shell,
    ),
    Reliance("ipykernel", "_manager", "magics/progress.py", "Stop", subshells_have_a_manager),
    Reliance("IPython", "inputtransformer2", "magics/lines.py", "raw prompts", lines_can_be_joined),
    Reliance(
        "IPython",
        "priority",
        "magics/lines.py",
        "before help and magics",
        transforms_have_priorities,
    ),
    Reliance("IPython", "custom_matchers", "magics/completer.py", "TAB", completers_are_lists),
    Reliance(
        "IPython", "input_hist_raw", "magics/places.py", "the first cell", history_is_recorded
    ),
    Reliance(
        "IPython", "magics, registry", "magics/extension.py", "unload", the_router_can_be_removed
    ),
]


@pytest.mark.parametrize("one", RELIANCES, ids=lambda one: f"{one.library} {one.name}, {one.where}")
def test_the_library_still_has_it(one: Reliance) -> None:
    assert one.holds(), f"{one.library}: {one.name}, for {one.what_for} in {one.where}"
    assert (PACKAGE / one.where).is_file()


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in PACKAGE.rglob("*.py"):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def own_names() -> set[str]:
    """Private names that the package defines."""
    found = set()
    for _, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "cls"):
                if isinstance(node.ctx, ast.Store):
                    found.add(node.attr)
            elif isinstance(node, ast.Constant) and str(node.value).startswith("_lora_magic"):
                found.add(str(node.value))
    return found - {"_modules", "_parameters", "_buffers"}


def private(node: ast.AST) -> str | None:
    """A private name that a node reads: `x._name`, or `getattr(x, "_name")`."""
    name = None
    if isinstance(node, ast.Attribute):
        name = node.attr
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "vars"):
        parts = [a.value for a in node.args if isinstance(a, ast.Constant)]
        name = str(parts[0]) if parts else None
    documented = {"_replace", "_asdict", "_fields", "_exit"}  # of named tuples, and os
    hidden = name is not None and name.startswith("_") and not name.startswith("__")
    hidden = hidden and name not in documented
    return name if hidden else None


def test_every_private_name_of_a_library_is_listed() -> None:
    listed = {part for one in RELIANCES for part in one.name.replace(",", " ").split()}
    own = own_names()
    unlisted = {
        f"{where}: {name}"
        for where, tree in trees()
        if not where.startswith("demo/")
        for node in ast.walk(tree)
        if (name := private(node)) and name not in own and name not in listed
    }
    assert unlisted == set()


#: Submodules of libraries whose documentation imports from them.
PUBLIC = {
    "IPython.core.getipython",
    "IPython.core.magic",
    "IPython.display",
    "accelerate.utils",
    "huggingface_hub.errors",
    "plotly.graph_objects",
    "safetensors.torch",
    "torch.autograd",
    "torch.distributed.device_mesh",
    "torch.distributed.fsdp",
    "torch.func",
    "torch.linalg",
    "torch.nn",
    "torch.nn.functional",
    "torch.nn.modules",  # its registration hooks are documented under this path
    "torch.overrides",
    "torch.utils.data",
    "torch.utils.hooks",
    "transformers.utils.logging",
    "transformers.utils",
}


def test_every_inner_module_of_a_library_is_listed() -> None:
    listed = {part for one in RELIANCES for part in one.name.replace(",", " ").split()}
    unlisted = set()
    for where, tree in trees():
        if where.startswith("demo/"):
            continue
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            unlisted |= {
                f"{where}: {name}"
                for name in names
                if name.partition(".")[0] in LIBRARIES
                and "." in name
                and name not in PUBLIC
                and not any(name.endswith(part) for part in listed)
            }
    assert unlisted == set()
