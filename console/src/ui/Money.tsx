import { useCopy } from './copy';
import { type Certainty, exactMoney, money } from './format/money';
import styles from './ui.module.css';

const SAID: Record<Certainty, string> = {
  exact: '',
  at_maximum: ', at most: a part was charged at its maximum',
  partial: ', at least: not everything is counted yet',
  unpriced: ', no price is known',
};

/** Nano-dollars: short to read, exact on hover; `copy` makes it a button that copies every digit. */
export function Money({ nano, certainty = 'exact', copy = false }: { nano: number; certainty?: Certainty; copy?: boolean }) {
  const copied = useCopy();
  const exact = exactMoney(nano) + SAID[certainty];
  const shown = copied.done ? 'copied' : money(nano, certainty);
  if (!copy) return <span className={styles.number} title={exact}>{shown}</span>;
  return (
    <button type="button" className={styles.copy} title={`${exact}. Click to copy`} onClick={() => copied.copy(exactMoney(nano))}>
      {shown}
    </button>
  );
}
