import { Group, NativeSelect, TextInput } from '@mantine/core';
import { useState } from 'react';

import { type CostsSearch, groupName, GROUPS, groupsOf, isGroup } from './search';

const OWN = 'own';

/** One or two things that the sums are told by; an own tag is named. */
export function GroupBy({ search, go }: { search: CostsSearch; go: (search: CostsSearch) => void }) {
  const [first = 'customer', second] = groupsOf(search);
  const set = (groups: readonly (string | undefined)[]): void => go({ ...search, by: groups.filter(Boolean).join(',') });
  return (
    <Group gap="xs" align="end">
      <Choice label="group by" value={first} not={second} give={(value) => set([value, value === second ? undefined : second])} />
      <Choice label="then by" value={second} not={first} none give={(value) => set([first, value])} />
    </Group>
  );
}

interface ChoiceProps {
  readonly label: string;
  readonly value: string | undefined;
  readonly not: string | undefined;
  readonly none?: boolean;
  readonly give: (value: string | undefined) => void;
}

function Choice({ label, value, not, none = false, give }: ChoiceProps) {
  const [asks, setAsks] = useState(false);
  const own = value !== undefined && value.startsWith('tag.') ? [value] : [];
  const data = [
    ...(none ? [{ value: '', label: '—' }] : []),
    ...[...GROUPS, ...own].filter((group) => group !== not).map((group) => ({ value: group, label: groupName(group) })),
    { value: OWN, label: 'own tag…' },
  ];
  const choose = (next: string): void => {
    setAsks(next === OWN);
    if (next !== OWN) give(next === '' ? undefined : next);
  };
  return (
    <>
      <NativeSelect size="xs" label={label} data={data} value={asks ? OWN : (value ?? '')} onChange={(event) => choose(event.currentTarget.value)} />
      {asks ? <OwnTag label={label} give={(tag) => { setAsks(false); give(tag); }} /> : null}
    </>
  );
}

/** A tag of one's own, by its name. Only those are summed up that the installation counts by. */
function OwnTag({ label, give }: { label: string; give: (tag: string) => void }) {
  const [name, setName] = useState('x_');
  const tag = `tag.${name.trim()}`;
  const wrong = !isGroup(tag);
  return (
    <form onSubmit={(event) => { event.preventDefault(); if (!wrong) give(tag); }}>
      <TextInput size="xs" label={`${label}: name of the tag`} description="one that PENSTOCK_COSTS_TAGS names; Enter" value={name} error={name !== 'x_' && wrong ? 'a word such as x_team' : null} onChange={(event) => setName(event.currentTarget.value)} maxLength={40} autoComplete="off" spellCheck={false} data-autofocus />
    </form>
  );
}
