"""The records of the report: the contract between what reads a run and what shows it.

Each is plain JSON data. `memrl.look.report` writes each into a file of its own, `data/NAME.js`, which calls one
function:

    memrlData("NAME", {...});

since a page that is opened from the disk may load scripts and no JSON. NAME is the file's path below `data/`, without
`.js`, with `/` between its parts. A page begins with `index`, which names the runs; all other names follow from what
was read before.

Invariants: every text is what the run holds, cut at `memrl.look.texts.LONGEST` characters and nothing else done to it:
whoever shows it must show it as text. Numbers are finite. What is not known is null.
"""

from __future__ import annotations

from typing import Literal, TypedDict

FORMAT = 3
"""The version of these records; it goes up where a page of before could misread them."""

Part = Literal["training", "held-out"]
"""Which episodes: those that were trained on, sampled, G of a stream; or those of an evaluation, greedy, one a
stream."""
State = Literal["running", "ended", "stopped", "damaged"]


class IntervalRecord(TypedDict):
    """An estimate with its 95 % interval; null ends where there is none."""

    value: float
    low: float | None
    high: float | None


class SeriesRecord(TypedDict):
    """One line over steps. `low` and `high` are null where it has no interval, else as long as `values`."""

    key: str
    """As in metrics.jsonl."""
    group: str
    """What it is drawn with: `held-out`, `kinds`, `reward`, `lengths`, `tools`, `failures`, `staleness`, `entropy`,
    `clipping`, `time`, `tokens`, `cost`, `meters`."""
    label: str
    unit: str
    meaning: str
    """What docs/metrics.md says of it."""
    steps: list[int]
    values: list[float]
    low: list[float | None] | None
    high: list[float | None] | None


class AlarmRecord(TypedDict):
    """Something that should be looked at."""

    key: str
    """`kind:latest`, `meter:growth`, `damage`."""
    text: str
    """In words: `latest fell from 0.29 to 0.04 since step 5`."""
    step: int | None
    """Where to look first."""


class EvaluationRecord(TypedDict):
    """One evaluation."""

    step: int
    qa: IntervalRecord | None
    kinds: dict[str, float]
    streams: int
    failures: int
    causes: dict[str, int] | None
    """How many wrong answers have each cause; null where its episodes were not kept or cannot be read."""
    causes_by_kind: dict[str, dict[str, int]] | None
    """The same by kind of question: kind -> cause -> count; kinds without a wrong answer are left out."""
    groups: str | None
    """Name of its `GroupListRecord`; null where it was not written."""
    wrong: str | None
    """Name of its `WrongListRecord`."""
    search: str | None
    """Name of its `SearchRecord`."""


class TrainingRecord(TypedDict):
    """The training episodes of one step."""

    step: int
    groups: str | None
    """Name of its `GroupListRecord`; null where it was left out (`memrl report --episodes`) or cannot be read."""
    wrong: str | None
    search: str | None


class RunRecord(TypedDict):
    """`RUN/overview`: one run at a glance."""

    format: int
    run: str
    """Its key: the first part of the names of its files."""
    name: str
    """Of its config."""
    folder: str
    """The last part of its folder's path."""
    seed: int | None
    state: State
    state_in_words: str
    """`running (process 12 on host), step 7 of 40`."""
    step: int
    steps: int | None
    version: str
    """The memrl that wrote it."""
    updated: str
    """When this was written, ISO 8601, UTC."""
    damage: list[str]
    """What could not be read, each with its file; what it is missing from is null."""
    alarms: list[AlarmRecord]
    best: IntervalRecord | None
    last: IntervalRecord | None
    kinds: list[str]
    sources: list[str]
    causes: list[CauseRecord]
    """All causes, in their order."""
    series: list[SeriesRecord]
    evaluations: list[EvaluationRecord]
    training: list[TrainingRecord]
    streams: list[StreamPlace]
    """The held-out streams that `compare` has."""
    settings: dict[str, str]
    """The resolved config: dotted key -> value."""
    left_out: str
    """Which episodes were left out, in words; empty where none was."""


class CauseRecord(TypedDict):
    """A cause of wrong answers."""

    key: str
    label: str


class StreamPlace(TypedDict):
    """A held-out stream, and the name of its `CompareRecord`."""

    stream: str
    source: str
    compare: str


class IndexRecord(TypedDict):
    """`index`: the runs of a report."""

    format: int
    title: str
    updated: str
    live: float | None
    """Seconds after which a page may read it again; null: nothing more will come."""
    runs: list[IndexRunRecord]
    band: BandRecord | None
    """The held-out accuracy of several runs as one; null of one run."""


class IndexRunRecord(TypedDict):
    """A run in the list of runs."""

    run: str
    name: str
    folder: str
    seed: int | None
    state: State
    step: int
    steps: int | None
    best: IntervalRecord | None
    last: IntervalRecord | None
    alarms: int
    overview: str
    """Name of its `RunRecord`."""


class BandRecord(TypedDict):
    """Mean over runs at the steps that all have evaluated, with the 95 % t interval over runs, least and most."""

    runs: list[str]
    steps: list[int]
    mean: list[float]
    low: list[float | None]
    high: list[float | None]
    least: list[float]
    most: list[float]


class GroupListRecord(TypedDict):
    """`RUN/PART/00012/groups`: the groups of a step or an evaluation."""

    run: str
    part: Part
    step: int
    groups: list[GroupRow]


class GroupRow(TypedDict):
    """One group in the list."""

    group: str
    """Name of its `GroupRecord`."""
    stream: str
    source: str
    episodes: list[str]
    """Names of its `EpisodeRecord`s."""
    chunks: int
    questions: int
    qa: float
    """Mean question score over its episodes."""
    total: float
    """Mean of what they were paid."""
    wrong: int
    kinds: list[str]
    causes: dict[str, int]
    results: dict[str, int]
    """How its tool calls ended: result code -> count."""


class ChunkRecord(TypedDict):
    """One chunk of a stream."""

    number: int
    time: str | None
    text: str
    sentences: list[SentenceRecord]
    """Those that some question's answer stands in, in the order of the text."""


class SentenceRecord(TypedDict):
    """A span of a chunk's text, `text[start:end]`, and the questions whose answer it says."""

    start: int
    end: int
    questions: list[str]


class QuestionRecord(TypedDict):
    """One question of a stream."""

    id: str
    kind: str
    text: str
    gold: list[str]
    metric: str
    evidence: list[int] | None
    """Numbers of the chunks that the source names."""


class GroupRecord(TypedDict):
    """`RUN/PART/00012/0003`: a stream, and the episodes of its group side by side."""

    run: str
    part: Part
    step: int
    number: int
    stream: str
    source: str
    chunks: list[ChunkRecord]
    """Empty where the run did not keep the text (older versions)."""
    questions: list[QuestionRecord]
    episodes: list[EpisodeRow]
    differ: list[int]
    """Numbers of the chunks at which the episodes did not write the same."""
    differ_questions: list[str]
    """Ids of the questions that some answered rightly and some not."""


class EpisodeRow(TypedDict):
    """One episode beside the others of its group."""

    episode: str
    """Name of its `EpisodeRecord`."""
    index: int
    total: float
    parts: dict[str, float]
    memory_tokens: int
    qa: float
    advantages: list[float | None]
    """Of each step; null: it taught nothing."""
    operations: list[list[str]]
    """Of each step what it did to the memory: `+ sem_0001`, `~ sem_0001`, `- sem_0001`, and calls that failed by their
    code."""
    scores: dict[str, float]
    """Question id -> score."""


class CallRecord(TypedDict):
    """A tool call with its result."""

    name: str
    arguments: dict[str, str]
    """Empty in runs of versions that did not keep them."""
    code: str
    """`ok`, or why it failed (memrl.envs.tools.ResultCode)."""
    message: str
    item: str | None
    store: str | None
    change: int | None
    """Place in `changes` of what it did; null where it did nothing."""


class SentenceLink(TypedDict):
    """A sentence of a chunk: `chunks[chunk].text[start:end]` of the group's record."""

    chunk: int
    start: int
    end: int
    text: str


class ChangeRecord(TypedDict):
    """One item that a step changed."""

    op: Literal["insert", "update", "delete"]
    item: str
    store: str | None
    before: str | None
    after: str | None
    """The texts; after their times where the item's has changed."""
    tokens: int | None
    """Tokens of the memory after the step less before it, where this is its only change; else null."""
    false: str
    """Why what was written is not to be trusted, by the words of the chunks so far; empty where it is, or was not
    looked at."""
    sentence: SentenceLink | None
    """The sentence of the step's chunk that has most in common with what was written; null where none has anything."""


class TurnRecord(TypedDict):
    """A further turn of a step."""

    told: str
    """What the searches of the turn before have found."""
    completion: str
    stop: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


class StepRecord(TypedDict):
    """One chunk, read."""

    chunk: int
    seen: str
    """The memory as the prompt showed it; empty where it was not kept."""
    completion: str
    stop: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int
    memory_tokens: int
    """After it."""
    memory_tokens_before: int
    turns: list[TurnRecord]
    """The further ones; prompt and completion above are those of the first."""
    calls: list[CallRecord]
    changes: list[ChangeRecord]
    parts: dict[str, float]
    advantage: float | None


class ItemRecord(TypedDict):
    """An item of the final memory."""

    id: str
    store: str | None
    time: str | None
    text: str
    origin: OriginRecord | None


class OriginRecord(TypedDict):
    """The operation that wrote an item as it stands, and the first that made it: places in `steps` and `changes`."""

    step: int
    change: int
    first_step: int
    first_change: int


class ShownRecord(TypedDict):
    """An item that the reader was shown."""

    id: str
    text: str
    """As the reader saw it, on one line; empty where it cannot be told."""
    says_answer: bool
    taken: bool
    """The answer may be taken from it, by its words."""


class WhyRecord(TypedDict):
    """The cause of a wrong answer. `item`, `step` (place in `steps`) and `sentence` say where to look, where
    known."""

    cause: str
    label: str
    detail: str
    item: str | None
    step: int | None
    sentence: SentenceLink | None


class AnswerRow(TypedDict):
    """One question, answered: the chain answer -> items -> operations -> sentence begins here."""

    question: str
    """Id; the question stands in the group's record."""
    kind: str
    answer: str
    score: float
    right: bool
    metric: str
    metric_score: float | None
    verdict: VerdictRecord | None
    shown: list[ShownRecord]
    why: WhyRecord | None
    """Null where it is right."""
    evidence: list[SentenceLink]
    """The sentences that say the answer."""
    prompt_tokens: int
    completion_tokens: int


class VerdictRecord(TypedDict):
    """The judge's verdict."""

    rubric: str
    accepted: bool
    reason: str


class EpisodeRecord(TypedDict):
    """`RUN/PART/00012/0003-1`: one episode."""

    run: str
    part: Part
    step: int
    group: str
    """Name of its `GroupRecord`, which has the chunks and the questions."""
    index: int
    version: int | None
    seed: int
    total: float
    parts: dict[str, float]
    meters: dict[str, float]
    chunk_tokens: int
    memory_tokens: int
    instruction: str
    """System prompt of the policy."""
    reader: str
    """Instruction of the reader."""
    steps: list[StepRecord]
    items: list[ItemRecord]
    answers: list[AnswerRow]


class WrongListRecord(TypedDict):
    """`RUN/PART/00012/wrong`: every wrong answer of a step or an evaluation."""

    run: str
    part: Part
    step: int
    rows: list[WrongRow]


class WrongRow(TypedDict):
    """One wrong answer."""

    episode: str
    """Name of its `EpisodeRecord`."""
    question: str
    text: str
    kind: str
    source: str
    answer: str
    gold: str
    """The first."""
    score: float
    cause: str


class SearchRecord(TypedDict):
    """`RUN/PART/00012/search`: all text of a step or an evaluation, to be searched."""

    run: str
    part: Part
    step: int
    texts: list[SearchTexts]


class SearchTexts(TypedDict):
    """The texts of one sort that an episode or a group has. A step has tens of thousands: as a record each, they would
    take a browser twice the memory."""

    at: str
    """Name of the `EpisodeRecord`, of the `GroupRecord` for `chunk` and `question`."""
    what: Literal["chunk", "question", "completion", "item", "answer"]
    places: list[str]
    """Number of the chunk, id of the question or of the item, of each text."""
    texts: list[str]


class CompareRecord(TypedDict):
    """`RUN/compare/0003`: one held-out stream through the evaluations of a run. Two steps are two of its columns; two
    runs are two such records of the same stream and source."""

    run: str
    stream: str
    source: str
    chunks: list[str]
    """Their texts."""
    questions: list[QuestionRecord]
    evaluations: list[CompareColumn]


class CompareColumn(TypedDict):
    """The stream in one evaluation."""

    step: int
    episode: str | None
    """Name of its `EpisodeRecord`; null where that was left out."""
    qa: float
    memory_tokens: int
    kept: list[list[str]]
    """Of each chunk the texts that were written there and are in the final memory."""
    updated: list[int]
    """Of each chunk how many items were changed."""
    deleted: list[int]
    failed: list[int]
    """Of each chunk how many calls failed."""
    answers: dict[str, CompareAnswer]
    """By question id."""


class CompareAnswer(TypedDict):
    """An answer in a comparison."""

    answer: str
    score: float
    cause: str | None
