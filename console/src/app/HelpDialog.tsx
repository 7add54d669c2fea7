import { Kbd, Modal, Switch, Table } from '@mantine/core';

import { useKeyRegistry } from './keys';

/** All keys that act on this page, by where they act. */
export function HelpDialog({ opened, close }: { opened: boolean; close: () => void }) {
  return (
    <Modal opened={opened} onClose={close} title="Keys" size="lg">
      {opened ? <Help /> : null}
    </Modal>
  );
}

function Help() {
  const { groups, on, turn } = useKeyRegistry();
  const shown = groups().filter((group) => group.bindings.length > 0);
  return (
    <>
      <Switch label="Single-letter keys" description="Off: only Ctrl K and keys that type nothing act." checked={on} onChange={(event) => turn(event.currentTarget.checked)} mb="md" />
      <Table withRowBorders={false} verticalSpacing={2}>
        {shown.map((group, i) => (
          <Table.Tbody key={i}>
            <Table.Tr>
              <Table.Th colSpan={2} scope="rowgroup">{group.name}{group.region ? ' (while the focus is there)' : ''}</Table.Th>
            </Table.Tr>
            {group.bindings.map((binding) => (
              <Table.Tr key={binding.keys}>
                <Table.Td w={120}>{binding.keys.split(' ').map((key) => <Kbd key={key} mr={4}>{key}</Kbd>)}</Table.Td>
                <Table.Td>{binding.words}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        ))}
        <Table.Tbody>
          <Table.Tr>
            <Table.Td><Kbd>Ctrl K</Kbd></Table.Td>
            <Table.Td>go to a page, a run, an agent</Table.Td>
          </Table.Tr>
        </Table.Tbody>
      </Table>
    </>
  );
}
