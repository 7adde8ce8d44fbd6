"""Paper around a photograph, and strokes across its rim."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from retfm_dist.image.surround import find_paper, find_photograph, has_strokes_across_rim
from tests.fakes.discs import draw_disc

CIRCLE = {"center_y": 150, "center_x": 200, "radius": 120}


def on_paper(image, *, left, top, size, color=(252, 252, 248)):
    page = Image.new("RGB", size, color)
    page.paste(image, (left, top))
    return page


@pytest.mark.parametrize("color", [(255, 255, 255), (250, 248, 235), (190, 190, 188)])
def test_a_page_is_found_and_the_photograph_on_it(color):
    page = on_paper(draw_disc(), left=40, top=60, size=(500, 420), color=color)
    ImageDraw.Draw(page).text((45, 385), "Patient: Doe, Jane  1950-02-03", fill=(20, 20, 20))
    top, left, bottom, right = find_photograph(find_paper(np.asarray(page)))
    assert (abs(top - 60), abs(left - 40), abs(bottom - 360), abs(right - 440)) <= (2, 2, 2, 2)


def test_a_thin_border_is_paper():
    page = on_paper(draw_disc(), left=4, top=4, size=(408, 308))
    assert find_photograph(find_paper(np.asarray(page))) == (6, 6, 302, 402)


def test_a_photograph_by_itself_has_no_paper():
    pixels = np.asarray(draw_disc())
    assert not find_paper(pixels).any()
    assert find_photograph(find_paper(pixels)) == (0, 0, 300, 400)


def test_a_bright_retina_that_fills_the_frame_is_no_paper():
    assert not find_paper(np.full((60, 80, 3), (230, 180, 150), np.uint8)).any()


def test_an_empty_page_is_all_paper():
    paper = find_paper(np.full((60, 80, 3), 255, np.uint8))
    assert paper.all()
    assert find_photograph(paper) == (0, 0, 60, 80)


@pytest.mark.parametrize("color", [(255, 255, 255), (255, 255, 0), (0, 255, 0), (200, 200, 200)])
@pytest.mark.parametrize("angle", [0.3, 0.9, 2.2, -0.9, -2.5])
def test_a_name_across_the_rim_is_noticed(color, angle):
    image = draw_disc()
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=14)
    x, y = 200 + 120 * np.cos(angle), 150 + 120 * np.sin(angle)
    pen.text((x - 40, y - 7), "DOE JANE 1950", fill=color, font=font)
    assert has_strokes_across_rim(np.asarray(image), **CIRCLE)


def test_text_beside_the_retina_and_a_plain_rim_are_no_strokes():
    image = draw_disc()
    assert not has_strokes_across_rim(np.asarray(image), **CIRCLE)
    ImageDraw.Draw(image).text((2, 2), "DOE JANE 1950", fill=(255, 255, 255))
    assert not has_strokes_across_rim(np.asarray(image), **CIRCLE)
    pen = ImageDraw.Draw(image)
    pen.arc((78, 28, 322, 272), 20, 90, fill=(255, 240, 220), width=3)  # flare along the rim
    assert not has_strokes_across_rim(np.asarray(image), **CIRCLE)
