"""The web page in a real browser: phone and desktop, light and dark, no error, no request, nothing cut off."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from reports import view, web
from reports.view import ReportInputs, ReportView

WIDE = """() => [...document.querySelectorAll('body *')]
    .filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(e => e.tagName + ' ' + (e.textContent || '').slice(0, 40))"""
CONTRAST = """() => {
  const lum = c => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(Number).map(v => {
      v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const back = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
      if (!c.endsWith(', 0)') && c !== 'transparent') return c; } return 'rgb(255,255,255)'; };
  return [...document.querySelectorAll('h1,h2,h3,p,td,th,li,summary,a,.badge')].filter(e => e.innerText.trim())
    .map(e => { const a = lum(getComputedStyle(e).color), b = lum(back(e));
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.innerText.slice(0, 40)]; })
    .filter(([ratio]) => ratio < 4.5); }"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium")
    assert found, "the tests open Debian's Chromium; run: make test (it installs it)"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def page_file(built: ReportView, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("web") / "report.html"
    path.write_text(web.page(built), encoding="utf-8")
    return path


def opened(browser: Browser, path: Path, **options: Any) -> tuple[Any, list[str], list[str]]:
    context = browser.new_context(**options)
    page = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    page.evaluate("() => document.querySelectorAll('details').forEach(d => d.open = true)")
    return page, complaints, [url for url in requests if not url.startswith(("data:", path.as_uri()))]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_on_phone_and_desktop(browser: Browser, page_file: Path, width: int, scheme: str) -> None:
    page, complaints, outside = opened(
        browser, page_file, viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=True
    )
    assert complaints == []
    assert outside == []
    assert page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.evaluate(WIDE) == []
    assert page.evaluate(CONTRAST) == []
    broken = "() => [...document.images].filter(i => !i.complete || i.naturalWidth === 0 || !i.alt).length"
    assert page.evaluate(broken) == 0
    page.context.close()


@pytest.mark.slow
def test_the_page_needs_no_script(browser: Browser, page_file: Path, built: ReportView) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.inner_text("h1") == built.headline
    context.close()


@pytest.mark.slow
def test_text_from_data_runs_nothing_in_the_browser(browser: Browser, inputs: ReportInputs, tmp_path: Path) -> None:
    from dataclasses import replace

    evil = '"><img src=x onerror="console.log(1)"><script>console.log(2)</script><a href="javascript:alert(3)">x</a>'
    made = view.build(
        replace(
            inputs,
            profile_title=evil,
            profile_about=evil,
            markets=tuple(replace(market, name=evil, note=evil) for market in inputs.markets),
            recommendations=inputs.recommendations.assign(reason=evil),
        )
    )
    path = tmp_path / "evil.html"
    path.write_text(web.page(made), encoding="utf-8")
    page, complaints, outside = opened(browser, path)
    assert (complaints, outside) == ([], [])
    assert page.locator("script").count() == 0
    assert page.locator("a[href^=javascript]").count() == 0
    assert evil[:40] in page.inner_text("body")
    page.context.close()
