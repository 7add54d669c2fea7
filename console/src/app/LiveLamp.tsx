import { useEffect, useRef } from 'react';

import { clock, zoneName } from '@/ui/format/time';
import { useNow } from '@/ui/now';

import { useAnnounce } from './announce';
import { useLive } from './live/context';
import styles from './shell.module.css';

/** Whether the figures are live, and since when they are not. */
export function LiveLamp() {
  const live = useLive();
  const now = useNow();
  const { polite } = useAnnounce();
  const before = useRef(live.state);
  useEffect(() => {
    if (live.state === 'stale') polite(`The figures are not live since ${clock(live.since * 1000)}.`);
    else if (live.state === 'live' && before.current === 'stale') polite('The figures are live again.');
    before.current = live.state;
  }, [live, polite]);
  const words = {
    live: `live ${clock(now)}`,
    connecting: 'connecting',
    signed_out: 'signed out',
    stale: `not live since ${clock(live.since * 1000)}`,
  }[live.state];
  const stale = live.state === 'stale' || live.state === 'signed_out';
  return (
    <span className={`${styles.lamp} ${stale ? styles.lampStale : ''}`}>
      <span aria-hidden="true">{live.state === 'live' ? '●' : '○'}</span>
      {words} {zoneName(now)}
    </span>
  );
}

/** The same where the lamp is out of sight (a phone): only when the figures are not live. */
export function StaleLamp() {
  const live = useLive();
  if (live.state !== 'stale') return null;
  return <span className={`${styles.lamp} ${styles.lampStale}`}>not live since {clock(live.since * 1000)}</span>;
}
