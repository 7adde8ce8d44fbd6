from retfm_dist.evaluate.config import ComputeConfig
from retfm_dist.evaluate.encode.features import encode_images
from retfm_dist.evaluate.encode.looks import looks_model, looks_of
from retfm_dist.evaluate.encode.photographs import Photograph
from retfm_dist.image.encode import difference_hash
from retfm_dist.image.square import read_square
from tests.fakes.evaluation import draw_clouds


def test_the_hash_is_that_of_the_picture_as_a_shard_set_holds_it(tmp_path):
    paths = [tmp_path / f"{seed}.png" for seed in range(4)]
    for seed, path in enumerate(paths):
        draw_clouds(seed).save(path)
    photographs = [Photograph(row, path, "x") for row, path in enumerate(paths)]
    encoded = encode_images(
        photographs, [looks_model()], cache_dir=tmp_path / "cache", compute=ComputeConfig()
    )
    found = looks_of(encoded, [encoded.digests[row] for row in range(len(paths))])
    assert len(set(found)) == len(paths)
    for path, text in zip(paths, found, strict=True):
        direct = difference_hash(read_square(path.read_bytes()).image)
        assert (int(text, 16) ^ int(direct, 16)).bit_count() <= 7
