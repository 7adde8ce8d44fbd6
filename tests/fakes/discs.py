"""Draws bright discs on black: the bare geometry of fundus photographs, for tests."""

import numpy as np
from PIL import Image


def draw_disc(
    *,
    height=300,
    width=400,
    center_y=150.0,
    center_x=200.0,
    radius=120.0,
    brightness=180,
    noise=3,
    seed=0,
):
    """Return an RGB image of a shaded, speckled reddish disc on a nearly black ground."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width] + 0.5
    distance = np.hypot(rows - center_y, columns - center_x)
    shade = brightness * (1 - 0.4 * (distance / radius) ** 2)
    shade += 0.1 * brightness * np.sin(rows / 17) * np.cos(columns / 13)
    gray = np.where(distance < radius, shade, 0)
    gray = gray + generator.normal(0, noise, gray.shape)
    tint = np.array([1.0, 0.55, 0.35])
    return Image.fromarray(np.clip(gray[..., None] * tint, 0, 255).astype(np.uint8))
