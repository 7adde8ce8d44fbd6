import io

import numpy as np
import pytest
import torch
from PIL import Image

from retfm_dist.data.decode import EncodedBatch
from retfm_dist.data.pipeline import GpuDecoding, build_decoder, build_pipeline, gpu_graph
from retfm_dist.data.timings import Timings
from retfm_dist.errors import DataError

IMAGE_SIZE = 48


def refuse(batch, undecodable):
    """Stands in for whoever reads substitutes."""
    raise DataError("cannot be decoded", got=undecodable)


def batch_of(jpegs: list[bytes]) -> EncodedBatch:
    """Odd boxes, every second one flipped, and the whole of the last image."""
    boxes = []
    for number, jpeg in enumerate(jpegs):
        width, height = Image.open(io.BytesIO(jpeg)).size
        boxes.append([number % 7, 3 + number % 5, height - 9 - number % 6, width - 11 - number % 4])
    boxes[-1] = [0, 0, height, width]
    return EncodedBatch(
        step=0,
        micro_step=0,
        epoch=0,
        uids=np.arange(len(jpegs), dtype=np.uint64),
        keys=np.arange(len(jpegs), dtype=np.uint64),
        jpegs=[np.frombuffer(jpeg, dtype=np.uint8) for jpeg in jpegs],
        boxes=np.array(boxes, dtype=np.int64),
        flips=np.arange(len(jpegs)) % 2 == 1,
    )


def by_pil(batch: EncodedBatch) -> np.ndarray:
    """Decode everything, crop, resize, flip: what the reference implementation does."""
    made = []
    for jpeg, box, is_flipped in zip(batch.jpegs, batch.boxes.tolist(), batch.flips, strict=True):
        top, left, height, width = box
        image = Image.open(io.BytesIO(jpeg.tobytes())).convert("RGB")
        crop = image.crop((left, top, left + width, top + height))
        pixels = np.asarray(crop.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC))
        made.append(pixels[:, ::-1] if is_flipped else pixels)
    return np.stack(made).transpose(0, 3, 1, 2).astype(int)


def assert_like_pil(images: torch.Tensor, batch: EncodedBatch) -> None:
    """Within one gray level, but for a few values in a million (see the tests of the resize)."""
    difference = np.abs(images.numpy().astype(int) - by_pil(batch))
    assert difference.max() <= 2
    assert (difference > 1).mean() < 1e-4


def decode(batch, *, backend="cpu", num_threads=1, batch_size=64, device="cpu"):
    decoder = build_decoder(
        backend,
        image_size=IMAGE_SIZE,
        batch_size=batch_size,
        num_threads=num_threads,
        device=torch.device(device),
        timings=Timings(("decode_s",)),
    )
    ((_, images),) = decoder.decode([batch], refuse)
    decoder.close()
    return images


def encode(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def test_cpu_pixels_are_those_of_pil_to_one_gray_level(jpegs):
    batch = batch_of(jpegs)
    images = decode(batch)
    assert images.shape == (len(jpegs), 3, IMAGE_SIZE, IMAGE_SIZE)
    assert images.dtype == torch.uint8
    assert_like_pil(images, batch)


@pytest.mark.parametrize(
    "options",
    [
        {"subsampling": "4:4:4"},
        {"subsampling": "4:2:2"},
        {"subsampling": "4:2:0"},
        {"progressive": True},
    ],
)
def test_every_kind_of_jpeg_is_decoded_as_pil_does(options):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(pixels).resize((110, 131), Image.Resampling.BICUBIC))
    batch = batch_of([encode(smooth, **options), encode(smooth[..., 0], progressive=False)])
    assert_like_pil(decode(batch), batch)


def test_exif_orientation_is_not_applied():
    pixels = np.asarray(Image.linear_gradient("L").resize((80, 60)).convert("RGB"))
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    batch = batch_of([encode(pixels, exif=exif)])
    assert_like_pil(decode(batch), batch)


def test_pixels_do_not_depend_on_threads_or_on_the_batch(jpegs):
    batch = batch_of(jpegs[:9])
    together = decode(batch)
    for num_threads, batch_size in ((2, 9), (5, 64)):
        again = decode(batch, num_threads=num_threads, batch_size=batch_size)
        assert torch.equal(again, together)
    for i in (0, 4):
        alone = EncodedBatch(
            0, 0, 0, batch.uids[i : i + 1], batch.keys[i : i + 1], batch.jpegs[i : i + 1],
            batch.boxes[i : i + 1], batch.flips[i : i + 1],
        )  # fmt: skip
        assert torch.equal(decode(alone)[0], together[i])


def test_batches_stay_what_they_were_while_more_are_decoded(jpegs):
    decoder = build_decoder(
        "cpu",
        image_size=IMAGE_SIZE,
        batch_size=8,
        num_threads=2,
        device=torch.device("cpu"),
        timings=Timings(("decode_s",)),
    )
    batches = [batch_of(jpegs[first : first + 6]) for first in range(0, 30, 6)]
    images = [pixels for _, pixels in decoder.decode(batches, refuse)]
    decoder.close()
    for batch, pixels in zip(batches, images, strict=True):
        assert_like_pil(pixels, batch)


def test_a_sample_that_cannot_be_decoded_is_named(jpegs):
    damaged = [*jpegs[:3], jpegs[3][:40], jpegs[4]]
    batch = batch_of(jpegs[:5])
    batch.jpegs[3] = np.frombuffer(damaged[3], dtype=np.uint8)
    with pytest.raises(DataError, match=r"got \{3: .nvImageCodec"):
        decode(batch)


def test_a_box_outside_its_image_is_named(jpegs):
    batch = batch_of(jpegs[:5])
    batch.boxes[2] = [0, 0, 5000, 10]
    with pytest.raises(DataError, match=r"got \{2: .The cropping window .* is not valid"):
        decode(batch)


@pytest.mark.parametrize("regions", [True, False])
def test_the_operators_of_the_gpu_graph_crop_resize_and_flip_as_pil_does(jpegs, regions):
    """The GPU back end's own graph on the CPU; its resize clamps at the border, PIL renormalizes."""
    batch = batch_of(jpegs)
    pipeline = build_pipeline(
        lambda **inputs: gpu_graph(
            **inputs,
            image_size=IMAGE_SIZE,
            decoding=GpuDecoding(regions=regions, engines=False, device="cpu"),
        ),
        inputs=("jpegs", "starts", "shapes", "flips"),
        batch_size=64,
        num_threads=1,
        device_id=None,
    )
    pipeline.feed_input("jpegs", batch.jpegs)
    pipeline.feed_input("starts", batch.boxes[:, :2].astype(np.int32, order="C"))
    pipeline.feed_input("shapes", batch.boxes[:, 2:].astype(np.int32, order="C"))
    pipeline.feed_input("flips", batch.flips.astype(np.int32))
    pipeline.schedule_run()
    (output,) = pipeline.outputs()
    made = np.asarray(output.as_tensor()).transpose(0, 3, 1, 2).astype(int)
    difference = np.abs(made - by_pil(batch))
    inside = difference[:, :, 8:-8, 8:-8]
    assert inside.max() <= 2
    assert difference.max() <= 16


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an NVIDIA GPU")
def test_the_gpu_back_end_says_when_there_is_no_gpu(jpegs):
    with pytest.raises(
        DataError, match=r'data.backend: DALI cannot start; got .*; set data.backend to "cpu"'
    ):
        decode(batch_of(jpegs[:2]), backend="gpu", device="cuda:0")


@pytest.mark.gpu
def test_gpu_pixels_are_close_to_those_of_pil(jpegs):
    batch = batch_of(jpegs)
    images = decode(batch, backend="gpu", device="cuda:0")
    assert images.device == torch.device("cuda", 0)
    assert images.dtype == torch.uint8
    difference = np.abs(images.cpu().numpy().astype(int) - by_pil(batch))
    assert difference[:, :, 8:-8, 8:-8].mean() < 2


@pytest.mark.gpu
def test_gpu_pixels_do_not_depend_on_the_place_in_the_batch(jpegs):
    batch = batch_of(jpegs)
    together = decode(batch, backend="gpu", device="cuda:0")
    backwards = EncodedBatch(
        0, 0, 0, batch.uids[::-1], batch.keys[::-1], batch.jpegs[::-1], batch.boxes[::-1],
        batch.flips[::-1],
    )  # fmt: skip
    assert torch.equal(decode(backwards, backend="gpu", device="cuda:0").flip(0), together)
