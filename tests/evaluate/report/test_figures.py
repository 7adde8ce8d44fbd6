import re
import xml.etree.ElementTree

import numpy as np

from retfm_dist.evaluate.judge.curves import RocCurve
from retfm_dist.evaluate.report.figures import NamedCurve, draw_roc

POINTS = np.array([[0.0, 0.0], [0.2, 0.7], [1.0, 1.0]])
RATES = np.linspace(0, 1, 5)


def curve(label="m", slot=0, *, has_band=True):
    band = (np.full(5, 0.2), np.full(5, 0.9)) if has_band else (None, None)
    return NamedCurve(label, "0.80", slot, RocCurve(POINTS, RATES, *band))


def test_a_figure_is_one_svg_that_needs_nothing_else():
    svg = draw_roc([curve(), curve("n", 1)], title="<ROC> & more", prefix="x")
    root = xml.etree.ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert root[0].text == "<ROC> & more"
    assert not re.search(r"(?:href|src)=\"http", svg)
    assert all(name.startswith("x-") for name in re.findall(r'\bid="([^"]*)"', svg))


def test_the_same_curves_give_the_same_bytes():
    assert draw_roc([curve()], title="t", prefix="x") == draw_roc([curve()], title="t", prefix="x")


def test_a_curve_without_an_interval_has_no_band():
    with_band, without = (
        draw_roc([curve(has_band=has_band)], title="t", prefix="x") for has_band in (True, False)
    )
    assert len(without) < len(with_band)
    assert without != with_band


def test_a_model_keeps_its_color_whatever_is_drawn_beside_it():
    alone = draw_roc([curve("n", 1)], title="t", prefix="x")
    beside = draw_roc([curve("m", 0), curve("n", 1)], title="t", prefix="x")
    assert "#d55e00" in alone
    assert "#0072b2" not in alone
    assert {"#d55e00", "#0072b2"} <= set(re.findall("#[0-9a-f]{6}", beside))
