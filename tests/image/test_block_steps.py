import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from retfm_dist.image.block_steps import BlockLayout, can_show, measure_steps, to_ycc, window_sums
from tests.fakes.processes import environment

LOW, HIGH = BlockLayout(8, 8, (0.5, 0.5, 0.5)), BlockLayout(16, 16, (0.5, 0.5, 0.5))


def gray(height=240, width=320, level=100):
    return np.full((height, width, 3), level, np.uint8)


@pytest.mark.parametrize("layout", [LOW, HIGH])
@pytest.mark.parametrize("amount", [5, 40])
def test_a_step_between_two_rows_of_blocks_is_measured_there_and_not_between(layout, amount):
    pixels = gray()
    pixels[5 * layout.height :] += amount
    found = measure_steps(pixels, layout)
    columns = 320 // layout.width
    assert found.num_columns == columns
    rows = found.steps.reshape(-1, columns, 3)
    assert np.allclose(rows[4, :, 0], amount, atol=0.01)
    assert not rows[[0, 1, 2, 3, 5, 6, 7]].any()
    window, middle = found.largest(0)
    assert window == slice(4 * columns, 5 * columns)
    assert middle == pytest.approx(amount, abs=0.01)
    # Larger steps count as 12 in the mean, so that a few of them do not make one.
    assert found.means[window.start, 0] == pytest.approx(min(amount, 12), abs=0.01)
    between = measure_steps(pixels, layout, between=True)
    assert np.abs(between.means).max() < 0.01


def test_a_slope_of_the_picture_is_no_step():
    pixels = (np.arange(200)[:, None, None] + 30 * np.ones((1, 320, 3))).astype(np.uint8)
    assert np.abs(measure_steps(pixels, HIGH).means).max() < 0.01


def test_black_and_burnt_out_blocks_do_not_count():
    colors = np.array([[0, 0, 0], [14, 14, 14], [15, 0, 0], [249, 90, 90], [250, 90, 90]])
    assert can_show(colors, colors).tolist() == [False, False, True, True, False]


def test_sums_are_those_of_windows():
    assert window_sums(np.arange(5.0)[:, None], 3)[:, 0].tolist() == [3, 6, 9]


@pytest.mark.parametrize(
    ("height", "width", "fits"), [(72, 96, False), (73, 96, True), (200, 95, False)]
)
def test_a_verdict_needs_rows_and_columns(height, width, fits):
    assert LOW.fits(gray(height, width)) is fits


def test_luminance_and_color_are_those_of_jfif():
    colors = np.random.default_rng(0).integers(0, 256, (50, 3))
    expected = Image.fromarray(colors.astype(np.uint8)[None]).convert("YCbCr")
    found = to_ycc(colors.astype(np.float32)) + np.array([0, 128, 128], np.float32)
    assert np.abs(found - np.asarray(expected)[0]).max() <= 1


def test_steps_have_the_same_bits_on_every_processor():
    """A verdict at a limit must not depend on the machine that packs."""
    script = (
        "import hashlib, numpy as np\n"
        "from retfm_dist.image.block_steps import BlockLayout, measure_steps\n"
        "pixels = np.random.default_rng(0).integers(20, 240, (480, 640, 3), dtype=np.uint8)\n"
        "found = measure_steps(pixels, BlockLayout(16, 16, (0.5, 0.5, 0.5)))\n"
        "print(hashlib.sha256(found.steps.tobytes() + found.means.tobytes()).hexdigest())\n"
    )
    # Kernels of OpenBLAS with and without fused multiplication and addition.
    digests = [
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True,
            env=environment() | {"OPENBLAS_CORETYPE": core}, timeout=60,
        ).stdout
        for core in ("Nehalem", "Haswell", "SkylakeX")
    ]  # fmt: skip
    assert len(set(digests)) == 1
