"""Every retrieval: kept up to date, undone, configured, under every memory design. BM25 itself: test_retrieval.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memrl.config import load_config
from memrl.engines.prompting import Prompter
from memrl.envs.designs import DESIGNS, MemoryDesign, count_words, open_journal
from memrl.envs.designs.conformance import check_design
from memrl.envs.designs.searching import with_retrieval
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.errors import EnvironmentFault, PluginError
from memrl.envs.retrieval import RETRIEVALS, complaint_of, models, open_retrieval, try_retrieval
from memrl.envs.retrieval.bm25 import BM25Index
from memrl.envs.retrieval.conformance import IndexFault, check_retrieval
from memrl.envs.retrieval.layers import Waiting
from memrl.envs.retrieval.models import AskedOnce
from memrl.errors import ConfigError
from memrl.rollout.environment import new_memory, new_stores
from tests.plugins import install

needs_spacy = pytest.mark.skipif(find_spec("spacy") is None, reason="spaCy is not installed")
OTHERS = [name for name in RETRIEVALS.shipped if name != "bm25"]
NEEDING = {"dense", "hybrid"}


def options(name: str, encoder: Path, cross_encoder: Path) -> dict[str, Any]:
    """The options that a retrieval needs."""
    if name == "rerank":
        return {"model": str(cross_encoder), "first": 4}
    return {"model": str(encoder)} if name in NEEDING else {}


def ranked(index: Any, query: str) -> list[str]:
    return [item_id for item_id, _ in index.ranked(query)]


def written(index: Any, texts: Sequence[str]) -> Any:
    for number, text in enumerate(texts):
        index.add(str(number), text)
    return index


@pytest.mark.parametrize("name", ["bm25", "iterative"])
def test_what_is_written_and_undone_ranks_as_what_was_written_afresh(name: str) -> None:
    check_retrieval(name)


@pytest.mark.long
@pytest.mark.parametrize("name", ["dense", "hybrid", "rerank", pytest.param("anchored", marks=needs_spacy)])
def test_so_it_is_with_models(name: str, encoder: Path, cross_encoder: Path) -> None:
    check_retrieval(name, options(name, encoder, cross_encoder), seeds=range(6))


@pytest.mark.long
@pytest.mark.parametrize("design", DESIGNS.shipped)
@pytest.mark.parametrize(
    "name", [name if name != "anchored" else pytest.param(name, marks=needs_spacy) for name in OTHERS]
)
def test_every_design_conforms_with_every_retrieval(name: str, design: str, encoder: Path, cross_encoder: Path) -> None:
    given = options(name, encoder, cross_encoder)

    def make(budget: int, core_budget: int, count: Callable[[str], int]) -> MemoryDesign:
        return with_retrieval(DESIGNS.get(design)(budget, core_budget, count), name, given)

    check_design(make, seeds=range(2), steps=3)


class Forgetful(BM25Index):
    """Removes nothing."""

    def remove(self, item_id: str) -> Any:
        return None


class Doubting(BM25Index):
    """Finds what was never written."""

    def ranked(self, query: str, wanted: int = 64) -> Iterator[tuple[str, float]]:
        return iter([("sem_0009", 1.0)])


def test_an_index_that_disagrees_is_found_out() -> None:
    with pytest.raises(IndexFault, match="raises AttributeError"):
        check_retrieval(f"{__name__}:Forgetful")
    memory = StoreMemory(100, 10)
    with_retrieval(memory, f"{__name__}:Doubting", {})
    with pytest.raises(
        EnvironmentFault, match=r"index Doubting finds the item 'sem_0009', which the memory does not hold"
    ):
        memory.retrieve("Who?", 10)


# Waiting ------------------------------------------------------------------------------------------------------------


def told(calls: list[list[str]]) -> Callable[[Sequence[str]], None]:
    def prepare(texts: Sequence[str]) -> None:
        calls.append(list(texts))

    return prepare


def test_texts_are_prepared_together_once_somebody_asks() -> None:
    calls: list[list[str]] = []
    index = written(Waiting(BM25Index(), told(calls)), ["red tea", "a cat", "a dog"])
    index.remove("1")
    assert calls == []
    assert ranked(index, "tea dog cat") == ["2", "0"]
    assert calls == [["red tea", "a dog"]], "what was removed meanwhile is not prepared"
    index.add("3", "a bird")
    assert ranked(index, "bird") == ["3"] and calls[1:] == [["a bird"]]


def test_what_fails_while_it_is_prepared_is_not_lost() -> None:
    failing = [True]

    def prepare(texts: Sequence[str]) -> None:
        if failing:
            failing.clear()
            raise EnvironmentFault("no numbers")

    index = written(Waiting(BM25Index(), prepare), ["red tea"])
    with pytest.raises(EnvironmentFault):
        ranked(index, "tea")
    assert ranked(index, "tea") == ["0"]


def test_a_thing_is_asked_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def say(things: Sequence[str]) -> list[int]:
        calls.append(list(things))
        return [len(thing) for thing in things]

    asked: AskedOnce[str, int] = AskedOnce(say)
    assert asked(["aa", "b", "aa"]) == [2, 1, 2] and asked(["b", "ccc"]) == [1, 3]
    assert calls == [["aa", "b"], ["ccc"]]
    monkeypatch.setattr(models, "_KEPT", 2)
    assert asked(["a", "b", "c"]) == [1, 1, 1], "more than is kept"
    assert asked(["b", "c"]) == [1, 1] and len(calls) == 3


# Each retrieval -----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_plain_model_embeds_by_the_mean_over_a_texts_tokens(encoder: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(encoder).eval(), AutoTokenizer.from_pretrained(encoder)
    embed = models.load_embedder(str(encoder))
    texts = ["ann", "ann lives in oslo", ""]
    rows = embed(texts)
    for text, row in zip(texts, rows, strict=True):
        with torch.inference_mode():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        mean = states.mean(0).numpy()
        assert row == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
    assert embed(["x" * 10_000, "\ud800"]), "of any length and any signs"
    assert models.load_embedder(str(encoder)) is embed, "loaded once"


@pytest.mark.long
def test_dense_ranks_all_by_likeness_and_asks_with_its_prompts(encoder: Path) -> None:
    texts = ["a cat", "ann lives in oslo", "red tea?"]
    index = written(open_retrieval("dense", {"model": str(encoder)})(), texts)
    embed = models.load_embedder(str(encoder))
    [query, *rows] = embed(["who is ann", *texts])
    scores = dict(index.ranked("who is ann"))
    assert [scores[str(place)] for place in range(3)] == pytest.approx([float(row @ query) for row in rows], abs=1e-6)
    assert list(scores) == sorted(scores, key=lambda name: -scores[name])
    prompts = {"query_prompt": "query: ", "text_prompt": "passage: "}
    prompted = written(open_retrieval("dense", {"model": str(encoder), **prompts})(), texts)
    [query, text] = embed(["query: who is ann", "passage: a cat"])
    assert dict(prompted.ranked("who is ann"))["0"] == pytest.approx(float(query @ text), abs=1e-6)


@pytest.mark.long
def test_a_reranker_orders_the_first_by_what_it_reads(cross_encoder: Path) -> None:
    texts = [f"ann has cat {number}" for number in range(6)]
    found = ranked(written(BM25Index(), texts), "who is ann")
    index = written(open_retrieval("rerank", {"model": str(cross_encoder), "first": 4})(), texts)
    judge = models.load_cross_encoder(str(cross_encoder))
    scores = dict(zip(found, judge([("who is ann", texts[int(name)]) for name in found]), strict=True))
    assert ranked(index, "who is ann") == [*sorted(found[:4], key=lambda name: -scores[name]), *found[4:]]
    assert ranked(index, "zebra") == []


def test_a_second_round_finds_what_shares_no_word_with_the_question() -> None:
    texts = [
        "Ann's sister is Zoe.",
        "A tower stood here.",
        "Zoe works for Statoil.",
        "Ann likes tea in bed when it rains outside at night.",
    ]
    question = "Where does the sister of Ann earn money?"
    assert "2" not in ranked(written(BM25Index(), texts), question)
    index = written(open_retrieval("iterative", {"first": 1})(), texts)
    assert ranked(index, question)[:2] == ["0", "2"]
    assert ranked(written(open_retrieval("iterative", {"rounds": 1})(), texts), question) == ["0", "3"]


@pytest.mark.long
@needs_spacy
def test_anchors_tell_who_did_what_to_whom() -> None:
    texts = ["The man bit the dog.", "The dog bit the man.", "Ann went out."]
    assert ranked(written(BM25Index(), texts), "What did the man bite?")[0] == "1", "the last written of equals"
    assert ranked(written(open_retrieval("anchored", {})(), texts), "What did the man bite?")[0] == "0"
    index = written(
        open_retrieval("anchored", {})(), ["Ann Berg said so.", "Ann Berg left; she is in Oslo.", "Ann Berg"]
    )
    assert ranked(index, "Where is Ann Berg?")[0] == "1", "a place is asked for"


LANGUAGES = {
    "zh": (["安娜住在奥斯陆。", "本喜欢喝红茶。", "火车晚点了。"], "谁喜欢红茶?"),
    "ja": (
        ["アンはオスロに住んでいます。", "ベンは紅茶が好きです。", "電車が遅れました。"],
        "紅茶が好きなのは誰ですか。",
    ),
    "ko": (["안나는 오슬로에 산다.", "벤은 홍차를 좋아한다.", "기차가 늦었다."], "홍차는 누가 좋아하나요?"),
    "th": (["แอนอาศัยอยู่ที่ออสโล", "เบนชอบดื่มชาแดง", "รถไฟมาสาย"], "ใครชอบชาแดง"),
    "ar": (["تعيش آن في أوسلو.", "بن يحب الشاي الأحمر.", "تأخر القطار."], "من يحب شايا أحمر؟"),
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["bm25", "iterative"])
def test_languages_without_blanks_or_english_stems_are_found(name: str, language: str) -> None:
    texts, question = LANGUAGES[language]
    assert ranked(written(open_retrieval(name, {})(), texts), question)[0] == "1"


@pytest.mark.long
@pytest.mark.parametrize("language", LANGUAGES)
def test_so_they_are_where_words_are_one_of_two_rankings(language: str, encoder: Path, cross_encoder: Path) -> None:
    texts, question = LANGUAGES[language]
    hybrid = written(open_retrieval("hybrid", {"model": str(encoder)})(), texts)
    assert "1" in ranked(hybrid, question)[:2], "the random model has its own first"
    rerank = written(open_retrieval("rerank", {"model": str(cross_encoder)})(), texts)
    assert "1" in ranked(rerank, question)
    if find_spec("spacy") is not None:
        assert ranked(written(open_retrieval("anchored", {})(), texts), question)[0] == "1"


# In a memory --------------------------------------------------------------------------------------------------------


def test_what_is_held_is_indexed_anew_and_found_by_the_policy_and_the_reader() -> None:
    memory = StoreMemory(200, 10, count_words)
    for text in (
        "Ann's sister is Zoe.",
        "A tower stood here.",
        "Zoe works for Statoil.",
        "Tea tastes fine.",
        "It rained.",
    ):
        for call in memory.keep(text):
            memory.execute(call)
    question = "Where does the sister of Ann earn money?"
    assert [item.id for item in memory.relevant(question)] == ["sem_0001"]
    with_retrieval(memory, "iterative", {"first": 1})
    assert [item.id for item in memory.relevant(question)][:2] == ["sem_0001", "sem_0003"]
    memory.recent = 0
    for view in (memory.render(question, 22), memory.retrieve(question, 22)):
        assert {item.id for item in view.items} == {"sem_0001", "sem_0003"}
    with open_journal(memory) as journal, pytest.raises(EnvironmentFault, match="journal is open"):
        memory.search_by(BM25Index)
    assert journal.diff() == []
    state = memory.snapshot()
    memory.restore(state)
    assert memory.snapshot() == state and [item.id for item in memory.relevant(question)][1] == "sem_0003"


class Silent:
    """A design of its own make, without `search_by`."""

    tools = example = execute = items = get = relevant = keep = drop = render = retrieve = snapshot = restore = None
    token_count = None

    def __init__(self, budget: int, core_budget: int, count: Any) -> None:
        self.budget = budget


THEIRS = """
from memrl.envs.retrieval.bm25 import BM25Index
class Backwards(BM25Index):
    def __init__(self, shift: int = 0) -> None:
        super().__init__()
    def ranked(self, query, wanted=64):
        return iter(sorted(((name, 1.0) for name in self._terms), reverse=True))
class Half:
    def add(self, item_id, text): ...
"""


def test_a_retrieval_of_ones_own_comes_by_its_path_or_by_a_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        tmp_path, "their-retrieval", {"memrl.retrievals": {"backwards": "their_index:Backwards"}}, their_index=THEIRS
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("backwards", "their_index:Backwards"):
        config = load_config("tiny", [f"memory.retrieval={name}", "memory.retrieval_options.shift=2"])
        prompter = Prompter.__new__(Prompter)
        prompter.count_tokens = count_words  # all that a memory needs of one
        for memory in (new_memory(config.memory, prompter), new_stores(config.memory, prompter)):
            for text in ("Tea.", "Cake.", "Rain."):
                for call in memory.keep(text):
                    memory.execute(call)
            assert [item.id for item in islice(memory.relevant("nothing"), 2)] == ["sem_0003", "sem_0002"]
    for words, message in (
        (["memory.retrieval=their_index:Half"], r"is the class Half without remove, ranked"),
        (
            ["memory.retrieval=backwards", "memory.retrieval_options.shift=far"],
            r"option 'shift': input should be a valid int",
        ),
        (["memory.retrieval=backward"], r"did you mean 'backwards'\?"),
        (["memory.retrieval=their_index:None_"], r"cannot be imported: AttributeError"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_config("tiny", words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["memory.retrieval=bm52"], r"memory\.retrieval is 'bm52'; did you mean 'bm25'\?"),
        (["memory.retrieval=dense"], r"retrieval 'dense' needs the option 'model'"),
        (
            ["memory.retrieval_options.model=x"],
            r"'bm25' has no option 'model', which is an option of dense, hybrid, rerank",
        ),
        (
            ["memory.retrieval=iterative", "memory.retrieval_options.round=3"],
            r"no option 'round'; did you mean 'rounds'\?",
        ),
        (["memory.retrieval=iterative", "memory.retrieval_options.rounds=0"], r"rounds is 0"),
        (["memory.retrieval=iterative", "memory.retrieval_options.rounds=many"], r"option 'rounds': input should be"),
        (
            ["memory.retrieval=iterative", "memory.retrieval_options.of=dens"],
            r"unknown retrieval 'dens'; did you mean 'dense'",
        ),
        (
            ["memory.retrieval=dense", "memory.retrieval_options.model=/nowhere"],
            r"'/nowhere' is no folder of this machine",
        ),
        (["memory.retrieval=rerank", "memory.retrieval_options.model=/tmp"], r"'/tmp' holds no config\.json"),
        (
            ["memory.retrieval=iterative", f"memory.design={__name__}:Silent"],
            r"finds its items by itself \(it has no `search_by`\)",
        ),
        (["memory.retrieval=anchored", "memory.retrieval_options.pipeline=xx_none"], r"spaCy"),
    ],
)
def test_what_cannot_work_is_told_before_anything_slow(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("tiny", words)


def test_a_machine_without_the_model_can_still_look_at_the_config() -> None:
    words = ["memory.retrieval=dense", "memory.retrieval_options.model=/nowhere"]
    assert load_config("tiny", words, machine=False).memory.retrieval_options == {"model": "/nowhere"}
    assert complaint_of("dense", {"model": "/nowhere"}, here=False) == ""


@pytest.mark.long
def test_a_model_that_cannot_be_loaded_or_gives_no_numbers_is_named(tmp_path: Path, encoder: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(PluginError, match=f"no model can be loaded from '{tmp_path}'"):
        try_retrieval(open_retrieval("dense", {"model": str(tmp_path)}))
    with pytest.raises(EnvironmentFault, match="gives what is no number"):
        models._finite("m", np.array([np.nan], np.float32))
    try_retrieval(open_retrieval("dense", {"model": str(encoder)}))
