import { duration } from './format/duration';
import { count } from './format/count';
import styles from './ui.module.css';

/** Microseconds for reading, exact on hover. */
export function Duration({ us }: { us: number }) {
  return <span className={styles.number} title={`${count(us)} µs`}>{duration(us)}</span>;
}
