import { Anchor, Table, UnstyledButton } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { createColumnHelper, createSortedRowModel, rowSortingFeature, sortFn_text, tableFeatures, useTable } from '@tanstack/react-table';
import { useMemo } from 'react';

import type { CostRow, Costs } from '@/api/schema';
import { count } from '@/ui/format/count';
import { certaintyOf } from '@/ui/format/money';
import { Money } from '@/ui/Money';

import { type CostsSearch, type Group, groupOf, rangeOf } from './search';
import { change, valueName } from './series';

const features = tableFeatures({ rowSortingFeature, sortedRowModel: createSortedRowModel() });
const helper = createColumnHelper<typeof features, CostRow>();

interface CostsTableProps {
  readonly costs: Costs;
  readonly search: CostsSearch;
  readonly go: (search: CostsSearch) => void;
}

const FILTERS: Record<Group, string | null> = {
  customer: 'customer', feature: 'feature', agent: 'agent', task_type: 'task_type', release: 'release', model: null,
};

function columnsOf(by: Group, range: string) {
  return helper.columns([
    helper.accessor('value', { header: by === 'task_type' ? 'task type' : by, cell: (at) => valueName(at.getValue()), sortFn: sortFn_text }),
    helper.accessor((row) => row.used.nano, { id: 'spent', header: 'spent', cell: (at) => <Money nano={at.getValue()} certainty={certaintyOf(at.row.original.used)} copy /> }),
    helper.accessor((row) => (row.before_nano === 0 ? Infinity : row.used.nano / row.before_nano), {
      id: 'change', header: `against the ${range} before`, cell: (at) => change(at.row.original.used.nano, at.row.original.before_nano),
    }),
    helper.accessor('runs', { header: 'runs', cell: (at) => <RunsLink by={by} row={at.row.original} range={range} /> }),
    helper.accessor((row) => (row.runs === 0 ? 0 : row.used.nano / row.runs), { id: 'each', header: 'per run', cell: (at) => <Money nano={Math.round(at.getValue())} /> }),
    helper.accessor('model_calls', { header: 'model calls', cell: (at) => count(at.getValue()) }),
    helper.accessor((row) => row.used.tokens_in + row.used.tokens_out, { id: 'tokens', header: 'tokens', cell: (at) => count(at.getValue()) }),
    helper.accessor('dearest', { header: 'dearest run', enableSorting: false, cell: (at) => <Dearest run={at.getValue()} /> }),
  ]);
}

/** The sums, a row a value. A click on a heading sorts; a sum opens its runs. */
export function CostsTable({ costs, search, go }: CostsTableProps) {
  const by = groupOf(search);
  const range = rangeOf(search);
  const columns = useMemo(() => columnsOf(by, range), [by, range]);
  const id = search.sort?.replace(/^-/, '') ?? 'spent';
  const desc = search.sort === undefined || search.sort.startsWith('-');
  const table = useTable({ features, columns, data: costs.rows, getRowId: (row) => row.value, state: { sorting: [{ id, desc }] } });
  const sort = (column: string): void => go({ ...search, sort: id === column && desc ? column : `-${column}` });
  return (
    <Table.ScrollContainer minWidth={760}>
      <Table verticalSpacing={4} highlightOnHover>
        <Table.Thead>
          {table.getHeaderGroups().map((group) => (
            <Table.Tr key={group.id}>
              {group.headers.map((header, i) => {
                const active = header.column.id === id;
                return (
                  <Table.Th key={header.id} ta={i === 0 ? 'start' : 'end'} aria-sort={active ? (desc ? 'descending' : 'ascending') : undefined}>
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
                <Table.Td key={cell.id} ta={i === 0 ? 'start' : 'end'}><table.FlexRender cell={cell} /></Table.Td>
              ))}
            </Table.Tr>
          ))}
          {costs.others.nano > 0 ? (
            <Table.Tr>
              <Table.Td>all others</Table.Td>
              <Table.Td ta="end"><Money nano={costs.others.nano} certainty={certaintyOf(costs.others)} copy /></Table.Td>
              <Table.Td colSpan={columns.length - 2} />
            </Table.Tr>
          ) : null}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

/** To the runs of a sum; of a model there is no such filter, so that stays a number. */
function RunsLink({ by, row, range }: { by: Group; row: CostRow; range: string }) {
  const filter = FILTERS[by];
  if (filter === null || row.value === '') return <>{count(row.runs)}</>;
  return <Anchor inherit renderRoot={(props) => <Link to="/runs" search={{ [filter]: row.value, since: range }} {...props} />}>{count(row.runs)}</Anchor>;
}

function Dearest({ run }: { run: string | null }) {
  if (run === null) return null;
  return <Anchor inherit renderRoot={(props) => <Link to="/runs/$id" params={{ id: run }} {...props} />}>open</Anchor>;
}
