import { Box, Button, Group, Paper, SegmentedControl, Stack, Text, Title } from '@mantine/core';
import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useEffect, useRef } from 'react';

import { overviewQuery } from '@/api/queries';
import type { Costs } from '@/api/schema';
import { useKeys } from '@/app/keys';
import { useTopic } from '@/app/live/context';
import { useCan } from '@/app/session';
import { Stale } from '@/app/Stale';
import { NoRight } from '@/pages/missing/NoRight';
import { Chart } from '@/ui/chart/Chart';
import { Empty } from '@/ui/Empty';
import { ErrorBox } from '@/ui/ErrorBox';
import { plural } from '@/ui/format/count';
import { certaintyOf, money, moneyAxis } from '@/ui/format/money';
import { Loading } from '@/ui/Loading';
import { Money } from '@/ui/Money';
import { When } from '@/ui/When';

import { CostsTable } from './CostsTable';
import { costsQuery, csvAddress } from './queries';
import { type CostsSearch, GROUPS, groupOf, onlyOf, RANGES, rangeOf } from './search';
import { trendOf, valueName } from './series';

/** Sums that change are read again at most this often. */
const AGAIN_MS = 5_000;
const LABELS: Record<string, string> = { task_type: 'task type' };

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
  useSpending(search);
  const group = groupOf(search);
  const nextGroup = GROUPS[(GROUPS.indexOf(group) + 1) % GROUPS.length] ?? 'customer';
  useKeys('Costs', [{ keys: 'b', words: 'group by the next', run: () => go({ ...search, by: nextGroup }) }]);
  return (
    <Stack gap="md">
      <Group justify="space-between">
        <Title order={1}>Costs</Title>
        <Button component="a" href={csvAddress(search)} variant="default" size="compact-sm" download>CSV</Button>
      </Group>
      <Group gap="sm">
        <Box maw="100%" style={{ overflowX: 'auto' }}>
          <SegmentedControl size="xs" aria-label="group by" value={group} onChange={(by) => go({ ...search, by })} data={GROUPS.map((value) => ({ value, label: LABELS[value] ?? value }))} />
        </Box>
        <SegmentedControl size="xs" aria-label="span of time" value={rangeOf(search)} onChange={(range) => go({ ...search, range })} data={Object.keys(RANGES)} />
        <Only search={search} go={go} />
      </Group>
      {error && !data ? <ErrorBox error={error} retry={() => void refetch()} /> : null}
      {!data && !error ? <Loading rows={10} /> : null}
      {data ? <Stale><Sums costs={data} search={search} go={go} /></Stale> : null}
    </Stack>
  );
}

function Sums({ costs, search, go }: { costs: Costs; search: CostsSearch; go: (search: CostsSearch) => void }) {
  if (costs.rows.length === 0) return <Empty words="Nothing was spent in this time." command="penstock costs by agent" />;
  const stack = trendOf(costs);
  const dearest = costs.rows[0];
  const summary = `${money(costs.total.nano)} in ${plural(costs.total_runs, 'run')}; most by ${dearest ? valueName(dearest.value) : ''}, ${money(dearest?.used.nano ?? 0)}.`;
  return (
    <Stack gap="md">
      <Text>
        <strong><Money nano={costs.total.nano} certainty={costs.partial ? 'partial' : certaintyOf(costs.total)} copy /></strong> in {plural(costs.total_runs, 'run')}
        {costs.total.nano_at_maximum > 0 ? <>, of it <Money nano={costs.total.nano_at_maximum} /> charged at the maximum as the real figure was lost</> : null}
        {costs.live_nano > 0 ? <>, of it <Money nano={costs.live_nano} /> by runs that have not ended</> : null}.
        <Text span size="sm" c="var(--quiet)"> As of <When at={costs.as_of} />; the trend and the sums by model up to <When at={costs.counted_until} plain />.</Text>
      </Text>
      <Paper withBorder p="sm">
        <Chart stack={stack} label={`spent over time by ${groupOf(search)}`} summary={summary} height={200} format={(nano) => money(nano)} axis={moneyAxis} />
      </Paper>
      <CostsTable costs={costs} search={search} go={go} />
    </Stack>
  );
}

/** The values that the sums are narrowed to. */
function Only({ search, go }: { search: CostsSearch; go: (search: CostsSearch) => void }) {
  return Object.entries(onlyOf(search)).map(([name, value]) => (
    <Button key={name} variant="light" size="compact-xs" aria-label={`drop ${name} ${value}`} onClick={() => go(Object.fromEntries(Object.entries(search).filter(([one]) => one !== name)))}>
      {name}: {value} ×
    </Button>
  ));
}

/** Reads the sums again when the day's spending has moved. */
function useSpending(search: CostsSearch): void {
  const client = useQueryClient();
  useTopic('overview');
  const spent = useQuery({ ...overviewQuery, enabled: false }).data?.spent_today.nano;
  const last = useRef({ at: 0, spent });
  useEffect(() => {
    if (spent === undefined || spent === last.current.spent || Date.now() - last.current.at < AGAIN_MS) return;
    const first = last.current.spent === undefined;
    last.current = { at: Date.now(), spent };
    if (!first) void client.invalidateQueries({ queryKey: costsQuery(search).queryKey });
  }, [client, search, spent]);
}
