import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { Button } from '@mantine/core';
import { type RefObject } from 'react';

import { ApiProblem } from '@/api/problem';
import type { SpanShown } from '@/api/schema';
import { useCopy } from '@/ui/copy';
import { ErrorBox } from '@/ui/ErrorBox';
import { count } from '@/ui/format/count';
import { duration } from '@/ui/format/duration';
import { Id } from '@/ui/Id';
import { Loading } from '@/ui/Loading';
import { Money } from '@/ui/Money';
import { Drawn, Theirs } from '@/ui/Theirs';

import type { Partial } from '../live/tokens';
import { thenOf } from '../model/tape';
import { kindOf, nameOf, statusOf, type TraceModel } from '../model/trace';
import { spanQuery } from '../queries';
import styles from '../run.module.css';
import { Accounts } from './Accounts';
import { Attempts, Questions } from './Attempts';
import { ContentView } from './ContentView';
import { Decision, Verdicts } from './Verdicts';

interface DetailProps {
  readonly panel: RefObject<HTMLElement | null>;
  readonly model: TraceModel;
  readonly span: number | null;
  readonly at: number | null;
  readonly partial: Partial | undefined;
  readonly reveal: (span: number) => void;
}

/** One call: what the gates said, what went in, what came out. The choice moves at once, its content follows. */
export function Detail({ panel, model, span, at, partial, reveal }: DetailProps) {
  const path = span === null ? undefined : model.path[span];
  return (
    <aside ref={panel} aria-label="the chosen call" className={styles.detail} tabIndex={-1}>
      {span === null || path === undefined ? <p className={styles.quiet}>Choose a call to see what went in and out.</p> : (
        <>
          <Heading model={model} span={span} path={path} at={at} />
          {partial ? (
            <section className={styles.content} aria-busy="true">
              <h3>as it comes <span className={styles.quiet}>attempt {partial.attempt}; not settled, may change{partial.cut ? '; its beginning is left out' : ''}</span></h3>
              <Theirs text={partial.text} label="the model’s words" />
            </section>
          ) : null}
          {at !== null && thenOf(model, span, at) === 'not yet' ? (
            <p className={styles.quiet}>At this place of the tape the call was not there yet.</p>
          ) : (
            <Body key={path} model={model} span={span} path={path} reveal={reveal} />
          )}
        </>
      )}
    </aside>
  );
}

const STANDS: Readonly<Record<string, string>> = { open: 'running' };

function Heading({ model, span, path, at }: { model: TraceModel; span: number; path: string; at: number | null }) {
  const took = model.duration[span] ?? 0;
  const then = thenOf(model, span, at);
  return (
    <div className={styles.detailHead}>
      <h2><Drawn text={nameOf(model, span)} /> <span className={styles.quiet}>{kindOf(model, span)}</span></h2>
      <p className={styles.quiet}>
        call {path} · seq {count(model.seq[span] ?? 0)} · {at === null || then === 'over' ? STANDS[statusOf(model, span)] ?? statusOf(model, span).replaceAll('_', ' ') : then}
        {took >= 0 && then === 'over' ? ` · ${duration(took)}` : ''} · after {duration(model.start[span] ?? 0)}
      </p>
    </div>
  );
}

function Body({ model, span, path, reveal }: { model: TraceModel; span: number; path: string; reveal: (span: number) => void }) {
  const { data, error, refetch } = useQuery(spanQuery(model.run, path));
  if (error && !data) {
    if (ApiProblem.of(error).status === 404) return <p className={styles.quiet}>The journal has no more of this call.</p>;
    return <ErrorBox error={error} retry={() => void refetch()} />;
  }
  if (!data) return <Loading rows={6} />;
  const child = model.child.get(span) ?? data.child;
  return (
    <>
      {data.sentence ? <p className={styles.sentence}><Drawn text={data.sentence} /></p> : null}
      <FromCache served={data.about['served by']} />
      {data.error ? <Theirs text={data.error} label="error" /> : null}
      <Verdicts span={data} />
      <Questions approvals={data.approvals} />
      <ContentView run={model.run} heading="input" content={data.input} />
      {data.reasoning.length > 0 ? (
        <section className={styles.content}>
          <h3>reasoning <span className={styles.quiet}>the model’s own account</span></h3>
          {data.reasoning.map((text, i) => <Theirs key={i} text={text} />)}
        </section>
      ) : null}
      <ContentView run={model.run} heading="output" content={data.output} />
      {data.asks.length > 0 ? (
        <section className={styles.content}>
          <h3>asked for</h3>
          {data.asks.map((asked, i) => <Theirs key={i} text={asked['args'] ?? ''} label={asked['name'] ?? 'tool'} />)}
        </section>
      ) : null}
      {data.kind === 'model' || data.kind === 'decision' ? <Decision decision={data.decision} /> : null}
      <Attempts attempts={data.attempts} />
      <Facts data={data} />
      <Accounts run={model.run} path={path} />
      {child ? <p>The run of this delegation: <Link to="/runs/$id" params={{ id: child }}><Id id={child} still /></Link></p> : null}
      <SameAs data={data} model={model} reveal={reveal} />
      <CopyRow data={data} />
    </>
  );
}

const RUN_ID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/;

/** That nothing was called: the answer is what an earlier call came to. */
function FromCache({ served }: { served: unknown }) {
  if (typeof served !== 'string' || served === '') return null;
  const run = RUN_ID.exec(served)?.[0];
  return (
    <p data-cached>
      <strong>Answered from the cache:</strong> {served}. Nothing was called, and nothing was paid.
      {run ? <> <Link to="/runs/$id" params={{ id: run }}>That run</Link></> : null}
    </p>
  );
}

function Facts({ data }: { data: SpanShown }) {
  const about = Object.entries(data.about).filter(([name, value]) => value && name !== 'served by');
  const { used } = data;
  return (
    <section className={styles.content}>
      <h3>cost</h3>
      <p>
        <Money nano={used.nano} certainty={used.nano_at_maximum > 0 ? 'at_maximum' : 'exact'} copy /> · {count(used.tokens_in)} tokens in{data.cached > 0 ? ` (${count(data.cached)} from the provider’s cache)` : ''}, {count(used.tokens_out)} out
        {data.simulated ? ' · simulated' : ''}
      </p>
      {about.length > 0 ? <p className={styles.quiet}><Drawn text={about.map(([name, value]) => `${name} ${value}`).join(' · ')} /></p> : null}
    </section>
  );
}

function SameAs({ data, model, reveal }: { data: SpanShown; model: TraceModel; reveal: (span: number) => void }) {
  if (data.same_as.length === 0) return null;
  return (
    <section className={styles.content}>
      <h3>same name and arguments</h3>
      <p>
        {data.same_as.slice(0, 20).map((path) => (
          <button key={path} type="button" className={styles.chip} onClick={() => reveal(model.path.indexOf(path))}>{path}</button>
        ))}
        {data.same_as.length > 20 ? ` and ${count(data.same_as.length - 20)} more` : ''}
      </p>
    </section>
  );
}

function CopyRow({ data }: { data: SpanShown }) {
  const { copy, done, removed } = useCopy();
  return (
    <p className={styles.copyRow}>
      <Button size="compact-xs" variant="default" onClick={() => copy(JSON.stringify(data, null, 2))}>Copy as JSON</Button>
      <Button size="compact-xs" variant="default" onClick={() => copy(globalThis.location.href)}>Copy link</Button>
      {data.command ? <Button size="compact-xs" variant="default" onClick={() => copy(data.command)}>Copy command</Button> : null}
      {done ? <span role="status" className={styles.quiet}>copied{removed > 0 ? `, ${removed} unseen characters left out` : ''}</span> : null}
    </p>
  );
}
