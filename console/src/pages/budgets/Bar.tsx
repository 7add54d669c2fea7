import { percent } from '@/ui/format/count';

import styles from './budgets.module.css';
import { amount, LEVELS, type Standing } from './model/standing';

const COLOR: Readonly<Record<Standing['level'], string>> = { 0: 'var(--allow)', 70: 'var(--flag)', 90: 'var(--bad)', 100: 'var(--bad)' };
const WORD: Readonly<Record<Standing['level'], string>> = { 0: '', 70: 'over 70 %', 90: 'over 90 %', 100: 'at its end' };
const SHAPE: Readonly<Record<Standing['level'], string>> = { 0: '', 70: '▲', 90: '▲', 100: '■' };

/** A limit: what is spent is solid, what is held by calls under way outlined, with marks where runs are told. */
export function Bar({ standing, of }: { standing: Standing; of: string }) {
  const { resource, limit, spent, held, left, share, level } = standing;
  const reached = percent(Math.floor((spent / limit) * 100) / 100);
  // A limit that was lowered below what is spent stands inside the bar.
  const whole = Math.max(1, share);
  const at = (part: number): string => `${Math.min(100, (part / whole) * 100)}%`;
  const words = `${amount(resource, spent)} spent${held > 0 ? `, ${amount(resource, held)} held by calls under way` : ''}, of ${amount(resource, limit)}: ${reached} spent, ${amount(resource, left)} left`;
  return (
    <div className={styles.standing} data-level={level}>
      <div className={styles.bar} role="meter" aria-label={of} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.min(100, Math.floor((spent / limit) * 100))} aria-valuetext={words}>
        <span className={styles.spent} style={{ width: at(spent / limit), background: COLOR[level] }} />
        <span className={styles.held} style={{ insetInlineStart: at(spent / limit), width: at(held / limit), borderColor: COLOR[level] }} />
        {LEVELS.map((mark) => <span key={mark} className={styles.mark} style={{ insetInlineStart: at(mark / 100) }} data-mark={mark} />)}
      </div>
      <div className={styles.figures}>
        <span><strong>{amount(resource, spent)}</strong>{held > 0 ? <> + {amount(resource, held)} held</> : null} of {amount(resource, limit)}</span>
        <span className={styles.quiet}>
          {level > 0 ? <span style={{ color: COLOR[level] }}><span aria-hidden="true">{SHAPE[level]}</span> {WORD[level]}: {reached}</span> : reached} · {amount(resource, left)} left
        </span>
      </div>
    </div>
  );
}
