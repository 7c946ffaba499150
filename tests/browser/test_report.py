"""The rendered page in a real browser: complete, quiet, usable by hand, key and phone."""

import pytest

pytestmark = pytest.mark.slow

ROWS = "[...document.querySelectorAll('table[id$=\"-ledger\"]')][0].tBodies[0].rows"
SHOWN = f"[...{ROWS}].filter(row => !row.hidden)"


def test_every_figure_of_every_study_is_shown_and_decodes(page, report):
    assert report.studies
    for study in report.studies:
        names = report.names(study, "figures", "svg")
        assert names
        for name in names:
            image = f"document.querySelector('#figure-{study}-{name} img')"
            assert page.evaluate(f"{image}.decode().then(() => {image}.naturalWidth)") > 0, name
            assert page.evaluate(f"{image}.getBoundingClientRect().height") > 100, name


def test_every_table_of_every_study_is_shown_with_rows(page, report):
    for study in report.studies:
        names = report.names(study, "tables", "csv")
        assert names
        for name in [*names, "headline", "ledger", "ranking", "mcnemar", "checks"]:
            table = f"document.getElementById('table-{study}-{name}')"
            assert page.evaluate(f"{table}.tBodies[0].rows.length") > 0, name
            assert page.evaluate(f"{table}.offsetHeight") > 0, name


def test_the_console_is_silent_and_nothing_else_is_requested(page, report):
    page.evaluate("new Promise(done => setTimeout(done, 200))")
    assert page.problems == []
    assert page.requests == [report.page.resolve().as_uri()]


def test_typed_words_and_a_verdict_choose_rows_of_the_ledger(page):
    total = page.evaluate(f"{ROWS}.length")
    typed = """(() => {
        const form = document.querySelector('form.controls');
        form.elements.words.value = 'gbz accuracy';
        form.dispatchEvent(new Event('input'));
        return form.elements.shown.value;
    })()"""
    said = page.evaluate(typed)
    texts = page.evaluate(f"{SHOWN}.map(row => row.textContent.toLowerCase())")
    assert 0 < len(texts) < total
    assert all("gbz" in text and "accuracy" in text for text in texts)
    assert said == f"{len(texts)} of {total} rows"
    chosen = """(() => {
        const form = document.querySelector('form.controls');
        const choice = [...form.querySelectorAll('input[type=radio]')].at(-1);
        choice.click();
        form.querySelector('input[type=search]').value = '';
        form.dispatchEvent(new Event('input'));
        return choice.value;
    })()"""
    verdict = page.evaluate(chosen)
    verdicts = page.evaluate(f"{SHOWN}.map(row => row.dataset.verdict)")
    assert verdicts
    assert set(verdicts) == {verdict}


def test_keys_alone_sort_the_ledger_and_a_third_press_restores_it(page):
    heads = "[...document.querySelectorAll('table[id$=\"-ledger\"] thead th')]"
    column = page.evaluate(f"{heads}.findIndex(head => head.textContent.trim() === 'Printed')")
    values = (
        f"[...{ROWS}].map(row => row.cells[{column}].dataset.value).filter(Boolean).map(Number)"
    )
    written = page.evaluate(values)
    page.evaluate(f"{heads}[{column}].querySelector('button').focus()")
    page.press("Enter")
    assert page.evaluate(f"{heads}[{column}].getAttribute('aria-sort')") == "ascending"
    assert page.evaluate(values) == sorted(written) != written
    page.press("Enter")
    assert page.evaluate(f"{heads}[{column}].getAttribute('aria-sort')") == "descending"
    assert page.evaluate(values) == sorted(written, reverse=True)
    page.press("Enter")
    assert page.evaluate(f"{heads}[{column}].getAttribute('aria-sort')") is None
    assert page.evaluate(values) == written


def test_sorting_by_a_number_leaves_empty_cells_last(page):
    heads = "[...document.querySelectorAll('table[id$=\"-ledger\"] thead th')]"
    column = page.evaluate(f"{heads}.findIndex(head => head.textContent.trim() === 'This run')")
    for _ in range(2):
        page.evaluate(f"{heads}[{column}].querySelector('button').click()")
        filled = page.evaluate(f"[...{ROWS}].map(row => row.cells[{column}].dataset.value !== '')")
        assert filled == sorted(filled, reverse=True)


def test_the_first_tab_reaches_the_link_to_the_results_and_focus_is_visible(page):
    page.press("Tab")
    focused = page.evaluate(
        "(() => { const a = document.activeElement, s = getComputedStyle(a);"
        " return [a.className, a.getBoundingClientRect().top >= 0, s.outlineStyle]; })()"
    )
    assert focused == ["skip", True, "solid"]


def test_the_dark_page_differs_and_the_button_changes_it(page, report):
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.look(width=1280, dark=True)
    dark = page.evaluate(colour)
    assert _lightness(light) > 0.9
    assert _lightness(dark) < 0.2
    page.evaluate("document.querySelector('button.theme').click()")
    assert page.evaluate(colour) == light, "the reader's choice wins over the system's"
    page.evaluate("document.querySelector('button.theme').click()")
    assert page.evaluate(colour) == dark


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_width_makes_the_page_scroll_sideways(page, report, width):
    page.open(report.page, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.evaluate(
        "[...document.querySelectorAll('main p, figcaption, td, th')]"
        ".filter(e => parseFloat(getComputedStyle(e).fontSize) < 12).length"
    )
    assert small == 0


def test_without_scripts_everything_is_there_and_no_dead_control_is_shown(page, report):
    rows = page.evaluate(f"{ROWS}.length")
    page.javascript(False)
    try:
        page.open(report.page)
        assert page.evaluate(f"{SHOWN}.length") == rows
        assert page.evaluate("[...document.querySelectorAll('main th button')].length") == 0
        hidden = "[...document.querySelectorAll('form.controls, button.theme')]"
        assert page.evaluate(f"{hidden}.every(e => e.offsetHeight === 0)")
    finally:
        page.javascript(True)


def _lightness(colour: str) -> float:
    red, green, blue = (float(part) for part in colour.removeprefix("rgb(").rstrip(")").split(","))
    return (red + green + blue) / 765
