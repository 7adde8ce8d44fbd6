"""From JPEG bytes, crop boxes and flips to pixels: the one module that imports DALI.

    CPU back end   DALI decodes the box -> torch resizes it -> torch flips it
    GPU back end   DALI decodes the box, resizes and flips it, all on the GPU

On the CPU, torch's antialiased bicubic resize of uint8 is several times as fast as DALI's, and
within +-1 of PIL's (rare twos aside). The pixels of the two back ends differ a little (other cosine
transforms, other kernels at the border); each by itself is deterministic.

Every option whose default could move between versions of DALI is set here.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from nvidia.dali import fn
from nvidia.dali.pipeline import Pipeline
from nvidia.dali.types import DALIDataType, DALIImageType, DALIInterpType
from torch import Tensor

from retfm_dist.data.decode import Decoder, EncodedBatch, reason_of
from retfm_dist.data.jpeg_engines import count_jpeg_engines
from retfm_dist.data.regions import can_decode_regions
from retfm_dist.data.resize import BatchResizer
from retfm_dist.data.timings import Timings
from retfm_dist.errors import DataError
from retfm_dist.host_memory import keep_freed_memory

logger = logging.getLogger(__name__)

_MOST_REGION_DIFFERENCE = 2.0  # gray levels, on average

# What every input of a graph holds, and its number of dimensions per sample.
_INPUTS = {
    "jpegs": (DALIDataType.UINT8, 1),
    "starts": (DALIDataType.INT32, 1),
    "shapes": (DALIDataType.INT32, 1),
    "flips": (DALIDataType.INT32, 0),
}


def build_decoder(
    backend: Literal["cpu", "gpu"],
    *,
    image_size: int,
    batch_size: int,
    num_threads: int,
    device: torch.device,
    timings: Timings,
    jpeg_engines: bool = True,
) -> Decoder:
    """Make the decoder of a back end.

    Args:
        backend: Where JPEGs are decoded.
        image_size: Side of the images made, px.
        batch_size: Largest batch.
        num_threads: Threads that decode, and as many that resize on the CPU back end.
        device: Where batches are wanted; images of the CPU back end are pinned for a GPU.
        timings: Takes the time spent, as "decode_s".
        jpeg_engines: Whether those of a GPU decode, where it has some.

    Raises:
        DataError: The GPU back end is asked for and DALI finds no GPU.
    """
    make = CpuBackend if backend == "cpu" else partial(GpuBackend, jpeg_engines=jpeg_engines)
    built = make(image_size, batch_size=batch_size, num_threads=num_threads, device=device)
    return Decoder(built, timings=timings)


class CpuBackend:
    """DALI decodes the box of each sample, torch resizes and flips it."""

    name = "the CPU"
    inputs = ("jpegs", "starts", "shapes")

    def __init__(
        self, image_size: int, *, batch_size: int, num_threads: int, device: torch.device
    ) -> None:
        """Start the resizing threads."""
        # DALI allocates and frees the crops of every batch.
        keep_freed_memory()
        self._batch_size = batch_size
        self._num_threads = num_threads
        self._resizer = BatchResizer(
            image_size, num_threads=num_threads, pin_memory=device.type == "cuda"
        )

    def build_pipeline(self) -> Pipeline:
        """Build the decoding pipeline."""
        return build_pipeline(
            cpu_graph,
            inputs=self.inputs,
            batch_size=self._batch_size,
            num_threads=self._num_threads,
            device_id=None,
        )

    def build_probe(self) -> Pipeline:
        """Build a pipeline that decodes one sample at a time."""
        return build_probe()

    def finish(self, output: Any, batch: EncodedBatch) -> Tensor:
        """Resize and flip DALI's ragged crops, which stay where DALI wrote them."""
        return self._resizer.resize([np.asarray(crop) for crop in output], batch.flips)

    def close(self) -> None:
        """End the resizing threads."""
        self._resizer.close()


class GpuBackend:
    """DALI decodes the box of each sample, resizes and flips it, all on the GPU."""

    inputs = ("jpegs", "starts", "shapes", "flips")

    def __init__(
        self,
        image_size: int,
        *,
        batch_size: int,
        num_threads: int,
        device: torch.device,
        jpeg_engines: bool,
    ) -> None:
        """Keep the sizes, and find out what the GPU can do."""
        self._image_size = image_size
        self._batch_size = batch_size
        self._num_threads = num_threads
        # A CUDA device without a number is the current one.
        number = device.index
        self._device_id = torch.cuda.current_device() if number is None else number
        # Without a GPU the pipeline itself says so, at once.
        has_gpu = torch.cuda.is_available()
        self._decoding = GpuDecoding(
            regions=not has_gpu or can_decode_regions(self._device_id),
            engines=jpeg_engines and has_gpu and _has_engines(self._device_id),
        )

    @property
    def name(self) -> str:
        """What makes the pixels; how many engines there are changes speed alone."""
        where = "the JPEG engines of the GPU" if self._decoding.engines else "CUDA"
        return where if self._decoding.regions else f"{where}, whole"

    def build_pipeline(self) -> Pipeline:
        """Build the pipeline on the device."""
        return build_pipeline(
            partial(
                gpu_graph,
                image_size=self._image_size,
                decoding=self._decoding,
            ),
            inputs=self.inputs,
            batch_size=self._batch_size,
            num_threads=self._num_threads,
            device_id=self._device_id,
        )

    def build_probe(self) -> Pipeline:
        """Build a pipeline that decodes one sample at a time; on the CPU, where that is quick."""
        return build_probe()

    def finish(self, output: Any, batch: EncodedBatch) -> Tensor:
        """Copy DALI's images to memory that torch manages, channels last."""
        del batch
        # A finished clone, because DALI reuses its memory without regard to torch's streams.
        copied = torch.from_dlpack(output.as_tensor()).clone()
        if copied.is_cuda:
            torch.cuda.current_stream(copied.device).synchronize()
        return copied.permute(0, 3, 1, 2)

    def close(self) -> None:
        """Do nothing: the pipeline holds all there is."""


def _has_engines(device_id: int) -> bool:
    """Return whether a GPU has JPEG engines, and say how many."""
    with torch.cuda.device(device_id):
        num_engines = count_jpeg_engines()
    if num_engines:
        logger.info("GPU %d has %d JPEG engines", device_id, num_engines)
    else:
        logger.info(
            "GPU %d shows no JPEG engine, so that CUDA decodes; A100 and later have some, which a "
            'container sees with the driver capability "video"',
            device_id,
        )
    return bool(num_engines)


def build_probe() -> Pipeline:
    """Build a pipeline that decodes one sample at a time on the CPU."""
    return build_pipeline(
        cpu_graph, inputs=CpuBackend.inputs, batch_size=1, num_threads=1, device_id=None
    )


def build_pipeline(
    graph: Callable[..., Any],
    *,
    inputs: tuple[str, ...],
    batch_size: int,
    num_threads: int,
    device_id: int | None,
) -> Pipeline:
    """Build the pipeline of a graph whose inputs are fed by name.

    Raises:
        DataError: DALI cannot build it, for want of a GPU as a rule.
    """
    pipeline = Pipeline(
        batch_size=batch_size,
        num_threads=num_threads,
        device_id=device_id,
        seed=0,  # no operator draws random numbers
        exec_dynamic=True,  # outputs stay valid while referred to, whatever runs next
        # Not more: Hopper's JPEG engine does not order what it writes after the caller's stream
        # (pytorch/vision#9606), and only a batch that has been waited for is safe to read.
        prefetch_queue_depth=1,
        set_affinity=False,
    )
    with pipeline:
        sources = {}
        for name in inputs:
            dtype, num_dims = _INPUTS[name]
            sources[name] = fn.external_source(name=name, dtype=dtype, ndim=num_dims)
        pipeline.set_outputs(graph(**sources))
    try:
        pipeline.build()
    except RuntimeError as error:
        raise DataError(
            "DALI cannot start",
            where="data.backend",
            got=reason_of(error),
            hint='set data.backend to "cpu" where there is no NVIDIA GPU',
        ) from error
    return pipeline


def cpu_graph(*, jpegs: Any, starts: Any, shapes: Any) -> Any:
    """Decode the box of each sample: uint8 [height, width, 3].

    Args:
        jpegs: Encoded images.
        starts: Top and left of each box, px.
        shapes: Height and width of each box, px.
    """
    return fn.decoders.image_slice(
        jpegs,
        device="cpu",
        start=starts,
        shape=shapes,
        axis_names="HW",
        output_type=DALIImageType.RGB,
        dtype=DALIDataType.UINT8,
        adjust_orientation=False,  # boxes are drawn for the pixels as stored
        use_fast_idct=False,
    )


@dataclass(frozen=True)
class GpuDecoding:
    """How the GPU graph decodes.

    Attributes:
        regions: Whether only the box is decoded, or all of the image and then cut.
        engines: Whether the JPEG engines decode what they can; CUDA does the rest.
        device: "mixed"; "cpu" runs the same operators without a GPU, for tests.
    """

    regions: bool = True
    engines: bool = True
    device: Literal["mixed", "cpu"] = "mixed"


def gpu_graph(
    *,
    jpegs: Any,
    starts: Any,
    shapes: Any,
    flips: Any,
    image_size: int,
    decoding: GpuDecoding,
) -> Any:
    """Decode the box of each sample, resize and flip it: uint8 [image_size, image_size, 3].

    Args:
        jpegs: Encoded images.
        starts: Top and left of each box, px.
        shapes: Height and width of each box, px.
        flips: 1 to flip left to right, 0 not to.
        image_size: Side of the output, px.
        decoding: How boxes are decoded.
    """
    options = {
        "device": decoding.device,
        "output_type": DALIImageType.RGB,
        "dtype": DALIDataType.UINT8,
        "adjust_orientation": False,
        "use_fast_idct": False,
        "jpeg_fancy_upsampling": True,  # as the CPU decoder and PIL do
        # All or nothing: a share is split by place in the batch, and engines and CUDA differ in
        # their pixels, so that an image would depend on its neighbors. All leaves most CPU cores
        # to the other ranks.
        "hw_decoder_load": 1.0 if decoding.engines else 0.0,
        "hybrid_huffman_threshold": 1_000_000,
        "affine": False,  # ranks on a host would tie their threads to the same cores
        "device_memory_padding": 16 << 20,
        "host_memory_padding": 8 << 20,
        "device_memory_padding_jpeg2k": 0,
        "host_memory_padding_jpeg2k": 0,
        "preallocate_width_hint": 0,
        "preallocate_height_hint": 0,
    }
    if decoding.regions:
        crops = fn.decoders.image_slice(
            jpegs, start=starts, shape=shapes, axis_names="HW", **options
        )
    else:
        whole = fn.decoders.image(jpegs, **options)
        crops = fn.slice(whole, start=starts, shape=shapes, axis_names="HW")
    resized: Any = fn.resize(
        crops,
        size=[image_size, image_size],
        interp_type=DALIInterpType.INTERP_CUBIC,
        antialias=True,
        dtype=DALIDataType.UINT8,
    )
    return fn.flip(resized, horizontal=flips, vertical=0)


def try_regions(jpeg: bytes, *, device_id: int | None) -> bool:
    """Decode regions of a JPEG as the GPU back end does; return whether they are the image's.

    It may end the process: some versions of the decoding library crash.

    Args:
        jpeg: An image of at least 64 x 64 px.
        device_id: The GPU; None runs the same operators on the CPU, for tests.
    """
    boxes = np.array([[0, 0, 64, 64], [3, 5, 40, 51], [17, 8, 33, 29], [1, 30, 63, 17]], np.int32)
    found = []
    for decodes_regions in (True, False):
        pipeline = build_pipeline(
            partial(
                gpu_graph,
                image_size=32,
                decoding=GpuDecoding(
                    regions=decodes_regions, device="cpu" if device_id is None else "mixed"
                ),
            ),
            inputs=GpuBackend.inputs,
            batch_size=len(boxes),
            num_threads=1,
            device_id=device_id,
        )
        pipeline.feed_input("jpegs", [np.frombuffer(jpeg, np.uint8)] * len(boxes))
        pipeline.feed_input("starts", boxes[:, :2].copy())
        pipeline.feed_input("shapes", boxes[:, 2:].copy())
        pipeline.feed_input("flips", np.zeros(len(boxes), np.int32))
        (output,) = pipeline.run()
        found.append(np.asarray(output.as_cpu().as_tensor()).astype(int))
    # Chroma at the border of a region may be interpolated otherwise than within the image.
    return bool(np.abs(found[0] - found[1]).mean() < _MOST_REGION_DIFFERENCE)
