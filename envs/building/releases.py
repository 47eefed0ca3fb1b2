r"""Publications: their sets by name, how each is asked and scored, and how many streams and questions it has.

A report says by it how many of how many published questions were asked, and which were left out, and why.

Names, scorers and what is asked for are those of the publications' own code: Mem-alpha (repository
wangyu-ustc/Mem-alpha: `config/prompts_wrt_datasource.yaml`, `evaluate_agent_results.py`, and `process_data.py` for what
its sets are cut from) and MemoryAgentBench (HUST-AI-HYZ/MemoryAgentBench: its templates and scorers). The prompts are
said in words of our own.
"""

from __future__ import annotations

from dataclasses import dataclass

LEFT_OUT = "left_out"
"""The key of a stream's metadata that holds how many of its published questions are not asked, by the reason."""
BOOK = "The memory keeps a summary of a book. Answer from it."
LABEL = (
    "The memory keeps labelled examples, or what was learned from them. Find out what each label stands for, and which "
    "one fits. Answer with the number of that label alone, as \\boxed{number}."
)
BRIEF = "Give the answer alone, without other words."
CHATS = "The memory is of chats between you and a user. Answer as briefly as you can, if possible in one phrase."
NEXT = "The memory keeps what happened in a book. Say which of the events comes next."
FORM = "Answer in exactly the form that the question asks for."
SUMMARY = "The memory keeps what happened in a book. Summarise it."
NEWEST = (
    "The memory keeps numbered facts. Where two of them contradict each other, the one with the greater number holds. "
    "Answer from these facts alone, even where you know the world to be otherwise, and as briefly as you can."
)
NO_NAMES = "its answers are numbers of films, whose names are in a file that is not part of the publication"


@dataclass(frozen=True)
class PublishedSet:
    """One set of a publication, by the name that it has there."""

    name: str
    metric: str
    """A name in `memrl.rewards.metrics.METRICS`."""
    streams: int | None = None
    """As the publication says it; None: it does not."""
    questions: int | None = None
    """As the publication says it; None: it does not, and the file is counted."""
    prompt: str = ""
    """Stands before each question: what the reader is told beside it."""
    left_out: str = ""
    """Why it is not asked; empty: it is."""

    def asked(self, question: str) -> str:
        """Return a question as the reader is to see it."""
        return f"{self.prompt}\n\n{question}" if self.prompt else question


@dataclass(frozen=True)
class Release:
    """One publication: a version of a data set, or one split of it."""

    name: str
    revision: str
    """The version whose counts these are."""
    sets: tuple[PublishedSet, ...]
    earlier: tuple[PublishedSet, ...] = ()
    """Sets that earlier versions had, or that its code names: known, but in no count."""

    def get(self, name: str) -> PublishedSet | None:
        """Return the set of that name; None where there is none."""
        return next((one for one in (*self.sets, *self.earlier) if one.name == name), None)


def _labels(name: str, streams: int, questions: int) -> PublishedSet:
    return PublishedSet(name, "boxed", streams, questions, LABEL)


_MEMALPHA = "arXiv 2509.25911, table 1"
_TTL = PublishedSet("ttl_train", "boxed", prompt=LABEL)
MEMALPHA_TRAIN = Release(
    "YuWangX/Memalpha, train",
    _MEMALPHA,
    (
        PublishedSet("squad", "substring_memalpha", 100),
        PublishedSet("hotpotqa", "substring_memalpha", 100),
        PublishedSet("perltqa", "parts_coverage", 27),
        PublishedSet("lme_train", "token_f1", 50),  # a judge's, there: judge.answers={memalpha: memalpha}
        _labels("pubmed-rct", 90, 9000),
        _labels("icl_nlu_8296shot_balance", 49, 4900),
        _labels("icl_trec_coarse_6600shot_balance", 51, 5100),
        PublishedSet("booksum", "keyword_coverage", 100, 100, BOOK),
    ),
    (_TTL,),
)
"""What Mem-alpha is trained on. Its TREC and NLU streams are named after the sets of MemoryAgentBench that they
reuse."""
MEMALPHA_TEST = Release(
    "YuWangX/Memalpha, test",
    _MEMALPHA,
    (
        PublishedSet("squad", "substring_memalpha", 30),
        PublishedSet("hotpotqa", "substring_memalpha", 219),
        PublishedSet("perltqa", "parts_coverage", 4),
        _labels("pubmed-rct", 10, 1000),
        _labels("icl_nlu_8296shot_balance", 20, 2000),
        _labels("icl_trec_coarse_6600shot_balance", 20, 2000),
        PublishedSet("booksum", "keyword_coverage", 155, 155, BOOK),
    ),
    (_TTL, PublishedSet("lme_train", "token_f1"), PublishedSet("squad_test", "substring_memalpha")),
)
MEMALPHA_BENCH = Release(
    "YuWangX/Memalpha-Memoryagentbench",
    "cut from ai-hyz/MemoryAgentBench",
    (
        PublishedSet("ruler_qa1_197K", "substring", 1, 100),
        PublishedSet("ruler_qa2_421K", "substring", 1, 100),
        PublishedSet("longmemeval_s*", "token_f1", 5, 300),  # a judge's, there
        _labels("icl_banking77_5900shot_balance", 1, 100),
        _labels("icl_clinic150_7050shot_balance", 1, 100),
        _labels("icl_nlu_8296shot_balance", 1, 100),
        _labels("icl_trec_coarse_6600shot_balance", 1, 100),
        _labels("icl_trec_fine_6400shot_balance", 1, 100),
        PublishedSet("infbench_sum_eng_shots2", "keyword_coverage", 100, 100, BOOK),
    ),
    (PublishedSet("infbench_qa_eng_shots2", "substring", prompt=BRIEF),),
)
"""MemoryAgentBench as it was cut for Mem-alpha: nine sets, 112 streams. The golds of its summaries are keywords."""
MEMORYAGENTBENCH = Release(
    "ai-hyz/MemoryAgentBench",
    "7ea066982b",
    (
        PublishedSet("ruler_qa1_197K", "substring", 1, 100, BRIEF),
        PublishedSet("ruler_qa2_421K", "substring", 1, 100, BRIEF),
        PublishedSet("longmemeval_s*", "token_f1", 5, 300, CHATS),  # a judge's, there
        *(PublishedSet(f"eventqa_{length}", "substring", 5, 500, NEXT) for length in ("65536", "131072", "full")),
        _labels("icl_banking77_5900shot_balance", 1, 100),
        _labels("icl_clinic150_7050shot_balance", 1, 100),
        _labels("icl_nlu_8296shot_balance", 1, 100),
        _labels("icl_trec_coarse_6600shot_balance", 1, 100),
        _labels("icl_trec_fine_6400shot_balance", 1, 100),
        PublishedSet("recsys_redial_full", "keyword_coverage", 1, 200, left_out=NO_NAMES),
        PublishedSet("infbench_sum_eng_shots2", "rouge_l", 100, 100, SUMMARY),  # a judge's, there
        PublishedSet("detective_qa", "substring", 10, 71, FORM),
        *(
            PublishedSet(f"factconsolidation_{hops}_{length}", "substring", 1, 100, NEWEST)
            for hops in ("sh", "mh")
            for length in ("6k", "32k", "64k", "262k")
        ),
    ),
    (
        PublishedSet("longmemeval_s_-1_500", "token_f1", prompt=CHATS),
        PublishedSet("infbench_qa_eng_shots2", "substring", prompt=BRIEF),
    ),
)
"""MemoryAgentBench: 22 sets of four competencies, 146 contexts with 3,671 questions."""
