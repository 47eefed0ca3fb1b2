"""Words and phrasings of the synthetic dialogues.

The first half of each list of phrasings is for training, the second for evaluation; lists of values are divided by what
the values are. Small talk is the same in both, but for the values in it.
"""
# ruff: noqa: SIM905 (word lists are read and edited as text)

from __future__ import annotations

from dataclasses import dataclass

from envs.building.splitting import Split, in_split

EVAL_SHARE = 0.4
NAMES = (
    "Adele Amir Anton Aoife Arlo Astrid Bianca Bruno Carmen Cedric Chiara Clement Dalia Darius Delphine Diego Dilan Edda "
    "Elias Elodie Emre Enzo Esther Fabio Farah Fiona Florian Freya Gaspar Gemma Giles Gloria Hakim Hanna Hector Helga "
    "Hubert Ilse Imran Ines Isla Ivo Jamal Jasper Jelena Joel Julia Kamal Karin Keiko Kilian Lars Leila Linus Lorena "
    "Lucian Magda Malik Marcel Mirko Nadia Naomi Nico Noemi Odette Olaf Oscar Paloma Pavel Petra Quentin Rafael Ramona "
    "Reza Rosalie Ruben Sanna Selma Silvio Sonja Stellan Tamara Tariq Tilda Tobias Ursula Valentin Vesna Viola Wim "
    "Yasmin Yves Zeno"
).split()
CITIES = (
    "Lisbon Porto Seville Bilbao Lyon Nantes Lille Ghent Antwerp Utrecht Leiden Bremen Leipzig Dresden Krakow Gdansk "
    "Riga Tallinn Vilnius Turku Bergen Malmo Aarhus Cork Galway Leeds Bristol Cardiff Verona Bologna Turin Trieste Graz "
    "Linz Basel Lucerne Brno Zadar Split Varna"
).split()
JOBS = (
    "baker nurse pilot lawyer farmer tailor painter plumber teacher sailor butcher gardener dentist barber waiter "
    "driver judge chemist printer welder vet florist carpenter glazier librarian translator surveyor locksmith"
).split()
PETS = (
    "parrot rabbit turtle hamster ferret lizard canary tortoise beagle poodle whippet gecko budgie chinchilla goldfish "
    "terrier corgi cockatoo"
).split()
FOODS = (
    "risotto lasagna ramen paella couscous goulash falafel gnocchi sushi dumplings ratatouille moussaka pierogi tacos "
    "curry hummus ceviche laksa"
).split()
SPORTS = "tennis rowing fencing judo climbing badminton archery swimming skating cricket handball squash".split()
ADJECTIVES = (
    "Amber Blue Copper Crooked Distant Early Golden Green Grey Hidden Hollow Little Lost Lower Marble Northern Old Quiet "
    "Red Round Salty Silver Stone Sunken Tall Upper White Wild Winding Yellow"
).split()
NOUNS = (
    "Anchor Arch Bear Bell Birch Bridge Candle Crane Crown Feather Fountain Gate Hare Heron Key Lantern Lion Maple Mill "
    "Oak Otter Owl Pear Raven Rose Sparrow Star Swan Tower Wheel"
).split()
VENUES = "cafe museum theatre garden market gallery library cinema bakery pool".split()
RELATIONS = "sister brother cousin neighbor colleague aunt uncle friend roommate teacher".split()


@dataclass(frozen=True)
class Attribute:
    """What can be told of a person, and asked. `{v}` is the value, `{p}` the person ("my cousin Ada"), `{n}` the name."""

    key: str
    values: tuple[str, ...]
    mine: tuple[str, ...]
    changed: tuple[str, ...]
    """Of the user; empty: it never changes."""
    theirs: tuple[str, ...]
    """Of somebody else; empty: only of the user."""
    ask: tuple[str, ...]
    before: tuple[str, ...]
    """Asks for the value before the last."""
    ask_theirs: tuple[str, ...]
    kind: str = "fact"


ATTRIBUTES = (
    Attribute(
        "home",
        tuple(CITIES),
        ("I live in {v}.", "My flat is in {v}.", "I have my home in {v}.", "I am based in {v}."),
        ("I have moved to {v}.", "I now live in {v}.", "My new home is in {v}.", "I have settled in {v} now."),
        ("{p} lives in {v}.", "{p} has a flat in {v}.", "{p} is based in {v}.", "{p} has made a home in {v}."),
        ("Which city do I live in?", "What city is my home in?", "Where is my home?", "In which city am I based?"),
        ("Where did I live before this?", "Which city did I live in before this one?", "What was my home before the present one?", "Which city did I leave last?"),
        ("Where does {n} live?", "Which city does {n} live in?", "In which city is {n} based?", "Where is the home of {n}?"),
    ),
    Attribute(
        "job",
        tuple(JOBS),
        ("I work as a {v}.", "My job is that of a {v}.", "I earn my living as a {v}.", "By trade I am a {v}."),
        ("I have started to work as a {v}.", "I now work as a {v}.", "I have become a {v}.", "My trade is now that of a {v}."),
        ("{p} works as a {v}.", "{p} has a job as a {v}.", "{p} is a {v} by trade.", "{p} earns a living as a {v}."),
        ("What do I work as?", "What is my job?", "What is my trade?", "How do I earn my living?"),
        ("What did I work as before this?", "What was my job before this one?", "What was my trade before the present one?", "Which trade did I give up last?"),
        ("What does {n} work as?", "What is the job of {n}?", "What is the trade of {n}?", "How does {n} earn a living?"),
    ),
    Attribute(
        "pet",
        tuple(PETS),
        ("I keep a {v}.", "I have a {v} at home.", "A {v} shares my flat.", "My pet is a {v}."),
        (),
        ("{p} keeps a {v}.", "{p} has a {v}.", "{p} looks after a {v}.", "{p} shares a flat with a {v}."),
        ("Which pet do I keep?", "What pet do I have?", "Which animal shares my flat?", "What is my pet?"),
        (),
        ("Which pet does {n} keep?", "What pet does {n} have?", "Which animal does {n} look after?", "What animal lives with {n}?"),
    ),
    Attribute(
        "food",
        tuple(FOODS),
        ("What I like best to eat is {v}.", "My favorite dish is {v}.", "Nothing beats {v} for me.", "I would eat {v} every day."),
        ("I have come to like {v} best.", "My favorite dish is {v} now.", "These days nothing beats {v}.", "I now would eat {v} every day."),
        (),
        ("What is my favorite dish?", "What do I like best to eat?", "Which dish beats all for me?", "What would I eat every day?"),
        ("What was my favorite dish before this one?", "What did I like best to eat before this?", "Which dish did I last prefer to all others before the present one?", "What was my favorite just before the present one?"),
        (),
        "preference",
    ),
    Attribute(
        "sport",
        tuple(SPORTS),
        ("I spend my weekends on {v}.", "My sport is {v}.", "I train {v} twice a week.", "For exercise I do {v}."),
        ("I have switched to {v}.", "My sport is {v} now.", "I have taken up {v} in its place.", "For exercise I now do {v}."),
        (),
        ("Which sport do I do?", "What is my sport?", "What do I do for exercise?", "Which sport do I train?"),
        ("Which sport did I do before this one?", "What was my sport before this?", "What did I do for exercise before the present sport?", "Which sport did I give up last?"),
        (),
        "preference",
    ),
)  # fmt: skip
EVENTS = (
    "Today I went to the {v} with {n}.", "{n} and I visited the {v} today.",
    "Today {n} took me to the {v}.", "I spent today at the {v} with {n}.",
)  # fmt: skip
ASK_WHEN = ("When did I go to the {v}?", "On which day was I at the {v}?", "What was the date when I saw the {v}?", "Which day did I spend at the {v}?")  # fmt: skip
ASK_WHO = ("Who was at the {v} with me?", "With whom did I go to the {v}?", "Who came along to the {v}?", "Whom did I see the {v} with?")  # fmt: skip
ASK_ORDER = ("Which came first?", "Where was I first?", "Which of the two was earlier?", "Which visit came before the other?")  # fmt: skip
ASK_DAYS = (
    "How many days lie between my visits to the {v} and to the {w}?", "By how many days are my visits to the {v} and the {w} apart?",
    "How many days passed between the {v} and the {w}?", "Count the days from my visit to the {v} to that to the {w}.",
)  # fmt: skip
ASK_COUNT = (
    "How many outings did I tell you of that I made with {n}?", "How often did I go somewhere with {n}?",
    "With {n}, how many outings were there?", "What is the number of outings that I made with {n}?",
)  # fmt: skip
INTRODUCTIONS = ("{n} is my {r}.", "My {r} is called {n}.", "I have a {r}, {n}.", "The name of my {r} is {n}.")
ASK_RELATION = ("Who is {n} to me?", "How am I related to {n}?", "What is {n} to me?", "In what relation does {n} stand to me?")  # fmt: skip
ASK_HOP = (
    "Where does the owner of the {v} live?", "Which city does the person with the {v} live in?",
    "In which city is the keeper of the {v} based?", "Where is the home of whoever has the {v}?",
)  # fmt: skip
REPLIES = (
    "Thank you for telling me.", "Good to know.", "I see.", "That sounds good.",
    "Noted.", "Understood.", "How nice.", "I will remember that.",
)  # fmt: skip
CHATTER = (
    ("Can you recommend a book about {city}?", "There are several good ones; a travel guide is a fair start."),
    ("Do you think a {job} has an easy life?", "It depends on the day, I suppose."),
    ("How do people cook {food}?", "Slowly, and with good ingredients."),
    ("Is {sport} hard to learn?", "The beginning is, as with most things."),
    ("What does a {pet} eat?", "A vet can tell you exactly; it depends on its age."),
    ("It rained all day and nothing happened.", "Such days are good for resting."),
    ("Could you explain how tides work?", "The moon pulls at the sea, and the earth turns below it."),
    ("Is the weather in {city} mild?", "It changes a lot over the year."),
    ("What would a {job} say to that?", "Probably something practical."),
    ("I slept badly.", "I hope that tonight is better."),
    ("Does {food} keep in the fridge?", "For a day or two, well covered."),
    ("How long does a match of {sport} last?", "That differs a lot."),
)


def phrasings(options: tuple[str, ...], split: Split | None) -> tuple[str, ...]:
    """Those of a split."""
    half = len(options) // 2
    return options if split is None else options[:half] if split == "train" else options[half:]


def values(options: tuple[str, ...] | list[str], split: Split | None) -> list[str]:
    """Those of a split."""
    return [option for option in options if in_split(option, split, EVAL_SHARE)]
