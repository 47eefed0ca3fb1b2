"""Questions written from a text alone: each kind, what is refused; `memrl data ask` with and without an endpoint."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from memrl.cli.main import main
from memrl.data.card import read_card
from memrl.envs.asking import KINDS, QUOTES, Asked, ask_chunks
from memrl.envs.asking.passages import Statement, content, speakers, stands_alone, stands_in_question
from memrl.envs.asking.spans import is_whole, spans
from memrl.envs.errors import DataError
from memrl.envs.sources import open_source
from memrl.envs.stream import Chunk, read_jsonl
from memrl.envs.text import fold
from tests.openai_server import OpenAIServer
from tests.shared import SHARED, needs_shared

TALK = (
    Chunk(
        time="2025-03-01",
        text="Ada: My brother Nils opened a bakery in Tromsø with a loan of 42,000 euro.\n"
        "Ben: The old piano was tuned by Mr Halvorsen for the concert in Bergen.\n"
        "Ada: I weigh my parcels at the counter and they come to 12 kilos each time.",
    ),
    Chunk(
        time="2025-04-07",
        text="Ben: Our choir sings the requiem by Fauré in the church of Stavanger on 9 May 2025.\n"
        "Ada: The dentist in Lillehammer moved my appointment to 14:30 because of the strike.",
    ),
    Chunk(
        time="2025-05-19",
        text="Ada: I weigh my parcels at the counter and they come to 17 kilos each time.\n"
        "Ben: So, listen. Granny Sunniva knitted four blue sweaters for the twins before Christmas.",
    ),
)


def asked_of(kind: str, chunks: tuple[Chunk, ...] = TALK) -> list[Asked]:
    return ask_chunks(chunks, "talk", 20, kinds=[kind])


def test_gaps_ask_for_names_numbers_and_dates() -> None:
    names = {one.question.answers[0] for one in asked_of("gap-name")}
    numbers = {one.question.answers[0] for one in asked_of("gap-number")}
    dates = {one.question.answers[0] for one in asked_of("gap-date")}
    assert {"Nils", "Tromsø"} & names
    assert "42,000" in numbers
    assert {"9 May 2025", "14:30"} == dates


def test_a_value_that_changed_is_asked_for_as_it_was_last() -> None:
    changed = next(one for one in asked_of("change") if "parcels" in one.question.text)
    assert changed.question.answers == ("17",) and changed.question.evidence == (0, 2)
    assert "12" in changed.quotes[0] and "17" in changed.quotes[1]


def test_a_change_that_is_told_at_once_is_asked_for() -> None:
    told = next(one for one in asked_of("change") if "dentist" in one.question.text)
    assert told.question.answers == ("14:30",) and told.question.evidence == (1,)


def test_order_has_two_quotes_of_different_chunks() -> None:
    for one in asked_of("order"):
        first, second = one.question.evidence or ()
        letter = one.question.answers[0]
        shown = one.question.text.split(f"\n{letter}: ")[1].split("\n")[0]
        assert first < second and one.quotes[0] in shown


def test_who_said_it_is_asked_of_persons_alone() -> None:
    assert {one.question.answers[0] for one in asked_of("who-said")} == {"Ada", "Ben"}
    with_assistant = tuple(Chunk(text=chunk.text.replace("Ben:", "Assistant:"), time=chunk.time) for chunk in TALK)
    assert not asked_of("who-said", with_assistant)


def test_the_day_is_asked_for_in_every_usual_form() -> None:
    one = next(one for one in asked_of("when-said") if "dentist" in one.question.text)
    assert one.question.answers == ("2025-04-07", "April 7, 2025", "7 April 2025")
    assert not asked_of("when-said", TALK[:2])  # of two days a guess is too likely


@pytest.mark.parametrize("kind", KINDS)
def test_every_quote_stands_in_its_evidence_and_no_question_gives_its_answer_away(kind: str) -> None:
    for one in asked_of(kind):
        held = [TALK[place].text for place in one.question.evidence or ()]
        assert all(any(quote in text for text in held) for quote in one.quotes)
        if one.question.metric != "choice":
            assert not any(stands_in_question(answer, one.question.text) for answer in one.question.answers)


def test_the_same_text_and_seed_give_the_same_questions() -> None:
    assert ask_chunks(TALK, "talk", 8) == ask_chunks(TALK, "talk", 8)
    assert ask_chunks(TALK, "talk", 8) != ask_chunks(TALK, "talk", 8, seed=1)


def test_nothing_is_asked_twice_and_no_more_than_was_wanted() -> None:
    asked = ask_chunks(TALK, "talk", 5)
    assert len(asked) == 5 == len({fold(one.question.text) for one in asked})
    quotes = [quote for one in asked for quote in one.quotes]
    assert len(quotes) == len(set(quotes))


def test_a_kind_that_is_not_known_is_refused_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"gap-nane.*gap-name"):
        ask_chunks(TALK, "talk", 5, kinds=["gap-nane"])


def test_chunks_that_are_skipped_are_not_asked_about() -> None:
    assert all(0 not in (one.question.evidence or ()) for one in ask_chunks(TALK, "talk", 20, skipped=[0]))


@pytest.mark.parametrize(
    "sentence",
    [
        "He went to Oslo with Clara in the summer of that year.",  # who?
        "For example, the harbour of Bergen was closed for two weeks.",
        "Short, in Oslo.",
        "The value of `x` is set to 12 in the file of the project.",
        "these words of Ada begin in the middle of a sentence that was torn.",
    ],
)
def test_sentences_that_lean_on_others_are_not_asked_about(sentence: str) -> None:
    assert not stands_alone(Statement(sentence, 0, None, None, 0, content(sentence)))


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        (
            "The ship left Oslo with 1,200 people on 3 May 1912.",
            [("name", "Oslo"), ("number", "1,200"), ("date", "3 May 1912")],
        ),
        ("We meet at 10:30 in the bakery.", [("date", "10:30")]),
        ("In 1354, the lord was dismissed.", [("date", "1354")]),
        ("Some 35% of the 15 million euro was lost.", [("number", "35%"), ("number", "15 million")]),
        ("The plague of Athens in 430 BC was the first.", [("name", "Athens"), ("date", "430 BC")]),
        ("They fought in the 1991 Gulf War.", [("name", "Gulf War")]),
        ("She read of KPIs and of PDF.", []),
    ],
)
def test_spans_are_found_by_their_form(sentence: str, found: list[tuple[str, str]]) -> None:
    assert [(span.kind, span.text) for span in spans(sentence)] == found


@pytest.mark.parametrize(
    ("sentence", "name", "whole"),
    [
        ("He was defeated in the Battle of the Monongahela in July.", "Battle of the Monongahela", True),
        ("The old castle by the river houses the Centre for Contemporary Art now.", "Centre", False),
        ("It follows for all bodies from Newton's First Law of motion.", "Newton", False),
        ("Peace was made with Norwegian troops in the north.", "Norwegian", False),
        ("The bakery of Nils was full.", "Nils", True),
    ],
)
def test_a_part_of_a_name_is_no_answer(sentence: str, name: str, whole: bool) -> None:
    span = next(span for span in spans(sentence) if span.text == name)
    assert is_whole(span, sentence) is whole


def test_people_who_set_no_full_stops_are_asked_about_too() -> None:
    first = "Ana: lets meet at 15:30 in front of the town hall\nBen: car needs new brakes at 182,000 km"
    second = "Ben: grandpa has four hens and a rooster called Kurti\nAna: dentist moved my visit to May 14"
    chat = (Chunk(time="2025-03-01", text=first), Chunk(time="2025-03-09", text=second))
    answers = {one.question.answers[0] for kind in KINDS for one in asked_of(kind, chat)}
    assert {"15:30", "182,000", "Kurti", "May 14"} <= answers


def test_headings_are_no_speakers() -> None:
    page = Chunk(text="Step 1: open the box.\nStep 2: read the note.\nNote: it is old.")
    assert not speakers([page, Chunk(text="A page of prose, without any talk.")])
    assert speakers(TALK) == {"Ada", "Ben"}


@needs_shared("data", "squad_cs224n_dev")
def test_published_text_gives_many_questions() -> None:
    stream = next(open_source("squad", {"path": SHARED / "data" / "squad_cs224n_dev" / "dev-v2.0.json.gz"}))
    asked = ask_chunks(stream.chunks, stream.id, 20)
    assert len(asked) == 20
    assert {"gap-name", "gap-number", "gap-date", "order"} <= {one.question.kind for one in asked}
    for one in asked:
        assert all(
            quote in stream.chunks[place].text
            for quote, place in zip(one.quotes, sorted(set(one.question.evidence or ())), strict=True)
        )


# The command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A built set of a talk."""
    lines = []
    for number, chunk in enumerate(TALK):
        for line in chunk.text.split("\n"):
            who, _, text = line.partition(": ")
            lines.append(json.dumps({"speaker": who, "text": text, "time": f"2025-0{number + 3}-07T10:00:00"}))
    path = tmp_path / "parcels.jsonl"
    path.write_text("\n".join(lines))
    words = ["data", "build", "logs", "--from", str(path), "--out", str(tmp_path / "sets"), "eval_share=0"]
    assert main(words) == 0
    return tmp_path / "sets" / "parcels"


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["data", "ask", *words]) == 2
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.long
def test_a_set_is_asked_about_without_a_model(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (built / "train.jsonl").read_bytes()
    assert main(["data", "ask", str(built), "--questions", "4", "--kinds", "gap-name", "change"]) == 0
    out = built.with_name("parcels-asked")
    streams = list(read_jsonl(out / "train.jsonl"))
    card = read_card(out)
    assert {q.kind for s in streams for q in s.questions} <= {"gap-name", "change"}
    assert card.options["asked"]["kinds"] == ["gap-name", "change"]
    assert card.questions == sum(len(stream.questions) for stream in streams) <= 4
    assert all(stream.metadata[QUOTES].keys() == {q.id for q in stream.questions} for stream in streams)
    assert (built / "train.jsonl").read_bytes() == before
    assert "is there already" in refused(capsys, str(built))
    assert main(["data", "ask", str(built), "--questions", "3", "--keep", "--force"]) == 0
    kept = next(read_jsonl(out / "train.jsonl"))
    assert len(kept.questions) > 3 and kept.questions[0].id == next(read_jsonl(built / "train.jsonl")).questions[0].id
    assert kept.metadata[QUOTES].keys() == {question.id for question in kept.questions}
    assert main(["data", "ask", str(out), "--questions", "9", "--seed", "1", "--keep"]) == 0
    again = next(read_jsonl(out.with_name("parcels-asked-asked") / "train.jsonl"))
    assert again.questions[: len(kept.questions)] == kept.questions
    assert len({question.text for question in again.questions}) == len(again.questions) > len(kept.questions)
    assert again.metadata[QUOTES].keys() == {question.id for question in again.questions}
    assert "memrl data build --from" in refused(capsys, str(built.parent))


GOOD = {"question": "In which town did the brother of Ada open a shop?", "answer": "Tromsø",
        "quote": "My brother Nils opened a bakery in Tromsø with a loan of 42,000 euro."}  # fmt: skip
REPLY = [
    GOOD,
    GOOD | {"question": "In which town did the brother of Ada open his shop?"},  # twice
    GOOD | {"quote": "My brother Nils opened a bakery in Narvik."},  # not in the text
    GOOD | {"question": "Who opened a bakery in Tromsø?", "answer": "the bakery in Tromsø"},  # given away
    {"question": "What colour are sweaters?", "answer": "piano", "quote": "The old piano was tuned by Mr Halvorsen"},
    {
        "question": "Which instrument is known to all?",
        "answer": "the piano",
        "quote": "The old piano was tuned by Mr Halvorsen",
    },
    {"question": "no answer"},
]


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    def chat(messages: list[dict[str, str]]) -> str:
        asked = messages[-1]["content"]
        if "# Task" in asked:
            return "Here you are:\n" + "\n".join(map(json.dumps, REPLY if "Nils" in asked else []))
        if "known to all" in asked:
            return "the piano"
        return "Tromsø" if "Tromsø" in asked.split("# Question")[0] else "unknown"

    served = OpenAIServer(chat=chat)
    yield served
    served.stop()


@pytest.mark.long
def test_an_endpoint_writes_questions_and_each_is_tried(
    built: Path, server: OpenAIServer, capsys: pytest.CaptureFixture[str]
) -> None:
    by = ["--endpoint", server.url, "--model", server.model]
    assert "give --yes" in refused(capsys, str(built), *by)
    assert not server.requests  # nothing is asked before somebody agrees
    assert main(["data", "ask", str(built), *by, "--yes"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert re.search(r"up to \d+ requests, about [\d,]+ tokens", told)
    assert "7 questions were written, 1 kept" in told
    for why in ("asked twice", "whose quote does not stand in the text", "that give their answer away",
                "not answered from their own quote", "answered without the text", "no JSON"):  # fmt: skip
        assert f"1 {why}" in told
    (stream,) = read_jsonl(built.with_name("parcels-asked") / "train.jsonl")
    (question,) = stream.questions
    assert (question.text, question.answers, question.kind) == (GOOD["question"], ("Tromsø",), "written")
    assert GOOD["quote"] in stream.chunks[(question.evidence or ())[0]].text
    assert stream.metadata[QUOTES] == {question.id: [GOOD["quote"]]}
    sent = len(server.requests)
    assert main(["data", "ask", str(built), *by, "--yes", "--force"]) == 0
    assert len(server.requests) == sent + 1  # whether it is there; what was answered is kept


@pytest.mark.long
def test_an_endpoint_that_refuses_is_named_by_its_options_and_nothing_is_left(
    built: Path, server: OpenAIServer, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, str(built), "--endpoint", server.url, "--model", "another", "--yes")
    assert "Check --model" in said and server.url in said and "reader" not in said
    assert "--model and --key-env belong to an endpoint" in refused(capsys, str(built), "--model", "x")
    assert "--endpoint is 'nowhere'" in refused(capsys, str(built), "--endpoint", "nowhere", "--model", "x", "--yes")
    assert not built.with_name("parcels-asked").exists()


@pytest.mark.parametrize(
    "text",
    ["User: Well" + "." * 50_000, "User: " + "Well, " * 20_000 + "x", "User: a " + "b" * 50_000, "x" + " y:" * 20_000],
)
def test_hostile_text_takes_no_time(text: str) -> None:
    began = time.monotonic()
    ask_chunks((Chunk(text=f"User: hello there\n{text}"), Chunk(text="Ada: and you")), "hostile", 5)
    assert time.monotonic() - began < 5
