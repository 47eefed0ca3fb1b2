"""MemoryAgentBench as published (arXiv 2507.05257): long contexts, each with many questions, of four competencies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from memrl.envs.building.chunking import Unit
from memrl.envs.building.dialogue import ABSTAIN
from memrl.envs.building.documents import Document, DocumentQuestion, Packing
from memrl.envs.building.prose import paragraphs
from memrl.envs.building.published import by_columns, rows
from memrl.envs.building.raw import parse
from memrl.envs.building.releases import MEMORYAGENTBENCH, PublishedSet
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError
from memrl.envs.suggest import did_you_mean

SPLITS = ("Accurate_Retrieval", "Test_Time_Learning", "Long_Range_Understanding", "Conflict_Resolution")
COLUMNS = ("context", "questions", "answers", "metadata")


class _Metadata(BaseModel):
    model_config = ConfigDict(extra="allow")

    source: str
    question_ids: list[str] | None = None
    """LongMemEval's: one that ends with `_abs` is of a question that the chats do not answer."""


class _Row(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)

    context: str
    questions: list[str] = Field(min_length=1)
    answers: list[str | list[str]]
    metadata: _Metadata


def read(
    path: Path | str = "ai-hyz/MemoryAgentBench", competencies: list[str] | None = None, metric: str | None = None
) -> Iterator[Document]:
    """One document a context. A set whose answers cannot be scored here is left out (`MEMORYAGENTBENCH` says why).

    Args:
        path: its name on the hub, or a folder as the hub has it.
        competencies: only these of `SPLITS`.
        metric: for sets that are not known.

    Raises:
        DataError: the set cannot be read, or a row is not as published: the row and what is wrong.
    """
    for name in competencies or ():
        if name not in SPLITS:
            raise DataError(
                f"source 'memoryagentbench': there is no competency {name!r}. They are {', '.join(SPLITS)}."
            )
    for split in competencies or SPLITS:
        for number, (where, row) in enumerate(rows(path, split, COLUMNS)):
            known = parse(_Row, row, where)
            if len(known.questions) != len(known.answers):
                raise DataError(
                    f"{where}: {len(known.questions)} questions have {len(known.answers)} answers. Download it again."
                )
            published = _known(known.metadata.source, metric, where)
            if published.left_out:
                continue
            units = tuple(Unit(text, (str(n),)) for n, text in enumerate(paragraphs(known.context, unwrap=False)))
            yield Document(
                f"{split}-{number}",
                units,
                tuple(_asks(f"{split}-{number}", known, published, split, where)),
                {"set": known.metadata.source, "competency": split},
            )


def _known(name: str, metric: str | None, where: str) -> PublishedSet:
    """The published set of that name: scored as it is there, or, where there is none, as the option `metric` says."""
    known = MEMORYAGENTBENCH.get(name) or (None if metric is None else PublishedSet(name, metric))
    if known is None:
        names = [one.name for one in (*MEMORYAGENTBENCH.sets, *MEMORYAGENTBENCH.earlier)]
        raise DataError(
            f"{where}: the set {name!r} is not known, so how its answers are scored is not either"
            f"{did_you_mean(name, names)} Set the option metric=..., or leave it out by competencies=[...]."
        )
    return known


def _asks(name: str, row: _Row, published: PublishedSet, split: str, where: str) -> Iterator[DocumentQuestion]:
    ids = row.metadata.question_ids or []
    for number, (question, answer) in enumerate(zip(row.questions, row.answers, strict=True)):
        golds = tuple(gold for gold in ([answer] if isinstance(answer, str) else answer) if gold.strip())
        if not golds:
            raise DataError(f"{where}: question {number} has no answer. Download it again.")
        if published.metric == "boxed" and not all(gold.strip().lstrip("+-").isdecimal() for gold in golds):
            raise DataError(f"{where}: question {number} of labels has the answer {golds[0]!r}, which is no number.")
        text, metric = published.asked(question), published.metric
        if number < len(ids) and ids[number].endswith("_abs"):
            golds, metric = ABSTAIN, "abstention"
        yield DocumentQuestion(f"{name}-{number}", text, golds, metric, kind=split)


SOURCE = Source(
    name="memoryagentbench",
    read=read,
    about="the benchmark of four competencies of memory agents, as published",
    stage=Packing(eval_share=1.0, chunk_tokens=4096),
    home="https://huggingface.co/datasets/ai-hyz/MemoryAgentBench",
    licence="MIT",
    kind="mixed",
    tried="format",
    locate=by_columns(*COLUMNS),
    release=lambda options: MEMORYAGENTBENCH,
)
