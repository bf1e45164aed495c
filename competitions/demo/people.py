"""Who stands in the demo competition: people with their labels, and the seven photos each of them gives."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from competitions.demo.drawing import MASK_STATES

RACE = "Asian"  # the only one in the real data
GENDERS = ("male", "female")
AGE_GROUPS = ("young", "middle", "old")
FILES = {**{f"mask{k}": "wear" for k in range(1, 6)}, "incorrect_mask": "incorrect", "normal": "normal"}
# People per (gender, age group): the training side has few old people, the test side more of them and more men.
TRAIN_PEOPLE = {("male", 0): 23, ("male", 1): 23, ("male", 2): 4, ("female", 0): 33, ("female", 1): 32, ("female", 2): 5}
TEST_PEOPLE = {("male", 0): 17, ("male", 1): 20, ("male", 2): 7, ("female", 0): 14, ("female", 1): 17, ("female", 2): 5}


@dataclass(frozen=True)
class Person:
    """`gender` is what the labels say, `shown` what is drawn; they differ only for a planted fault."""

    number: str
    gender: str
    shown: str
    age: int

    @property
    def age_group(self) -> str:
        """Cut at 30 and 60 years."""
        return AGE_GROUPS[(self.age >= 30) + (self.age >= 60)]

    @property
    def folder(self) -> str:
        """`<number>_<gender>_<race>_<age>`, as the labels have it."""
        return f"{self.number}_{self.gender}_{RACE}_{self.age}"


@dataclass(frozen=True)
class DemoPhoto:
    """`state` is what the labels say, `shown` what is drawn; they differ only for a planted fault."""

    photo: str
    path: str
    person: Person
    state: str
    shown: str

    @property
    def answer(self) -> int:
        """The composed class, mask*6 + gender*3 + age."""
        return MASK_STATES.index(self.state) * 6 + GENDERS.index(self.person.gender) * 3 + AGE_GROUPS.index(self.person.age_group)


def invent_people(rng: Generator, counts: dict[tuple[str, int], int], first: str) -> list[Person]:
    """People in the order of their numbers, which begin with the digit `first`, so that no number stands on both sides."""
    kinds = [kind for kind, n in counts.items() for _ in range(n)]
    numbers = np.sort(rng.choice(np.arange(1, 7000), len(kinds), replace=False))
    order = rng.permutation(len(kinds))
    made = []
    for number, k in zip(numbers, order, strict=True):
        gender, group = kinds[k]
        made.append(Person(f"{first}{number:05d}", gender, gender, _age(rng, group)))
    return made


def train_photo(person: Person, file: str) -> DemoPhoto:
    """The photo whose file name says the mask state: one of `FILES`."""
    photo = f"{person.folder}/{file}.png"
    return DemoPhoto(photo, f"train/images/{photo}", person, FILES[file], FILES[file])


def test_photos(rng: Generator, people: Sequence[Person]) -> list[DemoPhoto]:
    """All photos of these people, shuffled, under random names."""
    shots = [(person, state) for person in people for state in FILES.values()]
    photos = []
    for k in rng.permutation(len(shots)):
        name, (person, state) = f"{rng.bytes(16).hex()}.png", shots[k]
        photos.append(DemoPhoto(name, f"eval/images/{name}", person, state, state))
    return photos


def _age(rng: Generator, group: int) -> int:
    """Years: the middle group is mostly near sixty, as in the real competition."""
    if group == 1 and rng.random() < 0.55:
        return int(rng.integers(44, 60))
    return int(rng.integers(*((18, 30), (30, 60), (60, 74))[group]))
