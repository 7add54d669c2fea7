import { Anchor, Button, Group, Paper, Stack, Text, Title } from '@mantine/core';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { Link, useSearch } from '@tanstack/react-router';

import { ApiProblem } from '@/api/problem';
import type { BreakerCircuit, BreakerShown, BreakerTrip } from '@/api/schema';
import { useTopic } from '@/app/live/context';
import { useCan } from '@/app/session';
import { Stale } from '@/app/Stale';
import { Empty } from '@/ui/Empty';
import { ErrorBox } from '@/ui/ErrorBox';
import { count, plural } from '@/ui/format/count';
import { money } from '@/ui/format/money';
import { Loading } from '@/ui/Loading';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import { Act } from './Act';
import styles from './breakers.module.css';
import { Evidence } from './Evidence';
import { History } from './History';
import { circuitWords, conditionWords, evidenceOf, meanwhileWords, scopeWords, span, stateOf } from './model/words';
import { breakerQuery, breakersQuery, tripsQuery } from './queries';
import { StateMark } from './StateMark';

/** What is cut off, since when and why, and what brings it back. */
export function BreakersPage() {
  useTopic('controls');
  const { breaker } = useSearch({ from: '/inside/controls/breakers' });
  return breaker === undefined ? <All /> : <One key={breaker} name={breaker} />;
}

function All() {
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery(breakersQuery);
  const breakers = (data?.pages ?? []).flatMap((page) => page.items).toSorted((a, b) => rank(a) - rank(b));
  return (
    <Stack gap="md">
      <Title order={1}>Breakers</Title>
      {error && !data ? <ErrorBox error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <Loading rows={6} /> : null}
      {data && breakers.length === 0 ? <Empty words="No breaker is set." command={COMMAND} /> : null}
      <Stale><ul className={styles.breakers}>{breakers.map((breaker) => <Line key={breaker.name} breaker={breaker} />)}</ul></Stale>
      {hasNextPage ? <div><Button size="compact-sm" variant="default" loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>Show more</Button></div> : null}
    </Stack>
  );
}

const COMMAND = 'penstock breakers set failing-tools --scope tool --failures 5';
const ORDER = { open: 0, half_open: 1, closed: 2 } as const;

const rank = (breaker: BreakerShown): number => ORDER[stateOf(breaker)];

/** When it trips and what happens then, in words. */
function Terms({ breaker }: { breaker: BreakerShown }) {
  return (
    <div className={styles.terms}>
      <div><Drawn text={scopeWords(breaker.scope, breaker.value)} />: trips when {breaker.conditions.map(conditionWords).join(', or ')}</div>
      <div className={styles.quiet}>
        open for {span(breaker.open_seconds)}, then {plural(breaker.probes, 'probe')} must succeed; meanwhile <Drawn text={meanwhileWords(breaker.meanwhile, breaker.fallback)} />
        {breaker.cancel_in_flight ? '; model calls and reads under way are cut off' : ''}
      </div>
    </div>
  );
}

function Line({ breaker }: { breaker: BreakerShown }) {
  const shut = breaker.circuits.filter((circuit) => circuit.state !== 'closed');
  const more = breaker.open + breaker.half_open - shut.length;
  return (
    <li data-breaker={breaker.name}>
      <Group gap="sm">
        <StateMark state={stateOf(breaker)} />
        <Anchor fw={600} className={styles.name} renderRoot={(props) => <Link to="/controls/breakers" search={{ breaker: breaker.name }} {...props} />}><Drawn text={breaker.name} /></Anchor>
      </Group>
      <Terms breaker={breaker} />
      {shut.length > 0 ? <Shuts breaker={breaker} circuits={shut} /> : null}
      {more > 0 ? <Text size="sm">and {count(more)} more that are not closed</Text> : null}
    </li>
  );
}

/** Circuits that are not closed, with what led to it. */
function Shuts({ breaker, circuits }: { breaker: BreakerShown; circuits: readonly BreakerCircuit[] }) {
  const trips = useTrips(breaker.name);
  return circuits.map((circuit) => <Shut key={circuit.value} breaker={breaker} circuit={circuit} trip={trips.get(circuit.trip ?? '')} />);
}

/** The latest trips of a breaker by their ids. */
function useTrips(name: string): ReadonlyMap<string, BreakerTrip> {
  const { data } = useInfiniteQuery(tripsQuery(name));
  return new Map((data?.pages ?? []).flatMap((page) => page.items).map((trip) => [trip.id, trip]));
}

/** A circuit that lets nothing through, or only probes. */
function Shut({ breaker, circuit, trip }: { breaker: BreakerShown; circuit: BreakerCircuit; trip: BreakerTrip | undefined }) {
  const words = trip === undefined ? '' : evidenceOf(trip).words;
  return (
    <div className={styles.shut} data-circuit={circuit.value}>
      <StateMark state={circuit.state} /> <Drawn text={circuitWords(breaker.scope, circuit.value)} /> {circuit.opened_at === null ? null : <>since <When at={circuit.opened_at} /></>}{words ? <>: <Drawn text={words} /></> : null}.{' '}
      {circuit.state === 'open' ? <>{circuit.until === null ? null : <>Probes from <When at={circuit.until} />.</>}</> : <>Probes: {circuit.probes_ok} of {breaker.probes} succeeded, one at a time.</>}
    </div>
  );
}

function One({ name }: { name: string }) {
  const can = useCan();
  const { data: breaker, error, refetch } = useQuery(breakerQuery(name));
  const trips = useTrips(name);
  if (error && !breaker) {
    if (ApiProblem.of(error).status === 404) return <Empty words="There is no breaker of that name."><Anchor renderRoot={(props) => <Link to="/controls/breakers" search={{}} {...props} />}>All breakers</Anchor></Empty>;
    return <ErrorBox error={error} retry={() => void refetch()} />;
  }
  if (!breaker) return <Loading rows={8} />;
  const closed = breaker.circuits.filter((circuit) => circuit.state === 'closed');
  const shut = breaker.circuits.filter((circuit) => circuit.state !== 'closed');
  return (
    <Stack gap="md">
      <Group gap="sm">
        <Title order={1}><Drawn text={breaker.name} /></Title>
        <StateMark state={stateOf(breaker)} />
        <Anchor renderRoot={(props) => <Link to="/controls/breakers" search={{}} {...props} />}>All breakers</Anchor>
      </Group>
      <Terms breaker={breaker} />
      <Stale>
        <Stack gap="md">
          {shut.map((circuit) => (
            <Paper key={circuit.value} withBorder p="sm" component="section" aria-label={circuitWords(breaker.scope, circuit.value)}>
              <Shut breaker={breaker} circuit={circuit} trip={trips.get(circuit.trip ?? '')} />
              <Tripped trip={trips.get(circuit.trip ?? '')} />
            </Paper>
          ))}
          {closed.length > 0 ? <Closed breaker={breaker} circuits={closed} /> : null}
        </Stack>
      </Stale>
      {can('breakers:set') ? <Act breaker={breaker} /> : <Text size="sm">To reset or trip you need the right breakers:set.</Text>}
      <History name={name} scope={breaker.scope} />
    </Stack>
  );
}

function Tripped({ trip }: { trip: BreakerTrip | undefined }) {
  if (trip === undefined) return null;
  return (
    <>
      <Text size="sm" c="var(--quiet)">tripped by <Drawn text={trip.by} /></Text>
      <Evidence trip={trip} />
    </>
  );
}

const SHOWN = 50;

/** The circuits that let calls pass, and what they expect a call to cost. */
function Closed({ breaker, circuits }: { breaker: BreakerShown; circuits: readonly BreakerCircuit[] }) {
  const learns = breaker.conditions.some((condition) => condition.kind === 'cost_mean');
  return (
    <details>
      <summary>{plural(circuits.length, 'circuit')} closed</summary>
      <ul>
        {circuits.slice(0, SHOWN).map((circuit) => (
          <li key={circuit.value}>
            <Drawn text={circuitWords(breaker.scope, circuit.value)} />
            {learns ? <span className={styles.quiet}> · {circuit.expected_nano === null ? 'still learning what is usual' : `expects ${money(circuit.expected_nano)}`}</span> : null}
          </li>
        ))}
        {circuits.length > SHOWN ? <li>and {count(circuits.length - SHOWN)} more</li> : null}
      </ul>
    </details>
  );
}
