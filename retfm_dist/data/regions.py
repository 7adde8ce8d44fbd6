"""Whether a GPU can decode a region of a JPEG without the rest of it.

Some versions of the decoding library crash on it (NVIDIA/nvImageCodec#55: 0.9.0 on H100 and B200),
and a crash takes the process. So the question is put to a process of its own.
"""

import logging
import subprocess
import sys
from collections.abc import Sequence

_LIMIT_S = 120.0
_QUESTION = """
import sys
import numpy as np
import simplejpeg
from retfm_dist.data.pipeline import try_regions
rows, columns = np.mgrid[0:64, 0:64].astype(np.uint8)
pixels = np.stack([3 * rows, 3 * columns, rows + columns], axis=-1)
jpeg = simplejpeg.encode_jpeg(pixels.copy(order="C"))
device_id = None if sys.argv[1] == "cpu" else int(sys.argv[1])
sys.exit(0 if try_regions(jpeg, device_id=device_id) else 3)
"""

logger = logging.getLogger(__name__)


def can_decode_regions(device_id: int | None, *, command: Sequence[str] | None = None) -> bool:
    """Ask a process of its own whether regions are decoded right; warn if they are not.

    Args:
        device_id: The GPU; None asks the CPU, for tests.
        command: What to run instead, for tests.
    """
    device = "cpu" if device_id is None else str(device_id)
    words = command or [sys.executable, "-c", _QUESTION, device]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        answer = f"no answer within {_LIMIT_S:g} s"
    else:
        if done.returncode == 0:
            return True
        lines = done.stderr.strip().splitlines()
        answer = f"exit code {done.returncode}" + (f", {lines[-1]}" if lines else "")
    logger.warning(
        "regions of JPEGs cannot be decoded on GPU %s (%s): whole images are decoded and cut, "
        "which is slower; nvidia-dali-cuda130==2.2.0 is the last version known to do it everywhere",
        device_id,
        answer,
    )
    return False
