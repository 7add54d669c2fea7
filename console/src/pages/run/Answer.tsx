import { Drawn, Theirs } from '@/ui/Theirs';

import { asText, fieldsOf, oneLine } from './detail/text';
import styles from './run.module.css';

const SHORT = 120;

/** What a run answered: words as they are, an object by its fields. What is long is opened on demand. */
export function Answer({ value }: { value: unknown }) {
  const fields = fieldsOf(value);
  if (fields === null) return <Words text={asText(value)} />;
  const [only] = fields;
  if (only && fields.length === 1) return <><span className={styles.quiet}><Drawn text={only.name} /></span> <Words text={only.text} /></>;
  return (
    <details className={styles.inlineDetails}>
      <summary><Drawn text={oneLine(fields)} /></summary>
      <dl className={styles.decision}>
        {fields.map((field) => <Field key={field.name} name={field.name} text={field.text} />)}
      </dl>
    </details>
  );
}

function Field({ name, text }: { name: string; text: string }) {
  return <><dt><Drawn text={name} /></dt><dd>{text.includes('\n') ? <Theirs text={text} /> : <Drawn text={text} />}</dd></>;
}

function Words({ text }: { text: string }) {
  if (text.length <= SHORT && !text.includes('\n')) return <span>“<Drawn text={text} />”</span>;
  return (
    <details className={styles.inlineDetails}>
      <summary>“<Drawn text={text.slice(0, SHORT - 20).replaceAll('\n', ' ')} />…”</summary>
      <Theirs text={text} />
    </details>
  );
}
