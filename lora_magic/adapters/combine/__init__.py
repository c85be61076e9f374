"""New adapters out of old ones: a weighted blend of several, or one at a smaller rank.

Both are plain LoRA, made from what the old adapters change: a ΔW by module, and beside it the
biases, norms and a classifier's head that they train themselves. Nothing of the old ones is shared.
"""

from __future__ import annotations

from .blend import Way as Way
from .blend import blend as blend
from .compress import Compression as Compression
from .compress import check_size as check_size
from .compress import compress as compress
from .compress import default_name as default_name
from .compress import evidence as evidence
