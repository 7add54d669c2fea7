import type { ReactNode } from 'react';

import styles from '@/ui/ui.module.css';

import { useLive } from './live/context';

/** Dims figures that are not live; the lamp says since when. */
export function Stale({ children }: { children: ReactNode }) {
  const { state } = useLive();
  const stale = state === 'stale' || state === 'signed_out';
  return <div className={stale ? styles.stale : undefined} data-stale={stale || undefined}>{children}</div>;
}
