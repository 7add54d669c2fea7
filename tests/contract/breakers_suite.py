"""What every store of circuit breakers must do. Subclasses give a `BreakersWorld`."""

import asyncio
from uuid import UUID

import msgspec
import pytest

from penstock.kernel.clock import SystemClock
from penstock.kernel.errors import InputInvalid
from penstock.kernel.ids import new_id
from penstock.ports.breakers import (
    BREAKERS_MAX,
    OTHER,
    VALUES_MAX,
    WINDOW_MAX_SECONDS,
    Breaker,
    Breakers,
    Circuit,
    Condition,
    Key,
    Report,
    Tally,
)

FAILURES = (Condition("failures", limit=5),)
MODELS = Breaker("acme", "models", "model", "*", FAILURES, open_seconds=10)
GPT: Key = ("acme", "models", "gpt")


def unique() -> UUID:
    return new_id(SystemClock())


class BreakersWorld:
    """A store, and control over its time. Subclasses know the store."""

    breakers: Breakers

    async def advance(self, seconds: float) -> None:
        raise NotImplementedError

    async def circuit(self, key: Key = GPT) -> Circuit:
        circuits = (await self.breakers.view()).circuits
        return next((circuit for circuit in circuits if circuit.key == key), Circuit(*key))

    async def trip(self, key: Key = GPT, generation: int | None = 0, trip: UUID | None = None) -> bool:
        return await self.breakers.trip(key, generation, trip or unique(), 10, "worker-1", b'{"words":"bad"}')

    async def state(self, key: Key = GPT) -> str:
        return (await self.circuit(key)).state((await self.breakers.view()).now)


class TrippingSuite:
    async def test_a_breaker_is_kept_changed_and_removed(self, world: BreakersWorld) -> None:
        store = world.breakers
        whole = msgspec.structs.replace(
            MODELS,
            conditions=(Condition("cost_mean", limit=2.0, calls=50, baseline=500), *FAILURES),
            meanwhile="fallback",
            fallback="small",
            cancel_in_flight=False,
        )
        before = await store.version()
        await store.put(whole, "ops")
        await store.put(msgspec.structs.replace(MODELS, tenant="other"), "ops")
        view = await store.view()
        assert view.breakers == (whole, msgspec.structs.replace(MODELS, tenant="other"))
        assert view.version > before
        await store.put(MODELS, "ops")
        await world.trip()
        assert await store.remove("acme", "models")
        assert not await store.remove("acme", "models")
        view = await store.view()
        assert ([breaker.tenant for breaker in view.breakers], view.circuits) == (["other"], ())
        assert [trip.name for trip in await store.trips("acme", None, None, 10)] == ["models"]
        assert not await world.trip(), "the breaker is gone"

    async def test_a_circuit_trips_once_whoever_asks(self, world: BreakersWorld) -> None:
        await world.breakers.put(MODELS, "ops")
        before = await world.breakers.version()
        done = await asyncio.gather(*(world.trip() for _ in range(5)))
        assert sorted(done) == [False] * 4 + [True]
        assert await world.state() == "open"
        assert (await world.circuit()).generation == 1
        assert await world.breakers.version() > before
        assert len(await world.breakers.trips("acme", "models", None, 10)) == 1

    async def test_a_trip_sent_again_is_the_same_trip(self, world: BreakersWorld) -> None:
        await world.breakers.put(MODELS, "ops")
        trip = unique()
        assert await world.trip(trip=trip)
        assert await world.trip(trip=trip)
        (known,) = await world.breakers.trips("acme", None, None, 10)
        assert (known.id, known.value, known.by, known.evidence, known.sealed, known.closed_at) == (
            trip,
            "gpt",
            "worker-1",
            b'{"words":"bad"}',
            True,
            None,
        )

    async def test_a_person_trips_it_whatever_its_generation_and_for_longer(self, world: BreakersWorld) -> None:
        await world.breakers.put(MODELS, "ops")
        assert await world.trip()
        assert await world.breakers.trip(GPT, None, unique(), 100, "anna", b"{}")
        await world.advance(50)
        assert await world.state() == "open"
        newest, older = await world.breakers.trips("acme", None, None, 10)
        assert (newest.by, newest.closed_at, older.closed_by) == ("anna", None, "anna")

    async def test_a_reset_closes_it_and_says_who(self, world: BreakersWorld) -> None:
        store = world.breakers
        await store.put(MODELS, "ops")
        await world.trip()
        await world.trip(("acme", "models", "claude"))
        generation = (await world.circuit()).generation
        assert await store.reset("acme", "models", "gpt", "anna") == 1
        assert (await world.state(), await world.state(("acme", "models", "claude"))) == ("closed", "open")
        assert (await world.circuit()).generation > generation
        assert await store.reset("acme", "models", None, "anna") == 1
        assert {trip.closed_by for trip in await store.trips("acme", None, None, 10)} == {"anna"}
        assert await store.reset("acme", "none", None, "anna") == 0

    async def test_trips_come_in_pages_newest_first(self, world: BreakersWorld) -> None:
        store = world.breakers
        await store.put(MODELS, "ops")
        for _ in range(5):
            await world.trip(generation=None)
        first = await store.trips("acme", "models", None, 3)
        rest = await store.trips("acme", "models", (first[-1].at, first[-1].id), 3)
        found = [*first, *rest]
        assert len(found) == 5
        assert found == sorted(found, key=lambda trip: (trip.at, trip.id.bytes), reverse=True)
        assert await store.trips("acme", "others", None, 3) == []
        assert await store.trips("nobody", None, None, 3) == []

    async def test_there_is_a_bound_of_breakers(self, world: BreakersWorld) -> None:
        for number in range(BREAKERS_MAX):
            await world.breakers.put(msgspec.structs.replace(MODELS, name=f"b{number}"), "ops")
        with pytest.raises(InputInvalid):
            await world.breakers.put(msgspec.structs.replace(MODELS, name="more"), "ops")
        await world.breakers.put(msgspec.structs.replace(MODELS, name="b7", probes=9), "ops")


class ProbingSuite:
    async def test_one_probe_at_a_time_when_its_time_has_come(self, world: BreakersWorld) -> None:
        store = world.breakers
        await store.put(MODELS, "ops")
        await world.trip()
        assert not await store.probe(GPT, 1, unique(), 30), "it is open"
        await world.advance(11)
        assert await world.state() == "half_open"
        holders = [unique() for _ in range(5)]
        got = await asyncio.gather(*(store.probe(GPT, 1, holder, 30) for holder in holders))
        assert sum(got) == 1
        assert not await store.probe(GPT, 0, unique(), 30), "of another generation"

    async def test_it_closes_after_so_many_good_probes(self, world: BreakersWorld) -> None:
        store, holder = world.breakers, unique()
        await store.put(MODELS, "ops")
        await world.trip()
        await world.advance(11)
        for wanted in ("half_open", "half_open", "closed"):
            assert await store.probe(GPT, 1, holder, 30)
            await store.probed(GPT, 1, holder, True, 3, 10)
            assert await world.state() == wanted
        (trip,) = await store.trips("acme", None, None, 10)
        assert trip.closed_by == "probes"
        assert trip.closed_at is not None
        assert (await world.circuit()).generation == 2

    async def test_a_bad_probe_opens_it_again(self, world: BreakersWorld) -> None:
        store, holder = world.breakers, unique()
        await store.put(MODELS, "ops")
        await world.trip()
        await world.advance(11)
        assert await store.probe(GPT, 1, holder, 30)
        version = await store.version()
        await store.probed(GPT, 1, holder, False, 3, 20)
        assert await store.version() > version
        await world.advance(15)
        assert await world.state() == "open"
        await world.advance(6)
        assert await world.state() == "half_open"
        assert len(await store.trips("acme", None, None, 10)) == 1, "it is the same trip"

    async def test_a_probe_that_was_not_made_leaves_its_place(self, world: BreakersWorld) -> None:
        store, holder = world.breakers, unique()
        await store.put(MODELS, "ops")
        await world.trip()
        await world.advance(11)
        assert await store.probe(GPT, 1, holder, 30)
        await store.probed(GPT, 1, holder, None, 3, 10)
        assert await store.probe(GPT, 1, unique(), 30)

    async def test_the_probe_of_a_dead_worker_is_given_to_another(self, world: BreakersWorld) -> None:
        store, dead, other = world.breakers, unique(), unique()
        await store.put(MODELS, "ops")
        await world.trip()
        await world.advance(11)
        assert await store.probe(GPT, 1, dead, 30)
        await world.advance(31)
        assert await store.probe(GPT, 1, other, 30)
        await store.probed(GPT, 1, dead, True, 1, 10)
        assert await world.state() == "half_open", "what the dead one says counts no more"
        await store.probed(GPT, 1, other, True, 1, 10)
        assert await world.state() == "closed"


class SharingSuite:
    async def test_each_hears_of_the_others_once(self, world: BreakersWorld) -> None:
        store, one, two = world.breakers, unique(), unique()
        await store.put(MODELS, "ops")
        tally = Tally(5, 2, 1, 1, 700, 5, 700, 1.5, 0.25, 2.0, 0.5)
        heard = await store.share(one, 0, [Report(GPT, 0, tally)])
        assert heard.others == []
        heard = await store.share(two, 0, [Report(("acme", "models", "claude"), 0, Tally(1))])
        assert [(key, generation, got) for key, generation, _, got in heard.others] == [(GPT, 0, tally)]
        assert abs(heard.others[0][2] - heard.now) < 60_000_000
        again = await store.share(two, heard.cursor, [])
        assert again.others == []
        third = await store.share(one, 0, [])
        assert [key for key, *_ in third.others] == [("acme", "models", "claude")]

    async def test_what_is_of_another_generation_counts_for_nothing(self, world: BreakersWorld) -> None:
        store, one, two = world.breakers, unique(), unique()
        await store.put(MODELS, "ops")
        await world.trip()
        heard = await store.share(one, 0, [Report(GPT, 0, Tally(5), learn=10)])
        assert heard.bases == []
        assert (await store.share(two, 0, [])).others == []
        assert (await store.share(one, 0, [Report(("acme", "none", "x"), 0, Tally(5))])).bases == []

    async def test_a_baseline_is_learned_from_all_and_then_stays(self, world: BreakersWorld) -> None:
        store, one, two = world.breakers, unique(), unique()
        await store.put(MODELS, "ops")
        report = Report(GPT, 0, Tally(calls=6, samples=6, sampled=600), learn=10)
        assert (await store.share(one, 0, [report])).bases == [(GPT, 6, 600)]
        assert (await store.share(two, 0, [report])).bases == [(GPT, 12, 1200)]
        assert (await store.share(one, 0, [report])).bases == [(GPT, 12, 1200)]
        circuit = await world.circuit()
        assert (circuit.base_samples, circuit.base_nano) == (12, 1200)
        await store.reset("acme", "models", None, "anna", relearn=True)
        circuit = await world.circuit()
        assert (circuit.base_samples, circuit.base_nano) == (0, 0)

    async def test_a_reference_is_learned_once(self, world: BreakersWorld) -> None:
        store = world.breakers
        await store.put(MODELS, "ops")
        assert await store.learn(GPT, b"first") == b"first"
        assert await store.learn(GPT, b"second") == b"first"
        assert (await world.circuit()).reference == b"first"
        await store.reset("acme", "models", "gpt", "anna", relearn=True)
        assert await store.learn(GPT, b"third") == b"third"

    async def test_values_beyond_the_bound_share_one_circuit(self, world: BreakersWorld) -> None:
        store, one = world.breakers, unique()
        await store.put(MODELS, "ops")
        keys = [("acme", "models", f"m{number:04}") for number in range(VALUES_MAX + 20)]
        for start in range(0, len(keys), 30):
            await store.share(one, 0, [Report(key, 0, Tally(1)) for key in keys[start : start + 30]])
        circuits = (await store.view()).circuits
        assert len(circuits) == VALUES_MAX + 1
        heard = await store.share(unique(), 0, [])
        assert sum(key[2] == OTHER for key, *_ in heard.others) == 20
        assert await world.trip(("acme", "models", "yet another"))
        assert await world.state(("acme", "models", OTHER)) == "open"

    async def test_old_reports_are_not_told(self, world: BreakersWorld) -> None:
        store = world.breakers
        await store.put(MODELS, "ops")
        await store.share(unique(), 0, [Report(GPT, 0, Tally(5))])
        await world.advance(WINDOW_MAX_SECONDS + 1)
        assert (await store.share(unique(), 0, [])).others == []


class BreakersSuite(TrippingSuite, ProbingSuite, SharingSuite):
    """All of it."""
