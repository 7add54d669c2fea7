import { pieces } from './format/unseen';
import styles from './ui.module.css';

/**
 * Text that an agent, a tool or a caller wrote: only ever text, its unseen characters drawn by name, and labelled as
 * theirs. Without `label` the surroundings must say whose it is.
 */
export function Theirs({ text, label }: { text: string; label?: string }) {
  return (
    <div className={styles.theirsBox}>
      {label ? <div className={styles.quiet}>{label}</div> : null}
      <pre className={styles.theirs}><Drawn text={text} /></pre>
    </div>
  );
}

/** Such text inside a line of ours. */
export function Drawn({ text }: { text: string }) {
  return pieces(text).map((piece, i) => (piece.unseen ? <span key={i} className={styles.unseen} title={`unseen character ${piece.text}`}>{piece.text}</span> : piece.text));
}
