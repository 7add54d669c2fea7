import { useNow } from './now';
import { relative } from './format/duration';
import { exactTime, moment, zoneName } from './format/time';
import styles from './ui.module.css';

/** A moment (microseconds since the epoch): absolute with its zone, relative beside unless `plain`. */
export function When({ at, plain = false }: { at: number; plain?: boolean }) {
  const now = useNow();
  const text = moment(at, now);
  return (
    <time className={styles.number} dateTime={new Date(at / 1000).toISOString()} title={exactTime(at)}>
      {plain ? text : `${text} ${zoneName(at)}`}
      {plain ? null : <span className={styles.quiet}> · {relative(at, now)}</span>}
    </time>
  );
}
