"""The rendered page in a real browser: complete, quiet, usable by hand, key and phone."""

import re

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
    message = page.evaluate(typed)
    texts = page.evaluate(f"{SHOWN}.map(row => row.textContent.toLowerCase())")
    assert 0 < len(texts) < total
    assert all("gbz" in text and "accuracy" in text for text in texts)
    assert message == f"{len(texts)} of {total} rows"
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


def sorted_by(page, table, column):
    """Rows of a table after a press on a column's header: the texts of that column."""
    page.evaluate(f"document.getElementById('{table}').tHead.rows[0].cells[{column}]"
                  ".querySelector('button').click()")  # fmt: skip
    return page.evaluate(
        f"[...document.getElementById('{table}').tBodies[0].rows]"
        f".map(row => row.cells[{column}].textContent.trim())"
    )


def numeric(text):
    """What a text says as a number, by a reading of the test's own; None if nothing."""
    found = re.match(r"(< ?)?([-+−]?[\d,]*\.?\d+)", text)
    if not found:
        return None
    value = float(found[2].replace(",", "").replace("−", "-"))
    return value - 1e-12 if found[1] else value


@pytest.mark.parametrize("name", ["mcnemar", "ranking"])
def test_numbers_of_the_statistics_sort_as_numbers_in_both_directions(page, report, name):
    for study in report.studies:
        table = f"table-{study}-{name}"
        heads = page.evaluate(
            f"[...document.getElementById('{table}').tHead.rows[0].cells]"
            ".map(head => [head.className, head.textContent.trim()])"
        )
        columns = [place for place, (kind, _) in enumerate(heads) if kind == "number"]
        assert len(columns) >= 3
        for column in columns:
            for sign in (1, -1):
                texts = sorted_by(page, table, column)
                values = [numeric(text) for text in texts]
                known = [value for value in values if value is not None]
                assert known == sorted(known, key=lambda value: sign * value), heads[column]
                assert None not in values[: len(known)], "a gap stands before a number"


def test_every_table_sorts_by_the_values_in_its_cells(page):
    orders = page.evaluate("""[...document.querySelectorAll('main table')].map(table => {
        const rows = () => [...table.tBodies[0].rows];
        const heads = [...table.tHead.rows[0].cells];
        return {id: table.id, columns: heads.map((head, column) => {
            const values = () => rows().map(row => row.cells[column].dataset.value ?? null);
            const found = [values()];
            for (const press of [1, 2, 3]) {
                head.querySelector('button').click();
                found.push(values());
            }
            return found;
        })};
    })""")
    sorted_columns = 0
    for table in orders:
        for written, ascending, descending, restored in table["columns"]:
            assert restored == written, table["id"]
            if None in written or len(set(written)) < 2:
                continue
            sorted_columns += 1
            known = sorted(float(value) for value in written if value != "")
            gaps = [""] * written.count("")
            for order, expected in ((ascending, known), (descending, known[::-1])):
                numbers = order[: len(known)]
                assert [float(value) for value in numbers] == expected, table["id"]
                assert order[len(known) :] == gaps, table["id"]
    assert sorted_columns > len(orders)


def test_the_first_column_stays_in_sight_and_the_caption_does_not_scroll(page, report):
    page.open(report.page, width=390)
    moved = page.evaluate("""[...document.querySelectorAll('main .scroll')].map(box => {
        const caption = box.previousElementSibling, head = box.querySelector('tbody th');
        const before = caption.getBoundingClientRect().left;
        box.scrollLeft = 1e6;
        const edge = box.getBoundingClientRect().left + box.clientLeft;
        const at = head.getBoundingClientRect();
        return {scrolled: box.scrollLeft, caption: caption.className,
            still: caption.getBoundingClientRect().left - before, head: at.left - edge,
            width: at.width / box.clientWidth};
    })""")
    assert max(box["scrolled"] for box in moved) > 100
    for box in moved:
        assert box["caption"] == "caption"
        assert box["still"] == 0
        assert abs(box["head"]) < 1
        assert box["width"] < 0.7


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
