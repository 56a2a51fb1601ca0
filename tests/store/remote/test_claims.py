"""Claims: one holder, a successor once a lease is over, and nobody's clock is compared with another's."""

import threading
from concurrent.futures import ThreadPoolExecutor

from microtome.store.remote.claims import Claims

NAME = "extract/a-00000000"


class Clock:
    """A machine's own clock; it may show anything."""

    def __init__(self, now=0.0):
        self.now = now

    def __call__(self):
        return self.now


def machine(objects, name, clock=None):
    return Claims(objects, f"{name} 1", lease=60, clock=clock or Clock())


def test_of_sixteen_racers_one_wins(objects):
    start = threading.Barrier(16)

    def race(number):
        claims = machine(objects, f"m{number}")
        start.wait()
        return claims.take(NAME)

    with ThreadPoolExecutor(16) as pool:
        assert sum(claim is not None for claim in pool.map(race, range(16))) == 1


def test_a_holder_that_renews_is_not_succeeded(objects):
    claim, clock = machine(objects, "first").take(NAME), Clock(1e9)
    second = machine(objects, "second", clock)
    for _ in range(5):
        assert second.take(NAME) is None
        clock.now += 59
        assert claim.renew()


def test_a_holder_that_died_is_succeeded_after_its_lease_by_one(objects):
    dead, clock = machine(objects, "dead").take(NAME), Clock(5.0)
    others = [machine(objects, f"m{number}", clock) for number in range(16)]
    assert [other.take(NAME) for other in others] == [None] * 16
    clock.now += 59
    assert [other.take(NAME) for other in others] == [None] * 16
    clock.now += 1
    with ThreadPoolExecutor(16) as pool:
        claims = list(pool.map(lambda other: other.take(NAME), others))
    assert sum(claim is not None for claim in claims) == 1
    assert not dead.renew()
    assert dead.lost


def test_one_that_comes_back_late_gives_nothing_up_that_is_not_its_own(objects):
    dead, clock = machine(objects, "dead").take(NAME), Clock()
    second = machine(objects, "second", clock)
    second.take(NAME)
    clock.now += 60
    claim = second.take(NAME)
    dead.give_up(done=True)
    assert claim.renew()
    assert machine(objects, "third").take(NAME) is None


def test_what_is_given_up_is_free_at_once(objects):
    machine(objects, "first").take(NAME).give_up(done=True)
    assert machine(objects, "second").take(NAME) is not None


def test_a_machine_that_starts_again_has_its_own_claim_at_once(objects):
    machine(objects, "first").take(NAME)
    assert machine(objects, "first").take(NAME) is not None


def test_two_processes_of_one_machine_hold_a_claim_together(objects):
    one, other = machine(objects, "first").take(NAME), machine(objects, "first").take(NAME)
    assert all(claim.renew() for claim in (one, other, one))
    other.give_up(done=True)
    assert one.renew()
    assert machine(objects, "second").take(NAME) is None


def test_a_successor_is_told_of_the_attempts_until_one_is_done(objects):
    first, clock = machine(objects, "first").take(NAME), Clock()
    assert first.attempts() == {}
    first.attempts = lambda: {"attempt-1": 12.5}
    assert first.renew()
    second = machine(objects, "second", clock)
    assert second.take(NAME) is None
    clock.now += 60
    claim = second.take(NAME)
    assert claim.attempts() == {"attempt-1": 12.5}
    claim.give_up(done=False)
    third = machine(objects, "third").take(NAME)
    assert third.attempts() == {"attempt-1": 12.5}
    third.give_up(done=True)
    assert machine(objects, "fourth").take(NAME).attempts() == {}


def test_a_claim_of_a_version_that_wrote_no_attempts_is_taken(objects):
    objects.put(f"claims/{NAME}.json", b'{"holder": "", "write": "a"}')
    assert machine(objects, "first").take(NAME).attempts() == {}


def test_it_is_known_who_holds_a_claim(objects):
    assert machine(objects, "second").holder_of(NAME) == ""
    machine(objects, "first").take(NAME)
    assert machine(objects, "second").holder_of(NAME) == "first"
