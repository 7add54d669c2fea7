import { Paper } from '@mantine/core';
import { keepPreviousData, useQuery } from '@tanstack/react-query';

import type { Costs } from '@/api/schema';
import { Stale } from '@/app/Stale';
import { Changed } from '@/ui/Changed';
import { percent, plural } from '@/ui/format/count';
import { money } from '@/ui/format/money';
import { Money } from '@/ui/Money';
import { When } from '@/ui/When';

import styles from './costs.module.css';
import { monthQuery } from './queries';
import { type CostsSearch, monthStart, onlyOf } from './search';
import { kindWords } from './words';

const month = new Intl.DateTimeFormat('en-GB', { month: 'long', year: 'numeric', timeZone: 'UTC' });

/** What this month has cost so far, what of it is charged at the maximum, and what it was paid for. */
export function Month({ search }: { search: CostsSearch }) {
  const { data } = useQuery({ ...monthQuery(search), placeholderData: keepPreviousData });
  // The sums below carry the error, which is the same; a figure that is not known is not shown.
  if (!data) return null;
  const { nano, nano_at_maximum: most } = data.total;
  const narrowed = Object.keys(onlyOf(search)).length > 0;
  return (
    <Stale>
      <Paper withBorder p="sm" component="section" aria-label="this month so far" data-month>
        <dl className={styles.now}>
          <div>
            <dt>{month.format(monthStart(data.as_of) / 1000)} so far (UTC){narrowed ? ', of what is chosen' : ''}</dt>
            <dd>
              <Changed value={nano}><strong><Money nano={nano - most} certainty={data.partial ? 'partial' : 'exact'} copy /></strong></Changed>
              {most > 0 ? <> + <Money nano={most} certainty="at_maximum" /> <span className={styles.quiet}>at maximum</span></> : null}
            </dd>
            <dd className={styles.asOf}>as of <When at={data.as_of} />{data.partial ? ' · not everything is counted yet: at least so much' : ''}</dd>
          </div>
          <div><dt>runs</dt><dd>{plural(data.total_runs, 'run')}{data.live_nano > 0 ? <span className={styles.quiet}> · <Money nano={data.live_nano} /> by those that go on</span> : null}</dd></div>
          <div className={styles.wide}><dt>paid for</dt><dd><Kinds costs={data} /></dd></div>
        </dl>
      </Paper>
    </Stale>
  );
}

/** What it was paid for, in words and shares: the dearest first. */
function Kinds({ costs }: { costs: Costs }) {
  const rows = costs.rows.filter((row) => row.used.nano > 0);
  if (rows.length === 0) return <>nothing yet</>;
  return (
    <ul className={styles.kinds}>
      {rows.map((row) => (
        <li key={row.value} title={`${kindWords(row.value)}: ${money(row.used.nano)}`}>
          {kindWords(row.value)} <strong>{percent(costs.total.nano > 0 ? row.used.nano / costs.total.nano : 0)}</strong>
        </li>
      ))}
    </ul>
  );
}
