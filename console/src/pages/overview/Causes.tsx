import { Anchor, Table, Text, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';

import type { Overview } from '@/api/schema';
import { count } from '@/ui/format/count';
import { Drawn } from '@/ui/Theirs';

/** Failures of the last hour by their first cause, with one example each. */
export function Causes({ overview }: { overview: Overview }) {
  return (
    <section aria-labelledby="causes">
      <Title order={2} id="causes" mb="xs">Failures by first cause, last hour</Title>
      {overview.causes.length === 0 ? (
        <Text c="var(--quiet)">None.</Text>
      ) : (
        <Table verticalSpacing={4}>
          <Table.Thead>
            <Table.Tr><Table.Th>runs</Table.Th><Table.Th>cause</Table.Th><Table.Th>agents</Table.Th><Table.Th>example</Table.Th></Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {overview.causes.map((cause) => (
              <Table.Tr key={cause.code}>
                <Table.Td>
                  <Anchor renderRoot={(props) => <Link to="/runs" search={{ code: cause.code, since: '1h' }} {...props} />}>{count(cause.count)}</Anchor>
                </Table.Td>
                <Table.Td><Drawn text={cause.words || cause.code} /> <Text span size="xs" c="var(--quiet)">{cause.words ? cause.code : ''}</Text></Table.Td>
                <Table.Td>{cause.agents.join(', ')}</Table.Td>
                <Table.Td>
                  <Anchor renderRoot={(props) => <Link to="/runs/$id" params={{ id: cause.example }} {...props} />}>open</Anchor>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
    </section>
  );
}
