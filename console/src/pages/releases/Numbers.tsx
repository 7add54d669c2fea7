import { Group, NativeSelect, Table, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';

import type { ReleaseNumbers } from '@/api/schema';
import { ErrorBox } from '@/ui/ErrorBox';
import { count, percent } from '@/ui/format/count';
import { duration } from '@/ui/format/duration';
import { Loading } from '@/ui/Loading';
import { Money } from '@/ui/Money';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import { ToRelease } from './Links';
import { stateWords } from './model/states';
import { numbersQuery } from './queries';

const HOURS = [{ value: '1', label: 'last hour' }, { value: '24', label: 'last 24 hours' }, { value: '168', label: 'last 7 days' }, { value: '720', label: 'last 30 days' }];
const FEW = 30;

/** Releases of an agent side by side: what is live, the canary, others that runs had. */
export function Numbers({ agent }: { agent: string }) {
  const search = useSearch({ from: '/inside/releases' });
  const navigate = useNavigate();
  const hours = HOURS.find((one) => one.value === search.hours)?.value ?? '24';
  const { data, error, refetch } = useQuery(numbersQuery(agent, Number(hours)));
  return (
    <section aria-labelledby="numbers">
      <Group justify="space-between" mb="xs">
        <Title order={2} id="numbers">Side by side</Title>
        <NativeSelect size="xs" aria-label="runs submitted in the" data={HOURS} value={hours} onChange={(event) => void navigate({ to: '/releases', search: { ...search, hours: event.currentTarget.value }, replace: true })} />
      </Group>
      {error && !data ? <ErrorBox error={error} retry={() => void refetch()} /> : null}
      {data ? <Side items={data.items} since={data.since} /> : error ? null : <Loading rows={3} />}
    </section>
  );
}

function Side({ items, since }: { items: readonly ReleaseNumbers[]; since: number }) {
  if (items.length === 0) return <Text c="var(--quiet)">No run was submitted since <When at={since} plain />.</Text>;
  const few = items.some((one) => one.ended < FEW);
  return (
    <>
      <Table.ScrollContainer minWidth={760}>
        <Table verticalSpacing={4} aria-label="releases side by side" data-numbers>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>release</Table.Th><Table.Th ta="end">runs</Table.Th><Table.Th ta="end">ended</Table.Th><Table.Th ta="end">failed</Table.Th><Table.Th ta="end">escalated</Table.Th>
              <Table.Th ta="end">refused</Table.Th><Table.Th ta="end">cost a run</Table.Th><Table.Th ta="end">steps a run</Table.Th><Table.Th ta="end">tool calls a run</Table.Th><Table.Th ta="end">half took at most</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {items.map((one) => (
              <Table.Tr key={one.release}>
                <Table.Td>{one.state === 'code' ? <>code <Drawn text={one.release} /></> : <><ToRelease id={one.release} /> {stateWords(one.state)}</>}</Table.Td>
                <Table.Td ta="end">{count(one.runs)}</Table.Td>
                <Table.Td ta="end">{count(one.ended)}</Table.Td>
                <Table.Td ta="end"><Share of={one.failed} all={one.ended} /></Table.Td>
                <Table.Td ta="end"><Share of={one.escalated} all={one.ended} /></Table.Td>
                <Table.Td ta="end"><Share of={one.refused} all={one.ended} /></Table.Td>
                <Table.Td ta="end">{one.runs > 0 ? <Money nano={Math.round(one.nano / one.runs)} /> : '–'}</Table.Td>
                <Table.Td ta="end">{each(one.steps, one.runs)}</Table.Td>
                <Table.Td ta="end">{each(one.tool_calls, one.runs)}</Table.Td>
                <Table.Td ta="end">{one.median_us > 0 ? duration(one.median_us) : '–'}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      <Text size="sm" c="var(--quiet)">Runs submitted since <When at={since} plain />; failed, exhausted and killed count as failed; those that go on count with what they have spent so far.{few ? ' So few runs say little: nothing is promoted by itself.' : ''}</Text>
    </>
  );
}

const each = (n: number, runs: number): string => (runs > 0 ? String(Number((n / runs).toFixed(1))) : '–');

function Share({ of, all }: { of: number; all: number }) {
  return all === 0 ? '–' : `${count(of)} (${percent(of / all)})`;
}
