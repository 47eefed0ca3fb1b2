"""Metrics that carry a benchmark's name: values worked out by hand from the rules of its published script."""

from __future__ import annotations

from pathlib import Path

import pytest

from memrl.envs.sources import open_source
from memrl.envs.stream import Question
from memrl.rewards.metrics import METRICS, score
from memrl.rewards.porter import porter_stem
from tests.raw import hotpotqa as raw_hotpotqa
from tests.raw import locomo as raw_locomo


@pytest.mark.parametrize(
    ("metric", "answer", "gold", "expected"),
    [
        # SQuAD v1.1: lower case, no punctuation, no articles, then words
        ("squad_em", "The Cat!", "a cat", 1),
        ("squad_em", "U.S.", "US", 1),
        ("squad_em", "27 30", "27-30", 0),  # the hyphen goes, and "2730" is left
        ("squad_em", "yes and no", "yes", 0),
        ("squad_f1", "the cat sat", "cat", 2 / 3),
        ("squad_f1", "yes and no", "yes", 0.5),
        ("squad_f1", "1973–74, memory", "1973–74", 2 / 3),  # a long dash is no ASCII punctuation
        # HotpotQA: the same, but yes, no and noanswer are right alone or not at all
        ("hotpotqa_em", "Yes.", "yes", 1),
        ("hotpotqa_em", "yes and no", "yes", 0),
        ("hotpotqa_f1", "Yes.", "yes", 1),
        ("hotpotqa_f1", "yes and no", "yes", 0),
        ("hotpotqa_f1", "yes and no", "no", 0),
        ("hotpotqa_f1", "No, it was not", "no", 0),
        ("hotpotqa_f1", "no", "no man's land", 0),
        ("hotpotqa_f1", "no man's island", "no man's land", 2 / 3),
        ("hotpotqa_f1", "noanswer", "Oslo", 0),
        ("hotpotqa_f1", "the Oslo fjord", "Oslo", 2 / 3),
        # LoCoMo, categories 2 to 4: "and" goes with the articles, and words are stemmed
        ("locomo_f1", "running and swimming", "She runs, the swim", 4 / 5),  # run, swim of she, run, swim
        ("locomo_f1", "7 May, 2023", "7 May 2023", 1),
        ("locomo_f1", "generously", "generous", 1),
        ("locomo_f1", "and", "and", 0),
        ("locomo_f1", "", "Oslo", 0),
        # category 1: the parts between commas, each with the best of the answer's
        ("locomo_f1_multi", "pottery, camping", "pottery, camping, painting, swimming", 0.5),
        ("locomo_f1_multi", "camping trips, pottery", "pottery, camping", (1 + 2 / 3) / 2),
        ("locomo_f1_multi", "pottery and camping", "pottery, camping", 2 / 3),
        ("locomo_f1_multi", "pottery, camping, a dog, a cat", "pottery", 1),
        # category 5: a phrase, whatever stands beside it
        ("locomo_abstention", "Not mentioned in the conversation", "unknown", 1),
        ("locomo_abstention", "There is no information available.", "unknown", 1),
        ("locomo_abstention", "I don't know.", "unknown", 0),
        ("locomo_abstention", "Rome, or not mentioned", "unknown", 1),
    ],
)
def test_values_of_the_published_rules(metric: str, answer: str, gold: str, expected: float) -> None:
    assert score(metric, answer, [gold]) == pytest.approx(expected)


def test_the_best_gold_counts() -> None:
    for metric in ("squad_f1", "hotpotqa_f1", "locomo_f1", "locomo_f1_multi"):
        assert score(metric, "Oslo", ["Rome", "Oslo"]) == 1.0


@pytest.mark.parametrize(
    ("word", "stem"),
    [
        # Porter 1980, and where NLTK departs from it: short words in -ies and -ied, -y, -alli, -fulli, -logi, a list
        ("caresses", "caress"), ("ponies", "poni"), ("ties", "tie"), ("cats", "cat"), ("feed", "feed"),
        ("agreed", "agre"), ("plastered", "plaster"), ("bled", "bled"),
        ("motoring", "motor"), ("sing", "sing"), ("conflated", "conflat"),
        ("troubled", "troubl"), ("sized", "size"), ("hopping", "hop"), ("falling", "fall"), ("hissing", "hiss"),
        ("filing", "file"), ("happy", "happi"), ("sky", "sky"), ("enjoy", "enjoy"), ("died", "die"), ("flies", "fli"),
        ("relational", "relat"), ("conditional", "condit"), ("rational", "ration"), ("digitizer", "digit"),
        ("radically", "radic"), ("vietnamization", "vietnam"), ("hopefulness", "hope"), ("formality", "formal"),
        ("sensibility", "sensibl"), ("hopefully", "hope"), ("archaeology", "archaeolog"), ("triplicate", "triplic"),
        ("electrical", "electr"), ("goodness", "good"), ("revival", "reviv"), ("adoption", "adopt"), ("rate", "rate"),
        ("cease", "ceas"), ("controlling", "control"), ("rolling", "roll"), ("news", "news"), ("dying", "die"),
        ("proceed", "proceed"), ("As", "as"), ("is", "is"), ("Generously", "gener"), ("ing", "ing"), ("café", "café"),
    ],
)  # fmt: skip
def test_porter_stems(word: str, stem: str) -> None:
    assert porter_stem(word) == stem


def locomo(tmp_path: Path, **options: str) -> dict[str, Question]:
    [stream] = open_source("locomo", {"path": raw_locomo.write(tmp_path), **options})
    return {question.kind: question for question in stream.questions}


def test_each_locomo_category_is_scored_by_its_rule(tmp_path: Path) -> None:
    asked = locomo(tmp_path)
    assert {kind: question.metric for kind, question in asked.items()} == {
        "multi-hop": "locomo_f1_multi",
        "temporal": "locomo_f1",
        "open-domain": "locomo_f1",
        "single-hop": "locomo_f1",
        "unanswerable": "abstention",
    }
    assert asked["open-domain"].answers == ("cat food",)  # "; since she has a cat" explains it
    assert asked["single-hop"].answers == ("1",)


def test_locomo_is_scored_otherwise_where_that_is_asked_for(tmp_path: Path) -> None:
    asked = locomo(tmp_path, metric="token_f1", unanswerable="locomo_abstention")
    assert {question.metric for question in asked.values()} == {"token_f1", "locomo_abstention"}
    assert asked["open-domain"].answers == ("cat food; since she has a cat",)
    unanswerable = asked["unanswerable"]
    assert unanswerable.metric == "locomo_abstention"
    assert score(unanswerable.metric, unanswerable.answers[0], unanswerable.answers) == 1.0


def test_hotpotqa_takes_no_answer_that_says_yes_and_no(tmp_path: Path) -> None:
    [stream] = open_source("hotpotqa", {"path": raw_hotpotqa.write(tmp_path)})
    assert {question.metric for question in stream.questions} == {"hotpotqa_f1"}
    for gold in ("yes", "no"):
        assert score("hotpotqa_f1", "yes and no", [gold]) == 0.0


def test_every_named_metric_is_there() -> None:
    assert {name for name in METRICS if name.startswith(("squad", "hotpotqa", "locomo"))} == {
        *("squad_em", "squad_f1", "hotpotqa_em", "hotpotqa_f1"),
        *("locomo_f1", "locomo_f1_multi", "locomo_abstention"),
    }
