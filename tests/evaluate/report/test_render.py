import shutil
from html.parser import HTMLParser

import pytest

from retfm_dist.config.load import to_yaml
from retfm_dist.errors import EvaluateError
from retfm_dist.evaluate.report.render import render
from retfm_dist.evaluate.run import run_evaluation
from tests.fakes.evaluation import checked, evaluation, results

BASELINE_ONLY = {"models": [{"kind": "handcrafted", "id": "floor"}]}


class Page(HTMLParser):
    """Collects what a browser would look at."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.ids = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                self.addresses.append(value)
            if name == "id":
                self.ids.append(value)


def test_the_report_is_made_anew_from_the_predictions_alone(copied):
    before = {
        name: (copied / "out" / name).read_bytes()
        for name in ("metrics.json", "report.html", "report.md")
    }
    for gone in ("images", "export", "table.csv", "out/features"):
        path = copied / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in before:
        (copied / "out" / name).unlink()
    assert render(copied / "out") == copied / "out" / "report.html"
    assert {name: (copied / "out" / name).read_bytes() for name in before} == before


def test_the_report_needs_nothing_but_itself(finished):
    text = (finished / "out" / "report.html").read_text()
    page = Page(text)
    assert page.addresses
    assert all(address.startswith(("#", "data:image/jpeg;base64,")) for address in page.addresses)
    assert "@import" not in text
    assert "url(http" not in text
    assert not {"script", "link", "iframe", "object"} & set(page.tags)


def test_ids_are_unique_and_internal_links_lead_somewhere(finished):
    page = Page((finished / "out" / "report.html").read_text())
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)


def test_the_report_shows_all_its_parts(finished):
    text = (finished / "out" / "report.html").read_text()
    page = Page(text)
    assert page.tags.count("img") == 2 * 4 * 4
    assert text.count("ROC curves: ") == 4
    assert "tiny &minus; floor" in text
    assert 'name="viewport"' in text
    assert "@media print" in text
    value = results(finished)["tiny", "bright", "linear"]["value"]
    for part in (f"<b>{value:.3f}</b>", "56 images of 28 patients", "kNN, k = 5", "linear probe",
                 "run tiny, step 7, 448 images seen", "control: before pre-training"):  # fmt: skip
        assert part in text
    markdown = (finished / "out" / "report.md").read_text()
    assert f"| tiny | linear probe | {value:.3f} |" in markdown


def test_pictures_are_left_out_by_default(copied):
    run_evaluation(checked(evaluation(copied)))
    page = Page((copied / "out" / "report.html").read_text())
    assert "img" not in page.tags
    assert not (copied / "out" / "pictures").exists()


def test_names_from_the_config_cannot_inject_markup(copied):
    values = evaluation(copied, name="A <script>alert(1)</script> & B")
    (copied / "out" / "config.yaml").write_text(to_yaml(checked(values)))
    render(copied / "out")
    text = (copied / "out" / "report.html").read_text()
    assert "<script>" not in text
    assert "A &lt;script&gt;" in text


def test_reports_without_an_evaluation_are_errors(copied, tmp_path):
    with pytest.raises(
        EvaluateError, match="no evaluation here; expected config.yaml and samples.json"
    ):
        render(tmp_path)
    (copied / "out" / "models.json").write_text("{")
    with pytest.raises(EvaluateError, match="models.json: cannot read a file of the evaluation"):
        render(copied / "out")
    shutil.rmtree(copied / "out" / "predictions" / "floor")
    with pytest.raises(EvaluateError, match="floor.*no predictions"):
        render(copied / "out")
