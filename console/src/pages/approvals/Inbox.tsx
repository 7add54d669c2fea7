import { Link } from '@tanstack/react-router';

import type { ApprovalLine } from '@/api/schema';
import { relative } from '@/ui/format/duration';
import { useNow } from '@/ui/now';
import { Drawn } from '@/ui/Theirs';

import styles from './approvals.module.css';
import { Risk } from './Risk';

/** What waits, those that end first on top. */
export function Inbox({ items, id, choose }: { items: readonly ApprovalLine[]; id: string | undefined; choose: (id: string) => void }) {
  return (
    <nav aria-label="questions that wait">
      <ul className={styles.inbox}>
        {items.map((item) => <Row key={item.id} item={item} here={item.id === id} choose={choose} />)}
      </ul>
    </nav>
  );
}

function Row({ item, here, choose }: { item: ApprovalLine; here: boolean; choose: (id: string) => void }) {
  const now = useNow();
  return (
    <li>
      <Link
        to="/approvals/{-$id}"
        params={{ id: item.id }}
        className={styles.item}
        aria-current={here ? 'true' : undefined}
        // The focus goes to the card, as with the keys.
        onClick={() => choose(item.id)}
      >
        <span className={styles.itemHead}>
          <strong className={styles.itemSummary}><Drawn text={item.summary} /></strong>
          <Risk risk={item.risk} />
        </span>
        <span className={styles.quiet}>
          {item.agent}{item.customer ? <> · <Drawn text={item.customer} /></> : null} · asked {relative(item.asked_at, now)}
          {item.expires ? <> · ends {relative(item.expires, now)}</> : null}
          {item.mine ? null : ' · not yours to decide'}
          {item.seen_by.length > 0 ? ` · ${item.seen_by.join(', ')} looks at it` : null}
        </span>
      </Link>
    </li>
  );
}
