import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';

import type { Content, DiffRow, SpanShown } from '@/api/schema';
import { ErrorBox } from '@/ui/ErrorBox';
import { count } from '@/ui/format/count';
import { duration } from '@/ui/format/duration';
import { money } from '@/ui/format/money';
import { Loading } from '@/ui/Loading';
import { Drawn, Theirs } from '@/ui/Theirs';

import { asMessages, asText, hiddenWords } from '../detail/text';
import { wordDiff } from '../model/diff';
import { nameOf, type TraceModel } from '../model/trace';
import { spanQuery } from '../queries';
import styles from '../run.module.css';

/** Characters up to which what is the same in both is shown at once. */
const SHORT = 200;

/** One call of each run, side by side: what differs word by word. */
export function Pair({ row, left, right }: { row: DiffRow; left: TraceModel; right: TraceModel }) {
  const one = useSpan(left, row.left);
  const other = useSpan(right, row.right);
  const error = one.error ?? other.error;
  if (error) return <ErrorBox error={error} retry={() => void Promise.all([one.refetch(), other.refetch()])} />;
  const [l, r] = [row.left ?? null, row.right ?? null];
  if ((l !== null && !one.data) || (r !== null && !other.data)) return <Loading rows={6} />;
  const name = l !== null ? nameOf(left, l) : r !== null ? nameOf(right, r) : '';
  return (
    <>
      <h2><Drawn text={name} /></h2>
      <p className={styles.quiet}>{row.differs.length > 0 ? `They differ in ${row.differs.join(', ')}.` : row.place === 'same' ? 'The same in both.' : 'Only one of them has it.'}</p>
      <dl className={styles.facts}>
        <div><dt>left</dt><dd>{factsOf(left, row.left)}</dd></div>
        <div><dt>right</dt><dd>{factsOf(right, row.right)}</dd></div>
      </dl>
      <Contents heading="input" left={one.data} right={other.data} of={(span) => span.input} />
      <Contents heading="output" left={one.data} right={other.data} of={(span) => span.output} />
      {one.data?.error || other.data?.error ? <WordDiff heading="error" left={one.data?.error ?? ''} right={other.data?.error ?? ''} /> : null}
    </>
  );
}

function useSpan(model: TraceModel, span: number | null | undefined) {
  const path = span === null || span === undefined ? undefined : model.path[span];
  return useQuery({ ...spanQuery(model.run, path ?? ''), enabled: path !== undefined });
}

function factsOf(model: TraceModel, span: number | null | undefined): string {
  if (span === null || span === undefined) return 'not there';
  const took = model.duration[span] ?? 0;
  return [model.statuses[model.status[span] ?? -1] ?? '', took < 0 ? 'goes on' : duration(took), money(model.nano[span] ?? 0)].join(' · ');
}

function Contents({ heading, left, right, of }: { heading: string; left: SpanShown | undefined; right: SpanShown | undefined; of: (span: SpanShown) => Content | null }) {
  const one = left ? of(left) : null;
  const other = right ? of(right) : null;
  if (!one && !other) return null;
  const hidden = one?.hidden || other?.hidden;
  if (hidden) return <section className={styles.content}><h3>{heading}</h3><p className={styles.quiet}>{hiddenWords(hidden)}</p></section>;
  const cut = one?.cut || other?.cut;
  return <WordDiff heading={cut ? `${heading}, of which the beginnings are compared` : heading} left={plainOf(one)} right={plainOf(other)} />;
}

/** Messages as they read, so that their ids are no differences. */
function plainOf(content: Content | null): string {
  if (!content) return '';
  const messages = asMessages(content.value);
  if (!messages) return asText(content.value);
  return messages.map((one) => `${one.role ?? ''}: ${(one.parts ?? []).map((part) => [part.name, part.text].filter(Boolean).join(' ')).join('\n')}`).join('\n\n');
}

/** What both have is folded: one looks for what differs. */
function Same({ text }: { text: string }) {
  if (text.length <= SHORT) return <Theirs text={text} />;
  return <details><summary>Show it</summary><Theirs text={text} /></details>;
}

/** Characters of an equal stretch that are shown beside what differs; more is folded. */
const BESIDE = 160;

/** A stretch that both have: of a long one what is next to a difference. */
function Both({ text, first, last }: { text: string; first: boolean; last: boolean }) {
  const before = first ? 0 : BESIDE;
  const after = last ? 0 : BESIDE;
  if (text.length <= before + after + BESIDE) return <Drawn text={text} />;
  const end = text.length - after;
  return (
    <>
      <Drawn text={text.slice(0, before)} />
      <details>
        <summary className={styles.quiet}>{count(end - before)} characters the same</summary>
        <Drawn text={text.slice(before, end)} />
      </details>
      <Drawn text={text.slice(end)} />
    </>
  );
}

function WordDiff({ heading, left, right }: { heading: string; left: string; right: string }) {
  const parts = useMemo(() => wordDiff(left, right), [left, right]);
  const same = left === right;
  return (
    <section className={styles.content}>
      <h3>{heading} {same ? <span className={styles.quiet}>the same</span> : null}</h3>
      {same ? <Same text={left} /> : (
        <div className={styles.wordDiff}>
          {parts.map((part, i) =>
            part.side === 'both' ? <Both key={i} text={part.text} first={i === 0} last={i === parts.length - 1} /> : part.side === 'left' ? <del key={i}><Drawn text={part.text} /></del> : <ins key={i}><Drawn text={part.text} /></ins>,
          )}
        </div>
      )}
    </section>
  );
}
