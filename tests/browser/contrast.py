"""WCAG 2's contrast of texts against what lies behind them."""

from __future__ import annotations

from playwright.sync_api import Locator

from tests.waiting import until

# 4.5 is the least for text of this size.
CONTRAST = """element => {
    const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
    const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
    const layers = [];
    let opacity = 1;
    for (let e = element; e; e = e.parentElement) {
        layers.push(parse(getComputedStyle(e).backgroundColor));
        opacity *= Number(getComputedStyle(e).opacity);
    }
    const back = layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
    const ink = parse(getComputedStyle(element).color);
    const front = over([ink[0], ink[1], ink[2], ink[3] * opacity], back);
    const light = c => [0, 1, 2].map(i => c[i] / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const [high, low] = [light(front), light(back)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
}"""


def contrast(element: Locator) -> float:
    return element.evaluate(CONTRAST)


def expect_contrast(element: Locator, least: float) -> None:
    """Waits, for gradio dims what an event is about to change, and themes fade from one colour to the next."""
    until(
        lambda: contrast(element) >= least, lambda: f"a contrast of {least} of {element}, which has {contrast(element)}"
    )
