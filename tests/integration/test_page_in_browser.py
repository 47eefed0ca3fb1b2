"""The report's page in a real browser, opened from the disk: ways through it, keys, themes, hostile text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.report import made_up, made_up_stream, make_run
from memrl.envs.stream import Chunk, Question, Stream
from memrl.look import report
from memrl.look.report import write_report
from memrl.storage.rundir import EpisodeWriter
from tests.browser import Watched, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

LAST = 10
VIEWS = {
    "overview": "#/",
    "streams": f"#/groups/run/held-out/{LAST}",
    "group": "#/group/run/training/00010/0000",
    "episode": "#/episode/run/training/00010/0000-0?q=q1",
    "wrong": f"#/wrong/run/held-out/{LAST}",
    "compare": "#/compare/run",
    "search": f"#/search/run/held-out/{LAST}?text=Oslo",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened() as found:
        yield found


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of ten steps and two evaluations, of episodes that a real memory has kept."""
    run = tmp_path_factory.mktemp("page") / "run"
    make_run(run, steps=LAST, episodes=8, chunks=4, questions=8)
    return write_report([run])


@pytest.fixture
def watched(browser: Browser, index: Path) -> Iterator[Watched]:
    found = Watched(browser, index)
    yield found
    found.close()


def record(index: Path, name: str) -> Any:
    text = (index.parent / "data" / f"{name}.js").read_text(encoding="ascii")
    return json.loads("[" + text.removeprefix("memrlData(").removesuffix(");\n") + "]")[1]


def choice(page: Page, name: str) -> Locator:
    label = page.locator("label.choice", has=page.locator("span", has_text=re.compile(f"^{name}$")))
    return label.locator("select")


def place(page: Page) -> str:
    return page.url.split("#")[1]


def test_an_answer_is_followed_to_the_item_the_operation_and_the_sentence(watched: Watched) -> None:
    page = watched.go()
    page.locator(".to-groups").last.click()
    page.locator(".group-line").first.click()
    page.locator(".to-episode").first.click()
    page.get_by_label("Show").select_option("misread")
    page.locator(".question-line").first.click()
    page.locator(".shown li", has_text="says the answer").first.locator(".to-item").click()
    page.locator(".trail .to-operation").first.click()
    page.locator("li.change.lit").wait_for()
    sentence = page.locator(".trail .to-sentence").first
    said = sentence.locator("bdi").inner_text()
    sentence.click()
    lit = page.locator("mark.lit", has_text=said)
    lit.wait_for()
    assert lit.evaluate("mark => { const box = mark.getBoundingClientRect(); return box.top > 0 && box.bottom < 800 }")
    assert page.locator("li.change.lit").inner_text().count(said) == 1
    page.reload()  # the place can be linked to
    page.locator("mark.lit", has_text=said).wait_for()
    page.go_back()
    page.locator("li.change.lit").wait_for()


def test_the_counts_of_causes_are_those_of_the_file_and_filter_the_list(watched: Watched, index: Path) -> None:
    causes = json.loads((index.parent / "causes.json").read_text(encoding="utf-8"))
    page = watched.go()
    page.locator(".as-table summary").click()
    for step, counts in causes.items():
        row = page.locator(f".as-table tr[data-step='{step}']")
        shown = {
            cell.get_attribute("data-cause"): int(cell.inner_text()) for cell in row.locator("td[data-cause]").all()
        }
        assert shown == counts
    counts = causes[str(LAST)]
    cause = max(counts, key=lambda one: counts[one])
    watched.go(VIEWS["wrong"])
    assert page.locator(".panel .found").inner_text().startswith(f"{sum(counts.values())} answers")
    page.locator(f".kinds tr[data-cause={cause}] th a").click()
    page.locator(".panel .found", has_text=f"{counts[cause]} of {sum(counts.values())} answers").wait_for()
    names = {one.inner_text() for one in page.locator(".wrong-line > .cause bdi").all()}
    assert names == {page.locator(f".kinds tr[data-cause={cause}] bdi").inner_text()}
    kinds = page.locator(f".kinds tr[data-cause={cause}] td.number a")
    of_kind = int(kinds.first.inner_text())
    kinds.first.click()
    page.locator(".panel .found", has_text=f"{of_kind} of ").wait_for()
    page.get_by_label("Tool result in its stream").select_option("ok")
    page.get_by_text("all of them").click()
    page.locator(".panel .found", has_text=re.compile(f"^{sum(counts.values())} answers$")).wait_for()
    watched.go()
    page.locator(f".stack[data-cause={cause}][data-step='{LAST}'] rect").click()
    page.locator("h1", has_text=f"Why wrong: evaluation at step {LAST}").wait_for()
    assert f"cause={cause}" in place(page)


def test_keys_lead_through_chunks_questions_episodes_groups_and_steps(watched: Watched) -> None:
    page = watched.go("#/episode/run/training/00004/0000-0")
    page.locator("#chunk-0").wait_for()
    for key, there in (
        ("c", "c=0"), ("c", "c=1"), ("j", "c=2"), ("C", "c=1"), ("k", "c=0"), ("q", "q=q0"), ("q", "q=q1"),
        ("Q", "q=q0"),
    ):  # fmt: skip
        page.keyboard.press(key)
        page.wait_for_url(re.compile(rf"\b{there}\b"))
    for key, there in (
        ("e", "training/00004/0000-1"), ("E", "training/00004/0000-0"), ("s", "training/00005/0000-0"),
        ("S", "training/00004/0000-0"), ("u", "/group/run/training/00004/0000"), ("u", "/groups/run/training/4"),
        ("w", "/wrong/run/training/4"), ("x", "/compare/run"), ("o", "/"),
    ):  # fmt: skip
        page.keyboard.press(key)
        page.wait_for_url(re.compile(re.escape(there)))
    page.keyboard.press("?")
    page.locator("dialog").get_by_text("next chunk").wait_for()
    page.get_by_label("single keys act").uncheck()
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")
    page.keyboard.press("w")
    page.wait_for_timeout(100)
    assert place(page) == "/"


@pytest.mark.parametrize(
    ("keys", "there"),
    [
        ("ccjCk", "episode/run/training/00004/0000-0?c=0"),
        ("qqQqcc", "episode/run/training/00004/0000-0?c=1&q=q1"),
        ("eeE", "episode/run/training/00004/0000-1"),
        ("sSsse", "episode/run/training/00006/0000-1"),
        ("ecc", "episode/run/training/00004/0000-1?c=1"),
        ("uSSuw", f"wrong/run/held-out/{LAST}"),
        ("wso", ""),
        ("eExu", "run/run"),
    ],
)
def test_each_of_many_fast_keys_acts_on_the_view_that_the_one_before_has_led_to(
    watched: Watched, keys: str, there: str
) -> None:
    """All are pressed at once, before any view has read its records."""
    page = watched.page
    page.goto(f"{watched.base}#/episode/run/training/00004/0000-0")
    page.evaluate(
        "keys => { for (const key of keys)"
        " document.body.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true})) }",
        list(keys),
    )
    page.wait_for_url(f"{watched.base}#/{there}")
    page.locator("h1").wait_for()
    page.keyboard.press("c")  # none is left that would act before it
    page.keyboard.press("o")
    page.keyboard.press("/")
    page.keyboard.type("oslo")  # into the field that it leads to: its letters are no keys
    page.wait_for_url(re.compile(rf"search/run/held-out/{LAST}\?text=oslo$"))
    assert page.get_by_role("searchbox").input_value() == "oslo"


def test_a_key_that_leads_nowhere_is_forgotten_and_so_is_one_that_waits_when_the_pointer_is_used(
    watched: Watched,
) -> None:
    page = watched.go("#/episode/run/training/00004/0000-0")
    page.locator("#chunk-0").wait_for()
    page.keyboard.press("E")
    page.keyboard.press("c")
    page.wait_for_url(re.compile("0000-0.c=0$"))
    page.evaluate(
        "() => { const press = key => document.body.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));"
        " press('e'); press('c'); document.body.dispatchEvent(new PointerEvent('pointerdown', {bubbles: true})) }"
    )
    page.locator("#chunk-0").wait_for()
    page.wait_for_timeout(300)
    assert place(page) == "/episode/run/training/00004/0000-0?c=0"


def test_steps_of_a_held_out_stream_stay_on_it(watched: Watched) -> None:
    page = watched.go("#/episode/run/held-out/00000/0003-0?q=q2")
    page.get_by_label("next step").click()
    page.wait_for_url(re.compile(f"held-out/{LAST:05d}/0003-0"))
    page.locator("#answer").wait_for()


def test_it_is_dark_where_the_system_is_and_stays_as_one_has_chosen(browser: Browser, index: Path) -> None:
    watched = Watched(browser, index, color_scheme="dark")
    page = watched.go()
    paper = "() => getComputedStyle(document.querySelector('.panel')).backgroundColor"
    assert page.evaluate(paper) == "rgb(25, 28, 31)"
    page.get_by_label("light theme").click()
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    page.reload()
    page.locator(".panel").first.wait_for()
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    watched.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, index: Path, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: make setup")
    watched = Watched(browser, index, color_scheme=theme)
    # The themes differ in their colours alone, and these views have all of them.
    options = {
        "resultTypes": ["violations"],
        "preload": False,
        **({"runOnly": ["color-contrast"]} if theme == "dark" else {}),
    }
    views = VIEWS if theme == "light" else {name: VIEWS[name] for name in ("overview", "group", "episode", "wrong")}
    found = {}
    for name, where in views.items():
        page = watched.go(where)
        page.locator(".panel").first.wait_for()
        page.wait_for_timeout(150)
        found[name] = [
            (one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"])
            for one in axe.Axe().run(page, options=options).response["violations"]
        ]
    watched.close()
    assert {name: some for name, some in found.items() if some} == {}


def test_on_a_phone_nothing_is_wider_than_it(browser: Browser, index: Path) -> None:
    watched = Watched(browser, index, viewport={"width": 390, "height": 844})
    for name, where in VIEWS.items():
        page = watched.go(where)
        page.wait_for_timeout(150)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390, name
    watched.close()


def test_the_first_view_asks_for_each_of_its_files_once_and_for_no_other(browser: Browser, index: Path) -> None:
    watched = Watched(browser, index)
    watched.go().locator(".evaluations tbody tr").first.wait_for()
    names = sorted(url.removeprefix(index.parent.resolve().as_uri()) for url in watched.asked if "data:" not in url)
    assert names == ["/data/index.js", "/data/run/overview.js", "/index.html", "/page.css", "/page.js"]
    html = index.read_text(encoding="utf-8")
    assert html.index('defer src="./page.js"') < html.index('defer src="data/index.js"')
    watched.close()


def test_a_report_whose_runs_are_not_there_says_so(browser: Browser, index: Path, tmp_path: Path) -> None:
    for name in ("index.html", "page.js", "page.css"):
        (tmp_path / name).write_bytes((index.parent / name).read_bytes())
    watched = Watched(browser, tmp_path / "index.html")
    watched.go().locator(".fault", has_text="data/index.js is not there").wait_for()
    watched.page.keyboard.press("w")
    watched.page.keyboard.press("o")
    watched.faults = [fault for fault in watched.faults if "ERR_FILE_NOT_FOUND" not in fault]
    watched.close()


def test_a_search_leads_to_the_place(watched: Watched) -> None:
    page = watched.go(f"#/search/run/held-out/{LAST}")
    page.get_by_role("searchbox").fill("tokyo")
    choice(page, "What").select_option("completion")
    page.locator(".hit-line mark").first.wait_for()
    assert {one.inner_text() for one in page.locator(".hit-line mark").all()} == {"Tokyo"}
    choice(page, "In").select_option("run")
    page.locator(".found", has_text="hits").wait_for()
    page.locator(".hit-line").first.click()
    page.locator("article.now", has_text="Tokyo").wait_for()


def test_two_steps_are_compared(watched: Watched) -> None:
    page = watched.go(VIEWS["compare"])
    page.locator(".lead", has_text="0 answers became right and 0 answers became wrong").wait_for()
    page.get_by_label("only where they differ").check()
    page.get_by_text("They keep the same of every chunk.").wait_for()
    page.get_by_label("why, in B: q0").click()
    page.locator("#answer").wait_for()
    assert f"held-out/{LAST:05d}/" in place(page)


def test_two_runs_are_one_band(browser: Browser, tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_run(tmp_path / name, steps=1, episodes=2, chunks=2, questions=2)
    watched = Watched(browser, write_report([tmp_path / "one", tmp_path / "two"], tmp_path / "out"))
    page = watched.go()
    page.locator("h1", has_text="one, two").wait_for()
    assert "mean of 2 runs" in page.locator(".panel").first.inner_text()
    page.locator(".chart[title]").first.wait_for()
    page.locator(".runs a", has_text="two").click()
    page.locator("h1", has_text="two").wait_for()
    watched.close()


def test_a_live_run_grows_without_a_reload(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "LIVE_SECONDS", 0.5)
    run = tmp_path / "run"
    make_run(run, steps=1, episodes=2, chunks=2, questions=2)
    watched = Watched(browser, write_report([run], live=True))
    page = watched.go()
    page.locator(".live", has_text="step 1").wait_for()
    page.evaluate("() => { window.same = true }")
    assert page.locator(".evaluations tbody tr").count() == 1
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    rows.append({**rows[0], "step": 2, "reward/total": 0.7})
    EpisodeWriter(run / "eval" / "episodes").write(2, EpisodeWriter(run / "eval" / "episodes").read(0))
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    write_report([run], live=True)
    page.locator(".live", has_text="step 2").wait_for()
    assert page.locator(".evaluations tbody tr").count() == 2
    assert page.evaluate("() => window.same")
    write_report([run])
    page.locator(".live").wait_for(state="detached")
    watched.close()


HOSTILE = [
    "<script>document.title='run'</script>",
    "<img src=x onerror=\"document.title='run'\">",
    "</script><svg/onload=alert(1)>",
    "javascript:alert(1) [a](javascript:alert(1)) ![b](file:///etc/passwd) **bold** file:///etc/passwd",
    "\u202eright to left\u202c \u2066isolated \u05d0\u05d1\u05d2",
    "nul \x00 bell \x07 escape \x1b[31m delete \x7f",
    "\U0001f600 wide \U0001f601 __proto__ constructor {{7*7}} ${7*7} &lt;b&gt;",
]


def test_hostile_text_is_shown_and_never_run(browser: Browser, tmp_path: Path) -> None:
    run = tmp_path / "<img src=x onerror=alert(1)>"
    make_run(run, steps=1, episodes=1, chunks=2, questions=1)
    big = "<b>" + "A" * 1_000_000
    texts = [*HOSTILE, big]
    stream = Stream(
        id=HOSTILE[0], source=HOSTILE[1],
        chunks=tuple(Chunk(text=text, time=HOSTILE[2]) for text in texts),
        questions=tuple(
            Question(
                id=f"{HOSTILE[5]}{number}", text=text, answers=(text,), kind=HOSTILE[number % 3], evidence=(number,)
            )
            for number, text in enumerate(texts)
        ),
    )  # fmt: skip
    episode = made_up(stream, 0, seed=1)
    episode = episode.model_copy(
        update={
            "steps": [step.model_copy(update={"text": texts[place]}) for place, step in enumerate(episode.steps)],
            "answers": [
                one.model_copy(update={"answer": texts[place], "score": 0.0})
                for place, one in enumerate(episode.answers)
            ],
        }
    )
    for folder in (run / "episodes", run / "eval" / "episodes"):
        for step in EpisodeWriter(folder).steps():
            EpisodeWriter(folder).write(step, [episode])
    index = write_report([run])
    watched = Watched(browser, index)
    key = record(index, "index")["runs"][0]["run"]
    seen = ""
    for where in (
        f"#/run/{key}", f"#/groups/{key}/held-out/0", f"#/group/{key}/held-out/00000/0000",
        f"#/episode/{key}/held-out/00000/0000-0", f"#/wrong/{key}/held-out/0", f"#/compare/{key}",
        f"#/search/{key}/held-out/0?text=script", f"#/group/{key}/training/00001/0000",
    ):  # fmt: skip
        page = watched.go(where)
        page.locator("main .panel, main .fault").first.wait_for()
        page.wait_for_timeout(200)
        page.evaluate("() => document.querySelectorAll('details').forEach(one => { one.open = true })")
        if page.locator(".question-line").count():
            page.locator(".question-line").nth(1).click()
        seen += page.locator("main").inner_text()
        assert page.title() != "run"
        assert (
            page.evaluate("() => [...document.querySelectorAll('main script, main img, main b, main iframe')].length")
            == 0
        )
        links = page.evaluate("() => [...document.links].map(link => link.href)")
        assert all(link.startswith(f"{watched.base}#") for link in links)
    for text in HOSTILE[:4]:
        assert text in seen
    assert "nul \u2400 bell \u2407 escape \u241b[31m delete \u2421" in seen
    assert "more characters]" in seen and len(seen) < 2_000_000
    for where in (
        "#/episode/../../../etc/passwd", "#/group//evil.example/x", "#/group/https://evil.example/x", "#/run/__proto__",
        "#/episode/data:text,x", "#/<script>", "#/wrong/run/held-out/nothing", "#/search/x/y/z?text=<b>", "#/?%",
    ):  # fmt: skip
        page = watched.go(where)
        page.wait_for_timeout(60)
        assert page.locator(".fault").count() or "evil" not in page.url
    watched.close()


def test_what_is_missing_is_said_and_the_rest_is_shown(browser: Browser, tmp_path: Path) -> None:
    make_run(tmp_path / "run", steps=1, episodes=2, chunks=2, questions=2)
    index = write_report([tmp_path / "run"])
    (index.parent / "data/run/held-out/00000/0000-0.js").unlink()
    watched = Watched(browser, index)
    page = watched.go("#/episode/run/held-out/00000/0000-0")
    page.locator(".fault", has_text="0000-0.js is not there").wait_for()
    watched.go("#/episode/run/held-out/00000/0001-0").locator("#chunk-0").wait_for()
    watched.faults = [fault for fault in watched.faults if "ERR_FILE_NOT_FOUND" not in fault]
    watched.close()


def test_a_long_list_has_few_rows_in_the_page(browser: Browser, tmp_path: Path) -> None:
    run = tmp_path / "run"
    make_run(run, steps=1, episodes=1, chunks=2, questions=2)
    EpisodeWriter(run / "eval" / "episodes").write(
        0, [made_up(made_up_stream(number, 2, 120), 0, seed=number) for number in range(3)]
    )
    watched = Watched(browser, write_report([run]))
    page = watched.go("#/wrong/run/held-out/0")
    lines = page.locator(".wrong-line")
    lines.first.wait_for()
    many = int(lines.first.locator("xpath=..").get_attribute("aria-setsize") or 0)
    assert many > 120 and lines.count() < 40
    page.locator(".rows").evaluate("rows => rows.scrollTo(0, rows.scrollHeight)")
    page.locator(f".row[aria-posinset='{many}']").wait_for()
    assert lines.count() < 40
    watched.close()
