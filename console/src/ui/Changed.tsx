import type { ReactNode } from 'react';

import styles from './ui.module.css';

/** Tints its content for 300 ms when `value` changes (not with reduced motion; see tokens.css). */
export function Changed({ value, children }: { value: string | number; children: ReactNode }) {
  return <span key={value} className={styles.changed}>{children}</span>;
}
