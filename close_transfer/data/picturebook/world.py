"""Picturebook's world: kinds of things, colours, places, times, and the words for them.

Everything else in this package (drawing, captions, hypotheses, questions) is derived from these
tables, so a new kind of thing is one entry here and one function in ``shapes.py``.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of thing.

    Attributes:
        nouns: (singular, plural) word pairs, the plain name first, then synonyms.
        hypernym: the (singular, plural) of the wider class that people use instead.
        height: drawn height at medium size, as a fraction of the image's height.
        aspect: width divided by height.
        sky: True if drawn in the air rather than on the ground.
        indoors: True if plausible inside a kitchen or a bedroom.
        perches: True if small enough to sit on something else.
        surface: height at which something else can sit on it, as a fraction of its height from the top;
            None if nothing can.
        backdrop: True if big enough for something to be in front of it.
    """

    nouns: tuple[tuple[str, str], ...]
    hypernym: tuple[str, str]
    height: float
    aspect: float
    sky: bool = False
    indoors: bool = False
    perches: bool = False
    surface: float | None = None
    backdrop: bool = False

    @property
    def name(self) -> str:
        """Return the plain singular name."""
        return self.nouns[0][0]


ANIMAL = ("animal", "animals")
PERSON = ("person", "people")
VEHICLE = ("vehicle", "vehicles")
PLANT = ("plant", "plants")
BUILDING = ("building", "buildings")
TOY = ("toy", "toys")
SKY_OBJECT = ("thing in the sky", "things in the sky")
CONTAINER = ("container", "containers")

_KINDS = (
    Kind((("dog", "dogs"), ("hound", "hounds")), ANIMAL, 0.38, 1.25, indoors=True, perches=True),
    Kind((("cat", "cats"), ("kitty", "kitties")), ANIMAL, 0.39, 0.85, indoors=True, perches=True),
    Kind((("rabbit", "rabbits"), ("bunny", "bunnies")), ANIMAL, 0.39, 0.72, indoors=True, perches=True),
    Kind((("horse", "horses"), ("pony", "ponies")), ANIMAL, 0.54, 1.15, surface=0.34),
    Kind((("bird", "birds"), ("birdie", "birdies")), ANIMAL, 0.26, 1.3, indoors=True, perches=True),
    Kind((("man", "men"), ("guy", "guys")), PERSON, 0.6, 0.46, indoors=True),
    Kind((("woman", "women"), ("lady", "ladies")), PERSON, 0.6, 0.52, indoors=True),
    Kind((("car", "cars"), ("automobile", "automobiles")), VEHICLE, 0.31, 2.0, surface=0.04),
    Kind((("bus", "buses"), ("coach", "coaches")), VEHICLE, 0.45, 1.7, surface=0.02, backdrop=True),
    Kind((("boat", "boats"), ("sailboat", "sailboats")), VEHICLE, 0.56, 0.95),
    Kind((("plane", "planes"), ("airplane", "airplanes")), VEHICLE, 0.26, 2.1, sky=True),
    Kind((("tree", "trees"), ("oak", "oaks")), PLANT, 0.72, 0.72, backdrop=True),
    Kind((("flower", "flowers"), ("blossom", "blossoms")), PLANT, 0.4, 0.6, indoors=True),
    Kind((("house", "houses"), ("cottage", "cottages")), BUILDING, 0.61, 1.0, surface=0.02, backdrop=True),
    Kind((("ball", "balls"), ("beach ball", "beach balls")), TOY, 0.25, 1.0, indoors=True, perches=True),
    Kind((("balloon", "balloons"), ("party balloon", "party balloons")), TOY, 0.45, 0.55, sky=True, indoors=True),
    Kind((("star", "stars"), ("shining star", "shining stars")), SKY_OBJECT, 0.3, 1.0, sky=True),
    Kind((("box", "boxes"), ("crate", "crates")), CONTAINER, 0.47, 1.15, indoors=True, surface=0.3),
)  # fmt: skip

KINDS: dict[str, Kind] = {kind.name: kind for kind in _KINDS}

# Possible content of an open box.
BOX_CONTENTS = ("cat", "dog", "rabbit", "bird", "ball", "flower")

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (216, 36, 40),
    "orange": (247, 138, 30),
    "yellow": (252, 216, 48),
    "green": (40, 150, 66),
    "blue": (44, 92, 214),
    "purple": (126, 60, 172),
    "pink": (248, 142, 188),
    "brown": (128, 78, 42),
    "black": (38, 38, 44),
    "white": (248, 248, 246),
}

SIZES: dict[str, float] = {"small": 0.66, "medium": 1.0, "large": 1.34}
SIZE_WORDS: dict[str, tuple[str, ...]] = {
    "small": ("small", "little", "tiny"),
    "medium": (),
    "large": ("big", "large", "huge"),
}

NUMBER_WORDS = ("zero", "one", "two", "three", "four")

# Place: (plain answer to "where", ways to write it). The first way is the plainest.
PLACES: dict[str, tuple[str, tuple[str, ...]]] = {
    "park": ("park", ("in a park", "in the park", "on the grass of a park")),
    "beach": ("beach", ("on a beach", "at the beach", "on the sand by the sea")),
    "street": ("street", ("on a street", "on the road", "on a city street")),
    "snow": ("snow", ("in the snow", "on snowy ground", "in a snowy landscape")),
    "desert": ("desert", ("in a desert", "in the desert", "among desert dunes")),
    "farm": ("farm", ("on a farm", "in a farm field", "on a farm by a fence")),
    "kitchen": ("kitchen", ("in a kitchen", "in the kitchen", "on a tiled kitchen floor")),
    "bedroom": ("bedroom", ("in a bedroom", "in the bedroom", "on a bedroom carpet")),
}
INDOORS = ("kitchen", "bedroom")
OUTDOORS = tuple(place for place in PLACES if place not in INDOORS)

# Time of day: ways to write it. Indoor scenes have no window and so no time of day.
TIMES: dict[str, tuple[str, ...]] = {
    "day": ("during the day", "on a sunny day", "in bright daylight"),
    "sunset": ("at sunset", "in the evening", "as the sun goes down"),
    "night": ("at night", "in the dark", "under the night sky"),
}

# A clear image; thick fog that hides one side, so that more may be there; no colours at all.
VIEWS = ("clear", "fog", "black-and-white")

RELATIONS = ("left of", "above", "on", "in front of")


def list_kinds(hypernym: str) -> tuple[str, ...]:
    """Return the names of all kinds whose wider class is `hypernym`, for instance "animal"."""
    return tuple(name for name, kind in KINDS.items() if kind.hypernym[0] == hypernym)
