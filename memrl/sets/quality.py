"""provisional"""

from collections import Counter
from collections.abc import Iterable

from pydantic import BaseModel

from envs.building.tokens import count_tokens
from envs.stream import Stream


class Quality(BaseModel):
    streams: int
    chunks: int
    questions: int
    tokens: int
    longest_chunk_tokens: int
    answers_found: float
    answers_in_evidence: float
    evidence: float
    evidence_lost: int
    kinds: dict[str, int]
    metrics: dict[str, int]


def measure(streams: Iterable[Stream]) -> Quality:
    n = c = q = t = m = found = ev = lost = 0
    kinds: Counter[str] = Counter()
    metrics: Counter[str] = Counter()
    for s in streams:
        n += 1
        c += len(s.chunks)
        sizes = [count_tokens(x.text) for x in s.chunks]
        t += sum(sizes)
        m = max(m, *sizes) if len(sizes) > 1 else max(m, sizes[0])
        text = " ".join(" ".join(x.text.casefold().split()) for x in s.chunks)
        for k in s.questions:
            q += 1
            kinds[k.kind] += 1
            metrics[k.metric] += 1
            ev += k.evidence is not None
            found += any(" ".join(a.casefold().split()) in text for a in k.answers)
        lost += len(s.metadata.get("evidence_lost", ()))
    return Quality(
        streams=n,
        chunks=c,
        questions=q,
        tokens=t,
        longest_chunk_tokens=m,
        answers_found=found / max(q, 1),
        answers_in_evidence=0,
        evidence=ev / max(q, 1),
        evidence_lost=lost,
        kinds=kinds,
        metrics=metrics,
    )
