import { Table, Text } from '@mantine/core';
import { Link } from '@tanstack/react-router';

import type { BreakerTrip } from '@/api/schema';
import { duration } from '@/ui/format/duration';
import { Id } from '@/ui/Id';
import { Money } from '@/ui/Money';
import { Drawn } from '@/ui/Theirs';

import styles from './breakers.module.css';
import { evidenceOf, figureWords } from './model/words';

/** What tripped it: the figures, and the calls that led to it, the latest last. */
export function Evidence({ trip }: { trip: BreakerTrip }) {
  const { condition, figures, calls } = evidenceOf(trip);
  if (figures.length === 0 && calls.length === 0 && trip.sealed) return null;
  return (
    <div data-evidence>
      {trip.sealed ? null : <Text size="sm" c="var(--bad)">One session of the database held its lock for too long: calls of that session may have been let through after it.</Text>}
      {figures.length > 0 ? (
        <dl className={styles.figures}>
          {figures.map(([name, value]) => {
            const [words, shown] = figureWords(name, value, condition);
            return <div key={name}><dt>{words}</dt><dd>{shown}</dd></div>;
          })}
        </dl>
      ) : null}
      {calls.length > 0 ? (
        <Table.ScrollContainer minWidth={480}>
          <Table verticalSpacing={2} aria-label="calls that led to it, the latest last">
            <Table.Thead><Table.Tr><Table.Th>run</Table.Th><Table.Th>call</Table.Th><Table.Th ta="end">cost</Table.Th><Table.Th ta="end">took</Table.Th><Table.Th>failure</Table.Th></Table.Tr></Table.Thead>
            <Table.Tbody>
              {calls.map((call, i) => (
                <Table.Tr key={i}>
                  <Table.Td>{call.run ? <Link to="/runs/$id" params={{ id: call.run }}><Id id={call.run} still /></Link> : null}</Table.Td>
                  <Table.Td><Drawn text={call.name} /></Table.Td>
                  <Table.Td ta="end"><Money nano={call.nano} /></Table.Td>
                  <Table.Td ta="end">{call.latency > 0 ? duration(call.latency) : ''}</Table.Td>
                  <Table.Td><Drawn text={call.failure} /></Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      ) : null}
    </div>
  );
}
