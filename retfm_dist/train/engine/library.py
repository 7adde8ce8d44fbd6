"""DeepSpeed, imported here and nowhere else.

Nothing is compiled at start-up: DeepSpeed's shared-memory operator, which it would build with a
C++ compiler on the CPU, is switched off.
"""

import sys
from typing import Any


def import_deepspeed() -> Any:
    """Import DeepSpeed without its side effects: importing mlflow, compiling operators."""
    # Its autotuner, which is of no use here, would import mlflow: three seconds on every rank.
    # An entry of None makes that import fail, which the autotuner allows for.
    is_hidden = "mlflow" not in sys.modules
    if is_hidden:
        sys.modules["mlflow"] = None  # pyright: ignore[reportArgumentType] - documented for this
    try:
        import deepspeed
        import deepspeed.accelerator
        import deepspeed.ops
    finally:
        if is_hidden:
            del sys.modules["mlflow"]
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed
