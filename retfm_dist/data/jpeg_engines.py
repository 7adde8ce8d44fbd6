"""How many engines a GPU has that decode JPEGs beside its cores.

A100 and later have some; a container without the driver capability "video" sees none. The decoder
then uses CUDA instead, silently, and its pixels are others.
"""

import ctypes
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

_HARDWARE = 3  # NVJPEG_BACKEND_HARDWARE of nvjpeg.h


def count_jpeg_engines(*, load: Callable[[], Any] | None = None) -> int | None:
    """Ask nvJPEG for the number of engines of the current GPU.

    Args:
        load: Returns the library; None finds the one that DALI brings.

    Returns:
        Their number, 0 without a GPU; None where the library cannot be asked.

    Source: docs.nvidia.com/cuda/nvjpeg, nvjpegCreateEx and nvjpegGetHardwareDecoderInfo.
    """
    try:
        library = (load or _load_library)()
        create, inform = library.nvjpegCreateEx, library.nvjpegGetHardwareDecoderInfo
    except (OSError, AttributeError):
        return None
    handle = ctypes.c_void_p()
    # Without an engine there is no such back end: a status other than 0.
    if create(_HARDWARE, None, None, ctypes.c_uint(0), ctypes.byref(handle)) != 0:
        return 0
    engines, cores = ctypes.c_uint(), ctypes.c_uint()
    status = inform(handle, ctypes.byref(engines), ctypes.byref(cores))
    library.nvjpegDestroy(handle)
    return engines.value if status == 0 else 0


def _load_library() -> ctypes.CDLL:
    """Load nvJPEG from where NVIDIA's wheels lay it.

    Raises:
        OSError: It is not there.
    """
    folder = Path(sysconfig.get_path("purelib"), "nvidia")
    for path in sorted(folder.glob("*/lib/libnvjpeg.so.*")):
        return ctypes.CDLL(str(path))
    raise OSError(f"no libnvjpeg under {folder}")
