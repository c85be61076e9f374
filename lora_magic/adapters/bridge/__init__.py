"""PEFT, and nothing else: the one folder that imports peft; its errors come out as `AdapterError`.

library     PEFT itself, imported without its warnings
configs     its configs of our specs, and back
patterns    the patterns of a config from a file, as module paths
capture     wrap a base once, keep the layers, restore the base
copies      layers like others that were captured, with factors of another rank
runs        AdaLoRA's allocation, EVA's initialisation
unwrap      a live PeftModel taken apart
"""

from __future__ import annotations

from .capture import capture as capture
from .capture import forget as forget
from .capture import set_tensors as set_tensors
from .capture import tensors as tensors
from .configs import MERGE as MERGE
from .configs import capturable as capturable
from .configs import changed as changed
from .configs import config_for as config_for
from .configs import file_config as file_config
from .configs import name_base as name_base
from .configs import read_config as read_config
from .configs import refused as refused
from .configs import spec_of as spec_of
from .configs import usual_targets as usual_targets
from .configs import virtual_config as virtual_config
from .configs import wrapper_config as wrapper_config
from .copies import copied_layer as copied_layer
from .copies import copied_wrapper as copied_wrapper
from .copies import is_plain as is_plain
from .patterns import targeted as targeted
from .runs import Allocator as Allocator
from .runs import eva as eva
from .unwrap import Unwrapped as Unwrapped
from .unwrap import base_of as base_of
from .unwrap import is_wrapper as is_wrapper
from .unwrap import refuse_injected as refuse_injected
from .unwrap import unwrap as unwrap
