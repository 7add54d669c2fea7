import { Paper, Table, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';

import type { RerateShown } from '@/api/schema';
import { count, plural } from '@/ui/format/count';
import { money } from '@/ui/format/money';
import { Money } from '@/ui/Money';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import styles from './costs.module.css';
import { rerateQuery } from './queries';
import { valueName } from './words';

const SHOWN = 5;
const ROWS = 20;

/** What calls would have cost at prices that were corrected since, beside what they were billed at. Nothing that was recorded changes. */
export default function Corrected() {
  const { data } = useQuery(rerateQuery);
  if (!data || data.items.length === 0) return null;
  return (
    <Paper withBorder p="sm" component="section" aria-labelledby="corrected">
      <Title order={2} id="corrected" mb={4}>Corrected prices</Title>
      <Text size="sm" c="var(--quiet)" mb="xs">Both figures stay: budgets were held to what was billed.</Text>
      {data.items.slice(0, SHOWN).map((one) => <One key={one.id} one={one} />)}
      {data.items.length > SHOWN ? <Text size="sm" c="var(--quiet)">and {count(data.items.length - SHOWN)} older ones</Text> : null}
    </Paper>
  );
}

/** A difference with its sign: what is to be given back has a minus. */
const signed = (nano: number): string => (nano > 0 ? '+' : '') + money(nano);

function One({ one }: { one: RerateShown }) {
  return (
    <details data-rerate>
      <summary>
        <Drawn text={one.model} />, <When at={one.since} plain /> to <When at={one.until} plain />: billed <Money nano={one.billed} />, corrected <Money nano={one.corrected} certainty={one.partial ? 'partial' : 'exact'} />, <strong>{signed(one.corrected - one.billed)}</strong>
      </summary>
      <Text size="sm" c="var(--quiet)" my={4}>
        <When at={one.at} />{one.reason ? <>: “<Drawn text={one.reason} />”</> : null}. Corrected price: <Drawn text={one.price} />. Billed at {Object.entries(one.before).map(([price, calls], i) => <span key={price}>{i > 0 ? '; ' : ''}<Drawn text={price === '*' ? 'others' : price} /> ({plural(calls, 'call')})</span>)}.
        {one.pruned > 0 ? ` Of ${plural(one.pruned, 'run')} the record is gone: ${one.pruned === 1 ? 'its calls are' : 'their calls are'} not in it.` : ''}{one.partial ? ' Not everything could be looked at.' : ''}
      </Text>
      <Table.ScrollContainer minWidth={520}>
        <Table verticalSpacing={3}>
          <Table.Thead><Table.Tr><Table.Th>customer</Table.Th><Table.Th ta="end">calls</Table.Th><Table.Th ta="end">billed</Table.Th><Table.Th ta="end">corrected</Table.Th><Table.Th ta="end">difference</Table.Th><Table.Th ta="end">of it kept as billed</Table.Th></Table.Tr></Table.Thead>
          <Table.Tbody>
            {one.rows.slice(0, ROWS).map((row) => (
              <Table.Tr key={row.customer}>
                <Table.Td className={styles.value}><Drawn text={valueName(row.customer)} /></Table.Td>
                <Table.Td ta="end">{count(row.calls)}</Table.Td>
                <Table.Td ta="end"><Money nano={row.billed} copy /></Table.Td>
                <Table.Td ta="end"><Money nano={row.corrected} copy /></Table.Td>
                <Table.Td ta="end">{signed(row.difference)}</Table.Td>
                <Table.Td ta="end"><Money nano={row.kept} /></Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      {one.rows.length > ROWS ? <Text size="sm" c="var(--quiet)">and {count(one.rows.length - ROWS)} customers more</Text> : null}
    </details>
  );
}
