import styles from './approvals.module.css';

const MARKS: Record<string, { shape: string; color: string }> = {
  high: { shape: '◆', color: 'var(--hold)' },
  medium: { shape: '▲', color: 'var(--flag)' },
  low: { shape: '●', color: 'var(--allow)' },
};

/** How risky the tool says that the call is: shape, colour and word. */
export function Risk({ risk }: { risk: string }) {
  const mark = MARKS[risk];
  if (!mark) return null;
  return <span className={styles.risk} style={{ color: mark.color }}><span aria-hidden="true">{mark.shape}</span> {risk} risk</span>;
}
