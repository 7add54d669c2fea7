import { ActionIcon, Button, Group } from '@mantine/core';
import { memo } from 'react';
import { keepPreviousData, useQuery } from '@tanstack/react-query';

import type { RunShown } from '@/api/schema';
import { count } from '@/ui/format/count';
import { duration } from '@/ui/format/duration';
import { Drawn } from '@/ui/Theirs';

import { statusThen } from './model/tape';
import { nameOf, type TraceModel } from './model/trace';
import { tapeQuery } from './queries';
import styles from './run.module.css';

interface ScrubberProps {
  readonly model: TraceModel;
  readonly run: RunShown;
  /** The place on the tape; null = its end. */
  readonly at: number | null;
  readonly time: number | null;
  readonly set: (at: number | null) => void;
  readonly step: (by: number) => void;
}

/** Steps through what was recorded, event by event. Nothing is called again. */
export const Scrubber = memo(function Scrubber({ model, run, at, time, set, step }: ScrubberProps) {
  const last = model.asOf;
  const seq = at ?? last;
  return (
    <section aria-label="tape" className={styles.scrubber}>
      <Group gap={4} wrap="nowrap">
        <ActionIcon variant="default" aria-label="to the first event" disabled={seq <= 1} onClick={() => set(1)}>|◂</ActionIcon>
        <ActionIcon variant="default" aria-label="an event back" aria-keyshortcuts="," disabled={seq <= 1} onClick={() => step(-1)}>◂</ActionIcon>
        <input
          type="range"
          min={1}
          max={Math.max(1, last)}
          value={seq}
          aria-label="place on the tape"
          aria-valuetext={`event ${count(seq)} of ${count(last)}`}
          className={styles.range}
          onChange={(event) => {
            const value = Number(event.currentTarget.value);
            set(value >= last ? null : value);
          }}
        />
        <ActionIcon variant="default" aria-label="an event on" aria-keyshortcuts="." disabled={at === null} onClick={() => step(1)}>▸</ActionIcon>
        <ActionIcon variant="default" aria-label="to the end of the tape" disabled={at === null} onClick={() => set(null)}>▸|</ActionIcon>
        <span className={styles.seq}>seq {count(seq)}/{count(last)}</span>
      </Group>
      {at === null ? null : <Then model={model} run={run} at={at} time={time} leave={() => set(null)} />}
    </section>
  );
});

/** Which call begins or ends with an event; of what lies between calls, nothing. */
function ofCall(model: TraceModel, seq: number): string {
  const begun = model.seq.indexOf(seq);
  const span = begun >= 0 ? begun : model.endSeq.indexOf(seq);
  return span < 0 ? '' : `${model.path[span] ?? ''} ${nameOf(model, span)}: `;
}

/** What happened there, and how the run stood. */
function Then({ model, run, at, time, leave }: { model: TraceModel; run: RunShown; at: number; time: number | null; leave: () => void }) {
  const { data, error } = useQuery({ ...tapeQuery(run.id, at, model.ended), placeholderData: keepPreviousData });
  const event = data?.items.find((one) => one.seq === at);
  return (
    <div role="status" className={styles.then}>
      <strong>recorded, no calls made</strong>
      <span>{statusThen(model, at)} after {duration(time ?? 0)}</span>
      <span className={styles.thenLine}>{event ? <Drawn text={ofCall(model, at) + event.line} /> : error ? 'this event cannot be read' : '…'}</span>
      <Button size="compact-xs" variant="default" onClick={leave}>{model.ended ? 'To the end' : 'Back to live'}</Button>
    </div>
  );
}
