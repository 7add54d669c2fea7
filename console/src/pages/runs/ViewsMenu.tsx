import { Button, Group, Menu, Modal, TextInput } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { type FormEvent, useState } from 'react';

import { useMe } from '@/app/session';

import type { RunsSearch } from './search';
import { GIVEN, useViews } from './views';

/** Filters by name: those that everybody has, and the caller's own, kept in this browser. */
export function ViewsMenu({ search, go }: { search: RunsSearch; go: (search: RunsSearch) => void }) {
  const { tenant } = useMe();
  const { views, save, drop } = useViews(tenant);
  const [open, dialog] = useDisclosure(false);
  return (
    <>
      <Menu position="bottom-end">
        <Menu.Target><Button variant="default" size="compact-sm">Views ▾</Button></Menu.Target>
        <Menu.Dropdown>
          {GIVEN.map((view) => <Menu.Item key={view.name} onClick={() => go(view.search)}>{view.name}</Menu.Item>)}
          {views.length > 0 ? <Menu.Label>Yours, in this browser</Menu.Label> : null}
          {views.map((view) => <Menu.Item key={view.name} onClick={() => go(view.search)}>{view.name}</Menu.Item>)}
          <Menu.Divider />
          <Menu.Item onClick={dialog.open} disabled={Object.keys(search).length === 0}>Save this filter…</Menu.Item>
          {views.map((view) => <Menu.Item key={view.name} color="red" onClick={() => drop(view.name)}>Delete {view.name}</Menu.Item>)}
        </Menu.Dropdown>
      </Menu>
      <Modal opened={open} onClose={dialog.close} title="Save this filter">
        <SaveForm save={(name) => { save({ name, search }); dialog.close(); }} />
      </Modal>
    </>
  );
}

function SaveForm({ save }: { save: (name: string) => void }) {
  const [name, setName] = useState('');
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    if (name.trim()) save(name.trim());
  };
  return (
    <form onSubmit={submit}>
      <Group align="end">
        <TextInput label="Name" data-autofocus value={name} maxLength={80} onChange={(event) => setName(event.currentTarget.value)} />
        <Button type="submit">Save</Button>
      </Group>
    </form>
  );
}
