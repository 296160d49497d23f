"""The viewer in Chromium, by pointer and keyboard."""

from __future__ import annotations

import numpy as np
import pytest

from spinray.recon.viewer import Series, viewer_page

keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
actions = pytest.importorskip("selenium.webdriver.common.action_chains").ActionChains

N, SLICES = 64, 6
STATE = "return {...document.querySelector('.viewer').dataset}"
# grey of the pixel in the middle of a panel's image
GREY = """
const canvas = document.querySelectorAll('canvas.image')[arguments[0]];
const [u, v] = [arguments[1], arguments[2]];
return [...canvas.getContext('2d').getImageData(u * canvas.width, v * canvas.height, 1, 1).data];
"""


@pytest.fixture
def viewer(browser, tmp_path):
    """Two series of six slices: slice k is k / 5 with a square of 1; the second is less by 0.1."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    first = np.repeat(np.arange(SLICES, dtype=np.float32)[:, None, None] / 5, N, 1).repeat(N, 2)
    first[:, 8:16, 8:16], first[:, 0, 0] = 1.0, 0.0
    page = tmp_path / "page.html"
    page.write_text(viewer_page([Series("truth", first), Series("other", first - 0.1)]), "utf-8")
    browser.set_window_size(1200, 900)
    browser.get("about:blank")
    browser.get_log("browser")  # what pages of other tests have left
    browser.get(page.as_uri())
    WebDriverWait(browser, 30).until(lambda b: b.execute_script(STATE).get("zoom"))
    root = browser.find_element(By.CSS_SELECTOR, ".viewer")
    yield root
    complaints = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert not complaints


def state(browser) -> dict[str, float]:
    found = browser.execute_script(STATE)
    return {k: float(v) if k not in ("tool",) and v not in ("true", "false") else v
            for k, v in found.items()}  # fmt: skip


def press(browser, *words: str) -> None:
    actions(browser).send_keys(*words).perform()


def canvases(browser):
    return browser.find_elements("css selector", "canvas.image")


def test_keys_go_through_slices(browser, viewer) -> None:
    assert state(browser)["slice"] == 3
    press(browser, keys.ARROW_UP, keys.ARROW_UP)
    assert state(browser)["slice"] == 5
    press(browser, keys.ARROW_UP)  # the last one stays
    assert state(browser)["slice"] == 5
    press(browser, keys.HOME)
    assert state(browser)["slice"] == 0


def test_the_slider_moves_all_panels(browser, viewer) -> None:
    browser.execute_script("document.querySelector('.viewer').viewer.window(0.55, 1.1)")
    slider = browser.find_element("css selector", "input[aria-label=slice]")
    before = [browser.execute_script(GREY, i, 0.7, 0.7)[0] for i in (0, 1)]
    slider.send_keys(keys.ARROW_RIGHT)
    assert state(browser)["slice"] == 4
    after = [browser.execute_script(GREY, i, 0.7, 0.7)[0] for i in (0, 1)]
    assert after[0] - before[0] == pytest.approx(0.2 / 1.1 * 255, abs=2)
    assert after[1] - before[1] == pytest.approx(0.2 / 1.1 * 255, abs=2)
    assert after[0] - after[1] == pytest.approx(0.1 / 1.1 * 255, abs=2)


def test_the_wheel_zooms_about_the_pointer_everywhere(browser, viewer) -> None:
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    first = canvases(browser)[0]
    width, height = first.size["width"], first.size["height"]
    # over the square, whose middle is at 12 / 64
    corner = ScrollOrigin.from_element(
        first, round(width * (12 / N - 0.5)), round(height * (12 / N - 0.5))
    )
    actions(browser).scroll_from_origin(corner, 0, -700).perform()
    now = state(browser)
    assert now["zoom"] == pytest.approx(np.exp(1.4), rel=0.05)
    # the square still lies there, in both panels, and is larger
    for panel in (0, 1):
        inside = browser.execute_script(GREY, panel, 12 / N, 12 / N)[0]
        beside = browser.execute_script(GREY, panel, 12 / N + 0.045 * now["zoom"], 12 / N)[0]
        outside = browser.execute_script(GREY, panel, 0.9, 0.9)[0]
        assert inside == beside > outside
    press(browser, "0")
    assert state(browser)["zoom"] == 1


def test_dragging_moves_and_stays_on_the_image(browser, viewer) -> None:
    press(browser, "+", "+", "+")
    middle = state(browser)
    assert middle["zoom"] == pytest.approx(1.25**3)
    first = canvases(browser)[0]
    actions(browser).drag_and_drop_by_offset(first, 40, 20).perform()
    moved = state(browser)
    assert middle["u"] - moved["u"] == pytest.approx(40 / first.size["width"] / 1.25**3, abs=0.005)
    assert middle["v"] - moved["v"] == pytest.approx(20 / first.size["height"] / 1.25**3, abs=0.005)
    for _ in range(4):
        actions(browser).drag_and_drop_by_offset(first, 150, 150).perform()
    assert state(browser)["u"] == pytest.approx(0.5 / 1.25**3)


def test_window_by_keys_button_and_shift_drag(browser, viewer) -> None:
    start = state(browser)
    press(browser, ".", keys.ARROW_RIGHT)
    wide = state(browser)
    width = start["high"] - start["low"]
    assert wide["high"] - wide["low"] == pytest.approx(1.1 * width, rel=1e-3)
    assert wide["high"] + wide["low"] > start["high"] + start["low"]
    press(browser, "a")
    assert state(browser)["high"] == pytest.approx(start["high"])
    first = canvases(browser)[0]
    (actions(browser).key_down(keys.SHIFT).move_to_element(first).click_and_hold()
     .move_by_offset(60, -30).release().key_up(keys.SHIFT).perform())  # fmt: skip
    dragged = state(browser)
    assert dragged["zoom"] == 1
    assert dragged["high"] - dragged["low"] > width
    assert dragged["high"] + dragged["low"] > start["high"] + start["low"]


def test_difference_has_a_scale_and_a_sign(browser, viewer) -> None:
    browser.execute_script("document.querySelector('.viewer').viewer.window(0.5, 1.0)")
    press(browser, "d")
    scale = browser.find_element("css selector", ".scale")
    assert scale.is_displayed()
    assert [s.text for s in scale.find_elements("css selector", "span")] == ["−0.2", "+0.2"]
    red, _, blue, _ = browser.execute_script(GREY, 1, 0.7, 0.7)
    assert blue == pytest.approx(127, abs=3)  # half of -0.2
    assert red < blue
    press(browser, "e")  # ten times: -0.1 is the end of the scale
    assert state(browser)["gain"] == 10
    assert browser.execute_script(GREY, 1, 0.7, 0.7)[2] == 255
    reference = browser.execute_script(GREY, 0, 0.7, 0.7)
    assert reference[0] == reference[2]  # the reference stays grey


def test_captions_show_errors_and_the_value_under_the_pointer(browser, viewer) -> None:
    press(browser, keys.HOME)
    texts = [c.text for c in browser.find_elements("css selector", "figcaption span")]
    assert texts[0] == "reference"
    assert texts[1] == "NRMSE 0.800"  # 0.1 everywhere over a square of ones of 8 x 8 in 64 x 64
    first = canvases(browser)[0]
    actions(browser).move_to_element_with_offset(
        first, round(first.size["width"] * (12 / N - 0.5)),
        round(first.size["height"] * (12 / N - 0.5)),
    ).perform()  # fmt: skip
    texts = [c.text for c in browser.find_elements("css selector", "figcaption span")]
    assert texts[0].startswith("1 ")
    assert texts[1].startswith("0.9 ")


def test_images_in_other_units_begin_with_their_scale_fitted(browser, tmp_path) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    image = np.random.default_rng(0).random((1, 32, 32)).astype(np.float32)
    page = tmp_path / "units.html"
    page.write_text(viewer_page([Series("truth", image), Series("other", 250 * image)]), "utf-8")
    browser.get(page.as_uri())
    WebDriverWait(browser, 30).until(lambda b: b.execute_script(STATE).get("zoom"))
    assert state(browser)["fitted"] == "true"
    texts = [c.text for c in browser.find_elements("css selector", "figcaption span")]
    assert texts[1] == "× 0.004 · NRMSE 0.000"
    level = browser.find_element("css selector", "input[aria-label=level]")
    assert float(level.get_attribute("max")) == pytest.approx(1, abs=0.01)
    press(browser, "m")
    assert float(level.get_attribute("max")) == pytest.approx(250, abs=1)


def test_what_lies_outside_the_object_changes_no_scale(browser, tmp_path) -> None:
    """Bright corners beside the object, as truncated scans have: the units are the same."""
    from selenium.webdriver.support.ui import WebDriverWait

    y, x = np.mgrid[:N, :N] - N / 2
    disc = (np.hypot(y, x) < 20).astype(np.float32)[None]
    page = tmp_path / "page.html"
    corners = disc + 30 * (np.hypot(y, x) > 40)
    page.write_text(viewer_page([Series("truth", disc), Series("truncated", corners)]), "utf-8")
    browser.get(page.as_uri())
    WebDriverWait(browser, 30).until(lambda b: b.execute_script(STATE).get("zoom"))
    assert state(browser)["fitted"] == "false"


def test_blinking_shows_the_reference(browser, viewer) -> None:
    browser.execute_script("document.querySelector('.viewer').viewer.window(0.5, 1.0)")
    own = browser.execute_script(GREY, 1, 0.7, 0.7)
    actions(browser).key_down("b").perform()
    shown = browser.execute_script(GREY, 1, 0.7, 0.7)
    actions(browser).key_up("b").perform()
    assert shown == browser.execute_script(GREY, 0, 0.7, 0.7) != own
    assert browser.execute_script(GREY, 1, 0.7, 0.7) == own


def test_a_phone_shows_everything_within_its_width(browser, viewer) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True},
    )
    try:
        width = browser.execute_script("return document.documentElement.scrollWidth")
        assert width <= 390
        assert all(0 < c.size["width"] <= 390 for c in canvases(browser))
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(browser, viewer, scheme) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    colour = "return getComputedStyle(document.body)[arguments[0]].match(/\\d+/g).map(Number)"
    ground, ink = (sum(browser.execute_script(colour, k)) for k in ("backgroundColor", "color"))
    assert (ground > ink) == (scheme == "light")
    assert abs(ground - ink) > 3 * 120  # contrast to read by


def test_one_slice_has_no_slider_and_high_images_fit_the_window(browser, tmp_path) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    page = tmp_path / "page.html"
    page.write_text(viewer_page([Series("high", np.eye(90, 30, dtype=np.float32)[None])]), "utf-8")
    browser.set_window_size(1200, 700)
    browser.get(page.as_uri())
    WebDriverWait(browser, 30).until(lambda b: b.execute_script(STATE).get("zoom"))
    assert not browser.find_element("css selector", "input[aria-label=slice]").is_displayed()
    assert browser.execute_script("return scrollY") == 0  # the focus has moved nothing
    height, width = (canvases(browser)[0].size[side] for side in ("height", "width"))
    assert height == pytest.approx(3 * width, abs=2)
    assert height <= browser.execute_script("return innerHeight")
