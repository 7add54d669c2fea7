import { Anchor } from '@mantine/core';
import { Link } from '@tanstack/react-router';

import type { Overview } from '@/api/schema';
import { certaintyOf, money } from '@/ui/format/money';
import { percent } from '@/ui/format/count';
import { Money } from '@/ui/Money';

import styles from './overview.module.css';
import { byMidnight } from './pace';

/** What was spent today, against the day's budget where one is set. */
export function SpentToday({ overview }: { overview: Overview }) {
  const { spent_today: spent, budget_today: budget, as_of: asOf } = overview;
  const share = budget > 0 ? spent.nano / budget : 0;
  const forecast = byMidnight(spent.nano, asOf);
  return (
    <section className={styles.spent} aria-label="spent today">
      <span>
        today (UTC){' '}
        <Anchor inherit renderRoot={(props) => <Link to="/costs" search={{ range: '24h' }} {...props} />}>
          <Money nano={spent.nano} certainty={certaintyOf(spent)} />
        </Anchor>
        {budget > 0 ? <> of <Money nano={budget} /></> : null}
      </span>
      {budget > 0 ? <span className={styles.barBox}><Bar share={share} /><span>{percent(share)}</span></span> : null}
      {forecast === null ? null : <span className={styles.beside}>about {money(forecast)} by 24:00 at this pace</span>}
    </section>
  );
}

/** The budget's bar with the marks at which runs are told to wrap up (70 %), and lose their tools (90 %). */
function Bar({ share }: { share: number }) {
  const color = share >= 0.9 ? 'var(--bad)' : share >= 0.7 ? 'var(--flag)' : 'var(--allow)';
  return (
    <span className={styles.bar} role="meter" aria-label="of the day's budget" aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(Math.min(1, share) * 100)} aria-valuetext={percent(share)}>
      <span className={styles.fill} style={{ width: `${Math.min(100, share * 100)}%`, background: color }} />
      <span className={styles.tick} style={{ left: '70%' }} />
      <span className={styles.tick} style={{ left: '90%' }} />
    </span>
  );
}
