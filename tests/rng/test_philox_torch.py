import numpy as np
import pytest
import torch

from retfm_dist.rng import philox, philox_torch
from tests.rng.test_philox import KNOWN_ANSWERS, words


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_torch_gives_the_published_answers(counter, key, expected):
    k0, k1 = (int(word) for word in words(key))
    counters = torch.from_numpy(words(counter)[None].astype(np.int64))
    drawn = philox_torch.philox4x32(counters, (k0, k1))
    np.testing.assert_array_equal(drawn.numpy(), words(expected)[None])


def test_numpy_and_torch_agree_on_every_bit():
    generator = np.random.default_rng(0)
    counters = generator.integers(0, 2**32, (5000, 4), dtype=np.uint32)
    counters[:2] = [[0] * 4, [2**32 - 1] * 4]
    for key in generator.integers(0, 2**32, (5, 2), dtype=np.uint32):
        from_numpy = philox.philox4x32(counters, key)
        from_torch = philox_torch.philox4x32(
            torch.from_numpy(counters.astype(np.int64)), (int(key[0]), int(key[1]))
        )
        np.testing.assert_array_equal(from_torch.numpy(), from_numpy)


@pytest.mark.gpu
def test_gpu_and_cpu_agree_on_every_bit():
    counters = torch.randint(0, 2**32, (5000, 4), generator=torch.Generator().manual_seed(0))
    on_cpu = philox_torch.philox4x32(counters, (1, 2**32 - 1))
    on_gpu = philox_torch.philox4x32(counters.cuda(), (1, 2**32 - 1))
    assert torch.equal(on_gpu.cpu(), on_cpu)
