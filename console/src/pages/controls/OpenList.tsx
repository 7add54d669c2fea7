import { Link } from '@tanstack/react-router';

import type { OpenEffect } from '@/api/schema';
import { count } from '@/ui/format/count';
import { clock } from '@/ui/format/time';
import { Id } from '@/ui/Id';

import styles from './controls.module.css';

/** Calls that had begun: they go on until they end, or their time is over. */
export function OpenList({ effects, total }: { effects: readonly OpenEffect[]; total: number }) {
  if (total === 0) return null;
  return (
    <ul className={styles.list} aria-label="calls under way">
      {effects.map((effect) => (
        <li key={`${effect.run} ${effect.path} ${effect.attempt}`}>
          <code>{effect.name}</code> of <Link to="/runs/$id" params={{ id: effect.run }} search={{ span: effect.path }}><Id id={effect.run} still /></Link>, ends by {clock(effect.ends_by)}
        </li>
      ))}
      {total > effects.length ? <li>and {count(total - effects.length)} more</li> : null}
    </ul>
  );
}
