import pytest

from retfm_dist.train.checkpoint.layout import Stretch, parse_key, part_name


@pytest.mark.parametrize("name", ["norm.weight", "a/b", "x@3", "blocks.0.attn.qkv.bias"])
@pytest.mark.parametrize("kind", ["weights", "exp_avg", "exp_avg_sq"])
def test_a_key_is_read_back(name, kind):
    stretch = Stretch(kind, name, 12345)
    assert parse_key(stretch.key) == stretch


@pytest.mark.parametrize("key", ["", "weights/a", "a@3", "other/a@3", "weights/a@", "weights/a@b"])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(ValueError, match=r"no name of a stretch|invalid literal"):
        parse_key(key)


def test_parts_sort_by_rank():
    assert [part_name(0), part_name(12)] == ["rank_0000.safetensors", "rank_0012.safetensors"]
