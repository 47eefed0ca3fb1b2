"""BM25: the formula, and that an index kept up to date equals one built afresh."""

from __future__ import annotations

import math
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrl.envs.retrieval import bm25
from memrl.envs.retrieval.bm25 import BM25Index
from memrl.envs.retrieval.postings import Posting
from memrl.envs.terms import terms

VOCABULARY = ["cat", "dog", "Oslo", "tea", "the"]
TEXTS = st.lists(st.sampled_from(VOCABULARY), max_size=6).map(" ".join)
WRITES = st.lists(st.tuples(st.sampled_from("abcde"), st.none() | TEXTS), max_size=25)


def built(texts: dict[str, str]) -> BM25Index:
    index = BM25Index()
    for item_id, text in texts.items():
        index.add(item_id, text)
    return index


def postings(index: BM25Index) -> dict[str, list[tuple[int, float]]]:
    """By term, its places and its count in each, of removed items too."""
    return {
        term: list(zip(posting.places.tolist(), index._kinds.counts[posting.kinds].tolist(), strict=True))
        for term, posting in index._postings.items()
    }


def by_hand(texts: dict[str, str], query: str, k1: float, b: float) -> dict[str, float]:
    """Robertson and Zaragoza 2009, section 3.2, with the idf that is never negative."""
    split = {item_id: terms(text) for item_id, text in texts.items()}
    mean = sum(len(text) for text in split.values()) / len(split)
    scores = {}
    for item_id, text in split.items():
        score = 0.0
        for term in set(terms(query)) & set(text):
            frequency, holders = text.count(term), sum(term in other for other in split.values())
            idf = math.log(1 + (len(split) - holders + 0.5) / (holders + 0.5))
            score += idf * frequency * (k1 + 1) / (frequency + k1 * (1 - b + b * len(text) / mean))
        if score:
            scores[item_id] = score
    return scores


@pytest.mark.long
@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from("abcde"), TEXTS, min_size=1), TEXTS, st.floats(0, 3), st.floats(0, 1))
def test_scores_equal_the_formula(texts: dict[str, str], query: str, k1: float, b: float) -> None:
    index = BM25Index(k1, b)
    for item_id, text in texts.items():
        index.add(item_id, text)
    assert dict(index.search(query)) == pytest.approx(by_hand(texts, query, k1, b))


def test_one_score_by_hand() -> None:
    index = built({"a": "the cat sat", "b": "the dog"})
    # N = 2, df = 1, tf = 1, length 3 of a mean 2.5
    expected = math.log(2) * 2.5 / (1 + 1.5 * (0.25 + 0.75 * 3 / 2.5))
    assert index.search("CAT!") == [("a", pytest.approx(expected))]


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(WRITES, TEXTS)
def test_an_index_kept_up_to_date_equals_one_built_afresh(writes: list[tuple[str, str | None]], query: str) -> None:
    index = BM25Index()
    held: dict[str, str] = {}
    for item_id, text in writes:
        held.pop(item_id, None)  # a replaced item is the last written
        if text is None:
            index.remove(item_id)
        else:
            index.add(item_id, text)
            held[item_id] = text
    fresh = built(held)
    assert len(index) == len(held)
    assert index.search(query) == fresh.search(query)
    # Nothing of what was removed is left behind.
    index._pack()
    assert index.search(query) == fresh.search(query)
    assert index._ids == fresh._ids
    assert postings(index) == postings(fresh)


@pytest.mark.long
def test_many_items_are_ranked_as_a_few_are() -> None:
    rng = random.Random(0)
    vocabulary = [f"w{number}" for number in range(40)]
    texts = {f"i{number}": " ".join(rng.choices(vocabulary, k=rng.randint(1, 9))) for number in range(1500)}
    index = BM25Index()
    for item_id in texts:
        index.add(item_id, "something else")
    for item_id, text in texts.items():
        index.add(item_id, text)  # each leaves a place behind
    assert len(index._ids) < 2 * len(texts) + 1025
    query = "w1 w2 w3 w39"
    found = index.search(query)
    expected = by_hand(texts, query, 1.5, 0.75)
    assert dict(found) == pytest.approx(expected) and len(found) > 500
    order = {item_id: number for number, item_id in enumerate(texts)}
    assert found == sorted(found, key=lambda pair: (-pair[1], -order[pair[0]]))
    assert index.search(query, limit=7) == found[:7]


def test_of_equals_the_last_written_comes_first() -> None:
    index = built({"a": "cat", "b": "cat", "c": "cat"})
    index.add("a", "cat")
    assert [item_id for item_id, _ in index.search("cat")] == ["a", "c", "b"]
    assert [item_id for item_id, _ in index.search("cat", limit=2)] == ["a", "c"]


def test_searching_leaves_the_index_as_it_was() -> None:
    index = built({"a": "cat"})
    before = postings(index)
    assert index.search("unseen words") == []
    assert postings(index) == before


@pytest.mark.parametrize("query", ["", "!?", "dog"])
def test_nothing_shared_is_nothing_found(query: str) -> None:
    assert BM25Index().search(query) == []
    assert built({"a": "cat", "b": ""}).search(query) == []


def test_items_without_words_can_be_held() -> None:
    index = built({"a": "!!", "b": ""})
    assert len(index) == 2
    assert index.search("a") == []
    index.remove("a")
    index.remove("never there")
    assert len(index) == 1


# Against a plain one --------------------------------------------------------------------------------------------


def plainly(texts: dict[str, str], query: str, k1: float = 1.5, b: float = 0.75) -> list[tuple[str, float]]:
    """Every score summed in the order of the query's terms; all items sorted. `texts` is in the order of writing."""
    counts = {item_id: Counter(terms(text)) for item_id, text in texts.items()}
    mean = sum(found.total() for found in counts.values()) / (len(texts) or 1) or 1.0
    scores = dict.fromkeys(texts, 0.0)
    for term in dict.fromkeys(terms(query)):
        holders = sum(term in found for found in counts.values())
        idf = math.log(1 + (len(texts) - holders + 0.5) / (holders + 0.5))
        for item_id, found in counts.items():
            if term in found:
                norm = k1 * (1 - b + b * found.total() / mean)
                scores[item_id] += idf * found[term] * (k1 + 1) / (found[term] + norm)
    written = {item_id: number for number, item_id in enumerate(texts)}
    found = sorted(scores.items(), key=lambda pair: (-pair[1], -written[pair[0]]))
    return [(item_id, score) for item_id, score in found if score]


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(WRITES, TEXTS, st.sampled_from([(1.5, 0.75), (0.0, 0.5), (2.0, 1.0), (1.2, 0.0)]), st.integers(1, 6))
def test_scores_and_their_order_are_the_plain_ones_to_the_bit(
    writes: list[tuple[str, str | None]], query: str, constants: tuple[float, float], wanted: int
) -> None:
    index = BM25Index(*constants)
    held: dict[str, str] = {}
    for item_id, text in writes:
        held.pop(item_id, None)
        index.remove(item_id)
        if text is not None:
            index.add(item_id, text)
            held[item_id] = text
    assert index.search(query) == list(index.ranked(query, wanted)) == plainly(held, query, *constants)


def many(rng: random.Random, number: int) -> str:
    """A text whose words are as unevenly frequent as those of a language (Zipf)."""
    return " ".join(f"w{int(1 / rng.uniform(0.003, 1)) + rng.randint(0, 2)}" for _ in range(rng.randint(1, number)))


@pytest.mark.long
@pytest.mark.parametrize(("seed", "dense"), [(0, 0), (1, 32), (2, 32), (3, 10**9)])
def test_leaving_out_what_cannot_lead_changes_no_bit(seed: int, dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memrl.envs.retrieval.postings._DENSE", dense)
    monkeypatch.setattr(bm25, "_FEW", 1)
    monkeypatch.setattr(bm25, "_PROBED", 1)
    monkeypatch.setattr("memrl.envs.retrieval.order._FIRST", 16)
    rng = random.Random(seed)
    index = BM25Index()
    held: dict[str, str] = {}
    for number in range(1500):
        item_id = f"i{rng.randint(0, 900)}"
        held.pop(item_id, None)
        if number % 5:
            held[item_id] = many(rng, 12)
            index.add(item_id, held[item_id])
        else:
            index.remove(item_id)
        if number % 100 == 99:
            for length in (3, 12, 60):
                query = many(rng, length)
                expected = plainly(held, query)
                for wanted in (1, 4, 16):
                    ranked = index.ranked(query, wanted)
                    assert list(islice(ranked, 40)) == expected[:40]
                assert index.search(query) == expected


@pytest.mark.long
def test_a_search_reads_a_share_of_the_postings() -> None:
    """Of frequent words only the places that lead are looked up; all that is wanted is found nonetheless."""
    rng = random.Random(0)
    index = BM25Index()
    for number in range(20_000):
        index.add(str(number), f"the visitor of {rng.choice('abcdefgh')}{rng.randint(0, 99)} saw {many(rng, 6)}")
    query = "What has the visitor of a7 and the visitor of b9 seen of w3 and w5?"
    every = sum(posting.size for term in set(terms(query)) if (posting := index._postings.get(term)))
    before = index.entries_read
    found = list(islice(index.ranked(query, 32), 32))
    read = index.entries_read - before
    assert every > 60_000 and read < every / 4
    before = index.entries_read
    assert index.search(query)[:32] == found  # all of them are wanted: everything is read
    assert index.entries_read - before >= every


@pytest.mark.long
@settings(max_examples=100, deadline=None)
@given(WRITES, WRITES, TEXTS)
def test_writes_are_undone_the_last_first(
    first: list[tuple[str, str | None]], then: list[tuple[str, str | None]], query: str
) -> None:
    index = BM25Index()
    for item_id, text in first:
        index.remove(item_id)
        if text is not None:
            index.add(item_id, text)
    index.search(query)
    before = (postings(index), index.search(query), len(index), [posting.held for posting in index._postings.values()])
    index.hold()
    undo: list[Callable[[], None]] = []
    for item_id, text in then:
        removed = index.remove(item_id)
        if removed is not None:
            undo.append(partial(index.put_back, removed))
        if text is not None:
            index.add(item_id, text)
            undo.append(partial(index.take_back, item_id))
        index.search(query)
    for one in reversed(undo):
        one()
    index.release()
    assert before == (
        postings(index),
        index.search(query),
        len(index),
        [posting.held for posting in index._postings.values()],
    )


@pytest.mark.parametrize("dense", [0, 10**9])
def test_what_stands_at_a_place_is_found_by_search_and_by_row(dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memrl.envs.retrieval.postings._DENSE", dense)
    rng = random.Random(0)
    posting = Posting()
    stands: dict[int, int] = {}
    used = 0
    for _ in range(400):
        if stands and rng.random() < 0.3:  # the last place is given back, and may be another term's next
            used = max(stands)
            del stands[used]
            posting.pop()
        else:
            used += rng.randint(0, 3)
            stands[used] = rng.randint(1, 9)
            posting.append(used, stands[used], 1, 5)
            used += 1
        if stands:
            places = np.arange(used)
            assert posting.kinds_at(places, used).tolist() == [stands.get(place, 0) for place in range(used)]


def test_words_of_any_length_leave_nothing_behind() -> None:
    assert terms("x" * 200 + "lives") == ["x" * 200 + "live"] == terms("x" * 200 + "LIVES")
    tracemalloc.start()
    for number in range(10):
        terms(f"{number}" + "x" * 300_000)
    left = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert left < 1_000_000
