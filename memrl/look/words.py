"""Runs, episodes and comparisons as text for a terminal.

Invariant: what runs and models have written reaches it spelled out (`memrl.look.texts.visible`): no sign of it moves a
cursor, and none is markup.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from memrl.look.columns import WIDTH, table, width_of
from memrl.look.episodes import GroupPlace, Told, episode_record, group_record, groups_of
from memrl.look.overview import alarms_of
from memrl.look.records import AnswerRow, EpisodeRecord, GroupRecord, IntervalRecord, Part, StepRecord
from memrl.look.runs import Run, best_of, interval_of, last_of
from memrl.look.texts import line, visible
from memrl.report.causes import IN_WORDS, Cause, counted
from memrl.report.curve import KIND, kinds_of
from memrl.report.tables import shown

SIGN = {"insert": "+", "update": "~", "delete": "-"}


def score(interval: IntervalRecord | None) -> str:
    """Return a score with its interval; a dash where there is none."""
    return "-" if interval is None else shown(dict(interval))


def found_in(run: Run, part: Part, step: int) -> list[list[Told]]:
    """Return the groups of a step; none where they cannot be read."""
    return groups_of(run.episodes(part, step) or [], part, {})


# A run --------------------------------------------------------------------------------------------------------------


def run_text(run: Run) -> Iterator[str]:
    """Yield a run at a glance: its state, scores, alarms, causes, and what can be looked at."""
    yield f"{line(str(run.folder))}: {line(run.name)}, seed {run.seed if run.seed is not None else '-'}"
    yield line(run.state_in_words, 400)
    yield f"held-out: best {score(best_of(run))}, last {score(last_of(run))}"
    for alarm in alarms_of(run):
        yield f"! {line(alarm['text'], 400)}"
    rows = run.evaluations()
    kinds = kinds_of(run.rows)
    files = run.episode_files("held-out").steps()
    if rows:
        yield ""
        scores = [[str(row["step"]), score(interval_of(dict(row), "eval/qa")), *_by_kind(row, kinds)] for row in rows]
        yield from table([["step", "held-out", *(line(kind, 40) for kind in kinds)], *scores])
        yield ""
        yield from _causes_text(
            {row["step"]: _causes(run, row["step"]) if row["step"] in files else None for row in rows}
        )
        yield ""
    for name, part in (("held-out", "held-out"), ("training", "training")):
        steps = run.episode_files(part).steps()  # type: ignore[arg-type]
        yield f"{name} episodes: " + (f"steps {_ranges(steps)}" if steps else "none were kept")
    for damage in run.damage:
        yield f"! {line(damage, 400)}"


def _by_kind(row: Mapping[str, Any], kinds: Sequence[str]) -> list[str]:
    return [f"{row[KIND + kind]:.3f}" if KIND + kind in row else "-" for kind in kinds]


def _causes(run: Run, step: int) -> dict[str, int] | None:
    told = [one for group in found_in(run, "held-out", step) for one in group]
    return counted(why.cause for one in told for why in one.why.values()) if told else None


def _causes_text(by_step: Mapping[int, Mapping[str, int] | None]) -> Iterator[str]:
    """Yield the counts of causes of evaluations; a cause that no wrong answer has is left out."""
    seen = [cause for cause in IN_WORDS if any(of and of[cause.value] for of in by_step.values())]
    rows = [
        [
            str(step),
            *(["-"] * (len(seen) + 1) if of is None else map(str, (sum(of.values()), *(of[one] for one in seen)))),
        ]
        for step, of in by_step.items()
    ]
    yield from table([["step", "wrong", *(IN_WORDS[cause] for cause in seen)], *rows])


def _ranges(steps: Sequence[int]) -> str:
    """Return `0, 5, 10-12`."""
    spans: list[list[int]] = []
    for step in steps:
        if spans and step == spans[-1][1] + 1:
            spans[-1][1] = step
        else:
            spans.append([step, step])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def episodes_text(run: Run, part: Part, step: int) -> Iterator[str]:
    """Yield the list of a step's episodes, numbered as `--episode` takes them."""
    head = ["episode", "stream", "paid", "score", "wrong", "memory tokens", "calls", "failed"]
    rows = []
    every = [one for group in found_in(run, part, step) for one in group]
    several = len({told.episode.source for told in every}) > 1
    for number, told in enumerate(every):
        episode = told.episode
        source = f" of {line(episode.source, 30)}" if several else ""
        results = [result for one in episode.steps for result in one.results]
        qa = sum(answer.score for answer in episode.answers) / max(len(episode.answers), 1)
        rows.append(
            [
                str(number), f"{line(episode.stream_id, 60)}{source}", f"{episode.total:.3f}", f"{qa:.3f}",
                f"{len(told.why)} of {len(episode.answers)}", str(episode.memory_tokens), str(len(results)),
                str(sum(not result.ok for result in results)),
            ]
        )  # fmt: skip
    yield f"{part}, step {step}"
    yield from table([head, *rows], long=1)


def wrong_text(run: Run, part: Part, step: int, cause: Cause | None = None) -> Iterator[str]:
    """Yield the wrong answers of a step with their causes.

    Args:
        cause: only these; None: all.
    """
    told = [one for group in found_in(run, part, step) for one in group]
    counts = counted(why.cause for one in told for why in one.why.values())
    yield f"{part}, step {step}: {sum(counts.values())} wrong answers"
    for cause, label in IN_WORDS.items():
        yield f"  {counts[cause.value]:4d}  {label}"
    for number, one in enumerate(told):
        for answer in one.episode.answers:
            why = one.why.get(answer.question_id)
            if why is None or cause not in (None, why.cause):
                continue
            yield ""
            yield f"episode {number}, {line(answer.question_id, 40)} ({line(answer.kind, 30)}): {line(answer.question)}"
            yield f"  answer: {line(answer.answer) or '(nothing)'}   gold: {line(answer.gold[0])}"
            yield f"  {IN_WORDS[why.cause]}: {line(why.detail, 400)}"
            if why.evidence is not None:
                yield f"  chunk {why.evidence.chunk} says: {line(why.evidence.text, 400)}"


# An episode ---------------------------------------------------------------------------------------------------------


def episode_text(run: Run, part: Part, step: int, number: int, groups: Sequence[Sequence[Told]]) -> Iterator[str]:
    """Yield one episode, chunk by chunk and then question by question.

    Args:
        number: among all of the step, in order.
        groups: of the step.
    """
    places = [(place, told) for place, group in enumerate(groups) for told in group]
    at, told = places[number]
    yield from one_episode_text(run, GroupPlace("run", part, step, at), number, groups[at], told)


def one_episode_text(run: Run, place: GroupPlace, number: int, members: Sequence[Told], told: Told) -> Iterator[str]:
    """Yield the same of an episode that is found already.

    Args:
        members: its group.
    """
    group = group_record(place, members)
    record = episode_record(place, told, instruction=run.instruction, reader=run.reader)
    parts = ", ".join(f"{line(name, 40)} {value:.3f}" for name, value in record["parts"].items())
    yield f"{line(str(run.folder))}, {place.part}, step {place.step}, episode {number}"
    yield f"stream {line(group['stream'])} of {line(group['source'])}"
    yield f"paid {record['total']:.3f} ({parts}); {record['memory_tokens']} of {record['chunk_tokens']} tokens kept"
    for one in record["steps"]:
        yield ""
        yield from _step_text(one, group)
    yield ""
    yield f"{len(record['answers'])} questions, {sum(not one['right'] for one in record['answers'])} wrong"
    asked = {question["id"]: question for question in group["questions"]}
    for answer in record["answers"]:
        question = asked[answer["question"]]
        yield ""
        mark = "right" if answer["right"] else "WRONG"
        yield f"{mark}  {line(answer['question'], 40)} ({line(answer['kind'], 30)}): {line(question['text'])}"
        yield f"  answer: {line(answer['answer']) or '(nothing)'}   gold: {', '.join(map(line, question['gold'][:5]))}"
        yield f"  score {answer['score']:.3f} by {'the judge' if answer['verdict'] else line(answer['metric'], 40)}"
        yield from _links_text(answer, record)


def _step_text(one: StepRecord, group: GroupRecord) -> Iterator[str]:
    chunk = group["chunks"][one["chunk"]] if one["chunk"] < len(group["chunks"]) else None
    yield f"chunk {one['chunk']}" + (f" ({line(chunk['time'], 60)})" if chunk and chunk["time"] else "")
    yield from _quoted(chunk["text"] if chunk else "(the text was not kept)")
    for call in one["calls"]:
        arguments = ", ".join(f"{line(key, 40)}={line(value)!r}" for key, value in call["arguments"].items())
        said = f" {line(call['message'])}" if call["message"] else ""
        yield f"  call {line(call['name'], 60)}({arguments}) -> {call['code']}{said}"
    if not one["calls"]:
        yield f"  no call: {line(one['completion']) or '(nothing)'}"
    for number, turn in enumerate(one["turns"], start=2):
        yield f"  turn {number}: told {line(turn['told']) or '(nothing)'} -> {line(turn['completion']) or '(nothing)'}"
    for change in one["changes"]:
        before = f"{line(change['before'] or '')} -> " if change["op"] == "update" else ""
        text = line(change["before"] or "") if change["op"] == "delete" else line(change["after"] or "")
        false = f"   ! {line(change['false'])}" if change["false"] else ""
        yield f"  {SIGN[change['op']]} {line(change['item'], 60)}: {before}{text}{false}"
    credit = "" if one["advantage"] is None else f"; credit {one['advantage']:+.3f}"
    yield f"  memory {one['memory_tokens_before']} -> {one['memory_tokens']} tokens{credit}"


def _links_text(answer: AnswerRow, record: EpisodeRecord) -> Iterator[str]:
    origin = {item["id"]: item["origin"] for item in record["items"]}
    for item in answer["shown"]:
        wrote = origin.get(item["id"])
        note = " (says the answer)" if item["says_answer"] else ""
        yield f"  shown: {line(item['text']) or line(item['id'], 60)}{note}"
        if wrote is None:
            continue
        step = record["steps"][wrote["step"]]
        change = step["changes"][wrote["change"]]
        source = f", from: {line(change['sentence']['text'])}" if change["sentence"] else ""
        yield f"    written at chunk {step['chunk']} ({SIGN[change['op']]}){source}"
    if (why := answer["why"]) is not None:
        yield f"  why: {why['label']}. {line(why['detail'], 400)}"
        for sentence in answer["evidence"]:
            yield f"  chunk {sentence['chunk']} says: {line(sentence['text'], 400)}"


def _quoted(text: str) -> Iterator[str]:
    for one in visible(text).split("\n"):
        yield f"  | {one}"


# Runs ---------------------------------------------------------------------------------------------------------------


def runs_text(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of runs, one a line, and where several of one name differ by their seeds alone their seeds
    together. Where folders have no room in it, each stands whole in a line above its run."""
    found = list(rows)
    names = [["run", "name"], *([line(row["folder"], 400), line(row["name"], 40)] for row in found)]
    told = [["seed", "state", "step", "best", "last"], *map(_run_cells, found)]
    whole = [[*name, *cells] for name, cells in zip(names, told, strict=True)]
    if width_of(whole) <= WIDTH:
        yield from table(whole)
    else:
        for (folder, name), text in zip(names, table(told, "  "), strict=True):
            yield f"{folder} ({name})"
            yield text
    seeds: dict[str, list[int]] = defaultdict(list)
    for row in found:
        if row["seed"] is not None:
            seeds[row["name"]].append(row["seed"])
    for name, of in seeds.items():
        if len(set(of)) > 1:
            yield f"{line(name, 40)}: seeds {', '.join(map(str, sorted(set(of))))}"
    for row in found:
        for damage in row["damage"]:
            yield f"! {line(damage, 400)}"


def _run_cells(row: Mapping[str, Any]) -> list[str]:
    seed = "-" if row["seed"] is None else str(row["seed"])
    return [seed, row["state"], row["of"], score(row["best"]), score(row["last"])]


def run_row(run: Run) -> dict[str, Any]:
    """Return a run's line in the table, as plain data."""
    return {
        "folder": str(run.folder),
        "name": run.name,
        "seed": run.seed,
        "state": run.state,
        "step": run.step,
        "of": f"{run.step}/{run.steps}" if run.steps is not None else str(run.step),
        "best": best_of(run),
        "last": last_of(run),
        "damage": run.damage,
    }
