import platform
import subprocess
import sys

import pytest

# 64 MiB, more than the largest block that glibc ever keeps by itself.
FAULTS_OF_THE_LAST = """
import resource, sys
import torch
from retfm_dist.host_memory import keep_freed_memory
if sys.argv[1] == "kept":
    print(keep_freed_memory())
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
# Until the small blocks have found their places, one may come to lie where a large one was.
print(min([faults() for _ in range(40)][20:]))
"""


def run(how: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS_OF_THE_LAST, how],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back")
def test_a_tensor_takes_the_memory_of_the_one_before():
    is_kept, kept = run("kept")
    (returned,) = run("returned")
    assert is_kept == "True"
    # A page is 4 KiB or, where the system gives huge ones, 2 MiB: 32 of those.
    assert int(kept) < 20
    assert int(returned) > 30
