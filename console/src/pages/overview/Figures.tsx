import { Anchor } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';

import type { Overview } from '@/api/schema';
import { Changed } from '@/ui/Changed';
import { count } from '@/ui/format/count';
import { duration } from '@/ui/format/duration';

import styles from './overview.module.css';

/** How many runs are where. Each figure opens its runs. */
export function Figures({ overview }: { overview: Overview }) {
  const { running, queued, oldest_wait: oldest, parked, quarantined, failed_last_hour: failed } = overview;
  return (
    <dl className={styles.figures}>
      <Figure label="running" search={{ status: 'running' }} value={running} />
      <Figure label="queued" search={{ status: 'queued' }} value={queued}>
        {oldest > 0 ? `oldest ${duration(oldest)}` : null}
      </Figure>
      <Figure label="parked" search={{ status: 'parked' }} value={parked} />
      {quarantined > 0 ? <Figure label="quarantined" search={{ status: 'quarantined' }} value={quarantined} /> : null}
      <Figure label="failed, last hour" search={{ outcome: 'failed', since: '1h' }} value={failed}>
        of {count(overview.ended_last_hour)} ended
      </Figure>
    </dl>
  );
}

function Figure({ label, value, search, children }: { label: string; value: number; search: Record<string, string>; children?: ReactNode }) {
  return (
    <div>
      <dt>{label}</dt>
      <dd>
        <Anchor inherit renderRoot={(props) => <Link to="/runs" search={search} {...props} />}>
          <Changed value={value}>{count(value)}</Changed>
        </Anchor>
        {children ? <span className={styles.beside}>{children}</span> : null}
      </dd>
    </div>
  );
}
