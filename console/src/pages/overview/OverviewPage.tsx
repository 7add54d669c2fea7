import { Group, Paper, SimpleGrid, Stack, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';

import { overviewQuery } from '@/api/queries';
import type { Overview } from '@/api/schema';
import { useTopic } from '@/app/live/context';
import { Stale } from '@/app/Stale';
import { STANDINGS } from '@/ui/Outcome';
import { Chart } from '@/ui/chart/Chart';
import { stackOf } from '@/ui/chart/model';
import { Empty } from '@/ui/Empty';
import { ErrorBox } from '@/ui/ErrorBox';
import { count, plural } from '@/ui/format/count';
import { Loading } from '@/ui/Loading';

import { Causes } from './Causes';
import { Figures } from './Figures';
import { KillButton } from './KillButton';
import { Needs } from './Needs';
import { SpentToday } from './SpentToday';
import { Workers } from './Workers';

const MINUTE = 60_000_000;
const ORDER = ['succeeded', 'escalated', 'cancelled', 'refused', 'exhausted', 'killed', 'failed'];

/** Is anything wrong, and does it need me? */
export function OverviewPage() {
  useTopic('overview');
  const { data, error, refetch } = useQuery(overviewQuery);
  if (error && !data) return <ErrorBox error={error} retry={() => void refetch()} />;
  if (!data) return <Loading rows={10} />;
  return (
    <Stack gap="md">
      <Group justify="space-between">
        <Title order={1}>Overview</Title>
        <KillButton />
      </Group>
      <Stale>
        <Stack gap="md">
          <Needs overview={data} />
          <Figures overview={data} />
          <SpentToday overview={data} />
          <SimpleGrid cols={{ base: 1, md: 2 }}>
            <Paper withBorder p="sm"><Ended overview={data} /></Paper>
            <Paper withBorder p="sm"><Causes overview={data} /></Paper>
          </SimpleGrid>
          <Workers overview={data} />
        </Stack>
      </Stale>
    </Stack>
  );
}

const AREAS: Readonly<Record<string, string>> = { exhausted: 'var(--flag-area)', failed: 'var(--bad-area)' };
const areaOf = (label: string): string => AREAS[label] ?? STANDINGS[label]?.color ?? 'var(--quiet)';

function Ended({ overview }: { overview: Overview }) {
  const stack = stackOf(overview.per_minute, MINUTE, ORDER, areaOf);
  const failed = overview.failed_last_hour;
  const summary = `In the last hour ${plural(overview.ended_last_hour, 'run')} ended, ${count(failed)} of them failed.`;
  return (
    <section aria-labelledby="ended">
      <Title order={2} id="ended" mb="xs">Runs ended a minute, last hour</Title>
      {stack.series.length === 0 ? (
        <Empty words="No run has ended in the last hour." command="penstock demo" />
      ) : (
        <Chart stack={stack} label="runs ended a minute" summary={summary} />
      )}
    </section>
  );
}
