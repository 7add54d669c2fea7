import { Button, Group, Paper, SegmentedControl, Stack, Text, Title } from '@mantine/core';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { lazy, Suspense, useRef } from 'react';

import type { Costs } from '@/api/schema';
import { useKeys } from '@/app/keys';
import { useCan } from '@/app/session';
import { Stale } from '@/app/Stale';
import { NoRight } from '@/pages/missing/NoRight';
import { Chart } from '@/ui/chart/Chart';
import { Empty } from '@/ui/Empty';
import { ErrorBox } from '@/ui/ErrorBox';
import { plural } from '@/ui/format/count';
import { money, moneyAxis } from '@/ui/format/money';
import { Loading } from '@/ui/Loading';
import { Money } from '@/ui/Money';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import { CostsTable } from './CostsTable';
import { Downloads } from './Downloads';
import { GroupBy } from './GroupBy';
import { Month } from './Month';
import { costsQuery } from './queries';
import { type CostsSearch, groupName, GROUPS, groupsOf, onlyOf, RANGE_NAMES, rangeOf } from './search';
import { trendOf } from './series';
import { Savings } from './Savings';
import { useSpending } from './useSpending';
import { certaintyOfSum, valueName } from './words';

// What is opened now and then is loaded then.
const Explained = lazy(() => import('./Explained'));
const Corrected = lazy(() => import('./Corrected'));
const COSTS = ['costs'];

/** Who spends, and why? */
export function CostsPage() {
  const can = useCan();
  if (!can('costs:read')) return <NoRight needs="costs:read" />;
  return <CostsOf />;
}

function CostsOf() {
  const search = useSearch({ from: '/inside/costs' });
  const navigate = useNavigate();
  const go = (next: CostsSearch): void => void navigate({ to: '/costs', search: next });
  const { data, error, refetch } = useQuery({ ...costsQuery(search), placeholderData: keepPreviousData });
  const table = useRef<HTMLDivElement>(null);
  useSpending(COSTS);
  const [group = 'customer'] = groupsOf(search);
  const nextGroup = GROUPS[(GROUPS.findIndex((one) => one === group) + 1) % GROUPS.length] ?? 'customer';
  const explain = (customer: string, feature?: string): void => go({ ...search, explain: customer, ...(feature ? { explain_feature: feature } : {}) });
  useKeys('Costs', [
    { keys: 'b', words: 'group by the next', run: () => go({ ...search, by: nextGroup }) },
    { keys: 'e', words: 'explain the row in the focus, or the dearest one', run: () => (rowOf(table.current)?.querySelector<HTMLButtonElement>('[data-explain]'))?.click() },
  ]);
  return (
    <Stack gap="md">
      <Group justify="space-between">
        <Title order={1}>Costs</Title>
        <Downloads search={search} />
      </Group>
      <Month search={search} />
      <Group gap="sm" align="end">
        <GroupBy search={search} go={go} />
        <SegmentedControl size="xs" aria-label="span of time" value={rangeOf(search)} onChange={(range) => go({ ...search, range })} data={RANGE_NAMES.map((value) => ({ value, label: value === 'month' ? 'this month' : value }))} />
        <Only search={search} go={go} />
      </Group>
      {error ? <ErrorBox error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <Loading rows={10} /> : null}
      {data ? <Stale><div ref={table}><Sums costs={data} search={search} go={go} explain={explain} /></div></Stale> : null}
      <Savings search={search} />
      <Suspense fallback={null}><Corrected /></Suspense>
      <Suspense fallback={null}>{search.explain === undefined ? null : <Explained search={search} close={() => go(without(search))} />}</Suspense>
    </Stack>
  );
}

/** The row with the focus in it; without one, the first that can be explained. */
function rowOf(table: HTMLElement | null): HTMLElement | null {
  const here = document.activeElement?.closest('tr') ?? null;
  if (here && table?.contains(here) && here.querySelector('[data-explain]')) return here;
  return table?.querySelector('[data-explain]')?.closest('tr') ?? null;
}

function without(search: CostsSearch): CostsSearch {
  const { explain: _, explain_feature: __, ...rest } = search;
  return rest;
}

interface SumsProps {
  readonly costs: Costs;
  readonly search: CostsSearch;
  readonly go: (search: CostsSearch) => void;
  readonly explain: (customer: string, feature?: string) => void;
}

function Sums({ costs, search, go, explain }: SumsProps) {
  if (costs.rows.length === 0) return <Empty words="Nothing was spent in this time." command="penstock costs by agent" />;
  const [group = 'customer'] = groupsOf(search);
  const stack = trendOf(costs, group);
  const dearest = costs.rows[0];
  const total = money(costs.total.nano, certaintyOfSum(costs.total, costs.partial));
  const summary = `${total} in ${plural(costs.total_runs, 'run')}; most by ${(dearest?.values ?? []).map((value) => valueName(value)).join(', ')}, ${money(dearest?.used.nano ?? 0)}.`;
  return (
    <Stack gap="md">
      <Text data-total>
        <strong><Money nano={costs.total.nano} certainty={certaintyOfSum(costs.total, costs.partial)} copy /></strong> in {plural(costs.total_runs, 'run')}
        {costs.total.nano_at_maximum > 0 ? <>, of it <Money nano={costs.total.nano_at_maximum} /> charged at the maximum as the real figure was lost</> : null}
        {costs.live_nano > 0 ? <>, of it <Money nano={costs.live_nano} /> by runs that have not ended</> : null}.
        {costs.partial ? <> More runs go on than were added up, or what they spent cannot be told by this filter yet: the sums are at least so much.</> : null}
        <Text span size="sm" c="var(--quiet)"> As of <When at={costs.as_of} />; the trend and the sums by model and kind of call up to <When at={costs.counted_until} plain />.</Text>
      </Text>
      <Paper withBorder p="sm">
        <Chart stack={stack} label={`spent over time by ${groupName(group)}`} summary={summary} height={200} format={(nano) => money(nano)} axis={moneyAxis} />
      </Paper>
      <CostsTable costs={costs} search={search} go={go} explain={explain} />
    </Stack>
  );
}

/** The values that the sums are narrowed to. */
function Only({ search, go }: { search: CostsSearch; go: (search: CostsSearch) => void }) {
  return Object.entries(onlyOf(search)).map(([name, value]) => (
    <Button key={name} variant="light" size="compact-xs" aria-label={`drop ${groupName(name)} ${value}`} onClick={() => go(Object.fromEntries(Object.entries(search).filter(([one]) => one !== name)))}>
      {groupName(name)}: <Drawn text={value} /> ×
    </Button>
  ));
}
