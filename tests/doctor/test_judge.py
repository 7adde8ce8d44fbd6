from dataclasses import replace

import pytest

from retfm_dist.doctor.facts import HostFacts
from retfm_dist.doctor.judge import Host, judge
from retfm_dist.doctor.link import LinkFacts
from retfm_dist.doctor.needs import Needs

FACTS = HostFacts(
    host="a",
    versions={"torch": "2.15.0", "deepspeed": "0.19.8"},
    accelerators=("NVIDIA H100 80GB HBM3",) * 8,
    fingerprint="ab" * 32,
    data_error=None,
    images_per_s=2000.0,
    free_bytes=100_000_000_000,
    offload_free_bytes=None,
    offload_file_system="ext4",
    is_one_disk=False,
    open_files=65536,
    num_cores=128,
    exported_secrets=(),
    is_loopback=False,
    has_interface=False,
)
NEEDS = Needs(
    checkpoint_bytes=16_000_000_000,
    step_bytes=1_300_000_000.0,
    images_per_s=25_000.0,
    step_s=0.16,
    cores_per_rank=15,
)
LINK = LinkFacts(clock_offset_s=0.002, bytes_per_s=40e9)


def cluster(**changes):
    """Four sound hosts, and changes to the last."""
    link = changes.pop("link", LINK)
    hosts = [Host(name, 8, FACTS, LINK) for name in ("a", "b", "c")]
    return [*hosts, Host("d", 8, replace(FACTS, **changes), link)]


def test_nothing_is_found_where_nothing_is_wrong():
    assert judge(cluster(), NEEDS) == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"versions": {"torch": "2.14.0", "deepspeed": "0.19.8"}}, "has torch 2.14.0, the others 2.15.0"),
        ({"versions": {"torch": "2.15.0"}}, "has deepspeed none, the others 0.19.8"),
        ({"fingerprint": "cd" * 32}, "has the shard set cdcdcdcdcdcd, the others abababababab"),
        ({"fingerprint": None, "data_error": "shard-000003.tar: missing"}, "shard-000003.tar: missing"),
        ({"free_bytes": 15_999_999_999}, "16.0 GB are free for run.dir, its checkpoints need 16.0"),
        ({"open_files": 1023}, "a process may open 1023 files, training needs 1024"),
        ({"num_cores": 16}, "processes may use 16 cores, 8 ranks want 120"),
        ({"exported_secrets": ("MLFLOW_TRACKING_TOKEN",)}, "MLFLOW_TRACKING_TOKEN would stand on a"),
        ({"images_per_s": 700.0}, "decodes 5,600 images/s with 8 ranks, 6,250 are wanted"),
        ({"is_loopback": True}, "its own name leads to 127.0.0.1"),
        ({"link": None}, "no connection from it to this host"),
        ({"link": LinkFacts(-73.0, 40e9)}, "its clock is 73.0 s behind this host's"),
        ({"link": LinkFacts(2.0, 40e9)}, "its clock is 2.0 s ahead of this host's"),
        ({"link": LinkFacts(0.0, 1.2e9)}, "the link carries 1.20 GB/s; a step of 0.16 s would"),
    ],
)  # fmt: skip
def test_each_planted_fault_is_found_alone_and_at_its_host(changes, what):
    (finding,) = judge(cluster(**changes), NEEDS)
    assert finding.host == "d"
    assert finding.what.startswith(what)
    assert finding.hint


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"offload_free_bytes": None}, "engine.offload_dir is not a directory"),
        ({"offload_file_system": "tmpfs"}, "engine.offload_dir is on tmpfs, which is the host's"),
        ({"offload_file_system": "nfs4"}, "engine.offload_dir is on nfs4, over a network"),
        ({"offload_free_bytes": 8_999_999_999}, "9.0 GB are free for engine.offload_dir, it needs"),
        ({"offload_free_bytes": 24_999_999_999, "is_one_disk": True},
         "25.0 GB are free for engine.offload_dir, it needs 25.0 GB, the checkpoints included"),
    ],
)  # fmt: skip
def test_a_disk_without_room_for_the_optimizer_is_found(changes, what):
    needs = replace(NEEDS, offload_bytes=9_000_000_000)
    sound = Host("a", 8, replace(FACTS, offload_free_bytes=9_000_000_000), LINK)
    (finding,) = judge([sound, Host("b", 8, replace(sound.facts, **changes), LINK)], needs)
    assert finding.host == "b"
    assert finding.what.startswith(what)


@pytest.mark.parametrize("versions", [("1.0.31", "0.0.1"), ("0.0.1", "1.0.31")])
def test_of_two_hosts_that_differ_the_second_is_named(versions):
    hosts = [
        Host(name, 8, replace(FACTS, versions={"timm": version}), LINK)
        for name, version in zip("ab", versions, strict=True)
    ]
    (finding,) = judge(hosts, NEEDS)
    assert finding.host == "b"
    assert finding.what == f"has timm {versions[1]}, the others {versions[0]}"


def test_a_host_that_does_not_answer_is_named():
    hosts = [*cluster(), Host("e", 8, None, error="No route to host")]
    (finding,) = judge(hosts, NEEDS)
    assert (finding.host, finding.what) == ("e", "cannot be asked: No route to host")


def test_one_machine_needs_no_link_and_unknown_hardware_no_rate():
    alone = [Host("this machine", 8, replace(FACTS, is_loopback=True, images_per_s=4000.0))]
    assert judge(alone, NEEDS) == []
    unknown = replace(NEEDS, images_per_s=None, step_s=None)
    slow = cluster(images_per_s=1.0, link=LinkFacts(0.0, 1e6))
    assert judge(slow, unknown) == []
