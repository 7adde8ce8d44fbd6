import pytest
import torch

from retfm_dist.errors import ModelError
from retfm_dist.model.mae import MaskedAutoencoder, init_weights
from retfm_dist.model.sizes import MAE_SIZES
from retfm_dist.rng.streams import mask_noise


def normalized(images):
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 1, 3, 1, 1)
    return (images / 255 - mean) / std


def cut(images):
    """[3, 3, 32, 32] -> [3, 16, 192] patches, written another way than the model does."""
    return torch.einsum("nchpwq->nhwpqc", images.reshape(3, 3, 4, 8, 4, 8)).reshape(3, 16, 192)


def test_the_loss_is_the_mean_over_removed_patches_of_what_is_returned(build, images, noise):
    output = build(norm_pix_loss=False)(images, noise)
    assert output.pred.shape == (3, 16, 192)
    assert output.mask.shape == (3, 16)
    assert output.loss.shape == ()
    error = (output.pred - cut(normalized(images))).square().mean(-1)
    torch.testing.assert_close(output.loss, (error * output.mask).sum() / output.mask.sum())


def test_no_gradient_comes_from_kept_patches(build, images, noise):
    model = build()
    output = model(images, noise)
    kept = output.pred[output.mask == 0].sum()
    gradients = torch.autograd.grad(kept, list(model.decoder_pred.parameters()), allow_unused=True)
    assert all(gradient is None or not gradient.any() for gradient in gradients)


def test_training_and_evaluation_modes_agree(build, images, noise):
    model = build()
    trained, evaluated = model.train()(images, noise), model.eval()(images, noise)
    assert all(torch.equal(one, other) for one, other in zip(trained, evaluated, strict=True))


def test_the_same_input_gives_the_same_bits(build, images, noise):
    one, other = build(), build()
    outputs = [model(images, noise) for model in (one, other)]
    for output in outputs:
        output.loss.backward()
    assert torch.equal(outputs[0].loss, outputs[1].loss)
    for first, second in zip(one.parameters(), other.parameters(), strict=True):
        assert first.grad is None or torch.equal(first.grad, second.grad)


def test_samples_do_not_depend_on_their_batch(build, images, noise):
    model = build().double()
    together = model(images, noise)
    alone = model(images[1:2], noise[1:2])
    torch.testing.assert_close(together.pred[1:2], alone.pred)
    assert torch.equal(together.mask[1:2], alone.mask)


def test_only_kept_patches_reach_the_encoder(build, images, noise):
    model = build()
    output = model(images, noise)
    removed_pixels = output.mask.reshape(3, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    changed = torch.where(removed_pixels.bool(), 255 - images, images)
    other = model(changed, noise)
    assert torch.equal(output.pred, other.pred)
    assert not torch.equal(output.loss, other.loss)


def test_one_batch_can_be_learned_by_heart(build, images, noise):
    model = build()
    optimizer = torch.optim.AdamW(
        [value for value in model.parameters() if value.requires_grad], lr=1e-2
    )
    losses = []
    for _ in range(50):
        loss = model(images, noise).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.0
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("mask", ["block", "grid"])
def test_a_model_trains_under_any_mask(build, images, mask):
    noise = mask_noise(1, 0, torch.arange(3), 16)
    output = build(mask=mask)(images, noise)
    output.loss.backward()
    assert (output.mask.sum(dim=1) == 12).all()
    assert not torch.equal(output.mask, build()(images, noise).mask)


@pytest.mark.parametrize("norm_pix_loss", [True, False])
def test_patches_outside_of_the_field_of_view_do_not_count(build, images, noise, norm_pix_loss):
    """Against the mean over images of the mean over the removed patches that are not black."""
    images[0, :, :16] = 0
    images[1, :, :, 8:] = 5  # what JPEG leaves
    images[2] = 0
    model = build(norm_pix_loss=norm_pix_loss, loss_outside=False)
    found = model(images, noise)
    target = cut(normalized(images))
    if norm_pix_loss:
        std = (target.var(dim=-1, keepdim=True) + 1e-6).sqrt()
        target = (target - target.mean(dim=-1, keepdim=True)) / std
    errors = (found.pred - target).square().mean(dim=-1)
    expected = []
    for image in range(2):
        counts = (found.mask[image] == 1) & (cut(images)[image].amax(dim=-1) > 8)
        assert 0 < counts.sum() < 12
        expected.append(errors[image][counts].mean().item())
    assert found.loss.item() == pytest.approx(sum(expected) / 3, rel=1e-5)
    found.loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_the_first_losses_of_a_run_are_as_recorded(build):
    """Golden values: a change here is a change of the mathematics or of the random numbers."""
    model = build(seed=7).double()
    model.write_position_tables()
    optimizer = torch.optim.AdamW(
        [value for value in model.parameters() if value.requires_grad], lr=1e-3, betas=(0.9, 0.95)
    )
    uids = torch.tensor([3, 5])
    ramp = torch.arange(2 * 3 * 32 * 32).reshape(2, 3, 32, 32)
    images = (ramp * ramp // 1009 % 256).to(torch.uint8)
    losses = []
    for epoch in range(5):
        loss = model(images, mask_noise(0, epoch, uids, 16)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == pytest.approx(GOLDEN_LOSSES, rel=1e-7)


GOLDEN_LOSSES = [1.1443692635, 1.1386405337, 1.1157142634, 1.1214241995, 1.1002979196]


@pytest.mark.parametrize("value", [0, 128, 255])
def test_constant_images_give_finite_losses_and_gradients(build, noise, value):
    model = build()
    images = torch.full((3, 3, 32, 32), value, dtype=torch.uint8)
    loss = model(images, noise).loss
    loss.backward()
    assert torch.isfinite(loss)
    for parameter in model.parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()


def test_every_trainable_parameter_gets_a_gradient(build, images, noise):
    model = build()
    model(images, noise).loss.backward()
    without = {name for name, value in model.named_parameters() if value.grad is None}
    assert without == {"pos_embed", "decoder_pos_embed"}


def test_double_noise_masks_like_single_noise(build, images, noise):
    model = build()
    assert torch.equal(model(images, noise).mask, model(images, noise.double()).mask)


def test_autocast_keeps_the_loss_in_float32(build, images, noise):
    model = build()
    expected = model(images, noise).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(images, noise).loss
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=2e-2, atol=0)


@pytest.mark.parametrize(
    ("size", "num_patches", "trainable"),
    # 12 D^2 + 13 D per block; the encoder's first and last layers, the decoder's likewise.
    [
        ("S", 196, 47_401_728),
        ("B", 196, 111_655_680),
        ("L", 196, 329_239_296),
        ("H", 256, 656_613_964),
    ],
)
def test_all_published_sizes_can_be_built(size, num_patches, trainable):
    with torch.device("meta"):
        model = MaskedAutoencoder(MAE_SIZES[size])
    assert model.num_patches == num_patches
    assert sum(value.numel() for value in model.parameters() if value.requires_grad) == trainable


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(torch.zeros(3, 3, 32, 32), id="float"),
        pytest.param(torch.zeros(3, 3, 32, 24, dtype=torch.uint8), id="not square"),
        pytest.param(torch.zeros(3, 3, 64, 64, dtype=torch.uint8), id="other size"),
        pytest.param(torch.zeros(3, 32, 32, 3, dtype=torch.uint8), id="channels last"),
        pytest.param(torch.zeros(3, 32, 32, dtype=torch.uint8), id="no batch"),
        pytest.param(torch.zeros(0, 3, 32, 32, dtype=torch.uint8), id="empty batch"),
    ],
)
def test_images_of_another_form_are_refused(build, noise, bad):
    model = build()
    with pytest.raises(ModelError, match="images do not fit the model; got .* expected uint8"):
        model(bad, noise)
    with pytest.raises(ModelError, match="images do not fit the model"):
        model.forward_features(bad)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(torch.zeros(3, 15), id="too few patches"),
        pytest.param(torch.zeros(2, 16), id="other batch"),
        pytest.param(torch.zeros(16), id="no batch"),
        pytest.param(torch.zeros(3, 16, dtype=torch.int64), id="integers"),
        pytest.param(torch.zeros(3, 16, dtype=torch.bfloat16), id="too narrow"),
    ],
)
def test_noise_of_another_form_is_refused(build, images, bad):
    with pytest.raises(
        ModelError, match=r"noise does not fit the model; got .* expected .*\[3, 16\]"
    ):
        build()(images, bad)


def test_a_model_built_without_storage_can_be_filled(tiny, build):
    with torch.device("meta"):
        model = MaskedAutoencoder(tiny)
    model.to_empty(device="cpu")
    init_weights(model, 0)
    for name, value in build().state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
