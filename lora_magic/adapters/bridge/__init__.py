"""PEFT, and nothing else: the one folder that imports peft; its errors come out as `AdapterError`.

library     PEFT itself, imported quietly
configs     its configs of our specs, and back
capture     wrap a base once, take the layers, leave no trace
files       its folder
runs        AdaLoRA's allocation, EVA's start
unwrap      a live PeftModel taken apart
"""

from __future__ import annotations

from .capture import capture, forget, set_tensors, tensors
from .configs import (
    config_for,
    name_base,
    own,
    spec_of,
    usual_targets,
    virtual_config,
    written_config,
)
from .files import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    kind_of,
    read_config,
    saved_whole,
    write,
    write_tensors,
)
from .library import VERSION as VERSION
from .runs import Allocator, eva
from .unwrap import Unwrapped, base_of, is_wrapper, refuse_injected, unwrap

__all__ = [
    "CONFIG_FILE",
    "VERSION",
    "WEIGHTS_FILE",
    "Allocator",
    "Unwrapped",
    "base_of",
    "capture",
    "config_for",
    "eva",
    "forget",
    "is_wrapper",
    "kind_of",
    "name_base",
    "own",
    "read_config",
    "refuse_injected",
    "saved_whole",
    "set_tensors",
    "spec_of",
    "tensors",
    "unwrap",
    "usual_targets",
    "virtual_config",
    "write",
    "write_tensors",
    "written_config",
]
