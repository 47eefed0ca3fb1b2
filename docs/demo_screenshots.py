"""Makes the pictures of `memrl demo` that the docs show, in Chromium without a window: docs/demo-*.png.

    python docs/demo_screenshots.py [exported/tiny] [--browser chromium]

It starts the command on a policy, says what the page offers as examples, and asks.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).resolve().parent
MOST = 200_000  # bytes of a picture
COLOURS = 128
TURNS = 5  # examples that are said: texts and questions


def talk(page: Page) -> None:
    """Say the first examples, one after the other."""
    for turn in range(TURNS):
        page.locator(".examples button").first.click()
        page.locator(".agent .who", has_text="kept").or_(page.locator(".answer")).nth(turn).wait_for()
        page.wait_for_timeout(500)


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("policy", nargs="?", default="tiny", help="an exported policy (default: the embedded model)")
    parser.add_argument("--browser", default=shutil.which("chromium") or shutil.which("google-chrome"))
    arguments = parser.parse_args()
    if arguments.browser is None:
        sys.exit("There is no Chromium: apt-get install chromium, or give --browser.")
    command = [sys.executable, "-m", "memrl", "demo", arguments.policy, "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as started:
        assert server.stdout is not None
        address = server.stdout.readline().split(" ")[0]
        browser = started.chromium.launch(executable_path=arguments.browser, args=["--no-sandbox", "--disable-gpu"])
        for name, width, height, theme in (("wide", 1280, 860, "light"), ("phone", 390, 1100, "dark")):
            context = browser.new_context(
                viewport={"width": width, "height": height},
                reduced_motion="reduce",
                color_scheme=theme,  # type: ignore[arg-type]
            )
            page = context.new_page()
            page.set_default_timeout(90_000)
            page.goto(address)
            talk(page)
            if name == "wide":
                page.locator(".says .to-item").or_(page.locator(".sources .to-item")).last.hover()
                page.get_by_label("history of").first.click()
            page.mouse.move(0, 0)
            page.evaluate("document.activeElement.blur()")
            page.wait_for_timeout(500)
            path = HERE / f"demo-{name}.png"
            page.screenshot(path=path)
            # Of few colours: the pictures are flat, and this halves them.
            Image.open(path).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
            if path.stat().st_size > MOST:
                sys.exit(f"{path} has {path.stat().st_size} bytes; {MOST} at most are wanted in the repository.")
            page.request.delete(f"{address}v1/users/me")
            context.close()
        browser.close()
        server.send_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
