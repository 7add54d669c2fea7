"""What every store of shared rate limits must do. Subclasses give a `RatesWorld`."""

import asyncio
from uuid import UUID

from hypothesis import strategies as st

from penstock.kernel.clock import SystemClock
from penstock.kernel.ids import new_id
from penstock.ports.rates import AHEAD_US, Grant, Limit, LimitKey, Rates, Returned

SECOND = 1_000_000
LEASE = 15.0
GPT = Limit("*", "model", "openai:*", requests=60, burst=4)


def holder() -> UUID:
    return new_id(SystemClock())


class RatesWorld:
    """A store, and control over its time. Subclasses know the store."""

    rates: Rates
    shift = 0
    """Seconds by which earlier times must be moved back, where the clock itself cannot be moved."""

    async def advance(self, seconds: float) -> None:
        raise NotImplementedError

    async def limit(self, limit: Limit) -> LimitKey:
        await self.rates.set_limit(limit, "ops")
        return limit.key

    async def take(self, key: LimitKey | list[LimitKey], *asks: int, who: UUID | None = None, since: int = 0) -> Grant:
        keys = key if isinstance(key, list) else [key]
        return await self.rates.take(who or holder(), keys, list(asks), since, LEASE)


class LimitSuite:
    async def test_limits_are_set_changed_listed_by_key_and_removed(self, world: RatesWorld) -> None:
        other = Limit("acme", "tool", "crm.lookup", requests=5, concurrent=2)
        await world.limit(other)
        await world.limit(GPT)
        assert await world.rates.limits() == [GPT, other]
        changed = Limit("*", "model", "openai:*", tokens=9000)
        await world.limit(changed)
        assert await world.rates.limits() == [changed, other]
        assert await world.rates.remove_limit(changed.key)
        assert not await world.rates.remove_limit(changed.key)
        assert await world.rates.limits() == [other]

    async def test_a_limit_that_is_gone_limits_nothing(self, world: RatesWorld) -> None:
        grant = await world.take(GPT.key, *[1] * 50)
        assert len(grant.starts) == 50
        assert grant.in_the_way is None


class RequestSuite:
    async def test_a_burst_starts_at_once_and_the_rest_at_the_limits_pace(self, world: RatesWorld) -> None:
        key = await world.limit(GPT)
        grant = await world.take(key, *[1] * 10)
        ahead = [start - grant.now for start in grant.starts]
        assert ahead == [0, 0, 0, 0, SECOND], "four at once, a fifth within the time permits are given ahead"
        assert grant.in_the_way == key
        assert grant.retry_at - grant.now == 2 * SECOND

    async def test_what_one_asks_for_another_does_not_get(self, world: RatesWorld) -> None:
        key = await world.limit(GPT)
        first = await world.take(key, *[1] * 10)
        second = await world.take(key, *[1] * 10)
        assert len(first.starts) + len(second.starts) <= 6
        assert all(start >= first.starts[-1] for start in second.starts)

    async def test_no_minute_holds_more_than_the_limit(self, world: RatesWorld) -> None:
        key = await world.limit(Limit("*", "model", "m", requests=30, burst=30))
        starts: list[int] = []
        now = 0
        for _ in range(100):
            grant = await world.take(key, *[1] * 7)
            starts += [now + start - grant.now for start in grant.starts]
            await world.advance(1.7)
            now += int(1.7 * SECOND)
        assert len(starts) > 60, "the limit was reached more than twice"
        worst = max(sum(first <= start < first + 60 * SECOND for start in starts) for first in starts)
        assert worst <= 30

    async def test_a_limit_of_one_a_minute_lets_one_through(self, world: RatesWorld) -> None:
        key = await world.limit(Limit("*", "tool", "mail", requests=1))
        assert len((await world.take(key, 0, 0)).starts) == 1
        await world.advance(59)
        assert not (await world.take(key, 0)).starts
        await world.advance(5)
        assert len((await world.take(key, 0)).starts) == 1

    async def test_idle_time_is_not_saved_up(self, world: RatesWorld) -> None:
        key = await world.limit(GPT)
        await world.take(key, 1)
        await world.advance(600)
        grant = await world.take(key, *[1] * 10)
        assert sum(start == grant.now for start in grant.starts) == 4


class TokenSuite:
    async def test_tokens_of_a_minute_are_bounded_and_the_way_back_is_told(self, world: RatesWorld) -> None:
        key = await world.limit(Limit("*", "model", "m", tokens=1000))
        grant = await world.take(key, 400, 400, 400)
        assert len(grant.starts) == 2
        assert 55 * SECOND < grant.retry_at - grant.now <= 64 * SECOND
        await world.advance(64)
        assert len((await world.take(key, 400)).starts) == 1

    async def test_what_was_not_used_goes_back(self, world: RatesWorld) -> None:
        key = await world.limit(Limit("*", "model", "m", tokens=1000))
        who = holder()
        grant = await world.take(key, 900, who=who)
        assert not (await world.take(key, 800)).starts
        await world.rates.settle(who, [Returned(key, grant.starts[0] // SECOND, 700)], LEASE)
        assert len((await world.take(key, 800)).starts) == 1
        assert not (await world.take(key, 1)).starts

    async def test_what_was_used_beyond_the_reservation_counts(self, world: RatesWorld) -> None:
        key = await world.limit(Limit("*", "model", "m", tokens=1000))
        who = holder()
        grant = await world.take(key, 100, who=who)
        await world.rates.settle(who, [Returned(key, grant.starts[0] // SECOND, -850)], LEASE)
        assert not (await world.take(key, 100)).starts

    async def test_a_settlement_of_long_ago_changes_nothing(self, world: RatesWorld) -> None:
        key = await world.limit(Limit("*", "model", "m", tokens=1000))
        who = holder()
        grant = await world.take(key, 900, who=who)
        await world.advance(128)
        await world.take(key, 900, who=who)
        await world.rates.settle(who, [Returned(key, grant.starts[0] // SECOND - world.shift, 900)], LEASE)
        assert not (await world.take(key, 900)).starts

    async def test_a_call_larger_than_the_limit_goes_alone(self, world: RatesWorld) -> None:
        key = await world.limit(Limit("*", "model", "m", tokens=1000))
        await world.take(key, 1)
        assert not (await world.take(key, 5000)).starts
        await world.advance(64)
        assert len((await world.take(key, 5000)).starts) == 1
        assert not (await world.take(key, 1)).starts


class PlaceSuite:
    async def test_calls_at_a_time_are_bounded_across_holders(self, world: RatesWorld) -> None:
        key = await world.limit(Limit("*", "tool", "crm.*", concurrent=3))
        one, two = holder(), holder()
        assert len((await world.take(key, 0, 0, who=one)).starts) == 2
        grant = await world.take(key, 0, 0, who=two)
        assert (len(grant.starts), grant.in_the_way) == (1, key)
        await world.rates.settle(one, [Returned(key, places=1)], LEASE)
        assert len((await world.take(key, 0, 0, who=two)).starts) == 1

    async def test_the_dead_give_back_what_they_held(self, world: RatesWorld) -> None:
        key = await world.limit(Limit("*", "tool", "crm.*", concurrent=1))
        await world.take(key, 0)
        assert not (await world.take(key, 0)).starts
        await world.advance(LEASE + 1)
        assert len((await world.take(key, 0)).starts) == 1

    async def test_a_sign_of_life_keeps_them(self, world: RatesWorld) -> None:
        key = await world.limit(Limit("*", "tool", "crm.*", concurrent=1))
        one = holder()
        await world.take(key, 0, who=one)
        await world.advance(LEASE - 2)
        await world.rates.settle(one, [], LEASE)
        await world.advance(LEASE - 2)
        assert not (await world.take(key, 0)).starts

    async def test_who_has_waited_for_longer_comes_first(self, world: RatesWorld) -> None:
        key = await world.limit(Limit("*", "tool", "crm.*", concurrent=1))
        busy, patient = holder(), holder()
        await world.take(key, 0, who=busy, since=10)
        assert not (await world.take(key, 0, who=patient, since=20)).starts
        await world.rates.settle(busy, [Returned(key, places=1)], LEASE)
        assert not (await world.take(key, 0, who=busy, since=30)).starts
        assert len((await world.take(key, 0, who=patient, since=20)).starts) == 1


class ManySuite:
    async def test_a_call_needs_leave_of_all_its_limits_and_spends_none_when_one_refuses(
        self, world: RatesWorld
    ) -> None:
        wide = await world.limit(Limit("*", "model", "m*", requests=600, burst=10))
        narrow = await world.limit(Limit("acme", "model", "m*", tokens=1000))
        grant = await world.take([wide, narrow], 900, 900)
        assert (len(grant.starts), grant.in_the_way) == (1, narrow)
        use = {item.limit.key: item for item in await world.rates.use()}
        assert (use[wide].requests, use[narrow].tokens) == (1, 900)

    async def test_a_cool_down_holds_for_everybody_and_ends(self, world: RatesWorld) -> None:
        key = await world.limit(GPT)
        await world.rates.cool_down(key, 30, "rate_limited")
        await world.rates.cool_down(key, 5, "shorter")
        grant = await world.take(key, 1)
        assert not grant.starts
        assert 29 * SECOND < grant.retry_at - grant.now <= 30 * SECOND
        assert (await world.rates.use())[0].cooldown_code == "rate_limited"
        await world.advance(31)
        assert len((await world.take(key, 1)).starts) == 1
        assert (await world.rates.use())[0].cooldown_until == 0

    async def test_use_shows_what_is_taken_in_flight_and_waited_for(self, world: RatesWorld) -> None:
        key = await world.limit(Limit("*", "tool", "crm.*", requests=600, burst=600, concurrent=2))
        await world.take(key, 0, 0, 0, 0, since=77)
        (use,) = await world.rates.use()
        assert (use.requests, use.in_flight, use.waiting, use.oldest) == (2, 2, 2, 77)
        await world.advance(70)
        (use,) = await world.rates.use()
        assert (use.requests, use.in_flight, use.waiting, use.oldest) == (0, 0, 0, 0)

    async def test_many_at_once_get_no_more_than_the_limit(self, world: RatesWorld) -> None:
        keys = [
            await world.limit(Limit("*", "model", "a*", requests=120, burst=20)),
            await world.limit(Limit("*", "model", "b*", requests=90, burst=15)),
        ]
        grants = await asyncio.gather(*(world.take(keys, *[1] * 5) for _ in range(20)))
        first, last = min(grant.now for grant in grants), max(grant.now for grant in grants)
        most = 15 + (last - first + AHEAD_US) * 90 / 60e6
        assert 15 <= sum(len(grant.starts) for grant in grants) <= most


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.lists(st.integers(0, 700), min_size=1, max_size=6)),
        st.tuples(st.just("wait"), st.sampled_from([1, 250, 999, 1000, 4000, 20_000, 61_000])),
        st.tuples(st.just("settle"), st.integers(0, 700)),
    ),
    max_size=40,
)


class RatesSuite(LimitSuite, RequestSuite, TokenSuite, PlaceSuite, ManySuite):
    pass
