"""The lengths of the prompts of a run, looked at before a model is loaded: every chunk and every question of a stream.

Most texts are known to fit without their tokens being counted: no tokenizer makes more tokens of a text than it has
bytes, and where that is no answer, a fifth of a text tells what the whole can have. What is near a limit is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from memrl.config import MemoryConfig, ReaderConfig, RolloutConfig
from memrl.engines.prompting import Prompter
from memrl.envs.stream import Chunk, Question, Stream
from memrl.envs.wrappers.consolidate import PlannedStep
from memrl.frozen.reader import reader_messages
from memrl.rollout.environment import new_env, new_memory
from memrl.rollout.turns import later_tokens

Name = TypeVar("Name")

SAMPLES = 5
"""Pieces of a text that tell how many tokens its bytes make."""
SAMPLE = 80
"""Characters of a piece."""
MARGIN = 2.0
"""A text may have so many times the tokens that its pieces let expect: a fifth of it could lie between them unseen, at
a token a byte."""
SPARE = 32
"""Tokens that the joints between a text and what stands around it may cost."""
POLICY_READERS = ("policy-base",)
"""Readers whose prompts are counted in the policy's tokens and bounded by `reader.max_prompt_tokens`."""


class Lengths:
    """Says which prompts of a stream may exceed their limit, or with their answer the model's context.

    Args:
        context: tokens the model can attend to, where known.

    Raises:
        ConfigError: a step may have several turns, and the chat template has no place for what comes back between them.
    """

    def __init__(
        self,
        prompter: Prompter,
        *,
        memory: MemoryConfig,
        rollout: RolloutConfig,
        reader: ReaderConfig,
        context: int | None,
    ) -> None:
        self._memory = memory
        self._rollout = rollout
        self._reader = reader
        self._prompter = prompter
        self._context = context
        self._later = later_tokens(prompter, rollout, memory)
        self._around = self._reading(_stream(Chunk(text="x")), 0)
        self._asking = self._answering("x")

    def __call__(self, stream: Stream) -> Iterator[str]:
        """Yield what is too long in a stream: the worst of its chunks, the worst of its questions."""
        yield from self._chunks(stream)
        if self._reader.type in POLICY_READERS:
            yield from self._questions(stream)

    def _chunks(self, stream: Stream) -> Iterator[str]:
        rollout, shown, later = self._rollout, self._memory.render_budget, self._later
        limit = self._within(rollout.max_prompt_tokens, rollout.max_completion_tokens) - shown - later
        found = self._longest(
            {place: f"{chunk.time or ''} {chunk.text}" for place, chunk in enumerate(stream.chunks)},
            limit,
            self._around,
            lambda place: self._reading(stream, place),
        )
        if found is None:
            return
        worst, size, more = found
        others = f" (and {more} more of its chunks)" if more else ""
        where = f"stream {stream.id!r} of {stream.source}, chunk {worst}{others}"
        whole = size + shown + later
        if whole > rollout.max_prompt_tokens:
            before = f", the turns before the last of rollout.max_turns up to {later}" if later else ""
            yield (
                f"{where}: the prompt has {size} tokens and the memory in it up to {shown}{before}, but "
                f"rollout.max_prompt_tokens is {rollout.max_prompt_tokens}. Raise it to {whole}, lower "
                "memory.render_budget, use shorter chunks (chunk_tokens; a single long turn or sentence is cut by the "
                "source's option longest), or take the record out."
            )
        else:
            yield self._beyond(where, whole, rollout.max_completion_tokens, "rollout.max_completion_tokens")

    def _questions(self, stream: Stream) -> Iterator[str]:
        reader, shown = self._reader, self._memory.retrieve_budget
        limit = self._within(reader.max_prompt_tokens, reader.max_tokens) - shown
        texts = {question.id: question.text for question in stream.questions}
        found = self._longest(texts, limit, self._asking, lambda name: self._answering(texts[name]))
        if found is None:
            return
        worst, size, more = found
        others = f" (and {more} more of its questions)" if more else ""
        where = f"stream {stream.id!r} of {stream.source}, question {worst!r}{others}"
        if size + shown > reader.max_prompt_tokens:
            yield (
                f"{where}: the reader's prompt has {size} tokens and the memory in it up to {shown}, but "
                f"reader.max_prompt_tokens is {reader.max_prompt_tokens}. Raise it to {size + shown}, lower "
                "memory.retrieve_budget, or take the question out."
            )
        else:
            yield self._beyond(where, size + shown, reader.max_tokens, "reader.max_tokens")

    def _longest(
        self, texts: Mapping[Name, str], limit: int, around: int, prompt_of: Callable[[Name], int]
    ) -> tuple[Name, int, int] | None:
        """Return whose prompt is longest, how long it is, and how many others are too long as well; None where none is.

        Args:
            limit: tokens that a prompt may have beside what is shown of the memory.
            around: tokens of a prompt beside its text.
            prompt_of: counts the tokens of a prompt. Asked only where a text may not fit.
        """
        near = (name for name, text in texts.items() if not self._fits(text, limit - around))
        long = {name: size for name in near if (size := prompt_of(name)) > limit}
        if not long:
            return None
        worst = max(long, key=lambda name: long[name])
        return worst, long[worst], len(long) - 1

    def _beyond(self, where: str, prompt: int, answer: int, key: str) -> str:
        return (
            f"{where}: a prompt of up to {prompt} tokens and {key} ({answer}) do not fit the model's context of "
            f"{self._context}. Lower {key}, use shorter chunks or a model with a longer context."
        )

    def _within(self, limit: int, answer: int) -> int:
        """Return how long a prompt may be, by its limit and by what the model can see."""
        return limit if self._context is None else min(limit, self._context - answer)

    def _fits(self, text: str, room: int) -> bool:
        """Return whether a text surely has at most `room` tokens, as far as that can be told without counting them."""
        room -= SPARE
        size = len(text.encode("utf-8"))
        if size <= room or len(text) < 4 * SAMPLES * SAMPLE:
            return size <= room
        starts = [(len(text) - SAMPLE) * piece // (SAMPLES - 1) for piece in range(SAMPLES)]
        pieces = " ".join(text[start : start + SAMPLE] for start in starts)
        # Not by the prompter, which would keep what is counted.
        ids = self._prompter.tokenizer.encode(pieces, add_special_tokens=False)
        expected = len(ids) / len(pieces.encode("utf-8")) * size
        return MARGIN * expected <= room

    def _reading(self, stream: Stream, place: int) -> int:
        """The tokens of the prompt at a chunk, beside an empty memory."""
        env = new_env(self._memory, self._rollout, self._prompter, stream, new_memory(self._memory, self._prompter))
        env.go_to(PlannedStep(place))
        observation = env.observe()
        return len(self._prompter.encode(observation.messages, observation.tools))

    def _answering(self, question: str) -> int:
        """The tokens of the reader's prompt for a question, over an empty memory."""
        view = new_memory(self._memory, self._prompter).retrieve(question, 0)
        return len(self._prompter.encode(reader_messages(question, view, self._reader)))


def _stream(chunk: Chunk) -> Stream:
    question = Question(id="q", text="?", answers=("x",))
    return Stream(id="s", source="none", chunks=(chunk,), questions=(question,))
