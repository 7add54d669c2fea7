import styles from '@/ui/ui.module.css';

import type { State } from './model/words';

const MARKS: Readonly<Record<State, { readonly shape: string; readonly color: string; readonly word: string }>> = {
  closed: { shape: '●', color: 'var(--allow)', word: 'closed' },
  half_open: { shape: '◆', color: 'var(--hold)', word: 'half-open' },
  open: { shape: '■', color: 'var(--deny)', word: 'OPEN' },
};

/** How a breaker stands: shape, word, colour. Closed is when calls pass. */
export function StateMark({ state }: { state: State }) {
  const mark = MARKS[state];
  return (
    <span className={styles.mark} style={{ color: mark.color }} data-state={state}>
      <span className={styles.shape} aria-hidden="true">{mark.shape}</span>
      <strong>{mark.word}</strong>
    </span>
  );
}
