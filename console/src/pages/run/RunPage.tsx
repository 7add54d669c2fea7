import { Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import { lazy, Suspense, useRef } from 'react';

import { ApiProblem } from '@/api/problem';
import type { RunShown } from '@/api/schema';
import { Stale } from '@/app/Stale';
import { Empty } from '@/ui/Empty';
import { ErrorBox } from '@/ui/ErrorBox';
import { duration } from '@/ui/format/duration';
import { Loading } from '@/ui/Loading';

import { Between } from './Between';
import { CriticalBar } from './CriticalBar';
import { Detail } from './detail/Detail';
import { Header } from './Header';
import { useGoing } from './live/useGoing';
import { useLiveRun } from './live/useLiveRun';
import { Loops } from './Loops';
import { placeWords } from './model/words';
import type { TraceModel } from './model/trace';
import { runQuery, traceQuery } from './queries';
import styles from './run.module.css';
import { Scrubber } from './Scrubber';
import { Steps, TOLD_MAX } from './Steps';
import { Toolbar } from './Toolbar';
import { useRunView } from './useRunView';
import { BudgetStrip } from './waterfall/BudgetStrip';
import { Waterfall } from './waterfall/Waterfall';

// The graph's library is a third of the page: it is loaded when a run has others below it.
const AgentTree = lazy(() => import('./AgentTree'));

/** Why did it do that, and at what cost? */
export function RunPage() {
  const { id } = useParams({ from: '/inside/runs/$id' });
  return <Run key={id} id={id} />;
}

function Run({ id }: { id: string }) {
  const run = useQuery(runQuery(id));
  const trace = useQuery(traceQuery(id));
  const partials = useLiveRun(id, run.data, trace.data);
  if (run.error && !run.data) return <Failed error={run.error} retry={() => void run.refetch()} />;
  if (!run.data) return <Loading rows={12} />;
  return (
    <Stale>
      <div className={styles.page}>
        <Header run={run.data} />
        {trace.error && !trace.data ? <ErrorBox error={trace.error} retry={() => void trace.refetch()} /> : null}
        {!trace.data && !trace.error ? <Loading rows={10} height={20} /> : null}
        {trace.data && trace.data.count === 0 ? <NoCalls run={run.data} /> : null}
        {trace.data && trace.data.count > 0 ? <Calls run={run.data} model={trace.data} partials={partials} /> : null}
      </div>
    </Stale>
  );
}

/** Foreign and missing ids look the same. */
function Failed({ error, retry }: { error: unknown; retry: () => void }) {
  const { status } = ApiProblem.of(error);
  return (
    <>
      <Title order={1} mb="sm">Run</Title>
      <ErrorBox error={error} {...(status === 404 || status === 410 || status === 422 ? {} : { retry })} />
      {status === 404 || status === 422 ? <p>It may never have been, or not be of your tenant. <Link to="/runs">To the runs</Link></p> : null}
    </>
  );
}

function NoCalls({ run }: { run: RunShown }) {
  if (run.status !== 'queued') return <Empty words={run.status === 'ended' ? 'It ended before its first call.' : 'It has made no call yet.'} />;
  const place = run.place === null ? 'queued' : placeWords(run.place);
  const wait = run.expected_wait === null ? '' : `; it is expected to start in ${duration(run.expected_wait)}`;
  return <Empty words={`${place}${wait}.`} />;
}

function Calls({ run, model: known, partials }: { run: RunShown; model: TraceModel; partials: ReturnType<typeof useLiveRun> }) {
  const model = useGoing(known);
  const grid = useRef<HTMLDivElement>(null);
  const panel = useRef<HTMLElement>(null);
  const view = useRunView(model, grid);
  const { tree, viewing, selected, at, time } = view;
  const path = selected === null ? undefined : model.path[selected];
  return (
    <>
      <CriticalBar model={model} next={view.nextCritical} />
      <Loops model={model} reveal={view.reveal} />
      {model.count <= TOLD_MAX ? <Steps model={model} selected={selected} reveal={view.reveal} /> : null}
      <Toolbar missing={model.missing} rows={tree.rows} viewing={viewing} axis={view.axis} filter={view.filter} setAxis={view.setAxis} setFilter={view.setFilter} />
      <Scrubber model={model} run={run} at={at} time={time} set={view.setAt} step={view.step} />
      <div className={styles.split}>
        <div className={styles.left}>
          <Waterfall
            grid={grid}
            model={model}
            tree={tree}
            viewing={viewing}
            selected={selected}
            select={view.select}
            at={at}
            time={time}
            step={view.step}
            nextCritical={view.nextCritical}
          />
          <BudgetStrip model={model} run={run} viewing={viewing} at={at} reveal={view.reveal} />
          <Between model={model} set={view.setAt} />
        </div>
        <Detail panel={panel} model={model} span={selected} at={at} partial={path === undefined ? undefined : partials.get(path)} reveal={view.reveal} />
      </div>
      {model.children.length > 0 ? <Suspense fallback={<Loading rows={4} />}><AgentTree model={model} run={run} /></Suspense> : null}
    </>
  );
}
