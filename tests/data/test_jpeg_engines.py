import ctypes
from types import SimpleNamespace

import pytest
import torch

from retfm_dist.data.jpeg_engines import count_jpeg_engines


def library(*, create: int = 0, inform: int = 0, engines: int = 7) -> SimpleNamespace:
    """nvJPEG as on a GPU: what the functions return, and the number they write."""
    destroyed: list[int] = []

    def create_ex(backend, device_allocator, pinned_allocator, flags, handle):
        assert (backend, device_allocator, pinned_allocator, flags.value) == (3, None, None, 0)
        handle._obj.value = 42
        return create

    def get_info(handle, num_engines, num_cores):
        assert handle.value == 42
        num_engines._obj.value, num_cores._obj.value = engines, 4
        return inform

    return SimpleNamespace(
        nvjpegCreateEx=create_ex,
        nvjpegGetHardwareDecoderInfo=get_info,
        nvjpegDestroy=lambda handle: destroyed.append(handle.value),
        destroyed=destroyed,
    )


def test_the_number_is_that_of_the_library():
    found = library()
    assert count_jpeg_engines(load=lambda: found) == 7
    assert found.destroyed == [42]


def test_no_back_end_or_no_answer_is_no_engine():
    assert count_jpeg_engines(load=lambda: library(create=6)) == 0
    assert count_jpeg_engines(load=lambda: library(inform=9)) == 0


def test_a_library_that_is_absent_or_too_old_cannot_be_asked():
    def absent():
        raise OSError("libnvjpeg.so.13: cannot open shared object file")

    assert count_jpeg_engines(load=absent) is None
    assert count_jpeg_engines(load=lambda: ctypes.CDLL(None)) is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an NVIDIA GPU")
def test_the_library_that_dali_brings_finds_none_here():
    assert count_jpeg_engines() == 0
