import { Anchor } from '@mantine/core';
import { Link } from '@tanstack/react-router';

import { Drawn } from '@/ui/Theirs';

import { short } from './model/states';
import styles from './releases.module.css';

/** To a release: the beginning of its id, as the command line and the records write it. */
export function ToRelease({ id }: { id: string }) {
  return <Anchor className={styles.id} title={id} renderRoot={(props) => <Link to="/releases" search={{ release: id }} {...props} />}>{short(id)}</Anchor>;
}

/** To the releases of an agent. */
export function ToAgent({ agent }: { agent: string }) {
  return <Anchor className={styles.name} renderRoot={(props) => <Link to="/releases" search={{ agent }} {...props} />}><Drawn text={agent} /></Anchor>;
}

/** To the drafting of a release of an agent. */
export function ToDraft({ agent }: { agent: string }) {
  return <Anchor renderRoot={(props) => <Link to="/releases" search={{ draft: agent }} {...props} />}>Draft a release…</Anchor>;
}

/** To those of all agents. */
export function ToAll() {
  return <Anchor renderRoot={(props) => <Link to="/releases" search={{}} {...props} />}>All releases</Anchor>;
}
