import xml.etree.ElementTree

from matplotlib.figure import Figure

from retfm_dist.evaluate.judge.svg import to_inline


def test_a_figure_becomes_one_element_with_its_own_ids():
    figure = Figure()
    figure.subplots().plot([0, 1])
    svg = to_inline(figure, title="a < b", prefix="q")
    root = xml.etree.ElementTree.fromstring(svg)
    assert root[0].text == "a < b"
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert ids
    assert all(name.startswith("q-") for name in ids)
    assert "<metadata>" not in svg
