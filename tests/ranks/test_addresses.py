import pytest

from retfm_dist.ranks.addresses import address_towards


def test_the_way_to_a_host_has_an_address():
    assert address_towards("127.0.0.1") == "127.0.0.1"


def test_a_host_without_an_address_is_an_error():
    with pytest.raises(OSError, match="not known|No address|Temporary failure"):
        address_towards("no-such-host.invalid")
