"""Fine-tuning on a device: the host's side. The algorithm is `runtime/tune`, which asks; here it is answered.

`finetune` is what the command calls; `Learner` is a run over any device, data and store.
"""

from .care import Limits
from .objective import read_costs
from .samples import Samples, read_samples
from .session import Learned, Learner, Wishes, finetune, told

__all__ = [
    "Learned",
    "Learner",
    "Limits",
    "Samples",
    "Wishes",
    "finetune",
    "read_costs",
    "read_samples",
    "told",
]
