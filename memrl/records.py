"""The records that an episode leaves behind: plain frozen data, from which every reward and advantage can be computed
again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from memrl.envs.stream import Chunk
from memrl.envs.tools import ToolCall, ToolResult
from memrl.errors import PluginError
from memrl.rewards.compose import RewardWeights, pay
from memrl.rewards.metrics import unanswerable
from memrl.rewards.parts import EpisodeView, StepView

StopReason = Literal["stop", "length"]
"""`stop`: the model ended its turn (the end-of-turn id is among the ids). `length`: it ran into the token limit."""


@dataclass(frozen=True)
class AdapterRef:
    """A published LoRA adapter. `name` is new for every version and never reused (ARCHITECTURE law 2)."""

    version: int
    name: str
    path: str


def adapter_name(version: int) -> str:
    """The name of a version's adapter, and of its folder; names sort as versions do."""
    return f"v{version:05d}"


class Completion(BaseModel):
    """A completion exactly as an engine sampled it: the ids and the log-probs under the distribution they were sampled
    from."""

    model_config = ConfigDict(frozen=True)

    ids: list[int]
    """Sampled token ids, the end-of-turn id included when `stop` is "stop"."""
    logprobs: list[float]
    """Log-probs (nats) of `ids`, after temperature, same length as `ids`."""
    stop: StopReason
    version: int | None
    """Adapter version sampled with; None: base model."""
    cached_tokens: int = 0
    """Prompt tokens that the engine had in its prefix cache and did not compute again."""


class Verdict(BaseModel):
    """The judge's verdict on an answer or a stored text, and its cost."""

    model_config = ConfigDict(frozen=True)

    rubric: str
    accepted: bool
    votes: list[bool] = Field(default_factory=list)
    """Empty: it was rejected without asking."""
    reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    calls: int = 0
    cached: int = 0
    retries: int = 0


class ContentCheck(BaseModel):
    """One text that a step stored, and whether it is in order."""

    model_config = ConfigDict(frozen=True)

    item_id: str
    text: str
    unfaithful: str = ""
    """Why the chunks so far do not say it, by its words (`rewards.content`); empty where they do."""
    verdict: Verdict | None = None
    """The judge's, where it is asked."""

    @property
    def right(self) -> bool:
        return not self.unfaithful if self.verdict is None else self.verdict.accepted


class FurtherTurn(BaseModel):
    """A further turn of a step: what has come back for the searches of the turn before, and what the policy made of
    it."""

    model_config = ConfigDict(frozen=True)

    told: str
    """What has come back, in words."""
    given_ids: list[int]
    """The same as the chat template writes it, up to where the policy speaks: it follows the ids sampled in the turn
    before, and is never trained on."""
    completion: Completion
    text: str
    """As a step's."""


def in_turns(
    prompt_ids: list[int], completion: Completion, turns: Sequence[FurtherTurn]
) -> Iterator[tuple[list[int], Completion]]:
    """Yield the prompt and the completion of each turn. A later prompt is the one before, what was sampled to it, and
    what came back, id for id (law 1)."""
    yield prompt_ids, completion
    for turn in turns:
        prompt_ids = [*prompt_ids, *completion.ids, *turn.given_ids]
        completion = turn.completion
        yield prompt_ids, completion


class Reroll(BaseModel):
    """Another completion of a step, from the same memory, and what the episode would have been paid with it."""

    model_config = ConfigDict(frozen=True)

    completion: Completion
    text: str
    """As a step's."""
    turns: list[FurtherTurn] = Field(default_factory=list)
    """As a step's."""
    results: list[ToolResult]
    parts: dict[str, float]
    """Reward parts of the step."""
    episode_parts: dict[str, float]
    """Reward parts of the whole episode, its later calls made again."""


class Step(BaseModel):
    """One chunk, or one tidying of the memory: prompt, completion, the tool calls' results, and what they did to the
    memory.

    Of several turns, prompt, completion and text are those of the first; results, calls and diff are those of all.
    """

    model_config = ConfigDict(frozen=True)

    chunk: int
    """Of a step that tidies: the last one that was read."""
    prompt_ids: list[int]
    completion: Completion
    text: str
    """The completion decoded without special tokens, for the parser and for people; never encoded again."""
    results: list[ToolResult]
    diff: list[dict[str, Any]]
    memory_tokens: int
    """Tokens in the memory after this step."""
    parts: dict[str, float] = Field(default_factory=dict)
    """Per-step reward parts, e.g. {"tool_success": 1.0}; before it is paid, what grading found for `content`."""
    checks: list[ContentCheck] = Field(default_factory=list)
    """Of the texts that the step stored, in order."""
    worth: dict[str, float] | None = None
    """Question id -> what its score loses without this step, where it is not 0; None where it was not found out."""
    rerolls: list[Reroll] = Field(default_factory=list)
    """Other completions of the same prompt, where the step was re-rolled."""
    seen: str = ""
    """The memory as it stood in the prompt; empty in episodes of versions that did not keep it."""
    calls: list[ToolCall] = Field(default_factory=list)
    """What the dialect read (`ToolCall.kept`), one for each of `results`; none in episodes of such versions."""
    tidies: bool = False
    """Whether nothing was read in it, and the memory tidied."""
    advantage: float | None = None
    """The credit of the step; None where its group taught nothing, and in evaluations."""
    turns: list[FurtherTurn] = Field(default_factory=list)
    """The further turns, where it had several (`rollout.max_turns`)."""

    def in_turns(self) -> Iterator[tuple[list[int], Completion]]:
        """Yield the prompt and the completion of each of its turns."""
        return in_turns(self.prompt_ids, self.completion, self.turns)

    @property
    def completions(self) -> list[Completion]:
        """The completion of each of its turns."""
        return [self.completion, *(turn.completion for turn in self.turns)]

    @property
    def said(self) -> str:
        """The texts of its turns."""
        return "\n".join([self.text, *(turn.text for turn in self.turns)])

    def view(self, tokens_before: int) -> StepView:
        """Return what reward parts may see of it.

        Args:
            tokens_before: in the memory, before this step.
        """
        return StepView(
            chunk=self.chunk,
            text=self.said,
            tokens=sum(len(completion.ids) for completion in self.completions),
            results=tuple(self.results),
            changes=tuple(self.diff),
            tokens_before=tokens_before,
            memory_tokens=self.memory_tokens,
            right=tuple(check.right for check in self.checks),
            content=self.parts.get("content"),
        )


class AnswerRecord(BaseModel):
    """One question put to the reader."""

    model_config = ConfigDict(frozen=True)

    question_id: str
    kind: str
    question: str
    gold: list[str]
    answer: str
    metric: str
    score: float
    """In [0, 1]."""
    evidence: list[int] | None
    retrieved: list[str]
    """Ids of the memory items the reader was shown."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Of an answer from the cache: what it took when it was asked for."""
    attempts: int = 1
    """How often the reader was asked before it answered; 0: the answer was in the cache."""
    verdict: Verdict | None = None
    """The judge's, where it grades the answer: then it is the score, and `metric_score` what the metric says."""
    metric_score: float | None = None

    @property
    def answerable(self) -> bool:
        """Return whether the text says the answer; else the right one is that it does not."""
        return not unanswerable(self.metric, self.gold)


class Episode(BaseModel):
    """One attempt at one stream under one policy version."""

    model_config = ConfigDict(frozen=True)

    stream_id: str
    source: str
    index: int
    """Place in its group, 0-based."""
    version: int | None
    seed: int
    steps: list[Step]
    answers: list[AnswerRecord]
    memory: dict[str, Any]
    """Snapshot of the final memory."""
    chunk_tokens: int
    """Tokens of all chunks, the denominator of compression."""
    memory_tokens: int
    parts: dict[str, float] = Field(default_factory=dict)
    """Per-episode reward parts, e.g. {"qa": 0.5, "compression": 0.4}."""
    meters: dict[str, float] = Field(default_factory=dict)
    """Meters of reward hacking (`memrl.rewards.meters`)."""
    asked_again: int = 0
    """Questions that were put to the reader once more, to find out what the steps or their re-rolls were worth."""
    rerolls_failed: int = 0
    """Re-rolls that an infrastructure failure has ended; they are left out."""
    total: float = 0.0
    """Weighted sum that was paid for the episode: episode parts plus the mean of the step parts."""
    chunks: list[Chunk] = Field(default_factory=list)
    """The text that was read; none in episodes of versions that did not keep it."""

    def view(self) -> EpisodeView:
        """Return what reward parts may see of it."""
        held = [0, *(step.memory_tokens for step in self.steps)]
        return EpisodeView(
            scores=tuple(answer.score for answer in self.answers),
            kinds=tuple(answer.kind for answer in self.answers),
            chunk_tokens=self.chunk_tokens,
            memory_tokens=self.memory_tokens,
            memory=tuple(item["content"] for item in self.memory.get("items", [])),
            steps=tuple(step.view(before) for step, before in zip(self.steps, held, strict=False)),
        )

    def paid(self, weights: RewardWeights) -> Episode:
        """Return it with its reward parts and total. Values of parts that are not among `weights` stay as they are.

        Raises:
            PluginError: a part raised, or its value is no finite number.
        """
        try:
            payment = pay(self.view(), weights)
        except PluginError as error:
            raise PluginError(f"stream {self.stream_id!r}, episode {self.index}: {error}") from error
        steps = [
            step.model_copy(update={"parts": found | _without(step.parts, found)})
            for step, found in zip(self.steps, payment.steps, strict=True)
        ]
        parts = payment.parts | _without(self.parts, payment.parts)
        return self.model_copy(update={"steps": steps, "parts": parts, "total": payment.total})


def _without(parts: dict[str, float], others: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in parts.items() if name not in others}


def part_values(episodes: Sequence[Episode]) -> dict[str, list[list[float]]]:
    """Return the values of every reward part that was recorded: for each episode one of its own, or one a step."""
    found: dict[str, list[list[float]]] = {}
    for name in dict.fromkeys(name for episode in episodes for name in episode.parts):
        found[name] = [[episode.parts[name]] if name in episode.parts else [] for episode in episodes]
    for name in dict.fromkeys(name for episode in episodes for step in episode.steps for name in step.parts):
        found[name] = [[step.parts[name] for step in episode.steps if name in step.parts] for episode in episodes]
    return found


@dataclass
class Group:
    """The G episodes of one stream under one policy version: the unit of advantage."""

    stream_id: str
    episodes: list[Episode]
    failures: list[str]
    """One message for each episode that an infrastructure error removed."""


@dataclass(frozen=True)
class Sample:
    """One sample for the learner. It knows nothing of rewards, groups or credit."""

    prompt_ids: list[int]
    completion_ids: list[int]
    logprobs: list[float]
    """Log-probs at sampling time, one for each completion id."""
    advantage: float
    version: int
    stream_id: str = ""
    episode: int = 0
    chunk: int = 0
    reroll: int = 0
    """0: the episode's own completion; else which of its re-rolls."""
    turn: int = 0
    """Which of the step's turns."""
