import { Anchor, Button, Table, UnstyledButton } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { createColumnHelper, createSortedRowModel, rowSortingFeature, sortFn_text, tableFeatures, useTable } from '@tanstack/react-table';

import type { CostRow, Costs } from '@/api/schema';
import { count, percent } from '@/ui/format/count';
import { certaintyOf } from '@/ui/format/money';
import { Money } from '@/ui/Money';
import { serverNow } from '@/ui/now';
import { Drawn } from '@/ui/Theirs';

import styles from './costs.module.css';
import { runsOf } from './runs';
import { type CostsSearch, groupName, rangeOf } from './search';
import { change } from './series';
import { isUnpriced, OTHERS, valueName } from './words';

const features = tableFeatures({ rowSortingFeature, sortedRowModel: createSortedRowModel() });
const helper = createColumnHelper<typeof features, CostRow>();

interface CostsTableProps {
  readonly costs: Costs;
  readonly search: CostsSearch;
  readonly go: (search: CostsSearch) => void;
  readonly explain: (customer: string, feature?: string) => void;
}

/** Of the tokens of prompts, those that the provider read from its own cache. */
const cachedOf = (row: CostRow): number => (row.used.tokens_in > 0 ? (row.classes['cached'] ?? 0) / row.used.tokens_in : 0);

function columnsOf(groups: readonly string[], search: CostsSearch, explain: CostsTableProps['explain']) {
  const before = rangeOf(search) === 'month' ? 'so long before' : `the ${rangeOf(search)} before`;
  const customer = groups.indexOf('customer');
  const feature = groups.indexOf('feature');
  return helper.columns([
    ...groups.map((group, i) => helper.accessor((row) => row.values[i] ?? '', {
      id: group, header: groupName(group), cell: (at) => <Value value={at.getValue()} group={group} />, sortFn: sortFn_text,
    })),
    helper.accessor((row) => row.used.nano, { id: 'spent', header: 'spent', cell: (at) => <Spent row={at.row.original} /> }),
    helper.accessor((row) => (row.before_nano === 0 ? Infinity : row.used.nano / row.before_nano), {
      id: 'change', header: `against ${before}`, cell: (at) => change(at.row.original.used.nano, at.row.original.before_nano),
    }),
    helper.accessor('runs', { header: 'runs', cell: (at) => <RunsLink groups={groups} row={at.row.original} search={search} /> }),
    helper.accessor((row) => (row.runs === 0 ? 0 : row.used.nano / row.runs), { id: 'each', header: 'per run', cell: (at) => <Money nano={Math.round(at.getValue())} /> }),
    helper.accessor('model_calls', { header: 'model calls', cell: (at) => count(at.getValue()) }),
    helper.accessor((row) => row.used.tokens_in + row.used.tokens_out, { id: 'tokens', header: 'tokens', cell: (at) => count(at.getValue()) }),
    helper.accessor(cachedOf, { id: 'cached', header: 'prompt from the provider’s cache', cell: (at) => percent(at.getValue()) }),
    helper.accessor('dearest', { header: 'dearest run', enableSorting: false, cell: (at) => <Dearest run={at.getValue()} /> }),
    ...(customer < 0 ? [] : [
      helper.display({ id: 'why', header: 'why', cell: (at) => <Why row={at.row.original} customer={customer} feature={feature} explain={explain} /> }),
    ]),
  ]);
}

/** The sums, a row a value. A click on a heading sorts; a sum opens its runs. */
export function CostsTable({ costs, search, go, explain }: CostsTableProps) {
  const groups = costs.dimensions;
  const columns = columnsOf(groups, search, explain);
  const id = search.sort?.replace(/^-/, '') ?? 'spent';
  const desc = search.sort === undefined || search.sort.startsWith('-');
  const table = useTable({ features, columns, data: costs.rows, getRowId: (row) => JSON.stringify(row.values), state: { sorting: [{ id, desc }] } });
  const sort = (column: string): void => go({ ...search, sort: id === column && desc ? column : `-${column}` });
  return (
    <Table.ScrollContainer minWidth={900}>
      <Table verticalSpacing={4} highlightOnHover>
        <Table.Thead>
          {table.getHeaderGroups().map((group) => (
            <Table.Tr key={group.id}>
              {group.headers.map((header, i) => {
                const active = header.column.id === id;
                return (
                  <Table.Th key={header.id} ta={i < groups.length ? 'start' : 'end'} aria-sort={active ? (desc ? 'descending' : 'ascending') : undefined}>
                    {header.column.getCanSort() ? (
                      <UnstyledButton fz="inherit" fw="inherit" mih={24} onClick={() => sort(header.column.id)}>
                        <table.FlexRender header={header} /> <span aria-hidden="true">{active ? (desc ? '▾' : '▴') : ''}</span>
                      </UnstyledButton>
                    ) : (
                      <table.FlexRender header={header} />
                    )}
                  </Table.Th>
                );
              })}
            </Table.Tr>
          ))}
        </Table.Thead>
        <Table.Tbody>
          {table.getRowModel().rows.map((row) => (
            <Table.Tr key={row.id}>
              {row.getAllCells().map((cell, i) => (
                <Table.Td key={cell.id} ta={i < groups.length ? 'start' : 'end'}><table.FlexRender cell={cell} /></Table.Td>
              ))}
            </Table.Tr>
          ))}
          {costs.others.nano > 0 ? (
            <Table.Tr>
              <Table.Td colSpan={groups.length}>all others</Table.Td>
              <Table.Td ta="end"><Money nano={costs.others.nano} certainty={certaintyOf(costs.others)} copy /></Table.Td>
              <Table.Td colSpan={columns.length - groups.length - 1} />
            </Table.Tr>
          ) : null}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

function Value({ value, group }: { value: string; group: string }) {
  return <div className={styles.value}><Drawn text={valueName(value, group)} /></div>;
}

function Spent({ row }: { row: CostRow }) {
  if (isUnpriced(row)) return <span title="calls were made, and nothing was charged: no price is known of the model, or it is free">unpriced or free</span>;
  return <Money nano={row.used.nano} certainty={certaintyOf(row.used)} copy />;
}

/** To the runs of a sum; by model and kind of call they cannot be listed, so that stays a number. */
function RunsLink({ groups, row, search }: { groups: readonly string[]; row: CostRow; search: CostsSearch }) {
  const runs = runsOf(groups, row.values, search, serverNow());
  if (runs === null) return <>{count(row.runs)}</>;
  return <Anchor inherit renderRoot={(props) => <Link to="/runs" search={runs} {...props} />}>{count(row.runs)}</Anchor>;
}

function Dearest({ run }: { run: string | null }) {
  if (run === null) return null;
  return <Anchor inherit renderRoot={(props) => <Link to="/runs/$id" params={{ id: run }} {...props} />}>open</Anchor>;
}

interface WhyProps {
  readonly row: CostRow;
  readonly customer: number;
  readonly feature: number;
  readonly explain: CostsTableProps['explain'];
}

function Why({ row, customer, feature, explain }: WhyProps) {
  const name = row.values[customer] ?? '';
  const of = feature < 0 ? '' : (row.values[feature] ?? '');
  if (name === '' || name === OTHERS || of === OTHERS) return null;
  return <Button size="compact-xs" variant="default" data-explain aria-label={`explain ${[name, of].filter(Boolean).join(', ')}`} onClick={() => explain(name, of)}>Explain</Button>;
}
