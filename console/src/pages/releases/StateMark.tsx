import styles from '@/ui/ui.module.css';

import { percentWords, type State, stateWords } from './model/states';

const MARKS: Readonly<Record<State, { readonly shape: string; readonly color: string }>> = {
  draft: { shape: '○', color: 'var(--quiet)' },
  review: { shape: '◆', color: 'var(--hold)' },
  approved: { shape: '●', color: 'var(--quiet)' },
  canary: { shape: '▲', color: 'var(--flag)' },
  live: { shape: '●', color: 'var(--allow)' },
  retired: { shape: '▽', color: 'var(--quiet)' },
  rejected: { shape: '■', color: 'var(--deny)' },
  rolled_back: { shape: '×', color: 'var(--deny)' },
};

/** How a release stands: shape, word, colour; of a canary its share. */
export function StateMark({ state, percent = 0 }: { state: State; percent?: number }) {
  const mark = MARKS[state];
  return (
    <span className={styles.mark} style={{ color: mark.color }} data-state={state}>
      <span className={styles.shape} aria-hidden="true">{mark.shape}</span>
      <strong>{stateWords(state)}{state === 'canary' ? ` ${percentWords(percent)}` : ''}</strong>
    </span>
  );
}
