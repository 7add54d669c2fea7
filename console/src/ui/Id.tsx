import { useCopy } from './copy';
import { shortId } from './format/count';
import styles from './ui.module.css';

/** An id: cut in the middle, whole on hover, copied whole. Inside a link use `still`: text, not a button. */
export function Id({ id, still = false }: { id: string; still?: boolean }) {
  const { copy, done } = useCopy();
  if (still) return <span className={styles.mono} title={id}>{shortId(id)}</span>;
  return (
    <button type="button" className={`${styles.copy} ${styles.mono}`} title={`${id}. Click to copy`} aria-label={`${shortId(id)}: copy the id ${id}`} onClick={() => copy(id)}>
      {done ? 'copied' : shortId(id)}
    </button>
  );
}
