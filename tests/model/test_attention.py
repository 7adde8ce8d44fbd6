import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from retfm_dist.model.attention import (
    KERNELS,
    allowed_kernels,
    attention_by,
    kernels_for,
    read_table,
    shape_name,
)
from retfm_dist.model.mae import MaskedAutoencoder

TABLE = {"NVIDIA H100": {"bf16": {"50x64": "flash"}}}


def test_the_table_names_kernels_that_there_are():
    for of_device in read_table().values():
        for of_dtype in of_device.values():
            assert set(of_dtype.values()) <= KERNELS.keys()


@pytest.mark.parametrize(
    ("device_name", "dtype", "tokens", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", torch.bfloat16, 50, ("flash",)),
        ("NVIDIA H100 80GB HBM3", torch.bfloat16, 197, ("flash", "efficient", "math")),
        ("NVIDIA H100 80GB HBM3", torch.float32, 50, ("flash", "efficient", "math")),
        ("NVIDIA A100", torch.bfloat16, 50, ("flash", "efficient", "math")),
    ],
)
def test_the_measured_kernel_is_taken_and_cudnn_only_if_measured(
    device_name, dtype, tokens, expected
):
    found = allowed_kernels(TABLE, device_name=device_name, dtype=dtype, tokens=tokens, head_dim=64)
    assert found == expected


def test_a_shape_has_a_name():
    assert shape_name(197, 32) == "197x32"
    assert "math" in kernels_for(torch.device("cpu"), torch.float64, 50, 64)


def test_no_other_kernel_than_the_ones_named_is_taken():
    query = torch.randn(1, 1, 4, 8)
    with attention_by(("cudnn",)), pytest.raises(RuntimeError, match="No viable backend"):
        scaled_dot_product_attention(query, query, query)
    scaled_dot_product_attention(query, query, query)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # PyTorch's own tracing
@pytest.mark.parametrize("kernel", ["math", "flash", None])
@pytest.mark.parametrize("compiled", [False, True])
def test_every_way_to_compute_blocks_is_that_of_float64(build, images, noise, kernel, compiled):
    def gradients(model: MaskedAutoencoder):
        loss = model(images, noise).loss
        loss.backward()
        return loss, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}

    expected_loss, expected = gradients(build().double())
    model = build()
    model.attention_kernel = kernel
    if compiled:
        model.compile_blocks(backend="aot_eager")
    loss, found = gradients(model)
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-6)
    for name, gradient in found.items():
        scale = expected[name].abs().max()
        torch.testing.assert_close(
            gradient.double() / scale, expected[name] / scale, rtol=0, atol=1e-5
        )
