import xml.etree.ElementTree

from retfm_dist.evaluate.report.panels import PanelModel, draw_panels
from tests.fakes.predictions import predictions


def test_three_panels_show_every_model_in_its_color():
    models = [
        PanelModel(predictions(seed, model=name), seed) for seed, name in ((0, "a"), (1, "b"))
    ]
    svg = draw_panels(models, title="t & u", prefix="p")
    root = xml.etree.ElementTree.fromstring(svg)
    assert root[0].text == "t & u"
    assert all(color in svg for color in ("#0072b2", "#d55e00"))
    for text in ("observed share of positives", "net benefit", "treat all", ">a<", ">b<"):
        assert text in svg
    assert svg == draw_panels(models, title="t & u", prefix="p")
