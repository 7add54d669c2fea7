import { Button } from '@mantine/core';

import { useCopy } from './copy';
import styles from './ui.module.css';

/** A line to be copied, such as a command. What cannot be seen is not copied, and that is said. */
export function CopyLine({ text, label = 'Copy' }: { text: string; label?: string }) {
  const { copy, done, removed } = useCopy();
  return (
    <div className={styles.line}>
      <code>{text}</code>
      <Button size="compact-xs" variant="default" onClick={() => copy(text)}>
        {done ? 'Copied' : label}
      </Button>
      {removed > 0 ? <span role="status" className={styles.quiet}>{removed} unseen characters left out</span> : null}
    </div>
  );
}
