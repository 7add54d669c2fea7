import { Button, Text, TextInput } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { type FormEvent, type ReactNode, useEffect, useRef, useState } from 'react';

import type { CaseLine } from '@/api/schema';
import { useCan, useMe } from '@/app/session';
import { ErrorBox } from '@/ui/ErrorBox';
import { zoneName } from '@/ui/format/time';
import { Id } from '@/ui/Id';
import { useNow } from '@/ui/now';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import { isOverdue, momentField, readMoment } from './cases';
import styles from './cases.module.css';
import { type Acting, type Act, useActing } from './useActing';

/** One case: what it is, who has it, and what the caller may do with it. */
export function OneCase({ line }: { line: CaseLine }) {
  const me = useMe().actor;
  const now = useNow();
  const acting = useActing(line.run);
  return (
    <li className={styles.case} data-case-of={line.run} tabIndex={-1}>
      <div className={styles.head}>
        <strong><Link to="/runs/$id" params={{ id: line.run }}><Id id={line.run} still /></Link> <Drawn text={line.agent} />{line.customer ? <>, <Drawn text={line.customer} /></> : null}</strong>
        <span>{line.why === 'question' ? <>waits for an answer{line.questions.slice(0, 5).map((id, i) => <span key={id}>{i === 0 ? ': ' : ', '}<Link to="/approvals/{-$id}" params={{ id }}>{line.questions.length === 1 ? 'the question' : `question ${i + 1}`}</Link></span>)}{line.questions.length > 5 ? ` and ${line.questions.length - 5} more` : ''}</> : 'its agent gave it up'}</span>
        {line.ends ? <span className={styles.quiet}>ends <When at={line.ends} /></span> : null}
      </div>
      <p className={styles.who}>
        {line.holder === me ? <><strong>In your hands</strong> until <When at={line.until} /></> : line.holder ? <><strong><Drawn text={line.holder} /> has it</strong> until <When at={line.until} /></> : 'Nobody has it'}
        {line.assignee ? <>; <Drawn text={line.assignee} /> is to look at it</> : '; nobody is told to look at it'}
        {line.due ? <>, due <When at={line.due} />{isOverdue(line, now) ? <strong className={styles.late}> ▲ overdue</strong> : null}</> : null}.
        {line.note ? <> Handed back with: “<Drawn text={line.note} />”</> : null}
      </p>
      <Acts line={line} acting={acting} />
      {acting.error ? <ErrorBox error={acting.error} /> : null}
    </li>
  );
}

function Acts({ line, acting }: { line: CaseLine; acting: Acting }) {
  const me = useMe().actor;
  const can = useCan();
  if (!can('approvals:decide')) return null;
  const { act, begin, pending } = acting;
  const mine = line.holder === me;
  const free = line.holder === '';
  if (act === 'assign') return <Assign line={line} acting={acting} />;
  if (act === 'take over') return <Words acting={acting} label="why you take it away" needed yes="Take it over" send={(reason) => acting.claim(true, reason)}>Nobody else decides what it asks then, also not <Drawn text={line.holder} />.</Words>;
  if (act === 'hand back') return <Words acting={acting} label="note for whoever comes next" yes="Hand it back" send={(note) => acting.handBack(note, false)} />;
  if (act === 'put aside') return <Words acting={acting} label="what was done" needed yes="Put it aside" send={(note) => acting.handBack(note, true)}>It goes from the list. Its run has ended, and stays as it is.</Words>;
  const button = (one: Act, words: string): ReactNode => <Button size="compact-sm" variant="default" disabled={pending} onClick={() => begin(one)} data-act={one}>{words}…</Button>;
  return (
    <div className={styles.acts}>
      {free ? <Button size="compact-sm" variant="default" loading={pending} onClick={() => acting.claim(false, '')} data-act="take">Take it for an hour</Button> : null}
      {mine && line.why === 'question' ? button('hand back', 'Hand back') : null}
      {mine && line.why === 'escalated' ? <>{button('hand back', 'Hand back')}{button('put aside', 'Put aside')}</> : null}
      {!mine && !free && can('keys:manage') ? button('take over', 'Take it over') : null}
      {button('assign', line.assignee ? 'Assign to another' : 'Assign')}
    </div>
  );
}

interface WordsProps {
  readonly acting: Acting;
  readonly label: string;
  readonly needed?: boolean;
  readonly yes: string;
  readonly send: (words: string) => void;
  readonly children?: ReactNode;
}

function Words({ acting, label, needed = false, yes, send, children }: WordsProps) {
  const [words, setWords] = useState('');
  const field = useRef<HTMLInputElement>(null);
  const ready = !needed || words.trim() !== '';
  useEffect(() => field.current?.focus(), []);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    if (ready && !acting.pending) send(words.trim());
  };
  return (
    <form onSubmit={submit} className={styles.form} data-acting>
      {children ? <Text size="sm" w="100%">{children}</Text> : null}
      <TextInput ref={field} size="xs" label={label} required={needed} maxLength={2000} value={words} onChange={(event) => setWords(event.currentTarget.value)} className={styles.words} autoComplete="off" />
      <Button size="compact-sm" type="submit" loading={acting.pending} disabled={!ready}>{yes}</Button>
      <Button size="compact-sm" variant="default" onClick={() => acting.begin(null)}>Back</Button>
    </form>
  );
}

/** Who is to look at it, and until when. */
function Assign({ line, acting }: { line: CaseLine; acting: Acting }) {
  const me = useMe().actor;
  const [to, setTo] = useState(line.assignee);
  const [due, setDue] = useState(momentField(line.due));
  const field = useRef<HTMLInputElement>(null);
  const at = readMoment(due);
  const now = useNow();
  useEffect(() => field.current?.focus(), []);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    if (at !== null && !acting.pending) acting.assign(to.trim(), at);
  };
  return (
    <form onSubmit={submit} className={styles.form} data-acting>
      <TextInput ref={field} size="xs" label="who is to look at it" description="such as key:ada; empty: nobody" value={to} onChange={(event) => setTo(event.currentTarget.value)} maxLength={200} autoComplete="off" spellCheck={false} />
      <TextInput size="xs" type="datetime-local" label="until when" description={`${zoneName(now)}; empty: no time`} value={due} error={at === null ? 'a date and a time' : null} onChange={(event) => setDue(event.currentTarget.value)} />
      <Button size="compact-sm" type="submit" loading={acting.pending} disabled={at === null}>{to.trim() === '' ? 'Assign it to nobody' : 'Assign it'}</Button>
      {to === me ? null : <Button size="compact-sm" variant="default" onClick={() => setTo(me)}>To me</Button>}
      <Button size="compact-sm" variant="default" onClick={() => acting.begin(null)}>Back</Button>
    </form>
  );
}
