"""What a node answers, and to whom."""

from __future__ import annotations

from springline.transport.discovery import serving
from springline.transport.discovery.datagrams import (
    NO_TOKEN,
    Again,
    Answer,
    Contact,
    Find,
    Question,
    Store,
    Stored,
    Told,
    pack,
)
from springline.transport.discovery.parcels import make, place_of
from springline.transport.discovery.records import RECORD_SIZE
from springline.transport.discovery.routes import Routes
from springline.transport.discovery.serving import TOKEN_SERVES, Servant, Tokens
from springline.transport.discovery.shelf import Shelf

OWN, THEY, CALL = b"o" * 20, b"t" * 20, b"c" * 8
SECRET = b"s" * 32
HOME = ("192.0.2.1", 7400)
PARCEL = make(SECRET, bytes(RECORD_SIZE), 1)


class Node:
    def __init__(self) -> None:
        self.shelf, self.routes = Shelf(), Routes(OWN)
        self.servant = Servant(OWN, self.shelf, self.routes)
        self.now = 0.0

    def ask(self, asked: Question, at: tuple[str, int] = HOME) -> Answer | None:
        return self.servant.answer(asked, at, self.now)

    def token(self, at: tuple[str, int] = HOME) -> bytes:
        answer = self.ask(Find(CALL, THEY, True, NO_TOKEN, bytes(20)), at)
        assert isinstance(answer, Again)
        return answer.token

    def find(self, at: tuple[str, int] = HOME, guest: bool = False, place: bytes = PARCEL.place) -> Told:
        told = self.ask(Find(CALL, THEY, guest, self.token(at), place), at)
        assert isinstance(told, Told)
        return told


def test_what_is_stored_is_told() -> None:
    node = Node()
    stored = node.ask(Store(CALL, THEY, False, node.token(), PARCEL.packed))
    assert isinstance(stored, Stored)
    assert stored.kept
    assert node.find().parcels == (PARCEL.packed,)
    assert node.find(place=bytes(20)).parcels == ()


def test_who_seems_to_be_elsewhere_gets_less_than_it_has_sent() -> None:
    node = Node()
    for number in range(8):
        node.routes.add(Contact(bytes([number]) * 20, f"9.9.{number}.9", 1))
    stolen = node.token(("192.0.2.66", 7400))
    for asked in (
        Find(CALL, THEY, False, NO_TOKEN, PARCEL.place),
        Find(CALL, THEY, False, stolen, PARCEL.place),
        Store(CALL, THEY, False, stolen, PARCEL.packed),
    ):
        answer = node.ask(asked)
        assert isinstance(answer, Again)
        assert len(pack(answer)) < len(pack(asked))
    assert len(node.shelf) == 0
    assert HOME not in [contact.at for contact in node.routes.nearest(OWN)]


def test_what_is_not_signed_for_its_place_is_not_kept() -> None:
    node = Node()
    for at in range(0, len(PARCEL.packed), 17):
        forged = bytearray(PARCEL.packed)
        forged[at] ^= 1
        stored = node.ask(Store(CALL, THEY, False, node.token(), bytes(forged)))
        assert isinstance(stored, Stored)
        assert not stored.kept
    assert len(node.shelf) == 0


def test_who_is_there_and_can_be_asked_becomes_known() -> None:
    node = Node()
    node.find(guest=True)
    assert len(node.routes) == 0
    node.find()
    assert node.routes.nearest(OWN) == (Contact(THEY, *HOME),)
    assert node.find().contacts == ()  # who asks is not told of itself
    assert node.find(("192.0.2.2", 9)).contacts == (Contact(THEY, *HOME),)


def test_nobody_is_told_of_what_it_can_not_reach() -> None:
    node = Node()
    node.routes.add(Contact(b"1" * 20, "127.0.0.1", 1))
    node.routes.add(Contact(b"2" * 20, "10.0.0.1", 1))
    node.routes.add(Contact(b"3" * 20, "9.9.9.9", 1))
    assert [one.ip for one in node.find(("9.9.9.10", 1), guest=True).contacts] == ["9.9.9.9"]
    assert {one.ip for one in node.find(("10.0.0.7", 1), guest=True).contacts} == {"9.9.9.9", "10.0.0.1"}
    assert len(node.find(("127.0.0.1", 2), guest=True).contacts) == 3


def test_a_flood_is_answered_at_its_pace_and_others_are_served() -> None:
    node = Node()
    flood = ("192.0.2.66", 1)
    answers = [node.ask(Find(CALL, THEY, False, NO_TOKEN, bytes(20)), flood) for _ in range(5000)]
    assert sum(answer is not None for answer in answers) == serving.EACH[1]
    assert node.find() is not None
    node.now += 1.0
    answers = [node.ask(Find(CALL, THEY, False, NO_TOKEN, bytes(20)), flood) for _ in range(5000)]
    assert sum(answer is not None for answer in answers) == serving.EACH[0]


def test_a_token_serves_for_a_while() -> None:
    tokens = Tokens()
    now = 1000.0
    token = tokens.give(HOME, now)
    assert tokens.is_good(token, HOME, now + TOKEN_SERVES)
    assert not tokens.is_good(token, ("192.0.2.1", 7401), now)
    assert not tokens.is_good(token, HOME, now + 3 * TOKEN_SERVES)
    assert not tokens.is_good(NO_TOKEN, HOME, now)


def test_a_token_that_nobody_used_for_long_is_not_kept() -> None:
    tokens = Tokens()
    token = tokens.give(HOME, 1000.0)
    assert not tokens.is_good(token, HOME, 1000.0 + 100 * TOKEN_SERVES)


def test_its_place_tells_nothing_of_the_secret() -> None:
    assert SECRET not in PARCEL.packed
    assert place_of(SECRET) == PARCEL.place
