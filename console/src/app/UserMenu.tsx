import { Menu, UnstyledButton, useMantineColorScheme } from '@mantine/core';

import type { Me } from '@/api/schema';

import { useSignOut } from './session';
import styles from './shell.module.css';

const SCHEMES = [['auto', 'As the system'], ['light', 'Light'], ['dark', 'Dark']] as const;

/** Who is signed in, the colours, signing out. */
export function UserMenu({ me }: { me: Me }) {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const signOut = useSignOut();
  return (
    <Menu position="bottom-end" withinPortal>
      <Menu.Target>
        <UnstyledButton px="xs" mih={24} aria-label={`account ${me.name}`} className={styles.user}>{me.name} ▾</UnstyledButton>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{me.actor} · {me.roles.join(', ')}</Menu.Label>
        {SCHEMES.map(([scheme, label]) => (
          <Menu.Item key={scheme} role="menuitemradio" aria-checked={colorScheme === scheme} onClick={() => setColorScheme(scheme)}>
            {colorScheme === scheme ? '● ' : '○ '}{label}
          </Menu.Item>
        ))}
        {me.sign_out ? <Menu.Divider /> : null}
        {me.sign_out ? <Menu.Item onClick={() => void signOut()}>Sign out</Menu.Item> : null}
        <Menu.Label>Penstock {me.version}</Menu.Label>
      </Menu.Dropdown>
    </Menu>
  );
}
