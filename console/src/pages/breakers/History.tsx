import { Button, Text, Title } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';

import { ErrorBox } from '@/ui/ErrorBox';
import { duration } from '@/ui/format/duration';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import { Evidence } from './Evidence';
import { circuitWords, evidenceOf } from './model/words';
import { tripsQuery } from './queries';

/** Each time that it was opened, the newest first, with what led to it. */
export function History({ name, scope }: { name: string; scope: string }) {
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery(tripsQuery(name));
  const trips = data?.pages.flatMap((page) => page.items) ?? [];
  if (error && !data) return <ErrorBox error={error} retry={() => void refetch()} />;
  if (!data) return null;
  return (
    <section aria-labelledby="trips">
      <Title order={2} id="trips" mb="xs">Trips</Title>
      {trips.length === 0 ? <Text c="var(--quiet)">It has never tripped in the last 90 days.</Text> : null}
      {trips.map((trip) => (
        <details key={trip.id} data-trip>
          <summary>
            <When at={trip.at} plain /> <Drawn text={circuitWords(scope, trip.value)} />{evidenceOf(trip).words ? <>: <Drawn text={evidenceOf(trip).words} /></> : null}
            {trip.closed_at === null ? '; not closed yet' : <>; closed after {duration(Math.max(0, trip.closed_at - trip.at))} by <Drawn text={trip.closed_by} /></>}
          </summary>
          <Text size="sm" c="var(--quiet)">tripped by <Drawn text={trip.by} /></Text>
          <Evidence trip={trip} />
        </details>
      ))}
      {hasNextPage ? <Button mt="xs" size="compact-sm" variant="default" loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>Show older</Button> : null}
    </section>
  );
}
