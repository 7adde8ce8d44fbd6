"""Config section of DeepSpeed: precision, sharding, compilation and kernels."""

from typing import Literal

from pydantic import model_validator
from typing_extensions import Self

from retfm_dist.config.paths import ConfigPath
from retfm_dist.config.section import Positive, Section


class EngineConfig(Section):
    """How DeepSpeed runs the model."""

    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Where the model computes. "cuda" ends a start on a machine without a usable GPU; "auto" takes
    a GPU where there is one, and the CPU only where there is no driver either."""
    zero_stage: Literal[0, 1, 2, 3] = 1
    """ZeRO stage; 1 shards the optimizer state and is the least that is exact in bf16."""
    precision: Literal["bf16", "fp32"]
    """Number format of weights and activations; moments and master weights are always fp32."""
    reduce_bucket_size: Positive = 25_000_000
    """Gradient elements reduced at once; DeepSpeed's own 5e8 overlaps nothing for a ViT-L."""
    overlap_comm: bool | None = None
    """Whether gradients are exchanged while the backward pass goes on; null: at stages 2 and 3, and
    at stage 1 where ranks are on several hosts."""
    offload_optimizer: bool = False
    """Whether master weights, moments and the update are in host memory, for a GPU that cannot hold
    them; every step is slower. Only at stage 2."""
    offload_dir: ConfigPath | None = None
    """Directory on a fast local disk, such as an NVMe, that holds the offloaded state, of which
    host memory then keeps what it has room for; null: all of it is in memory. A rank needs 28 bytes
    there for each parameter that it updates, 36 with ema_decay, in files that go with it."""
    compile: bool | None = None
    """Whether each transformer block is compiled, which takes minutes at a start; null: on GPUs."""
    attention: Literal["math", "flash", "efficient", "cudnn"] | None = None
    """Attention kernel of PyTorch; null takes the fastest that has been measured and found right on
    this device (model/attention_kernels.json), or lets PyTorch choose among all but cuDNN's."""

    def compiles_on(self, device_type: str) -> bool:
        """Return whether blocks are compiled on a device, "cuda" or "cpu"."""
        if self.compile is not None:
            return self.compile
        return device_type == "cuda" and self.zero_stage < 3

    @model_validator(mode="after")
    def _sharded_weights_are_not_compiled(self) -> Self:
        if self.compile and self.zero_stage == 3:
            raise ValueError("compile needs whole weights; zero_stage 3 shards them")
        return self

    @model_validator(mode="after")
    def _bf16_needs_sharding(self) -> Self:
        if self.precision == "bf16" and self.zero_stage == 0:
            raise ValueError(
                "zero_stage 0 is inexact in bf16 (no fp32 master weights); use 1, 2 or 3"
            )
        return self

    @model_validator(mode="after")
    def _offload_needs_stage_2(self) -> Self:
        if self.offload_optimizer and self.zero_stage != 2:
            raise ValueError(f"offload_optimizer needs zero_stage 2, got {self.zero_stage}")
        if self.offload_dir and not self.offload_optimizer:
            raise ValueError("offload_dir is for offload_optimizer, which is false")
        return self
