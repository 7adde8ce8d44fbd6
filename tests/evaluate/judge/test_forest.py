import xml.etree.ElementTree

from retfm_dist.evaluate.judge.forest import ForestRow, draw_forest


def test_every_row_is_drawn_with_or_without_an_interval():
    rows = [ForestRow("one", 0.1, 0.0, 0.2), ForestRow("two", -0.1, None, None),
            ForestRow("together", 0.05, -0.1, 0.2, is_pooled=True)]  # fmt: skip
    svg = draw_forest(rows, axis="difference", margin=0.02, prefix="f")
    xml.etree.ElementTree.fromstring(svg)
    assert all(f">{row.label}<" in svg for row in rows)
    assert svg == draw_forest(rows, axis="difference", margin=0.02, prefix="f")
