import { Paper, Table, Text, Title } from '@mantine/core';
import { keepPreviousData, useQuery } from '@tanstack/react-query';

import type { CacheRow } from '@/api/schema';
import { Changed } from '@/ui/Changed';
import { bytes, count, percent, plural } from '@/ui/format/count';
import { Money } from '@/ui/Money';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import styles from './costs.module.css';
import { savingsQuery } from './queries';
import type { CostsSearch } from './search';

const SHOWN = 8;
const rate = (share: number | null): string => (share === null ? '–' : percent(share));

/** What was not paid, as it was known: from our cache, and from the providers' own caches of prompts. */
export function Savings({ search }: { search: CostsSearch }) {
  const { data } = useQuery({ ...savingsQuery(search), placeholderData: keepPreviousData });
  if (!data || (data.total.calls === 0 && data.total.hits === 0)) return null;
  const { total } = data;
  return (
    <Paper withBorder p="sm" component="section" aria-labelledby="savings" data-savings>
      <Title order={2} id="savings" mb={4}>Saved by caches</Title>
      <dl className={styles.now}>
        <div><dt>not paid again</dt><dd><Changed value={total.saved_nano}><strong><Money nano={total.saved_nano} copy /></strong></Changed></dd></div>
        <div>
          <dt>answers given again</dt>
          <dd>{count(total.hits)}{total.hit_rate === null ? '' : ` of ${count(total.hits + total.misses)}, ${percent(total.hit_rate)}`}{total.waited > 0 ? <span className={styles.quiet}> · {count(total.waited)} waited for a call under way</span> : null}</dd>
        </div>
        <div><dt>of prompts’ tokens from the providers’ caches</dt><dd>{rate(total.prompt_cache_rate)} <span className={styles.quiet}>of {count(total.tokens_in)}</span></dd></div>
        <div><dt>kept now</dt><dd>{plural(data.entries, 'answer')}, {bytes(data.bytes)}</dd></div>
      </dl>
      {data.rows.length > 0 ? (
        <details>
          <summary>by agent, model and tool</summary>
          <Rows rows={data.rows} leftOut={data.left_out} />
        </details>
      ) : null}
      <Text size="xs" c="var(--quiet)">since <When at={data.since} plain />, whatever the sums are narrowed to</Text>
    </Paper>
  );
}

function Rows({ rows, leftOut }: { rows: readonly CacheRow[]; leftOut: number }) {
  return (
    <Table.ScrollContainer minWidth={560}>
      <Table verticalSpacing={3}>
        <Table.Thead><Table.Tr><Table.Th>agent</Table.Th><Table.Th>model or tool</Table.Th><Table.Th ta="end">saved</Table.Th><Table.Th ta="end">given again</Table.Th><Table.Th ta="end">hit rate</Table.Th><Table.Th ta="end">provider’s cache</Table.Th></Table.Tr></Table.Thead>
        <Table.Tbody>
          {rows.slice(0, SHOWN).map((row) => (
            <Table.Tr key={`${row.gate} ${row.agent} ${row.name}`}>
              <Table.Td><Drawn text={row.agent} /></Table.Td>
              <Table.Td><Drawn text={row.name} /> <span className={styles.quiet}>{row.gate}</span></Table.Td>
              <Table.Td ta="end"><Money nano={row.saved_nano} copy /></Table.Td>
              <Table.Td ta="end">{count(row.hits)}</Table.Td>
              <Table.Td ta="end">{rate(row.hit_rate)}</Table.Td>
              <Table.Td ta="end">{rate(row.prompt_cache_rate)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      {rows.length - SHOWN + leftOut > 0 ? <Text size="sm" c="var(--quiet)">and {count(Math.max(0, rows.length - SHOWN) + leftOut)} more, counted above</Text> : null}
    </Table.ScrollContainer>
  );
}
