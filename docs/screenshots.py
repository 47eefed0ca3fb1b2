"""Makes the pictures of a report that the docs show, in Chromium without a window: docs/look-*.png.

    python docs/screenshots.py runs/tiny/report/index.html [--browser chromium]

What is shown is chosen from the report: its first run, the last evaluation that has wrong answers, a stream whose
answers have several causes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parent
MOST = 200_000  # bytes of a picture
COLOURS = 128


def record(index: Path, name: str) -> Any:
    """Return a record of the report."""
    text = (index.parent / "data" / f"{name}.js").read_text(encoding="ascii")
    return json.loads("[" + text.removeprefix("memrlData(").removesuffix(");\n") + "]")[1]


def chosen(index: Path) -> dict[str, str]:
    """Return the places that are shown, by the names of their pictures."""
    run = record(index, record(index, "index")["runs"][0]["overview"])
    shown = [one for one in run["evaluations"] if one["groups"] and sum((one["causes"] or {}).values())]
    if not shown:
        sys.exit(f"{index} has no evaluation with wrong answers: train a little, then memrl report.")
    step = shown[-1]
    groups = record(index, step["groups"])["groups"]
    group = max(groups, key=lambda one: (len(one["causes"]), len(one["results"])))
    name = group["episodes"][0]
    place = f"{run['run']}/held-out/{step['step']}"
    return {
        "overview": "#/",
        "episode": f"#/episode/{name}{_trail(record(index, name))}",
        "why-wrong": f"#/wrong/{place}",
        "compare": f"#/compare/{run['run']}?stream={group['stream']}",
        "phone": f"#/episode/{name}",
    }


def _trail(episode: dict[str, Any]) -> str:
    """Return the way from a wrong answer to its sentence, as the words of a link."""
    wrong = [one for one in episode["answers"] if one["why"]]
    for answer in sorted(wrong, key=lambda one: not (one["why"]["item"] and one["why"]["sentence"])):
        words = [f"q={answer['question']}"]
        item, sentence = answer["why"]["item"], answer["why"]["sentence"]
        if item:
            words.append(f"i={item}")
        if sentence:
            words.append(f"s={sentence['chunk']}.{sentence['start']}.{sentence['end']}")
        for place, step in enumerate(episode["steps"]):
            for at, change in enumerate(step["changes"]):
                if item and change["item"] == item:
                    words.append(f"o={place}-{at}")
                    return "?" + "&".join(words)
        return "?" + "&".join(words)
    return ""


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("index", type=Path, help="a report's index.html")
    parser.add_argument("--browser", default=shutil.which("chromium") or shutil.which("google-chrome"))
    arguments = parser.parse_args()
    if arguments.browser is None:
        sys.exit("There is no Chromium: apt-get install chromium, or give --browser.")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=arguments.browser, args=["--no-sandbox", "--disable-gpu"])
        for name, place in chosen(arguments.index).items():
            size = {"width": 390, "height": 844} if name == "phone" else {"width": 1280, "height": 860}
            page = browser.new_context(viewport=size, reduced_motion="reduce").new_page()  # type: ignore[arg-type]
            page.goto(arguments.index.resolve().as_uri() + place)
            page.locator(".panel").first.wait_for()
            page.wait_for_timeout(1500)
            path = HERE / f"look-{name}.png"
            page.screenshot(path=path)
            # Of few colours: the pictures are flat, and this halves them.
            Image.open(path).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
            if path.stat().st_size > MOST:
                sys.exit(f"{path} has {path.stat().st_size} bytes; {MOST} at most are wanted in the repository.")
            page.context.close()
        browser.close()


if __name__ == "__main__":
    main()
