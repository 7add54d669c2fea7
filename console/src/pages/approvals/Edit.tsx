import { Button, Checkbox, NativeSelect, Text, Textarea, TextInput } from '@mantine/core';
import { type Dispatch, type FormEvent, useEffect, useMemo, useRef, useState } from 'react';

import type { ApprovalShown } from '@/api/schema';
import { wordDiff } from '@/pages/run/model/diff';
import { Drawn } from '@/ui/Theirs';

import styles from './approvals.module.css';
import { laidOut } from './model/canonical';
import type { Args, Event } from './model/decide';
import { canonicalOf, editable, type Field, fieldsOf, readFields } from './model/edit';

/** Characters of a text beyond which it gets several lines. */
const LONG = 80;

/** The arguments in a form by the tool's schema. What differs is shown word by word; then it is armed, and sent like any answer. */
export function Edit({ approval, send }: { approval: ApprovalShown; send: Dispatch<Event> }) {
  const args = useMemo(() => editable(approval.args), [approval.args]);
  return args === null ? (
    <>
      <Text size="sm">These arguments hold a number that a browser cannot hold exactly: <code>penstock approvals edit</code> can.</Text>
      <Button variant="default" onClick={() => send({ kind: 'back' })}>Back</Button>
    </>
  ) : <Form approval={approval} args={args} send={send} />;
}

function Form({ approval, args, send }: { approval: ApprovalShown; args: Args; send: Dispatch<Event> }) {
  const form = useRef<HTMLFormElement>(null);
  const fields = useMemo(() => fieldsOf(args, approval.takes), [args, approval.takes]);
  const [values, setValues] = useState<Readonly<Record<string, string | null>>>(() => Object.fromEntries(fields.map((field) => [field.name, field.was])));
  const read = readFields(fields, values);
  const changed = 'args' in read && canonicalOf(read.args) !== approval.args;
  useEffect(() => {
    // After the key that opened it: its letter must not be typed into the field.
    form.current?.querySelector<HTMLElement>('input, select, textarea')?.focus({ preventScroll: true });
  }, []);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    if (changed && 'args' in read) send({ kind: 'edited', args: read.args });
  };
  return (
    <form ref={form} onSubmit={submit} className={styles.edit} data-edit>
      <strong>Allow it with other arguments</strong>
      {fields.map((field) => (
        <Input key={field.name} field={field} value={values[field.name] ?? null} wrong={'wrong' in read ? read.wrong[field.name] : undefined} set={(value) => setValues((old) => ({ ...old, [field.name]: value }))} />
      ))}
      {changed && 'args' in read ? <EditedDiff before={approval.args} args={read.args} /> : <Text size="sm" c="var(--quiet)">Nothing is changed yet.</Text>}
      {(approval.terms?.count ?? 1) > 1 ? <Text size="sm">Several people must allow it: as edited it is asked anew.</Text> : null}
      <div className={styles.buttons}>
        <Button type="submit" disabled={!changed} data-edited>Look at it once more…</Button>
        <Button variant="default" onClick={() => send({ kind: 'back' })}>Back</Button>
      </div>
    </form>
  );
}

function Input({ field, value, wrong, set }: { field: Field; value: string | null; wrong: string | undefined; set: (value: string | null) => void }) {
  const label = <Drawn text={field.name} />;
  const about = field.about ? <Drawn text={field.about} /> : undefined;
  if (field.kind === 'boolean') return <Checkbox label={label} description={about} checked={value === 'true'} onChange={(event) => set(String(event.currentTarget.checked))} />;
  if (field.kind === 'choice') {
    const data = [...(field.was === null || !field.required ? [{ value: '', label: 'not given' }] : []), ...field.choices];
    return <NativeSelect label={label} description={about} data={data} value={value ?? ''} onChange={(event) => set(event.currentTarget.value === '' ? null : event.currentTarget.value)} />;
  }
  const shared = { label, description: about, error: wrong, required: field.required, autoComplete: 'off', spellCheck: false } as const;
  // A form that changes under the hand loses the focus: what it was decides.
  if (field.kind === 'json' || (field.was ?? '').length > LONG || (field.was ?? '').includes('\n')) {
    return <Textarea {...shared} rows={4} value={value ?? ''} onChange={(event) => set(event.currentTarget.value)} />;
  }
  return <TextInput {...shared} inputMode={field.kind === 'number' ? 'decimal' : 'text'} value={value ?? ''} onChange={(event) => set(event.currentTarget.value)} />;
}

/** What an edit changes, word by word: taken out, put in. */
export function EditedDiff({ before, args }: { before: string; args: Args }) {
  const parts = useMemo(() => wordDiff(laidOut(before), laidOut(canonicalOf(args))), [before, args]);
  return (
    <span className={styles.diff} data-diff>
      {parts.map((part, i) => (part.side === 'both' ? <Drawn key={i} text={part.text} />
        : part.side === 'left' ? <del key={i} className={styles.out}><Drawn text={part.text} /></del>
          : <ins key={i} className={styles.in}><Drawn text={part.text} /></ins>))}
    </span>
  );
}
