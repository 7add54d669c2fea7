import { Link } from '@tanstack/react-router';
import { useEffect, useRef } from 'react';

import type { ApprovalLine } from '@/api/schema';
import { relative } from '@/ui/format/duration';
import { useNow } from '@/ui/now';
import { Drawn } from '@/ui/Theirs';

import styles from './approvals.module.css';
import { counting } from './model/terms';
import { groupsOf } from './model/together';
import { Risk } from './Risk';

/** What waits, those that end first on top. */
export function Inbox({ items, id, choose }: { items: readonly ApprovalLine[]; id: string | undefined; choose: (id: string) => void }) {
  const groups = groupsOf(items);
  return (
    <nav aria-label="questions that wait">
      {groups.length > 0 ? (
        <ul className={styles.groups} aria-label="held by one rule" data-groups>
          {groups.map((one) => (
            <li key={one.group}><Link to="/approvals/together" search={{ group: one.group }} className={styles.group}>{one.count} × {one.tool} of {one.agent}, held by one rule: see them together</Link></li>
          ))}
        </ul>
      ) : null}
      <ul className={styles.inbox}>
        {items.map((item) => <Row key={item.id} item={item} here={item.id === id} choose={choose} />)}
      </ul>
    </nav>
  );
}

function Row({ item, here, choose }: { item: ApprovalLine; here: boolean; choose: (id: string) => void }) {
  const now = useNow();
  const row = useRef<HTMLAnchorElement>(null);
  useEffect(() => {
    // Not `scrollIntoView`: the page itself must stay where it is.
    const list = row.current?.closest('ul');
    if (!here || !row.current || !list) return;
    const [mine, all] = [row.current.getBoundingClientRect(), list.getBoundingClientRect()];
    list.scrollTop += Math.min(0, mine.top - all.top) + Math.max(0, mine.bottom - all.bottom);
  }, [here]);
  return (
    <li>
      <Link
        ref={row}
        to="/approvals/{-$id}"
        params={{ id: item.id }}
        className={styles.item}
        aria-current={here ? 'true' : undefined}
        // The focus goes to the card, as with the keys.
        onClick={() => choose(item.id)}
      >
        <strong className={styles.itemSummary}><Drawn text={item.summary} /></strong>
        <span className={styles.quiet}>
          <span><Risk risk={item.risk} /></span>
          <span>{item.agent}</span>
          {item.customer && !item.summary.includes(item.customer) ? <span><Drawn text={item.customer} /></span> : null}
          <span>asked {relative(item.asked_at, now)}</span>
          {item.expires ? <span>ends {relative(item.expires, now)}</span> : null}
          {item.holder ? <span>{item.holder} has taken it over</span> : null}
          {item.terms && item.terms.count > 1 ? <span>{counting(item.votes)} of {item.terms.count} have allowed it</span> : null}
          {item.mine ? null : <span>not yours to decide</span>}
          {item.seen_by.length > 0 ? <span>{item.seen_by.join(', ')} looks at it</span> : null}
        </span>
      </Link>
    </li>
  );
}
