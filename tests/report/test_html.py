"""The page: whole without a network, without scripts, and without matplotlib."""

from __future__ import annotations

import re
import sys
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest

from spark_pseudolabel.report.html import render_html
from tests.report.builders import (
    adjusted,
    empty_pool,
    make_audit,
    make_report,
    with_certificate,
    with_mistakes,
    with_shift,
    with_teacher,
    without_measures,
)

HOSTILE = ["<script>alert(1)</script>", '" onload="x', "$x^2$", "\u202ea\nb", "\u4e2d\u6587"]

REPORTS = {
    "two classes": make_report(),
    "26 classes": make_report([chr(ord("A") + i) for i in range(26)]),
    "bool labels": make_report([False, True], n_rounds=1, discard_last=False),
    "hostile names": make_report(HOSTILE),
    "no rounds": make_report(n_rounds=0),
    "empty pool": empty_pool(make_report()),
    "nothing measured": without_measures(make_report()),
    "adjusted": with_certificate(with_mistakes(adjusted(make_report()))),
    "cross-fitted": adjusted(with_teacher(make_report()), calibrated=False),
}
FIGURES = {
    "no rounds": 0,
    "empty pool": 0,
    "bool labels": 4,
    "nothing measured": 4,
    "adjusted": 6,
    "cross-fitted": 6,
}


class Page(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def figures(self) -> int:
        return sum(classes.startswith("panels") for classes in self.values("class"))

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: render_html(report) for name, report in REPORTS.items()}


@pytest.fixture(params=REPORTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_holds_no_address_and_no_script(pages: dict[str, str], name: str) -> None:
    page = Page(pages[name])
    assert not re.search(r"https?://", pages[name])
    assert page.tags["script"] == page.tags["link"] == page.tags["img"] == 0
    assert not [key for key, _ in page.attributes if key.startswith("on")]
    assert all(target.startswith("#") for target in page.values("href"))
    assert "@import" not in pages[name]


def test_has_every_figure_it_has_data_for(pages: dict[str, str], name: str) -> None:
    page = Page(pages[name])
    assert page.figures == FIGURES.get(name, 5)
    assert page.text.count("What to do") >= page.figures + page.values("class").count("bar")


def test_ids_are_unique_and_references_are_met(pages: dict[str, str], name: str) -> None:
    page = Page(pages[name])
    ids = page.values("id")
    targets = {target[1:] for target in page.values("href")}
    targets |= set(re.findall(r"url\(#([^)]+)\)", pages[name]))
    assert len(ids) == len(set(ids))
    assert targets <= set(ids)


def test_same_report_gives_the_same_bytes(pages: dict[str, str]) -> None:
    assert render_html(make_report()) == pages["two classes"]


def test_figures_take_their_colors_from_the_page(pages: dict[str, str]) -> None:
    svg = "".join(re.findall(r"<svg.*?</svg>", pages["two classes"], re.DOTALL))
    assert "var(--accent)" in svg
    assert not re.search(r"#[0-9a-f]{6}\b", svg)


def test_names_from_the_data_are_text(pages: dict[str, str]) -> None:
    page = Page(pages["hostile names"])
    assert "<script>alert(1)</script>" in page.text
    assert "$x^2$" in page.text
    assert "\u4e2d\u6587" in page.text
    assert "\\u202ea\\nb" in page.text
    assert "\u202e" not in page.text


def test_shows_the_numbers_of_the_report(pages: dict[str, str]) -> None:
    text = Page(pages["two classes"]).text
    report = REPORTS["two classes"]
    for r in report["rounds"]:
        for n in (r["candidates"], r["accepted"], r["rejected"], *r["accepted_by_class"].values()):
            assert f"{n:,}" in text
        assert f"{r['validation']['log_loss']:.4f}" in text
    for n in report["rows"].values():
        assert f"{n:,}" in text
    for path in report["paths"].values():
        assert path in text


def test_shows_what_a_confidence_is_worth(pages: dict[str, str]) -> None:
    text = Page(pages["adjusted"]).text
    assert "corrected to the pool's estimated class shares: <=50K 50.0%, >50K 50.0%." in text
    assert "ECE adjusted" in text
    assert "ECE adjusted" not in Page(pages["cross-fitted"]).text
    assert "Can I trust the confidence?" not in Page(pages["two classes"]).text


def test_every_section_has_a_question_and_a_way_on(pages: dict[str, str]) -> None:
    for name, page in pages.items():
        sections = re.findall(r"<section>.*?</section>", page, re.DOTALL)
        assert len(sections) >= 6
        assert all(section.count('<p class="question">') == 1 for section in sections), name


def test_the_threshold_tells_precision_and_who_confuses_what(pages: dict[str, str]) -> None:
    text = " ".join(Page(pages["adjusted"]).text.split())
    assert "precision on 500 labeled rows, each scored by models that have not seen it" in text
    assert "300 290 96.7% 94.0% to 98.2%" in " ".join(
        re.sub("<[^>]+>", " ", pages["adjusted"]).split()
    )
    assert "Classes that are confused" in text
    assert "How right they would be is not known" in " ".join(
        Page(pages["two classes"]).text.split()
    )


def test_audits_tell_their_bounds() -> None:
    audits = [make_audit(), make_audit(settled=True, holds=False, number=2)]
    page = render_html(make_report() | {"audits": audits})
    cells = re.sub("<[^>]+>", " ", page[page.index('id="audits"') :]).split()
    text = " ".join(cells)
    assert "1 18,152 120 3 41 1,089 94.0% 99.8% 95.0% about 37 more answers 2 18,152" in text
    assert "shown; labels/ has changed since" in text


def test_what_people_did_since_has_a_section(pages: dict[str, str]) -> None:
    review = {
        "commits": 2,
        "sets": [{"kind": "queue", "number": 1, "rows": 200, "answered": 37, "skipped": 4}],
        "revoked": 12,
        "trained_on_revoked": 5,
        "labels": 18_140,
        "certificate_holds": False,
    }
    text = " ".join(Page(render_html(make_report() | {"review": review})).text.split())
    assert "queue 1: 200 asked, 37 answered, 4 skipped" in text
    assert "the certificate no longer holds" in text
    assert "labels/ has 18,140 rows now" in text
    assert 'id="review"' not in pages["two classes"]


def test_draws_twelve_classes_and_lists_all(pages: dict[str, str]) -> None:
    page = Page(pages["26 classes"])
    cells = re.findall(r'<td class="text name" title="([A-Z])">', pages["26 classes"])
    assert Counter(cells) == Counter({chr(ord("A") + i): 2 for i in range(26)})
    assert "The 12 largest classes are drawn." in page.text


@pytest.mark.parametrize(("n_classes", "most"), [(10, 1_000_000), (200, 2_000_000)])
def test_stays_small(n_classes: int, most: int) -> None:
    classes = [f"class number {i}" for i in range(n_classes)]
    assert len(render_html(make_report(classes, n_rounds=20)).encode()) < most


@pytest.mark.parametrize("broken", ["matplotlib", "scipy.stats"])
def test_without_a_plotting_library_the_tables_remain(
    monkeypatch: pytest.MonkeyPatch, pages: dict[str, str], broken: str
) -> None:
    monkeypatch.delitem(sys.modules, "spark_pseudolabel.report.figures")
    monkeypatch.delattr("spark_pseudolabel.report.figures")
    monkeypatch.setitem(sys.modules, broken, None)
    page = Page(render_html(make_report()))
    assert page.tags["svg"] == 0
    assert page.tags["table"] == Page(pages["two classes"]).tags["table"]
    assert "tables only" in page.text


def test_a_users_matplotlib_settings_change_nothing(pages: dict[str, str]) -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert render_html(make_report()) == pages["two classes"]


def test_a_path_is_quoted_for_the_tool_that_reads_it() -> None:
    paths: dict[str, Any] = make_report()["paths"] | {"labels": "out/it's/labels"}
    text = Page(render_html(make_report() | {"paths": paths})).text
    assert 'spark.read.parquet("out/it\'s/labels")' in text
    assert "read_parquet('out/it''s/labels/*.parquet')" in text


def test_shows_flips_and_how_many_given_labels_look_wrong_but_no_row() -> None:
    report = make_report()
    report["rounds"][1]["flips"] = {"kept": 1234, "changed": 5, "added": 67, "dropped": 0}
    names = report["classes"]
    suspect = {"given": names[0], "suggested": names[1], "p_given": 0.01, "p_suggested": 0.97}
    report["given_labels"] = {
        "n": 400,
        "suspicious": 1,
        "p_value": 0.5,
        "explained": True,
        "first": [{"id": "customer-77", **suspect}],
        "file": "suspects",
    }
    page = render_html(report)
    assert "<td>2</td><td>1,234</td><td>5</td><td>67</td><td>0</td>" in page
    assert "another label for 1 of 400 labeled rows" in page
    assert "customer-77" not in page


def test_the_pool_bar_says_the_shares_that_it_draws(pages: dict[str, str]) -> None:
    rows = REPORTS["two classes"]["rows"]
    for kind in ("accepted", "rejected", "invalid"):
        (share,) = re.findall(
            rf'class="{kind}" style="flex-grow: ([0-9.e-]+)"', pages["two classes"]
        )
        assert float(share) == pytest.approx(rows[kind] / rows["pool"])
        assert f"{kind} {rows[kind]:,} (" in pages["two classes"]
    assert 'class="bar"' not in pages["empty pool"]


def test_warnings_come_before_details(pages: dict[str, str]) -> None:
    page = render_html(with_shift(make_report()))
    order = [page.index(f'id="{name}"') for name in ("warnings", "shift", "rows")]
    assert order == sorted(order)
    menu = re.findall(r'<a href="#(\w+)">', page)
    assert menu[:3] == ["warnings", "shift", "rows"]


def test_the_configuration_shows_what_was_in_force() -> None:
    report = make_report()
    report["config"] |= {
        "unlabeled": {"path": None, "table": "db.pool", "format": "parquet", "options": {}},
        "model": {"estimator": "HistGradientBoostingClassifier", "params": {}},
        "teacher": {"committee": [{"estimator": "GaussianNB", "params": {}}], "student": False},
    }
    page = render_html(report)
    assert "unlabeled.table" in page
    assert "unlabeled.format" not in page
    assert "labeled.format" in page
    assert "HistGradientBoostingClassifier" not in page
