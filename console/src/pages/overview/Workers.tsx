import { Text } from '@mantine/core';

import type { Overview } from '@/api/schema';
import { CopyLine } from '@/ui/CopyLine';
import { plural } from '@/ui/format/count';

/** The workers that are alive; none with runs queued is worth saying loudly. */
export function Workers({ overview }: { overview: Overview }) {
  const { workers } = overview;
  if (workers.length === 0) {
    return (
      <section aria-label="workers">
        <Text c="var(--bad)" fw={600}>No worker is alive: nothing that is queued will start.</Text>
        <CopyLine text="penstock worker" />
      </section>
    );
  }
  return (
    <Text size="sm" c="var(--quiet)" component="section" aria-label="workers">
      {plural(workers.length, 'worker')}: {workers.map((worker) => `${worker.name} (${plural(worker.running, 'run')})`).join(', ')}
    </Text>
  );
}
