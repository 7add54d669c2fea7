import { Stack, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';

import { useTopic } from '@/app/live/context';
import { useCan } from '@/app/session';
import { Stale } from '@/app/Stale';
import { ErrorBox } from '@/ui/ErrorBox';
import { Loading } from '@/ui/Loading';

import { InForce } from './InForce';
import { Past } from './Past';
import { controlsQuery } from './queries';
import { StopForm } from './StopForm';
import { Timeline } from './Timeline';

/** What is stopped; what would this stop? */
export function ControlsPage() {
  useTopic('controls');
  const { id } = useParams({ from: '/inside/controls/{-$id}' });
  const can = useCan();
  const { data, error, refetch } = useQuery(controlsQuery);
  return (
    <Stack gap="lg">
      <Title order={1}>Controls</Title>
      {id === undefined ? null : <Timeline key={id} id={id} />}
      {error && !data ? <ErrorBox error={error} retry={() => void refetch()} /> : null}
      {data ? <Stale><InForce controls={data.items.filter((control) => control.in_force)} /></Stale> : error ? null : <Loading rows={3} />}
      {can('controls:stop') ? <StopForm /> : <Text size="sm">To stop or resume you need the right controls:stop.</Text>}
      {data ? <Past controls={data.items.filter((control) => !control.in_force)} more={typeof data.next === 'string'} /> : null}
    </Stack>
  );
}
