import numpy as np
import pytest

from retfm_dist.rng import philox

# Known answers of the Random123 library (kat_vectors, philox4x32 10): counter, key, words.
KNOWN_ANSWERS = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def words(text: str) -> np.ndarray:
    return np.array([int(word, 16) for word in text.split()], dtype=np.uint32)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_numpy_gives_the_published_answers(counter, key, expected):
    drawn = philox.philox4x32(words(counter)[None], words(key))
    assert drawn.dtype == np.uint32
    np.testing.assert_array_equal(drawn, words(expected)[None])


def test_rows_do_not_depend_on_their_neighbors():
    counters = np.arange(400, dtype=np.uint32).reshape(100, 4)
    key = np.array([3, 4], dtype=np.uint32)
    together = philox.philox4x32(counters, key)
    np.testing.assert_array_equal(philox.philox4x32(counters[37:38], key)[0], together[37])


def test_no_counters_give_no_words():
    empty = philox.philox4x32(np.empty((0, 4), dtype=np.uint32), np.zeros(2, dtype=np.uint32))
    assert empty.shape == (0, 4)
