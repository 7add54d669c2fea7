import { Button, Paper, Table, Text, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';

import type { ControlShown } from '@/api/schema';
import { useCan } from '@/app/session';

import { Cells } from './Cells';
import { liftable } from './model/scope';

/** What is stopped now. */
export function InForce({ controls }: { controls: readonly ControlShown[] }) {
  const can = useCan();
  return (
    <Paper withBorder p="sm" component="section" aria-labelledby="in-force">
      <Title order={2} id="in-force" mb="xs">In force</Title>
      {controls.length === 0 ? <Text c="var(--quiet)">None in force.</Text> : (
        <Table.ScrollContainer minWidth={520}>
          <Table verticalSpacing={4}>
            <Table.Thead><Table.Tr><Table.Th>what</Table.Th><Table.Th>since</Table.Th><Table.Th>who</Table.Th><Table.Th>why</Table.Th><Table.Th>do</Table.Th></Table.Tr></Table.Thead>
            <Table.Tbody>
              {controls.map((control) => (
                <Table.Tr key={control.id}>
                  <Cells control={control} />
                  <Table.Td>
                    {can('controls:stop') && liftable(control) ? (
                      <Button
                        size="compact-sm"
                        variant="default"
                        renderRoot={(props) => <Link to="/controls/{-$id}" params={{ id: undefined }} search={{ scope: control.scope.kind, name: control.scope.name, action: 'resume' }} hash="stop" {...props} />}
                      >
                        Resume…
                      </Button>
                    ) : null}
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
    </Paper>
  );
}
