import { ActionIcon, Group, SegmentedControl, TextInput } from '@mantine/core';
import { memo, useState } from 'react';

import { AXES, type AxisMode } from './model/axis';
import type { Rows } from './model/fold';
import { countWords } from './model/words';
import styles from './run.module.css';
import type { Viewing } from './useView';

interface ToolbarProps {
  readonly missing: number;
  readonly rows: Rows;
  readonly viewing: Viewing;
  readonly axis: AxisMode;
  readonly filter: string;
  readonly setAxis: (axis: AxisMode) => void;
  readonly setFilter: (filter: string) => void;
}

/** The axis, the zoom, the filter, and how much of the run is in the rows. */
export const Toolbar = memo(function Toolbar({ missing, rows, viewing, axis, filter, setAxis, setFilter }: ToolbarProps) {
  return (
    <Group gap="sm" className={styles.toolbar}>
      <SegmentedControl size="xs" aria-label="axis" value={axis} onChange={(value) => setAxis(value as AxisMode)} data={[...AXES]} />
      <Group gap={4} wrap="nowrap">
        <ActionIcon variant="default" aria-label="zoom in" aria-keyshortcuts="w" onClick={() => viewing.zoom(0.6)}>+</ActionIcon>
        <ActionIcon variant="default" aria-label="zoom out" aria-keyshortcuts="s" disabled={viewing.isWhole} onClick={() => viewing.zoom(1 / 0.6)}>−</ActionIcon>
        <ActionIcon variant="default" aria-label="to the left" aria-keyshortcuts="a" disabled={viewing.isWhole} onClick={() => viewing.pan(-0.25)}>‹</ActionIcon>
        <ActionIcon variant="default" aria-label="to the right" aria-keyshortcuts="d" disabled={viewing.isWhole} onClick={() => viewing.pan(0.25)}>›</ActionIcon>
        <ActionIcon variant="default" aria-label="fit the whole run" aria-keyshortcuts="f" disabled={viewing.isWhole} onClick={viewing.fit}>⤢</ActionIcon>
      </Group>
      <Filter key={filter} filter={filter} set={setFilter} />
      <span className={styles.counts} role="status">{countWords(rows, missing)}</span>
    </Group>
  );
});

function Filter({ filter, set }: { filter: string; set: (filter: string) => void }) {
  const [text, setText] = useState(filter);
  return (
    <form
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        set(text.trim());
      }}
    >
      <TextInput
        size="xs"
        w={240}
        data-search
        type="search"
        aria-label="filter the calls"
        placeholder="filter: name, kind:tool, is:failed…"
        title="name:, kind:, status:, verdict:, is:failed, is:critical; all words must match. Enter applies it."
        value={text}
        onChange={(event) => {
          setText(event.currentTarget.value);
          if (event.currentTarget.value === '') set('');
        }}
        onBlur={() => text.trim() !== filter && set(text.trim())}
      />
    </form>
  );
}
