"""The spool gives packed images back in the order of the set and takes its disk space along."""

import hashlib

from retfm_dist.shard.plan import order_key
from retfm_dist.shard.sample import Sample
from retfm_dist.shard.spool import Spool
from retfm_dist.shard.tar import member_bytes


def some_sample(number):
    sha256 = hashlib.sha256(str(number).encode()).hexdigest()
    return Sample(
        uid=int(sha256[:16], 16), key=f"subject-{sha256[:16]}", subject_id="subject", eye=None,
        age=50.5, sex=None, ethnicity="\u00e9", device=None, site=None, labels={"label_a": None},
        height=1, width=2, source_height=3, source_width=4, field_of_view={"kind": "frame"},
        source_sha256=sha256, perceptual_hash="00",
    )  # fmt: skip


def test_samples_come_back_sorted_and_whole(tmp_path):
    spool = Spool(tmp_path / "spool", seed=5)
    jpegs = {}
    samples = [some_sample(number) for number in range(200)]
    for number, sample in enumerate(samples):
        jpegs[sample.key] = bytes([number]) * number
        spool.add(sample, jpegs[sample.key])
    entries = spool.sorted_entries()
    read = [spool.read(entry) for entry in entries]
    expected = sorted(samples, key=lambda sample: order_key(sample.source_sha256, seed=5))
    assert [sample for sample, _ in read] == expected
    assert [jpeg for _, jpeg in read] == [jpegs[sample.key] for sample in expected]
    for entry, (sample, jpeg) in zip(entries, read, strict=True):
        assert entry.tar_size == member_bytes(len(jpeg)) + member_bytes(len(sample.sidecar()))
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_files_go_as_soon_as_they_are_read(tmp_path):
    spool = Spool(tmp_path / "spool", seed=5)
    for number in range(200):
        spool.add(some_sample(number), b"jpeg")
    entries = spool.sorted_entries()
    for entry in entries[:100]:
        spool.read(entry)
    left = sorted(int(path.name) for path in (tmp_path / "spool").iterdir())
    assert left == list(range(entries[99].bucket, 64))
    assert 20 < entries[99].bucket < 44
    spool.close()
