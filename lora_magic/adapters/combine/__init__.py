"""New adapters from others: a blend of several, one at a smaller rank, one without intruders.

All are plain LoRA, made from the ΔW of each module and from the biases, norms and head that the
others train. Nothing is shared with the others.
"""

from __future__ import annotations

from .blend import Way as Way
from .blend import blend as blend
from .compress import Compression as Compression
from .compress import check_size as check_size
from .compress import compress as compress
from .compress import default_name as default_name
from .compress import evidence as evidence
from .compress import shared_out as shared_out
from .intruders import ModuleRemoval as ModuleRemoval
from .intruders import changed as changed
from .intruders import remove_intruders as remove_intruders
from .truncations import Truncations as Truncations
