"""PrefEval: what a user prefers, and requests whose usual answers go against it (arXiv 2502.09597).

A stream is one user's: some preferences, each of another topic, so that none contradicts another, among talk that
shows no preference. Each request is asked at the end as a choice of four replies, of which one suits the preference.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from pydantic import BaseModel, Field, RootModel

from memrl.envs.building.chunking import Unit, cut
from memrl.envs.building.locating import by_members
from memrl.envs.building.raw import Record, contents, parse_json
from memrl.envs.building.shuffling import shuffled
from memrl.envs.building.source import Source
from memrl.envs.building.splitting import in_split
from memrl.envs.building.stage import Read, Stage
from memrl.envs.errors import DataError
from memrl.envs.stream import Chunk, Question, Stream

log = logging.getLogger(__name__)

CHOICES = "mcq_options/*.json"
TALKS = "implicit_preference/choice-based/*.json"
QUESTION = "The user asks: {question}\nWhich reply suits this user best? Answer with its letter only.\n{options}"
LETTERS = "ABCDEFGHIJ"


class _Choice(BaseModel):
    preference: str
    question: str
    classification_task_options: list[str] = Field(min_length=2, max_length=len(LETTERS))
    """The first suits the preference, the others do not."""


class _Choices(RootModel[list[_Choice]]):
    """A topic's file of choices."""


class _Conversation(BaseModel):
    query: str
    assistant_options: str
    user_selection: str
    assistant_acknowledgment: str


class _Talk(BaseModel):
    question: str
    conversation: _Conversation


class _Talks(RootModel[list[_Talk]]):
    """A topic's file of conversations, in the order of its choices; each shows a preference by what is chosen."""


@dataclass(frozen=True)
class Item:
    """A preference, told in one of two forms, and its request."""

    id: str
    key: str
    """Equal for items that share a preference, a request or a talk: they must not be torn between train and eval."""
    topic: str
    form: Literal["explicit", "implicit"]
    told: str
    question: str
    options: tuple[str, ...]
    """The first suits the preference."""
    filler: str
    """A conversation of the same topic that shows no preference."""


class Preferences(Stage):
    """The stage that makes streams of preferences: those of a stream are of different topics; each comes about once in
    a pass."""

    chunk_tokens: int = Field(512, ge=1)
    preferences: int = Field(8, ge=1)
    """So many a stream, or one of each topic where there are fewer."""
    filler: int = Field(24, ge=0)
    """Conversations a stream that show no preference, taken from items of the same split that it does not ask about."""

    def one_pass(self, read: Read, source: str, turn: int) -> Iterator[Stream]:
        seed = f"{source}:{self.seed}:{turn}"
        items = list(shuffled((item for item in read() if in_split(item.key, self.split, self.eval_share)), seed))
        for number, group in enumerate(_groups(items, self.preferences)):
            rng = random.Random(f"{seed}:{number}")
            name = f"{source}-{self.split or 'all'}-{self.seed}-{turn}-{number:05d}"
            yield self._stream(source, name, group, items, rng)

    def _stream(self, source: str, name: str, group: list[Item], items: list[Item], rng: random.Random) -> Stream:
        told = {item.told for item in group}
        keys = {item.key for item in group}
        fillers = sorted({item.filler for item in items if item.key not in keys} - told)
        units = [Unit(item.told, (item.id,), turn=True) for item in group]
        units += [Unit(filler, turn=True) for filler in rng.sample(fillers, min(self.filler, len(fillers)))]
        rng.shuffle(units)
        pieces = cut(units, self.chunk_tokens)
        return Stream(
            id=name,
            source=source,
            chunks=tuple(Chunk(text=piece.text) for piece in pieces),
            questions=tuple(
                self._ask(item, tuple(place for place, piece in enumerate(pieces) if item.id in piece.keys))
                for item in group
            ),
            metadata={"documents": [item.key for item in group]},
        )

    def _ask(self, item: Item, evidence: tuple[int, ...]) -> Question:
        order = list(item.options)
        random.Random(f"options/{self.seed}/{item.id}").shuffle(order)
        lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, order, strict=False)]
        return Question(
            id=item.id,
            text=QUESTION.format(question=item.question, options="\n".join(lines)),
            answers=(LETTERS[order.index(item.options[0])],),
            metric="choice",
            kind=item.form,
            evidence=evidence,
        )


def _groups(items: list[Item], size: int) -> Iterator[list[Item]]:
    """Items of different topics together, from the topics that have most left, so that few are left over."""
    topics: dict[str, list[Item]] = {}
    for item in items:
        topics.setdefault(item.topic, []).append(item)
    size = min(size, len(topics))
    while topics:
        group: list[Item] = []
        for left in sorted(topics.values(), key=len, reverse=True):
            fitting = [item for item in left if item.key not in {other.key for other in group}]
            if fitting and len(group) < size:
                left.remove(fitting[0])
                group.append(fitting[0])
        if len(group) < size:
            return
        yield group
        topics = {topic: left for topic, left in topics.items() if left}


def read(path: Path, form: Literal["explicit", "implicit", "both"] = "both") -> Iterator[Item]:
    """The items of all topics.

    Args:
        path: the folder `benchmark_dataset`, or a tar archive of it.
        form: a preference stated in so many words (`explicit`), or shown by what the user chooses (`implicit`);
            `both`: each in both forms, never in one stream.

    Raises:
        DataError: a file is missing or damaged, or the two files of a topic do not belong together.
    """
    talk_files = {_topic(where): (where, data) for where, data in contents(path, TALKS)}
    choice_files = {_topic(where): (where, data) for where, data in contents(path, CHOICES)}
    talks = {topic: (where, parsed.root) for topic, where, parsed in _parsed(_Talks, talk_files, choice_files)}
    choices = {topic: (where, parsed.root) for topic, where, parsed in _parsed(_Choices, choice_files, talk_files)}
    if missing := set(talks) ^ set(choices):
        raise DataError(
            f"{path}: {', '.join(sorted(missing))} must have a file in both mcq_options and "
            "implicit_preference/choice-based. Download it again."
        )
    keys = _keys(pair for topic, (_, some) in choices.items() for pair in zip(some, talks[topic][1], strict=False))
    forms: tuple[Literal["explicit", "implicit"], ...] = ("explicit", "implicit") if form == "both" else (form,)
    for topic, (where, some) in choices.items():
        where_talks, shown = talks[topic]
        if [_same(choice.question) for choice in some] != [_same(talk.question) for talk in shown]:
            raise DataError(f"{where} and {where_talks} do not have the same questions. Download both again.")
        for number, (choice, talk) in enumerate(zip(some, shown, strict=True)):
            opening = (
                f"User: {talk.conversation.query.strip()}\nAssistant: {talk.conversation.assistant_options.strip()}"
            )
            told = {
                "explicit": f"User: {choice.preference.strip()}",
                "implicit": f"{opening}\nUser: {talk.conversation.user_selection.strip()}\n"
                f"Assistant: {talk.conversation.assistant_acknowledgment.strip()}",
            }
            for one in forms:
                yield Item(
                    id=f"{topic}-{number}-{one}",
                    key=keys[_same(choice.question)],
                    topic=topic,
                    form=one,
                    told=told[one],
                    question=choice.question.strip(),
                    options=tuple(option.strip() for option in choice.classification_task_options),
                    filler=opening,
                )


def _parsed(
    model: type[Record], files: Mapping[str, tuple[str, bytes]], others: Mapping[str, object]
) -> Iterator[tuple[str, str, Record]]:
    """The topics' files with their places; what is no such file, and of no topic of the other folder, is passed by."""
    for topic, (where, data) in files.items():
        try:
            yield topic, where, parse_json(model, data, where)
        except DataError:
            if topic in others:
                raise
            log.warning("%s is no file of a topic, and was passed by", where)


def _topic(where: str) -> str:
    return PurePath(where).stem


def _same(text: str) -> str:
    return " ".join(text.casefold().split())


def _keys(items: Iterable[tuple[_Choice, _Talk]]) -> dict[str, str]:
    """Return for each question the least of the questions that it is bound to, by a shared preference or talk's
    beginning."""
    shared: dict[tuple[str, str], set[str]] = {}
    for choice, talk in items:
        # Some preferences are the same but for this word.
        preference = _same(choice.preference.replace("absolutely", ""))
        for common in (("preference", preference), ("query", _same(talk.conversation.query))):
            shared.setdefault(common, set()).add(_same(choice.question))
    keys = {question: question for questions in shared.values() for question in questions}
    bound = [questions for questions in shared.values() if len(questions) > 1]
    changed = True
    while changed:
        changed = False
        for questions in bound:
            least = min(keys[question] for question in questions)
            for question in questions:
                changed |= keys[question] != least
                keys[question] = least
    return keys


SOURCE = Source(
    name="prefeval",
    read=read,
    about="which reply suits a user who has told, or shown, what they prefer",
    stage=Preferences(),
    home="https://github.com/amazon-science/PrefEval",
    licence="CC BY-NC 4.0",
    kind="dialogue",
    tried="real",
    locate=by_members(CHOICES),
)
