import { Modal, Text, TextInput, UnstyledButton } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { type KeyboardEvent, useId, useState } from 'react';

import { agentsQuery } from '@/api/queries';

import { NAVIGATION } from './navigation';
import styles from './palette.module.css';
import { useCan } from './session';

interface Entry {
  readonly id: string;
  readonly label: string;
  readonly kind: string;
  readonly go: () => void;
}

const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;
const SHOWN_MAX = 12;

/** Whether all letters of the query occur in the text in their order. */
export function fuzzy(text: string, query: string): boolean {
  let at = 0;
  const low = text.toLowerCase();
  for (const letter of query.toLowerCase().replace(/\s+/g, '')) {
    at = low.indexOf(letter, at) + 1;
    if (at === 0) return false;
  }
  return true;
}

/** Ctrl K: any page, run by id, runs of an agent, without the mouse. */
export function Palette({ opened, close }: { opened: boolean; close: () => void }) {
  return (
    <Modal.Root opened={opened} onClose={close} yOffset="12vh" centered={false} padding="xs">
      <Modal.Overlay />
      <Modal.Content aria-label="go to">
        <Modal.Body>{opened ? <Search close={close} /> : null}</Modal.Body>
      </Modal.Content>
    </Modal.Root>
  );
}

function Search({ close }: { close: () => void }) {
  const [query, setQuery] = useState('');
  const [chosen, setChosen] = useState(0);
  const list = useId();
  const entries = useEntries(query.trim());
  const at = Math.min(chosen, entries.length - 1);

  const press = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && entries.length > 0) {
      event.preventDefault();
      setChosen((at + step + entries.length) % entries.length);
    } else if (event.key === 'Enter' && entries[at]) {
      event.preventDefault();
      close();
      entries[at].go();
    }
  };
  return (
    <>
      <TextInput
        data-autofocus
        value={query}
        onChange={(event) => {
          setQuery(event.currentTarget.value);
          setChosen(0);
        }}
        onKeyDown={press}
        placeholder="Page, run id, agent…"
        role="combobox"
        aria-label="page, run id or agent"
        aria-expanded="true"
        aria-controls={list}
        aria-activedescendant={entries[at] ? `${list}-${at}` : undefined}
      />
      <div id={list} role="listbox" aria-label="results" className={styles.list}>
        {entries.map((entry, i) => (
          <UnstyledButton key={entry.id} id={`${list}-${i}`} role="option" aria-selected={i === at} tabIndex={-1} className={styles.entry} onClick={() => { close(); entry.go(); }}>
            <span>{entry.label}</span>
            <span className={styles.kind}>{entry.kind}</span>
          </UnstyledButton>
        ))}
      </div>
      {entries.length === 0 ? <Text size="sm" c="var(--quiet)" p="xs">Nothing by that name. A run is found by its whole id.</Text> : null}
    </>
  );
}

function useEntries(query: string): readonly Entry[] {
  const can = useCan();
  const navigate = useNavigate();
  const { data } = useQuery({ ...agentsQuery, enabled: can('runs:read') });
  if (UUID.test(query)) return [{ id: 'run', label: query, kind: 'run', go: () => void navigate({ to: '/runs/$id', params: { id: query } }) }];
  const pages: Entry[] = NAVIGATION.filter((page) => can(page.needs)).map((page) => ({
    id: `page-${page.key}`,
    label: page.label,
    kind: `page, g ${page.key}`,
    go: () => void navigate(page.link),
  }));
  const agents: Entry[] = (data?.items ?? []).map((agent) => ({
    id: `agent-${agent.name}`,
    label: agent.name,
    kind: 'runs of an agent',
    go: () => void navigate({ to: '/runs', search: { agent: agent.name } }),
  }));
  return [...pages, ...agents].filter((entry) => fuzzy(entry.label, query)).slice(0, SHOWN_MAX);
}
