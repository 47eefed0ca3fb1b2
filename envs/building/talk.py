"""Words and phrasings of the synthetic dialogues.

The first half of each list of phrasings is for training, the second for evaluation; lists of values are divided by what
the values are. `{v}` is a value, `{a}` a value with its article, `{p}` a person ("my cousin Ada Berg"), `{n}` a name.
"""
# ruff: noqa: SIM905 (word lists are read and edited as text)

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from memrl.envs.building.splitting import Split, in_split

T = TypeVar("T")
EVAL_SHARE = 0.4
WOMEN = (
    "Adele Aoife Astrid Bianca Carmen Chiara Dalia Delphine Edda Elodie Esther Farah Fiona Freya Gemma Gloria Hanna Helga "
    "Ilse Ines Isla Jelena Julia Karin Keiko Leila Lorena Magda Nadia Naomi Noemi Odette Paloma Petra Ramona Rosalie "
    "Sanna Selma Sonja Tamara Tilda Ursula Vesna Viola Yasmin"
).split()
MEN = (
    "Amir Anton Arlo Bruno Cedric Clement Darius Diego Dilan Elias Emre Enzo Fabio Florian Gaspar Giles Hakim Hector "
    "Hubert Imran Ivo Jamal Jasper Joel Kamal Kilian Lars Linus Lucian Malik Marcel Mirko Nico Olaf Oscar Pavel Quentin "
    "Rafael Reza Ruben Silvio Stellan Tariq Tobias Valentin Wim Yves Zeno"
).split()
SURNAMES = (
    "Abbott Aldana Bakker Barlow Becker Benoit Berg Bianchi Brandt Carter Castro Colombo Dahl Delgado Dupont Eklund Farkas "
    "Ferrari Fischer Fontaine Gallo Garnier Haddad Hansen Hoffman Horvat Ibarra Jansen Keller Kovacs Lambert Lindgren "
    "Lopez Marchetti Meyer Moreau Murray Novak Nyberg Okafor Olsen Pereira Petrov Quinn Rahman Ricci Romano Santos "
    "Schneider Silva Sorensen Tanaka Toivonen Ueda Vargas Visser Weber Wolff Yilmaz Zeller"
).split()
CITIES = (
    "Lisbon Porto Seville Bilbao Lyon Nantes Lille Ghent Antwerp Utrecht Leiden Bremen Leipzig Dresden Krakow Gdansk "
    "Riga Tallinn Vilnius Turku Bergen Malmo Aarhus Cork Galway Leeds Bristol Cardiff Verona Bologna Turin Trieste Graz "
    "Linz Basel Lucerne Brno Zadar Osijek Varna"
).split()
JOBS = (
    "baker nurse pilot lawyer farmer tailor painter plumber teacher sailor butcher gardener dentist barber waiter "
    "courier judge chemist printer welder vet florist carpenter glazier librarian translator surveyor locksmith"
).split()
PETS = (
    "parrot rabbit turtle hamster ferret lizard canary tortoise beagle poodle whippet gecko budgie chinchilla goldfish "
    "terrier corgi cockatoo"
).split()
FOODS = (
    "risotto lasagna ramen paella couscous goulash falafel gnocchi sushi dumplings ratatouille moussaka pierogi tacos "
    "curry hummus ceviche laksa"
).split()
SPORTS = (
    "tennis rowing fencing judo climbing badminton archery swimming skating cricket handball squash karate hockey "
    "volleyball surfing golf boxing"
).split()
COATS = "black white grey spotted brown striped ginger golden shaggy slender tiny speckled".split()
ALLERGENS = (
    "peanuts walnuts shellfish pollen latex soy sesame penicillin mustard celery lupin wheat cashews mangoes".split()
)
DRINKS = "cider lemonade espresso cocoa kefir matcha kombucha lassi chai horchata sangria rooibos".split()
INSTRUMENTS = (
    "oboe cello harp banjo clarinet mandolin trombone ukulele accordion bassoon sitar lute zither viola "
    "fiddle spinet marimba recorder bugle tuba"
).split()
ADJECTIVES = (
    "Amber Blue Copper Crooked Distant Early Golden Green Grey Hidden Hollow Little Lost Lower Marble Northern Old Quiet "
    "Red Round Salty Silver Stone Sunken Tall Upper White Wild Winding Yellow Ancient Bold Bright Cold Curved Dusty Gentle "
    "Humble Ivory Jolly Lucky Merry Noble Painted Proud Rusty Scarlet Shady Sleepy Violet"
).split()
NOUNS = (
    "Anchor Arch Bear Bell Birch Bridge Candle Crane Crown Feather Fountain Gate Hare Heron Key Lantern Lion Maple Mill "
    "Oak Otter Owl Pear Raven Rose Sparrow Star Swan Tower Wheel Acorn Badger Barrel Beetle Compass Dolphin Falcon Fern "
    "Harbor Ivy Ladder Lily Magpie Orchard Pebble Plough Rabbit Saddle Thistle Willow"
).split()
VENUES = (
    "cafe museum theatre garden market gallery library cinema bakery pool tavern arcade planetarium teahouse aquarium inn "
    "bookshop zoo brewery castle"
).split()
FAMILY = (
    ("sister", "f"), ("brother", "m"), ("cousin", ""), ("colleague", ""), ("aunt", "f"), ("neighbor", ""), ("uncle", "m"),
    ("friend", ""), ("niece", "f"), ("roommate", ""), ("nephew", "m"),
)  # fmt: skip
"""Relations of those who come up first, and the kind of first name that goes with each (any where empty)."""
OTHERS = ("friend", "colleague", "neighbor", "client", "classmate", "teammate", "acquaintance")
"""Relations that one may have to any number of people."""


@dataclass(frozen=True)
class Attribute:
    """A fact that can be told of a person, and asked."""

    key: str
    values: tuple[str, ...]
    """Empty: they are composed."""
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
    changed_theirs: tuple[str, ...] = ()


ATTRIBUTES = (
    Attribute(
        "name",
        (),
        ("My name is {v}.", "You can call me {v}.", "I am {v}, by the way.", "People know me as {v}."),
        (),
        (),
        ("What is my name?", "What can you call me?", "Who am I?", "As whom do people know me?"),
        (),
        (),
    ),
    Attribute(
        "birthday",
        (),
        ("My birthday is on {v}.", "I was born on {v}.", "I have my birthday on {v}.", "Every year on {v} I turn a year older."),
        (),
        ("The birthday of {p} is on {v}.", "{p} was born on {v}.", "{p} has a birthday on {v}.", "Every year on {v} {p} turns a year older."),
        ("When is my birthday?", "On which day was I born?", "On what date do I turn a year older?", "Which date is my birthday?"),
        (),
        ("When is the birthday of {n}?", "On which day was {n} born?", "On what date does {n} turn a year older?", "Which date is the birthday of {n}?"),
    ),
    Attribute(
        "home",
        tuple(CITIES),
        ("I live in {v}.", "My flat is in {v}.", "I have my home in {v}.", "I am based in {v}."),
        ("I have moved to {v}.", "I live in {v} now.", "My new home is in {v}.", "I have settled in {v} now."),
        ("{p} lives in {v}.", "{p} has a flat in {v}.", "{p} is based in {v}.", "{p} has made a home in {v}."),
        ("Which city do I live in?", "What city is my flat in?", "Where is my home?", "In which city am I based?"),
        ("Where did I live before this?", "Which city did I live in before this one?", "What was my home before the present one?", "Which city did I leave last?"),
        ("Where does {n} live?", "Which city does {n} live in?", "In which city is {n} based?", "Where is the home of {n}?"),
        changed_theirs=("{p} has moved to {v}.", "{p} now lives in {v}.", "The new home of {p} is in {v}.", "{p} has settled in {v} now."),
    ),
    Attribute(
        "job",
        tuple(JOBS),
        ("I work as {a}.", "My job is that of {a}.", "I earn my living as {a}.", "By trade I am {a}."),
        ("I have started to work as {a}.", "I now work as {a}.", "I have become {a}.", "My trade is now that of {a}."),
        ("{p} works as {a}.", "{p} has a job as {a}.", "{p} is {a} by trade.", "{p} earns a living as {a}."),
        ("What do I work as?", "What is my job?", "What is my trade?", "How do I earn my living?"),
        ("What did I work as before this?", "What was my job before this one?", "What was my trade before the present one?", "Which trade did I give up last?"),
        ("What does {n} work as?", "What is the job of {n}?", "What is the trade of {n}?", "How does {n} earn a living?"),
        changed_theirs=("{p} has started to work as {a}.", "{p} now works as {a}.", "{p} has become {a}.", "The trade of {p} is now that of {a}."),
    ),
    Attribute(
        "pet",
        (),
        ("I keep {a}.", "I have {a} at home.", "{a} shares my flat.", "My pet is {a}."),
        (),
        ("{p} keeps {a}.", "{p} owns {a}.", "{p} looks after {a}.", "{p} shares a flat with {a}."),
        ("Which pet do I keep?", "What pet do I have?", "Which animal shares my flat?", "What is my pet?"),
        (),
        ("Which pet does {n} keep?", "What pet does {n} have?", "Which animal does {n} look after?", "What animal lives with {n}?"),
    ),
    Attribute(
        "allergy",
        tuple(ALLERGENS),
        ("I am allergic to {v}.", "I have an allergy to {v}.", "My body does not tolerate {v} at all.", "The doctor says that I must avoid {v}."),
        (),
        ("{p} is allergic to {v}.", "{p} has an allergy to {v}.", "{p} does not tolerate {v} at all.", "{p} must avoid {v}, the doctor says."),
        ("What am I allergic to?", "Which allergy do I have?", "What does my body not tolerate?", "What must I avoid, as the doctor says?"),
        (),
        ("What is {n} allergic to?", "Which allergy does {n} have?", "What does {n} not tolerate?", "What must {n} avoid, as the doctor says?"),
    ),
    Attribute(
        "instrument",
        tuple(INSTRUMENTS),
        ("I play the {v}.", "I take lessons on the {v}.", "The instrument I practise is the {v}.", "In the evenings I make music on the {v}."),
        ("I play the {v} now.", "I have changed to lessons on the {v}.", "The instrument I practise now is the {v}.", "In the evenings I now make music on the {v}."),
        ("{p} plays the {v}.", "{p} takes lessons on the {v}.", "{p} practises the {v}.", "{p} makes music on the {v}."),
        ("Which instrument do I play?", "On which instrument do I take lessons?", "Which instrument do I practise?", "On what do I make music?"),
        ("Which instrument did I play before this one?", "On which instrument did I take lessons before this one?", "Which instrument did I practise just before the present one?", "On what did I make music before the present instrument?"),
        ("Which instrument does {n} play?", "On which instrument does {n} take lessons?", "Which instrument does {n} practise?", "On what does {n} make music?"),
    ),
    Attribute(
        "food",
        tuple(FOODS),
        ("What I like best to eat is {v}.", "My favorite dish is {v}.", "Nothing beats {v} for me.", "I would eat {v} every day."),
        ("I have come to like {v} best.", "My favorite dish is {v} now.", "These days nothing beats {v} for me.", "I now would eat {v} every day."),
        (),
        ("What is my favorite dish?", "What do I like best to eat?", "Which dish beats all for me?", "What would I eat every day?"),
        ("What was my favorite dish before this one?", "What did I like best to eat before this?", "Which dish did I last prefer to all others before the present one?", "What was my favorite dish just before the present one?"),
        (),
        "preference",
    ),
    Attribute(
        "drink",
        tuple(DRINKS),
        ("The drink I like best is {v}.", "I always order {v} to drink.", "To drink, I prefer {v} to all else.", "When I am thirsty I reach for {v}."),
        ("The drink I like best is {v} now.", "I always order {v} to drink now.", "To drink, I now prefer {v} to all else.", "When I am thirsty I now reach for {v}."),
        (),
        ("Which drink do I like best?", "What do I always order to drink?", "What do I prefer to drink?", "What do I reach for when I am thirsty?"),
        ("Which drink did I like best before this one?", "What did I always order to drink before this?", "What did I prefer to drink before the present choice?", "What did I reach for when thirsty, just before the present drink?"),
        (),
        "preference",
    ),
    Attribute(
        "sport",
        tuple(SPORTS),
        ("I spend my weekends on {v}.", "My sport is {v}.", "I train {v} twice a week.", "For exercise I do {v}."),
        ("I have switched to {v} as my sport.", "My sport is {v} now.", "I have taken up {v} as my only sport.", "For exercise I now do {v}."),
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
ASK_COUNT_THERE = (
    "How many outings in {c} did I make with {n}?", "How often did I go somewhere in {c} with {n}?",
    "With {n}, how many outings in {c} were there?", "What is the number of outings in {c} that I made with {n}?",
)  # fmt: skip
INTRODUCTIONS = (
    "{n} is {x} of mine.", "I have {x} called {n}.", "I should tell you of {n}, {x} of mine.", "The name of {x} of mine is {n}.",
)  # fmt: skip
"""`{x}` is "an aunt"."""
ASK_RELATION = ("Who is {n} to me?", "How is {n} connected to me?", "What is {n} to me?", "In what relation does {n} stand to me?")  # fmt: skip
ASK_HOP = (
    "Where does the owner of the {v} live?", "Which city does the person with the {v} live in?",
    "In which city is the keeper of the {v} based?", "Where is the home of whoever has the {v}?",
)  # fmt: skip
ASK_HOP_JOB = (
    "What does the owner of the {v} work as?", "What is the job of the person with the {v}?",
    "What is the trade of the keeper of the {v}?", "How does whoever has the {v} earn a living?",
)  # fmt: skip
OPENERS = (
    "Here is some news.", "Before I forget.", "I have something to tell you.", "It has been a long week.",
    "A small update from me.", "You may want to know this.", "Let me add one thing.", "I only have a minute.",
)  # fmt: skip
REPLIES = (
    "Thank you for telling me.", "Good to know.", "I see.", "That sounds good.", "Thanks, I have that.", "All right.",
    "Noted.", "Understood.", "How nice.", "I will remember that.", "Thanks for the update.", "Got it.",
)  # fmt: skip
CHATTER = (
    ("Can you recommend a book about {city}?", "There are several good ones; a travel guide is a fair start."),
    ("Do you think {job} has an easy life?", "It depends on the day, I suppose."),
    ("How do people cook {food}?", "Slowly, and with good ingredients."),
    ("Is {sport} hard to learn?", "The beginning is, as with most things."),
    ("What does {pet} eat?", "A breeder can tell you exactly; much depends on its age."),
    ("It rained all day and nothing happened.", "Such days are good for resting."),
    ("Could you explain how tides work?", "The moon pulls at the sea, and the earth turns below it."),
    ("{n} sends you greetings.", "Please send mine in return."),
    ("I had a long talk with {n} on the phone.", "It is pleasant to catch up."),
    ("Is it true that {allergen} can be dangerous for some people?", "For some it can; a doctor should decide that."),
    ("How old is the tradition of the {instrument}?", "Older than most people guess."),
    ("Is {drink} better hot or cold?", "Try both and see which suits the season."),
    ("How many bones are in a human hand?", "Twenty-seven in each."),
    ("A friend of a friend wants to become {job}.", "A short internship would show whether it fits."),
    ("Somebody on the train carried {pet} in a basket.", "That must have been a sight."),
    ("I read an article on the history of {city}.", "Old towns have much to tell."),
    ("Write me a line for a birthday card.", "May the coming year be kind to you."),
    ("{n} laughed a lot at that joke about the {venue}.", "Humor is a good sign."),
    ("What is a good way to fall asleep?", "Keep the room dark and put screens away early."),
    ("Can you name a film in which {job} is the hero?", "I know of a few, though none is famous."),
    ("Is the weather in {city} mild?", "It changes a lot over the year."),
    ("What would {job} say to that?", "Probably something practical."),
    ("I slept badly.", "I hope that tonight is better."),
    ("Can one keep {food} in the fridge?", "For a day or two, well covered."),
    ("How many hours a week do people train for {sport}?", "Anything from two to twenty."),
    ("How do you train {pet}?", "With patience and small rewards."),
    ("{n} asked how you are.", "That is kind; I am well."),
    ("I could not reach {n} this morning.", "Perhaps a message would help."),
    ("Do supermarkets label {allergen} on their packets?", "In most countries the law asks for it."),
    ("What does a good {instrument} cost?", "Prices vary widely; a used one is enough at first."),
    ("Who drinks {drink} in winter?", "More people than you would expect."),
    ("Why is the sky blue?", "Air scatters blue light more than red."),
    ("My cousin's neighbor's son dreams of being {job}.", "Dreams like this one are worth a try."),
    ("There was {pet} on the cover of a magazine.", "Animals sell well."),
    ("They showed a report about {city} on television.", "Such reports make one want to travel."),
    ("Give me a word that rhymes with moon.", "Spoon is the usual choice."),
    ("{n} told me a long story about some {venue}.", "Some people are gifted storytellers."),
    ("How can I remember my passwords?", "A password manager is the safest way."),
    ("Is there a poem about {job}?", "Surely, though I cannot quote one."),
    ("I have a headache today.", "Drink some water and take a break."),
)  # fmt: skip
"""What nobody asks about; the second half for evaluation. `{n}`: somebody who was introduced."""


def article(words: str) -> str:
    """Return the words with "a" or "an" before them."""
    return f"{'an' if words[0].lower() in 'aeiou' else 'a'} {words}"


def phrasings(options: tuple[T, ...], split: Split | None) -> tuple[T, ...]:
    """Return those of a split."""
    half = len(options) // 2
    return options if split is None else options[:half] if split == "train" else options[half:]


@cache
def _divided(options: tuple[str, ...], split: Split | None) -> tuple[str, ...]:
    return tuple(option for option in options if in_split(option, split, EVAL_SHARE))


def values(options: tuple[str, ...] | list[str], split: Split | None) -> tuple[str, ...]:
    """Return those of a split."""
    return _divided(tuple(options), split)
