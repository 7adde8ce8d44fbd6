"""Draw the fundus behind the vessels: pigment, macula, choroid, drusen.

What absorbs light is added up as optical density per color channel, on a coarse grid.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from retfm_dist.synth.anatomy import Anatomy
from retfm_dist.synth.draw.field import Coarse, Field
from retfm_dist.synth.draw.stamp import Marks, stamp
from retfm_dist.synth.draw.upsample import upsample

Floats = NDArray[np.float32]

# Light of a blond fundus and what melanin takes of it, red green blue. By eye, not measured.
_BLOND = np.array([0.84, 0.31, 0.16])
_MELANIN = np.array([0.50, 0.56, 0.62])
_HUE = np.array([0.03, -0.10, 0.03])
_FOVEAL_PIGMENT = np.array([0.50, 0.78, 0.55])
_MACULAR_SHADE = np.array([0.16, 0.20, 0.22])
_CHOROID = np.array([0.12, 0.30, 0.24])
_MOTTLING = np.array([0.04, 0.08, 0.07])
_DRUSEN_LIGHT = np.array([0.20, 0.42, 0.30])
_NERVE_FIBER_LIGHT = np.array([0.04, 0.16, 0.22])

_CHOROID_TABLE = (128, 48)


def draw_background(anatomy: Anatomy, field: Field, stream: Generator) -> Floats:
    """Return the light [3, h, w] that the eye's background sends back, about 0 to 1.

    Args:
        anatomy: The eye.
        field: Where it is seen.
        stream: Source of the texture.
    """
    coarse = field.coarse
    density = _draw_smooth(anatomy, coarse, stream)
    choroid = _draw_choroid(anatomy, coarse, stream)
    density -= (_CHOROID * anatomy.tessellation).astype(np.float32)[:, None, None] * choroid
    light = np.stack([coarse.enlarge(plane) for plane in np.exp(-density)])
    drusen = _draw_drusen(anatomy, field, stream)
    touched = np.flatnonzero(drusen)
    for channel in range(3):
        gain = np.exp(np.float32(_DRUSEN_LIGHT[channel]) * drusen.ravel()[touched])
        light[channel].reshape(-1)[touched] *= gain
    return light


def _draw_smooth(anatomy: Anatomy, field: Coarse, stream: Generator) -> Floats:
    """Return what has no fine detail: color, mottling, macula, nerve fibers; [3, h, w]."""
    across, down = field.x - anatomy.fovea_x, field.y - anatomy.fovea_y
    from_fovea = across**2 + down**2
    fovea = np.exp(from_fovea / (-2 * 0.062**2)) + 0.40 * np.exp(from_fovea / (-2 * 0.13**2))
    macula = np.exp(-(across**2 / (2 * 0.34**2) + down**2 / (2 * 0.28**2)))
    from_disc_x, from_disc_y = field.x - anatomy.disc.x, field.y - anatomy.disc.y
    from_disc = np.hypot(from_disc_x, from_disc_y)
    # Nerve fibers shine in two lobes above and below the disc.
    lobes = np.abs(from_disc_y) / (from_disc + 0.05)
    fibers = (0.35 + lobes**2) * np.exp(-from_disc / 0.34)
    mottling = _smooth_noise(field.x.shape, stream, cells=7) + 0.5 * _smooth_noise(
        field.x.shape, stream, cells=26
    )
    base = -np.log(_BLOND) + _MELANIN * (anatomy.pigment - 0.18) + _HUE * anatomy.hue
    shade = anatomy.fovea_depth * (0.7 + 0.5 * anatomy.pigment)
    density = (
        base[:, None, None]
        + (shade * _FOVEAL_PIGMENT)[:, None, None] * fovea
        + (shade * _MACULAR_SHADE)[:, None, None] * macula
        + _MOTTLING[:, None, None] * mottling
        - ((0.5 + 0.7 * anatomy.sheen) * _NERVE_FIBER_LIGHT)[:, None, None] * fibers
    )
    if anatomy.sheen > 0.05:
        # The wall of a young fovea mirrors the flash as a ring, its bottom as a point.
        radius = np.sqrt(from_fovea)
        ring = np.exp(-(((radius - 0.17) / 0.035) ** 2)) * (0.6 + 0.4 * down / (radius + 0.02))
        density -= np.float32(0.16 * anatomy.sheen) * ring
    return density.astype(np.float32)


def _draw_choroid(anatomy: Anatomy, field: Coarse, stream: Generator) -> Floats:
    """Return the net of choroidal vessels [h, w], about -1 (stroma) to 1 (vessel).

    A ribbon runs where a noise field crosses zero. The noise lives on polar coordinates around
    the macula, stretched along the radius, so ribbons run outward and form a net.
    """
    across, down = field.x - anatomy.fovea_x, field.y - anatomy.fovea_y
    warp = np.float32(0.05) * _smooth_noise(field.x.shape, stream, cells=12)
    across, down = across + warp, down - warp
    radius = np.sqrt(across**2 + down**2)
    angle = np.arctan2(down, across) * np.float32(_CHOROID_TABLE[0] / (2 * np.pi))
    net = np.zeros(field.x.shape, np.float32)
    table = _double_periodic(stream.standard_normal(_CHOROID_TABLE, dtype=np.float32))
    for shift, stretch, weight in ((0, 8.0, 1.0), (24, 14.0, 0.6)):
        coordinates = np.stack([2 * angle, 2 * (radius * np.float32(stretch) + np.float32(shift))])
        noise = ndimage.map_coordinates(table, coordinates, order=1, mode="grid-wrap")
        ribbons = np.exp(-((noise / np.float32(0.42)) ** 2)) - np.float32(0.4)
        net += np.float32(weight) * (np.tanh(noise) + ribbons)
    # Near the macula the polar net would crowd and the pigment hides it anyway.
    visible = 0.25 + 0.75 * np.clip((radius - 0.12) / 0.45, 0, 1)
    return (0.6 * net * visible).astype(np.float32)


def _draw_drusen(anatomy: Anatomy, field: Field, stream: Generator) -> Floats:
    count = anatomy.drusen
    spread = stream.standard_normal((count, 2)) * np.array([0.24, 0.20])
    centers = np.array([anatomy.fovea_x, anatomy.fovea_y]) + spread
    radii = field.radius_px * (0.008 + 0.012 * stream.random(count) ** 2)
    weights = 0.35 + 0.5 * stream.random(count)
    marks = Marks(field.to_px(centers), radii.astype(np.float32), weights.astype(np.float32))
    return stamp(field.shape, marks, profile="soft")


def _double_periodic(table: Floats) -> Floats:
    """Return the table at twice the resolution; it still continues at the opposite side."""
    padded = np.pad(table, 3, mode="wrap")
    height, width = padded.shape
    doubled = upsample(padded, 2, shape=(2 * height, 2 * width))
    return np.ascontiguousarray(doubled[6:-6, 6:-6])


def _smooth_noise(shape: tuple[int, ...], stream: Generator, *, cells: int) -> Floats:
    """Return noise of unit size [h, w] with about `cells` grains per side."""
    grid = stream.standard_normal((cells, cells), dtype=np.float32)
    resized = Image.fromarray(grid).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(resized)
