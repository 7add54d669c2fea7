import { Table, Text, Title } from '@mantine/core';

import type { ControlShown } from '@/api/schema';
import { When } from '@/ui/When';

import { Cells } from './Cells';

/** Stops that hold nothing back any more. */
export function Past({ controls, more }: { controls: readonly ControlShown[]; more: boolean }) {
  if (controls.length === 0) return null;
  return (
    <section aria-labelledby="past">
      <Title order={2} id="past" mb="xs">Before</Title>
      <Table.ScrollContainer minWidth={520}>
        <Table verticalSpacing={4}>
          <Table.Thead><Table.Tr><Table.Th>what</Table.Th><Table.Th>when</Table.Th><Table.Th>who</Table.Th><Table.Th>why</Table.Th><Table.Th>lifted</Table.Th></Table.Tr></Table.Thead>
          <Table.Tbody>
            {controls.map((control) => (
              <Table.Tr key={control.id}>
                <Cells control={control} />
                <Table.Td>{control.lifted_at ? <><When at={control.lifted_at} plain /> {control.lifted_by}</> : ''}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      {more ? <Text size="sm" c="var(--quiet)">Older ones are in the audit log.</Text> : null}
    </section>
  );
}
