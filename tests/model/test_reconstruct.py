import numpy as np
import pytest
import torch

from retfm_dist.errors import ModelError
from retfm_dist.model.mae import MaskedAutoencoder
from retfm_dist.model.patches import patchify, standardize_patches
from retfm_dist.model.preprocessing import normalize_pixels
from retfm_dist.model.reconstruct import reconstruction_panel


class Clairvoyant(MaskedAutoencoder):
    """Predicts exactly what is there, in the form its loss asks for."""

    def forward(self, images, noise):
        pixels = patchify(images, patch_size=self.patch_size).unflatten(-1, (-1, 3))
        truth = normalize_pixels(pixels, dtype=torch.float32).flatten(-2)
        if self.norm_pix_loss:
            truth = standardize_patches(truth)
        return super().forward(images, noise)._replace(pred=truth)


def columns_of(panel):
    """Return original, masked and reconstructed [B, 3, 32, 32] of a panel."""
    rows = torch.from_numpy(panel).reshape(-1, 32, 3, 32, 3)
    return [rows[:, :, column].permute(0, 3, 1, 2) for column in range(3)]


def removed_pixels(model, images, noise):
    mask = model(images, noise).mask.reshape(-1, 1, 4, 4)
    return mask.repeat_interleave(8, 2).repeat_interleave(8, 3).bool().expand_as(images)


def test_a_panel_shows_original_masked_and_pasted_reconstruction(build, images, noise):
    model = build()
    panel = reconstruction_panel(model, images, noise)
    assert panel.shape == (3 * 32, 3 * 32, 3)
    assert panel.dtype == np.uint8
    original, masked, pasted = columns_of(panel)
    removed = removed_pixels(model, images, noise)
    assert torch.equal(original, images)
    assert torch.equal(masked[~removed], images[~removed])
    assert (masked[removed] == 128).all()
    assert torch.equal(pasted[~removed], images[~removed])
    assert not torch.equal(pasted[removed], images[removed])


@pytest.mark.parametrize("norm_pix_loss", [True, False])
def test_a_perfect_prediction_shows_the_original(tiny, images, noise, norm_pix_loss):
    model = Clairvoyant(tiny.model_copy(update={"norm_pix_loss": norm_pix_loss}))
    original, _, pasted = columns_of(reconstruction_panel(model, images, noise))
    assert torch.equal(pasted, original)


def test_flat_patches_are_shown_flat(tiny, noise):
    images = torch.full((3, 3, 32, 32), 77, dtype=torch.uint8)
    original, _, pasted = columns_of(reconstruction_panel(Clairvoyant(tiny), images, noise))
    assert torch.equal(pasted, original)


@pytest.mark.parametrize("training", [True, False])
def test_the_models_mode_and_gradients_are_left_as_found(build, images, noise, training):
    model = build().train(training)
    reconstruction_panel(model, images, noise)
    assert model.training is training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_failure_leaves_the_mode_as_found(build, images):
    model = build().train()
    with pytest.raises(ModelError, match="noise does not fit"):
        reconstruction_panel(model, images, torch.zeros(3, 4))
    assert model.training


def test_low_precision_models_are_drawn_too(build, images, noise):
    panel = reconstruction_panel(build().bfloat16(), images, noise)
    original, _, pasted = columns_of(panel)
    assert torch.equal(original, images)
    assert pasted.dtype == torch.uint8


def test_one_image_makes_one_row(build, images, noise):
    assert reconstruction_panel(build(), images[:1], noise[:1]).shape == (32, 96, 3)
