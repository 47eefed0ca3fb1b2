"""Episodes as records: what was read, what was called, what changed, what was answered, and how one led to the other.

Invariant: a link names something that is in the records: a sentence is a span of its chunk's text, an operation is a
place in a step's changes, an item is one of the final memory.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from statistics import fmean
from typing import Any

from memrl.envs.designs.design import MemoryItem
from memrl.look.records import (
    AnswerRow,
    CallRecord,
    ChangeRecord,
    ChunkRecord,
    CompareAnswer,
    CompareColumn,
    EpisodeRecord,
    EpisodeRow,
    GroupRecord,
    GroupRow,
    ItemRecord,
    OriginRecord,
    Part,
    QuestionRecord,
    SearchTexts,
    SentenceLink,
    SentenceRecord,
    ShownRecord,
    StepRecord,
    WhyRecord,
    WrongRow,
)
from memrl.look.texts import cut
from memrl.records import AnswerRecord, Episode, Step
from memrl.report.causes import IN_WORDS, RIGHT, Evidence, Reading, Why, causes_of, counted, sentences_of, taken_from
from memrl.rewards.content import content_words

OPERATION = {"insert": "+", "update": "~", "delete": "-"}
"""The sign of each kind of change."""


Known = dict[tuple[str, str, int], dict[str, Evidence]]
"""Evidence by stream (source, id, chunks) and question."""


@dataclass(frozen=True)
class GroupPlace:
    """A group's place in the report: its run, part, step and number, and so its name."""

    run: str
    part: Part
    step: int
    number: int

    @property
    def folder(self) -> str:
        """The beginning of the names of all that is of this step."""
        return f"{self.run}/{self.part}/{self.step:05d}"

    @property
    def group(self) -> str:
        """Name of the group's record."""
        return f"{self.folder}/{self.number:04d}"

    def episode(self, index: int) -> str:
        """Name of the record of one of its episodes."""
        return f"{self.group}-{index}"


class Told:
    """An episode with the causes of its wrong answers."""

    def __init__(self, episode: Episode, known: dict[str, Evidence] | None = None) -> None:
        self.episode = episode
        self.reading = Reading(episode.chunks, episode.steps, episode.memory, known)
        self.why = causes_of(episode.answers, self.reading)

    @cached_property
    def lines(self) -> dict[str, str]:
        """The items of the final memory as the reader sees them."""
        return {item: shown_line(dict(held)) for item, held in self.reading.items.items()}

    @property
    def causes(self) -> dict[str, int]:
        """Counts of its causes."""
        return counted(why.cause for why in self.why.values())


def groups_of(episodes: Sequence[Episode], part: Part, known: Known) -> list[list[Told]]:
    """Return the episodes of a step by group: those of one stream that follow each other with growing numbers; in an
    evaluation each is one.

    Args:
        known: the evidence that was found before, which this adds to.
    """
    groups: list[list[Told]] = []
    for episode in episodes:
        last = groups[-1][-1].episode if groups else None
        same = (
            part == "training"
            and last is not None
            and (last.source, last.stream_id) == (episode.source, episode.stream_id)
            and episode.index > last.index
        )
        told = Told(episode, known.setdefault((episode.source, episode.stream_id, len(episode.chunks)), {}))
        if same:
            groups[-1].append(told)
        else:
            groups.append([told])
    return groups


# A group ------------------------------------------------------------------------------------------------------------


def group_row(place: GroupPlace, group: Sequence[Told]) -> GroupRow:
    """Return a group's row in the list."""
    episodes = [told.episode for told in group]
    first = episodes[0]
    causes = Counter[str]()
    for told in group:
        causes.update(told.causes)
    results = Counter(result.code.value for one in episodes for step in one.steps for result in step.results)
    return {
        "group": place.group,
        "stream": first.stream_id,
        "source": first.source,
        "episodes": [place.episode(one.index) for one in episodes],
        "chunks": len(first.steps),
        "questions": len(first.answers),
        "qa": fmean(map(_qa, episodes)),
        "total": fmean(one.total for one in episodes),
        "wrong": sum(len(told.why) for told in group),
        "kinds": sorted({answer.kind for answer in first.answers}),
        "causes": {cause: count for cause, count in causes.items() if count},
        "results": dict(results),
    }


def group_record(place: GroupPlace, group: Sequence[Told]) -> GroupRecord:
    """Return a stream, and its episodes side by side."""
    episodes = [told.episode for told in group]
    first = episodes[0]
    written = [
        [_written(one.steps[number]) if number < len(one.steps) else [] for one in episodes]
        for number in range(len(first.steps))
    ]
    scores = [{answer.question_id: answer.score >= RIGHT for answer in one.answers} for one in episodes]
    return {
        "run": place.run,
        "part": place.part,
        "step": place.step,
        "number": place.number,
        "stream": first.stream_id,
        "source": first.source,
        "chunks": chunk_records(group[0]),
        "questions": [question_record(answer) for answer in first.answers],
        "episodes": [_episode_row(place, one) for one in episodes],
        "differ": [number for number, row in enumerate(written) if any(one != row[0] for one in row)],
        "differ_questions": [
            answer.question_id
            for answer in first.answers
            if len({one[answer.question_id] for one in scores if answer.question_id in one}) > 1
        ],
    }


def _written(step: Step) -> list[tuple[str, str | None]]:
    return [(change["op"], change["after"]) for change in step.diff]


def _episode_row(place: GroupPlace, episode: Episode) -> EpisodeRow:
    return {
        "episode": place.episode(episode.index),
        "index": episode.index,
        "total": episode.total,
        "parts": episode.parts,
        "memory_tokens": episode.memory_tokens,
        "qa": _qa(episode),
        "advantages": [step.advantage for step in episode.steps],
        "operations": [
            [f"{OPERATION.get(change['op'], '?')} {cut(change['id'], 80)}" for change in step.diff]
            + [result.code.value for result in step.results if not result.ok]
            for step in episode.steps
        ],
        "scores": {answer.question_id: answer.score for answer in episode.answers},
    }


def _qa(episode: Episode) -> float:
    return fmean(answer.score for answer in episode.answers) if episode.answers else 0.0


def chunk_records(told: Told) -> list[ChunkRecord]:
    """Return the chunks of a stream, with the sentences that say answers."""
    episode = told.episode
    found: dict[int, dict[tuple[int, int], list[str]]] = {}
    for answer in episode.answers:
        for link in _evidence_links(answer, told):
            there = found.setdefault(link["chunk"], {})
            there.setdefault((link["start"], link["end"]), []).append(answer.question_id)
    return [
        {
            "number": number,
            "time": chunk.time,
            "text": cut(chunk.text),
            "sentences": [_sentence_record(*span, ids) for span, ids in sorted(found.get(number, {}).items())],
        }
        for number, chunk in enumerate(episode.chunks)
    ]


def _sentence_record(start: int, end: int, questions: list[str]) -> SentenceRecord:
    return {"start": start, "end": end, "questions": questions}


def question_record(answer: AnswerRecord) -> QuestionRecord:
    """Return the question of an answer."""
    return {
        "id": answer.question_id,
        "kind": answer.kind,
        "text": cut(answer.question),
        "gold": [cut(gold, 2_000) for gold in answer.gold],
        "metric": answer.metric,
        "evidence": answer.evidence,
    }


# Sentences ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4_096)
def spans(text: str) -> tuple[tuple[int, int], ...]:
    """Return where each sentence of a text begins and ends."""
    found: list[tuple[int, int]] = []
    place = 0
    for sentence in sentences_of(text):
        begin = text.find(sentence, place)
        if begin < 0:
            continue
        place = begin + len(sentence)
        found.append((begin, place))
    return tuple(found)


def _link(episode: Episode, chunk: int, text: str) -> SentenceLink | None:
    """The sentence of a chunk that is this text."""
    if chunk >= len(episode.chunks):
        return None
    whole = episode.chunks[chunk].text
    for start, end in spans(whole):
        if whole[start:end] == text:
            return {"chunk": chunk, "start": start, "end": end, "text": cut(text, 2_000)}
    return None


def _evidence_links(answer: AnswerRecord, told: Told) -> list[SentenceLink]:
    evidence = told.reading.evidence(answer)
    found = evidence.sentences if evidence.answerable else []
    links = [_link(told.episode, one.chunk, one.text) for one in found]
    return [link for link in links if link is not None]


def _source_of(episode: Episode, chunk: int, text: str) -> SentenceLink | None:
    """The sentence of a chunk that has most in common with a text that was written there."""
    if chunk >= len(episode.chunks):
        return None
    whole, words = episode.chunks[chunk].text, content_words(text)
    ranked = [(len(words & content_words(whole[start:end])), -start, end) for start, end in spans(whole)]
    most, start, end = max(ranked, default=(0, 0, 0))
    return {"chunk": chunk, "start": -start, "end": end, "text": cut(whole[-start:end], 2_000)} if most else None


# An episode ---------------------------------------------------------------------------------------------------------


def episode_record(place: GroupPlace, told: Told, *, instruction: str, reader: str) -> EpisodeRecord:
    """Return one episode.

    Args:
        instruction: system prompt of the policy.
        reader: instruction of the reader.
    """
    episode = told.episode
    held = [0, *(step.memory_tokens for step in episode.steps)]
    return {
        "run": place.run,
        "part": place.part,
        "step": place.step,
        "group": place.group,
        "index": episode.index,
        "version": episode.version,
        "seed": episode.seed,
        "total": episode.total,
        "parts": episode.parts,
        "meters": episode.meters,
        "chunk_tokens": episode.chunk_tokens,
        "memory_tokens": episode.memory_tokens,
        "instruction": cut(instruction),
        "reader": cut(reader),
        "steps": [_step_record(episode, step, before) for step, before in zip(episode.steps, held, strict=False)],
        "items": _items(episode),
        "answers": [_answer_row(told, answer) for answer in episode.answers],
    }


def _told(change: Mapping[str, Any], place: int) -> str:
    """The text of a change before (0) or after it (1), with the item's time where the change is of that."""
    text: str = change["after" if place else "before"]
    time = change["times"][place] if change.get("times") else None
    return f"({time}) {text}" if time else text


def _step_record(episode: Episode, step: Step, before: int) -> StepRecord:
    stores = {result.item_id: result.store for result in step.results if result.item_id}
    stores |= {item["id"]: item.get("store") for item in episode.memory.get("items", []) if item["id"] not in stores}
    unfaithful = {check.item_id: check.unfaithful for check in step.checks}
    changes: list[ChangeRecord] = [
        {
            "op": change["op"],
            "item": cut(change["id"], 200),
            "store": stores.get(change["id"]),
            "before": None if change["before"] is None else cut(_told(change, 0)),
            "after": None if change["after"] is None else cut(_told(change, 1)),
            "tokens": step.memory_tokens - before if len(step.diff) == 1 else None,
            "false": unfaithful.get(change["id"], "") if change["after"] is not None else "",
            "sentence": None if change["after"] is None else _source_of(episode, step.chunk, change["after"]),
        }
        for change in step.diff
    ]
    places = {change["id"]: number for number, change in enumerate(step.diff)}
    calls: list[CallRecord] = []
    for number, result in enumerate(step.results):
        call = step.calls[number] if number < len(step.calls) else None
        calls.append(
            {
                "name": cut(result.name, 200),
                "arguments": {cut(key, 200): cut(str(value)) for key, value in call.arguments.items()} if call else {},
                "code": result.code.value,
                "message": cut(result.message, 2_000),
                "item": result.item_id,
                "store": result.store,
                "change": places.get(result.item_id) if result.item_id is not None else None,
            }
        )
    return {
        "chunk": step.chunk,
        "seen": cut(step.seen),
        "completion": cut(step.text),
        "stop": step.completion.stop,
        "prompt_tokens": len(step.prompt_ids),
        "completion_tokens": len(step.completion.ids),
        "memory_tokens": step.memory_tokens,
        "memory_tokens_before": before,
        "turns": [
            {
                "told": cut(turn.told),
                "completion": cut(turn.text),
                "stop": completion.stop,
                "prompt_tokens": len(prompt_ids),
                "completion_tokens": len(completion.ids),
            }
            for turn, (prompt_ids, completion) in zip(
                step.turns, itertools.islice(step.in_turns(), 1, None), strict=True
            )
        ],
        "calls": calls,
        "changes": changes,
        "parts": step.parts,
        "advantage": step.advantage,
    }


def origins(episode: Episode) -> dict[str, OriginRecord]:
    """Return which operation wrote each item as it stands in the end, and which made it."""
    found: dict[str, OriginRecord] = {}
    for number, step in enumerate(episode.steps):
        for place, change in enumerate(step.diff):
            item = change["id"]
            if change["after"] is None:
                found.pop(item, None)
                continue
            first = found.get(item)
            found[item] = {
                "step": number,
                "change": place,
                "first_step": number if first is None else first["first_step"],
                "first_change": place if first is None else first["first_change"],
            }
    return found


def _items(episode: Episode) -> list[ItemRecord]:
    written = origins(episode)
    return [
        {
            "id": item["id"],
            "store": item.get("store"),
            "time": item.get("time"),
            "text": cut(item["content"]),
            "origin": written.get(item["id"]),
        }
        for item in episode.memory.get("items", [])
    ]


def shown_line(item: dict[str, Any]) -> str:
    """Return an item as agent and reader see it."""
    return MemoryItem(item["id"], item.get("store") or "", item["content"], item.get("time"), 0).line()


def _answer_row(told: Told, answer: AnswerRecord) -> AnswerRow:
    episode, why = told.episode, told.why.get(answer.question_id)
    evidence = told.reading.evidence(answer)
    shown: list[ShownRecord] = []
    for item in answer.retrieved:
        text = told.lines.get(item, "")
        says = bool(text) and evidence.answerable and evidence.says(text)
        shown.append({"id": item, "text": cut(text), "says_answer": says, "taken": taken_from(answer.answer, text)})
    verdict = answer.verdict
    return {
        "question": answer.question_id,
        "kind": answer.kind,
        "answer": cut(answer.answer),
        "score": answer.score,
        "right": why is None,
        "metric": answer.metric,
        "metric_score": answer.metric_score,
        "verdict": None
        if verdict is None
        else {"rubric": verdict.rubric, "accepted": verdict.accepted, "reason": cut(verdict.reason, 2_000)},
        "shown": shown,
        "why": None if why is None else _why_record(why, episode),
        "evidence": _evidence_links(answer, told),
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
    }


def _why_record(why: Why, episode: Episode) -> WhyRecord:
    return {
        "cause": why.cause.value,
        "label": IN_WORDS[why.cause],
        "detail": why.detail,
        "item": why.item,
        "step": why.step,
        "sentence": None if why.evidence is None else _link(episode, why.evidence.chunk, why.evidence.text),
    }


# Lists --------------------------------------------------------------------------------------------------------------


def wrong_rows(place: GroupPlace, told: Told) -> list[WrongRow]:
    """Return the wrong answers of an episode."""
    episode = told.episode
    return [
        {
            "episode": place.episode(episode.index),
            "question": answer.question_id,
            "text": cut(answer.question, 300),
            "kind": answer.kind,
            "source": episode.source,
            "answer": cut(answer.answer, 300),
            "gold": cut(answer.gold[0], 300),
            "score": answer.score,
            "cause": told.why[answer.question_id].cause.value,
        }
        for answer in episode.answers
        if answer.question_id in told.why
    ]


def search_texts(place: GroupPlace, group: Sequence[Told]) -> list[SearchTexts]:
    """Return all text of a group, to be searched."""
    first = group[0].episode
    found: list[SearchTexts] = []

    def add(at: str, what: Any, some: Iterable[tuple[object, str]]) -> None:
        told = [(str(where), cut(text, 2_000)) for where, text in some if text]
        if told:
            places, texts = zip(*told, strict=True)
            found.append({"at": at, "what": what, "places": list(places), "texts": list(texts)})

    add(place.group, "chunk", ((number, chunk.text) for number, chunk in enumerate(first.chunks)))
    asked = ((answer.question_id, f"{answer.question} ({answer.gold[0]})") for answer in first.answers)
    add(place.group, "question", asked)
    for told in group:
        episode = told.episode
        at = place.episode(episode.index)
        add(at, "completion", ((step.chunk, step.said) for step in episode.steps))
        add(at, "item", ((item["id"], item["content"]) for item in episode.memory.get("items", [])))
        add(at, "answer", ((answer.question_id, answer.answer) for answer in episode.answers))
    return found


def compare_column(place: GroupPlace, told: Told, *, written: bool) -> CompareColumn:
    """Return a stream in one evaluation.

    Args:
        written: whether the episode has a record of its own.
    """
    episode = told.episode
    last = {item: (one["step"], one["change"]) for item, one in origins(episode).items()}
    return {
        "step": place.step,
        "episode": place.episode(episode.index) if written else None,
        "qa": _qa(episode),
        "memory_tokens": episode.memory_tokens,
        "kept": [
            [
                cut(change["after"], 500)
                for at, change in enumerate(step.diff)
                if change["after"] is not None and last.get(change["id"]) == (number, at)
            ]
            for number, step in enumerate(episode.steps)
        ],
        "updated": [sum(change["op"] == "update" for change in step.diff) for step in episode.steps],
        "deleted": [sum(change["op"] == "delete" for change in step.diff) for step in episode.steps],
        "failed": [sum(not result.ok for result in step.results) for step in episode.steps],
        "answers": {answer.question_id: _compare_answer(told, answer) for answer in episode.answers},
    }


def _compare_answer(told: Told, answer: AnswerRecord) -> CompareAnswer:
    why = told.why.get(answer.question_id)
    return {"answer": cut(answer.answer, 300), "score": answer.score, "cause": why.cause.value if why else None}
