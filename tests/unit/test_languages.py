"""What treats words does so in every language: retrieval, the content reward, meters, checks of data, chunks, counts.

The texts are `tests/raw/languages`: thirty facts and questions in nine languages, written for this project.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import snowballstemmer
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.languages import HAND_MADE, measure
from memrl.data.passages import passages
from memrl.data.quality import measure as measure_quality
from memrl.envs.building.chunking import Unit, cut
from memrl.envs.building.prose import sentences
from memrl.envs.building.tokens import count_tokens
from memrl.envs.designs import count_words
from memrl.envs.stream import Chunk, Question, Stream
from memrl.envs.terms import terms, told_language
from memrl.envs.text import stands_in, word_count, words
from memrl.rewards.content import says
from memrl.rewards.judge import refused_unread
from memrl.rewards.meters import copied_share

LANGUAGES = ["ar", "de", "en", "hi", "ja", "ko", "ru", "th", "zh"]


def paragraphs(language: str) -> list[dict[str, Any]]:
    text = (HAND_MADE / f"xquad.{language}.json").read_text(encoding="utf-8")
    return [paragraph for article in json.loads(text)["data"] for paragraph in article["paragraphs"]]


def contexts(language: str) -> list[str]:
    return [paragraph["context"] for paragraph in paragraphs(language)]


# Retrieval ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_questions_find_their_sentence_as_they_do_in_english(language: str) -> None:
    figures = measure(HAND_MADE / f"xquad.{language}.json", paragraphs=50, k=5)
    assert figures["questions"] == 30
    assert figures["recall@5"] >= 0.9
    assert figures["recall@5"] >= figures["old_recall@5"]


@pytest.mark.parametrize(("language", "old"), [("zh", 0.1), ("ja", 0.1), ("ko", 0.6), ("ru", 0.9), ("th", 0.9)])
def test_the_questions_are_such_that_english_words_do_not_find_them(language: str, old: float) -> None:
    assert measure(HAND_MADE / f"xquad.{language}.json", paragraphs=50, k=5)["old_recall@5"] < old


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("live", "lives"),
        ("книга", "книги"),
        ("المدرسة", "مدرسة"),
        ("लड़का", "लड़के"),
        ("서울에서", "서울은"),
        ("上海市", "上海"),
        ("東京に", "東京"),
        ("โรงพยาบาล", "ที่โรงพยาบาล"),
        ("γλώσσα", "γλώσσες"),
        ("STRASSE", "straße"),
        ("１２３", "123"),
        ("٤٢", "42"),
        ("1,000", "1000"),
    ],
)
def test_forms_of_a_word_share_a_term(one: str, other: str) -> None:
    assert set(terms(one)) & set(terms(other))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's Zoë's 2nd cat, É!", ["it", "s", "zoë", "s", "2nd", "cat", "é"]),
        ("上海市", ["上", "海", "市", "上海", "海市"]),
        ("2019年", ["2019", "年"]),
        ("マリア・ケラー", ["マ", "リ", "ア", "マリ", "リア", "ケ", "ラ", "ー", "ケラ", "ラー"]),
        ("벌을", ["벌", "을", "벌을"]),
        ("ที่", ["ที่"]),  # marks belong to their consonant
        ("It cost 1,000 or 3.14.", ["it", "cost", "1000", "or", "3.14"]),
        ("👍", ["👍"]),
        ("", []),
    ],
)
def test_terms_by_hand(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


ENGLISH = re.split(
    " ",
    "The children of the village learn to swim. Los Angeles, de Gaulle and Otto von Bismarck were asked: who is Ada? "
    "It's 7 o'clock on May 5th 1999! She hasn't been running; U.S. laws, e-mail_addresses. Then Dan die van over men",
)


@pytest.mark.long
@given(st.lists(st.sampled_from(ENGLISH), max_size=12, unique=True).map(lambda said: " ".join(["the", *said])))
def test_terms_of_english_are_stemmed_words_as_ever(text: str) -> None:
    stemmer = snowballstemmer.stemmer("english")
    assert terms(text) == [stemmer.stemWord(word) for word in re.findall(r"\w+", text.lower())]


def test_terms_of_the_english_facts_are_as_ever() -> None:
    stemmer = snowballstemmer.stemmer("english")
    for paragraph in paragraphs("en"):
        for text in [paragraph["context"], *(ask["question"] for ask in paragraph["qas"])]:
            old = [stemmer.stemWord(word) for word in re.findall(r"\w+", text.replace("12,000", "12000").lower())]
            assert terms(text) == old


def test_a_language_is_told_by_its_function_words_and_a_name_tells_none() -> None:
    assert told_language(words("Die Kinder des Dorfes lernen schwimmen und die Lehrerin ist nicht da.")) == "german"
    assert told_language(words("Quand est-ce que le musée et les jardins sont ouverts ?")) == "french"
    assert told_language(words("¿Dónde está el libro que compró por la mañana?")) == "spanish"
    assert told_language(words("Charles de Gaulle")) == "english"
    assert told_language(words("She lives in Los Angeles and in La Paz")) == "english"
    found = terms("Die Häuser des Dorfes und die Bäckereien sind nicht alt")
    assert "german haus" in found
    assert "häuser" in found  # a question whose language nothing tells finds it by this


# The content reward, meters and the judge -----------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_copied_sentence_is_said_and_another_is_not(language: str) -> None:
    here, other = contexts(language)[:2]
    for sentence in sentences(here):
        assert says(here, sentence)
        assert not says(other, sentence)


@pytest.mark.parametrize(
    ("passage", "true", "false"),
    [
        ("辛格医生从2009年起在医院工作。", "辛格医生从2009年起在医院工作", "辛格医生从2010年起在医院工作"),
        ("辛格医生在医院工作。", "辛格医生在医院工作", "辛格医生不在医院工作"),
        ("シン医師は病院で働いている。", "シン医師は病院で働いている", "シン医師は病院で働いていない"),
        ("싱 박사는 병원에서 일한다.", "싱 박사는 병원에서 일한다", "싱 박사는 병원에서 일하지 않는다"),
        ("หมอซิงห์ทำงานที่โรงพยาบาล", "หมอซิงห์ทำงานที่โรงพยาบาล", "หมอซิงห์ไม่ทำงานที่โรงพยาบาล"),
        ("تعمل الطبيبة في المستشفى.", "تعمل الطبيبة في المستشفى", "لا تعمل الطبيبة في المستشفى"),
        ("डॉक्टर अस्पताल में काम करती हैं।", "डॉक्टर अस्पताल में काम करती हैं", "डॉक्टर अस्पताल में काम नहीं करती हैं"),
        ("Врач работает в больнице.", "Врач работает в больнице", "Врач не работает в больнице"),
        ("Die Ärztin arbeitet im Krankenhaus.", "Die Ärztin arbeitet im Krankenhaus",
         "Die Ärztin arbeitet nicht im Krankenhaus"),
    ],
)  # fmt: skip
def test_a_denial_or_another_number_is_not_said(passage: str, true: str, false: str) -> None:
    assert says(passage, true)
    assert not says(passage, false)


@pytest.mark.parametrize("language", LANGUAGES)
def test_copies_are_seen_as_copies(language: str) -> None:
    chunks = contexts(language)
    assert copied_share(chunks, chunks) == 1.0
    assert copied_share(chunks[:1], chunks[1:]) == 0.0


def test_a_judge_tells_words_apart_that_differ_in_their_vowel_signs() -> None:
    assert refused_unread("राम की बहन", "राम का बहन") == ""
    assert refused_unread("राम की बहन।", "राम की बहन") == "it repeats the question"
    assert "words" in refused_unread("我住在上海" * 100)


# Checks of data -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_a_passage(language: str) -> None:
    text = " ".join(contexts(language))
    found = list(passages(text))
    assert len(found) >= 24
    assert set(found) == set(passages(text.replace(" ", "  ").upper()))


def test_a_short_thank_you_is_no_passage() -> None:
    assert list(passages("谢谢你们。")) == []
    assert list(passages("谢谢你们来到这里看我们。")) == ["谢 谢 你 们 来 到 这 里 看 我 们"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_answers_are_found_in_the_text(language: str) -> None:
    streams = [
        Stream(
            id=str(number),
            source="made",
            chunks=(Chunk(text=paragraph["context"]),),
            questions=tuple(
                Question(id=ask["id"], text=ask["question"], answers=(ask["answers"][0]["text"],), metric="substring")
                for ask in paragraph["qas"]
            ),
        )
        for number, paragraph in enumerate(paragraphs(language))
    ]
    found = measure_quality(streams)
    assert (found.questions, found.spans_found) == (30, 30)


# Lengths and chunks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "tokens"),
    # of all its text, by the vocabulary of Qwen's first models (qwen.tiktoken, 151,643 entries)
    [("en", 349), ("ru", 581), ("ar", 496), ("hi", 1326), ("zh", 392), ("ja", 520), ("ko", 592)],
)
def test_estimated_tokens_are_near_those_of_a_tokenizer(language: str, tokens: int) -> None:
    assert count_tokens(" ".join(contexts(language))) == pytest.approx(tokens, rel=0.3)


def test_estimates_of_latin_letters_are_as_ever() -> None:
    assert count_tokens("Zoë's naïve résumé, 1999.") == 11


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Ada lives here.", 4),
        ("我住在上海。", 6),
        ("हिन्दी भाषा", 2),
        ("Zoë’s cat", 4),
        ("🐈🐈", 2),
        ("서울에서 살아요.", 3),
    ],
)
def test_a_memory_without_a_tokenizer_counts_every_script(text: str, count: int) -> None:
    assert count_words(text) == count


def test_two_characters_count_as_a_word() -> None:
    assert word_count("我住在上海。") == 3
    assert word_count("I live in Shanghai.") == 4


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_long_text_is_cut_between_sentences(language: str) -> None:
    text = " ".join(contexts(language))
    pieces = cut([Unit(text)], 120)
    assert len(pieces) > 2
    assert max(piece.tokens for piece in pieces) <= 120
    assert "".join("".join(piece.text.split()) for piece in pieces) == "".join(text.split())


def test_sentences_of_scripts_with_signs_of_their_own() -> None:
    assert sentences("မောင်ကို တွေ့တယ်။ သူ ပြန်သွားပြီ။") == ["မောင်ကို တွေ့တယ်။", "သူ ပြန်သွားပြီ။"]
    assert sentences("Ես տուն եմ գնում։ Դու մնում ես։") == ["Ես տուն եմ գնում։", "Դու մնում ես։"]
    assert len(sentences("वह घर गया। वह सोया।")) == 2


@pytest.mark.parametrize(
    ("gold", "text", "stands"),
    [
        ("12,000", "每天大约有12,000辆汽车", True),
        ("12000", "매일 12,000대의 자동차", True),
        ("2000", "매일 12,000대의 자동차", False),
        ("أمراض القلب", "المصابين بأمراض القلب", True),
        ("مدرسة", "والمدرسة كبيرة", True),
        ("ريم", "كريم هنا", False),
        ("راض القلب", "المصابين بأمراض القلب", False),
        ("서울", "서울에서", True),
    ],
)
def test_a_gold_stands_beside_what_is_written_together_with_it(gold: str, text: str, stands: bool) -> None:
    assert stands_in(gold, text) is stands
