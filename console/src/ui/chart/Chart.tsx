import { Button, Group, Skeleton, Table } from '@mantine/core';
import { lazy, Suspense, useState } from 'react';

import { clock, day } from '@/ui/format/time';
import { Drawn } from '@/ui/Theirs';
import styles from '@/ui/ui.module.css';

import type { Stack } from './model';

// The library is loaded when the first chart is shown: it is no part of the first load.
const Plot = lazy(() => import('./Plot'));

interface ChartProps {
  readonly stack: Stack;
  /** What the chart says, in a sentence. */
  readonly summary: string;
  readonly label: string;
  readonly height?: number;
  readonly format?: (value: number) => string;
  /** The figures of the vertical axis, which are read together. */
  readonly axis?: (ticks: readonly number[]) => string[];
}

const ROWS_MAX = 100;

/** A stacked bar chart with its legend, a sentence that says what it shows, and itself as a table. */
export function Chart({ stack, summary, label, height = 180, format = String, axis = (ticks) => ticks.map(format) }: ChartProps) {
  const [table, setTable] = useState(false);
  return (
    <figure aria-label={label} style={{ margin: 0 }}>
      {table ? (
        <AsTable stack={stack} format={format} height={height} label={label} />
      ) : (
        <Suspense fallback={<Skeleton height={height} />}>
          <Plot stack={stack} height={height} axis={axis} />
        </Suspense>
      )}
      <Group component="figcaption" justify="space-between" gap="xs" fz="xs">
        <Group gap="sm">
          {stack.series.map((one) => (
            <span key={one.label} className={styles.mark}>
              <span aria-hidden="true" style={{ width: 10, height: 10, background: one.color, display: 'inline-block' }} />
              <Drawn text={one.label} />
            </span>
          ))}
        </Group>
        <Button variant="subtle" size="compact-xs" aria-pressed={table} onClick={() => setTable(!table)}>
          As table
        </Button>
        <span className={styles.visuallyHidden}>{summary}</span>
      </Group>
    </figure>
  );
}

function AsTable({ stack, format, height, label }: { stack: Stack; format: (value: number) => string; height: number; label: string }) {
  const first = Math.max(0, stack.at.length - ROWS_MAX);
  const rows = stack.at.slice(first).map((at, i) => ({ at, place: first + i })).toReversed();
  return (
    // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls must be reachable by keys
    <div style={{ height, overflow: 'auto' }} tabIndex={0} role="region" aria-label={`${label}, as table`}>
      <Table fz="xs" verticalSpacing={1} stickyHeader>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>from</Table.Th>
            {stack.series.map((one) => <Table.Th key={one.label} ta="end"><Drawn text={one.label} /></Table.Th>)}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {rows.map(({ at, place }) => (
            <Table.Tr key={at}>
              <Table.Td>{day(at)} {clock(at).slice(0, 5)}</Table.Td>
              {stack.series.map((one) => <Table.Td key={one.label} ta="end">{format(one.values[place] ?? 0)}</Table.Td>)}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </div>
  );
}
