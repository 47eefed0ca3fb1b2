"""Every metric on hand-checked answers, and on arbitrary text: always a score in [0, 1], never an exception."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrl.rewards.metrics import METRICS, score, unanswerable


@pytest.mark.parametrize(
    ("metric", "answer", "golds", "expected"),
    [
        ("exact_match", "The Normans.", ["normans"], 1.0),
        ("exact_match", "the Normans of France", ["Normans"], 0.0),
        ("exact_match", "10th century", ["in the 10th", "10th  century"], 1.0),
        ("exact_match", "", ["The"], 0.0),  # both normalise to nothing; an empty answer is still no answer
        ("exact_match", "the", ["The"], 1.0),
        ("substring", "Yes, she did.", ["yes"], 1.0),
        ("substring", "It was yesterday.", ["yes"], 0.0),
        ("substring", "I do not know", ["no"], 0.0),
        ("substring", "in New\n York", ["new york"], 1.0),
        ("substring", "It costs $5 (five).", ["$5"], 1.0),
        ("substring", "It costs $50.", ["$5"], 0.0),
        ("substring_memalpha", "It was yesterday.", ["yes"], 1.0),
        ("token_f1", "Rollo of Normandy", ["Rollo"], 0.5),  # precision 1/3, recall 1
        ("token_f1", "Denmark and Norway", ["Denmark, Iceland and Norway"], 6 / 7),
        ("token_f1", "a cat cat", ["cat"], 2 / 3),  # the second "cat" is not matched again
        ("token_f1", "France", ["Spain", "France"], 1.0),
        ("token_f1", "", ["The"], 0.0),
        ("rouge_l", "the cat sat", ["the cat on the mat sat"], 2 * 3 / 9),
        ("rouge_l", "sat cat the", ["the cat sat"], 1 / 3),
        ("rouge_l", "", ["the cat"], 0.0),
        ("boxed", r"so it is \boxed{7}", ["7"], 1.0),
        ("boxed", r"\boxed{ 07 }", ["7"], 1.0),
        ("boxed", r"\boxed{17}", ["7"], 0.0),
        ("boxed", "7", ["7"], 1.0),  # the reference takes a number alone
        ("boxed", '"7"', ["7"], 1.0),
        ("boxed", "So it is <answer> 7 </answer>", ["7"], 1.0),  # as Mem-alpha's questions ask for it
        ("boxed", r"<answer>8</answer> \boxed{7}", ["7"], 1.0),
        ("boxed", "7 or 8", ["7"], 0.0),
        ("boxed", r"\boxed{\text{7}}", ["7"], 1.0),
        ("boxed", r"\boxed{1} \boxed{2} \boxed{3}", ["1"], 0.0),  # listing every label does not pay
        ("boxed", r"\boxed{-0}", ["0"], 1.0),
        ("boxed", r"\boxed{" + "9" * 5000 + "}", ["9"], 0.0),
        ("keyword_coverage", "Holmes met Watson", ["Holmes", "Watson", "Moriarty", "London"], 0.5),
        ("keyword_coverage", "Holmes met Watson", ["Holmes, Watson"], 1.0),
        ("keyword_coverage", "a catalogue", ["cat"], 0.0),
        ("parts_coverage", "He paints and sings", ["paints; sings; cooks"], 2 / 3),
        ("parts_coverage", "He paints", ["sings", "paints;"], 1.0),
    ],
)
def test_hand_checked(metric: str, answer: str, golds: list[str], expected: float) -> None:
    assert score(metric, answer, golds) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("metric", "answer", "gold", "expected"),
    [
        ("exact_match", "3.14", "314", 0),
        ("exact_match", "-5", "5", 0),
        ("exact_match", "−5", "-5", 1),  # a real minus sign
        ("exact_match", ".5", "5", 0),
        ("exact_match", "1,000", "1000", 1),
        ("exact_match", "1,00,000", "100000", 1),  # grouped as in India
        ("exact_match", "12:30", "1230", 0),
        ("exact_match", "2/3", "23", 0),
        ("exact_match", "C++", "C", 0),
        ("exact_match", "A+", "A-", 0),
        ("exact_match", "U.S.", "US", 1),
        ("exact_match", "1914–1918", "1914-1918", 1),
        ("exact_match", "the children’s hospital", "children's hospital", 1),
        ("exact_match", "１２３", "123", 1),
        ("exact_match", "٣", "3", 1),
        ("exact_match", "Rene\u0301e", "Ren\u00e9e", 1),
        ("exact_match", "👍", "👍", 1),
        ("rouge_l", "👍", "👍", 1),
        ("substring", "It costs 3.5 dollars.", "5", 0),
        ("substring", "13.5", "3.5", 0),
        ("substring", "1,500 people came.", "1", 0),
        ("substring", "1,000 people", "1000", 1),
        ("substring", "It was −5.", "5", 0),
        ("substring", "1990-1995", "1995", 1),
        ("substring", "COVID-19", "19", 1),
        ("substring", "They were 3.", "3", 1),
        ("substring", "他住在上海。", "上海", 1),
        ("substring", "彼は東京に住んでいます", "東京", 1),
        ("substring", "서울에서 살아요", "서울", 1),  # a particle follows
        ("substring", "हिन्दी", "हिन", 0),  # a vowel sign goes on with the word
        ("substring", "2019年", "2019", 1),
        ("token_f1", "上海市", "上海", 0.8),  # by characters
        ("squad_em", "3.14", "314", 1),  # the script's weakness, by the script's name
        ("squad_f1", "the cat", "cat", 1),
    ],
)
def test_numbers_signs_and_scripts(metric: str, answer: str, gold: str, expected: float) -> None:
    assert score(metric, answer, [gold]) == pytest.approx(expected)


@pytest.mark.parametrize(
    "answer",
    ["B", "b", "(b)", "b) Paris", "b. Paris", "The answer is b.", "Answer: $B$", "**B**", "Option B",
     "(B) because it is", "The answer is B because I computed it.",
     "The answer is B. Note that A is a common distractor."],
)  # fmt: skip
def test_an_option_is_named(answer: str) -> None:
    assert score("choice", answer, ["B"]) == 1.0


@pytest.mark.parametrize(
    "answer", ["A or B", "Both A and B", "A, B", "B) or C)", "A car moves", "The answer is a car", "I think so", ""]
)
def test_no_single_option_is_named(answer: str) -> None:
    assert not any(score("choice", answer, [letter]) for letter in "ABCI")


UNKNOWN = ("not mentioned", "no information", "unknown")


@pytest.mark.parametrize(
    "answer",
    ["I don't know.", "I don’t know", "There is no mention of it.", "The memory does not mention this.",
     "Not specified.", "It is not mentioned in the memory.", "The text doesn't say.", "Cannot be determined",
     "I'm not sure", "N/A", "None mentioned", "Unable to answer", "The answer cannot be determined from the memory."],
)  # fmt: skip
def test_the_usual_ways_to_say_that_it_is_not_known(answer: str) -> None:
    assert score("abstention", answer, UNKNOWN) == 1.0


@pytest.mark.parametrize(
    "answer",
    ["Rome, or unknown", "It is unknown, but maybe Rome", "not Rome", "No.", "", "He doesn't have a dog", "Rome"],
)
def test_an_answer_beside_a_doubt_is_no_abstention(answer: str) -> None:
    assert score("abstention", answer, UNKNOWN) == 0.0


def test_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown metric 'token-f1'; did you mean 'token_f1'"):
        score("token-f1", "a", ["a"])


def test_no_gold_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one gold"):
        score("token_f1", "a", [])


def test_boxed_refuses_a_gold_that_is_no_integer() -> None:
    with pytest.raises(ValueError, match="integer golds, not 'seven'"):
        score("boxed", r"\boxed{7}", ["seven"])


@pytest.mark.long
@given(
    st.sampled_from([name for name in METRICS if name not in {"boxed", "code_rules"}]),
    st.text(),
    st.lists(st.text(min_size=1), min_size=1),
)
def test_any_text_scores_between_0_and_1(metric: str, answer: str, golds: list[str]) -> None:
    assert 0.0 <= score(metric, answer, golds) <= 1.0


@pytest.mark.long
@given(st.text(), st.lists(st.integers().map(str), min_size=1))
def test_any_box_scores_0_or_1(inside: str, golds: list[str]) -> None:
    assert score("boxed", rf"\boxed{{{inside}}}", golds) in (0.0, 1.0)


@given(st.integers())
def test_a_boxed_integer_matches_itself_only(number: int) -> None:
    assert score("boxed", rf"\boxed{{{number}}}", [str(number)]) == 1.0
    assert score("boxed", rf"\boxed{{{number + 1}}}", [str(number)]) == 0.0


@pytest.mark.long
@given(
    st.sampled_from(["exact_match", "substring", "token_f1", "rouge_l", "parts_coverage"]),
    st.from_regex(r"[b-z]{2,8}( [b-z]{2,8}){0,3}", fullmatch=True),
)
def test_the_gold_itself_is_right(metric: str, gold: str) -> None:
    assert score(metric, gold, ["something else", gold]) == 1.0


@pytest.mark.long
@given(st.lists(st.sampled_from("abc"), max_size=9), st.lists(st.sampled_from("abc"), max_size=9))
def test_rouge_l_agrees_with_the_textbook_table(first: list[str], second: list[str]) -> None:
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, left in enumerate(first):
        for j, right in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if left == right else max(table[i][j + 1], table[i + 1][j])
    common = table[-1][-1]
    expected = 2 * common / (len(first) + len(second)) if common else 0.0
    assert score("rouge_l", " ".join(first), [" ".join(second)]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("metric", "golds", "expected"),
    [
        ("abstention", ["x"], True),
        ("locomo_abstention", ["x"], True),
        ("token_f1", ["You did not mention this information. You mentioned Oslo, but not Bergen."], True),
        ("token_f1", ["unknown", "not known"], True),
        ("token_f1", ["unknown", "Rome"], False),
        ("token_f1", ["The Unknown Soldier"], False),
        ("token_f1", ["no"], False),
        ("token_f1", [], False),
    ],
)
def test_a_question_is_unanswerable_by_its_metric_or_by_every_gold(
    metric: str, golds: list[str], expected: bool
) -> None:
    assert unanswerable(metric, golds) is expected
