import numpy as np
import pytest

from retfm_dist.cohort.looks import MAX_DISTANCE
from retfm_dist.cohort.membership import (
    make_membership,
    read_membership,
    write_membership,
)
from retfm_dist.errors import CohortError


def random_hashes(rng, count):
    return [rng.bytes(32).hex() for _ in range(count)]


def membership(seed=0, *, count=500, fingerprint="f0"):
    rng = np.random.default_rng(seed)
    uids, hashes = [rng.bytes(8).hex() for _ in range(count)], random_hashes(rng, count)
    subjects = [f"{i // 2:012x}" for i in range(count)]
    made = make_membership(
        fingerprint=fingerprint, salt_id="5a", uids=uids, subject_ids=subjects, hashes=hashes
    )
    return made, uids, subjects, hashes


def flipped(rng, digest, num_bits):
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(digest), np.uint8))
    bits[rng.choice(256, num_bits, replace=False)] ^= 1
    return np.packbits(bits).tobytes().hex()


def test_members_are_found_and_others_are_not():
    made, uids, subjects, hashes = membership()
    _, others, _, other_hashes = membership(1)
    assert made.has_images(uids).all()
    assert made.has_patients(subjects).all()
    assert made.has_copies(hashes).all()
    assert not made.has_images(others).any()
    assert not made.has_patients([f"{i:012x}" for i in range(10**6, 10**6 + 500)]).any()
    assert not made.has_copies(other_hashes).any()


def test_copies_are_found_up_to_the_distance_that_no_two_eyes_have():
    rng = np.random.default_rng(0)
    made, _, _, hashes = membership()
    for num_bits in range(MAX_DISTANCE + 1):
        assert made.has_copies([flipped(rng, h, num_bits) for h in hashes[:60]]).all()
    for num_bits in (MAX_DISTANCE + 1, 14):
        assert not made.has_copies([flipped(rng, h, num_bits) for h in hashes[:60]]).any()


def test_nothing_in_the_file_is_a_uid_or_a_pseudonym_or_keeps_the_order(tmp_path):
    made, uids, subjects, _ = membership()
    write_membership(tmp_path / "m.npz", made)
    data = (tmp_path / "m.npz").read_bytes()
    assert not any(name.encode() in data for name in (*uids, *subjects))
    for name in uids:
        assert bytes.fromhex(name) not in data
        assert bytes.fromhex(name)[::-1] not in data
    assert (np.diff(made.images.astype(object)) > 0).all()
    assert len(data) < 48 * 500 + 2000
    # Another set has other hashes of the same images.
    other, *_ = membership(fingerprint="e1")
    assert not np.isin(other.images, made.images).any()


def test_a_file_reads_back_and_has_the_same_bytes_each_time(tmp_path):
    made, uids, *_ = membership()
    for name in ("a.npz", "b.npz"):
        write_membership(tmp_path / name, made)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    found = read_membership(tmp_path / "a.npz")
    assert (found.fingerprint, found.salt_id) == ("f0", "5a")
    assert found.has_images(uids).all()


def test_a_damaged_file_is_an_error_and_an_empty_set_holds_nothing(tmp_path):
    (tmp_path / "m.npz").write_bytes(b"text")
    with pytest.raises(CohortError, match="not a membership file"):
        read_membership(tmp_path / "m.npz")
    np.savez(tmp_path / "m.npz", images=np.zeros(1))
    with pytest.raises(CohortError, match="not a membership file"):
        read_membership(tmp_path / "m.npz")
    empty = make_membership(fingerprint="f", salt_id=None, uids=[], subject_ids=[], hashes=[])
    assert not empty.has_images(["00" * 8]).any()
    assert not empty.has_copies(["00" * 32]).any()
