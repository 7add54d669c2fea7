import { AppShell, Box, Burger, Button, Group, NavLink, Text } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { Link, Outlet, useLocation, useNavigate, useRouter } from '@tanstack/react-router';
import { useEffect, useRef } from 'react';

import { approvalsQuery } from '@/api/queries';
import { NoRight } from '@/pages/missing/NoRight';
import { count } from '@/ui/format/count';

import { HelpDialog } from './HelpDialog';
import { type Binding, useKeys } from './keys';
import { useTopic } from './live/context';
import { LiveLamp, StaleLamp } from './LiveLamp';
import { NAVIGATION } from './navigation';
import { Palette } from './Palette';
import { useCan, useMe } from './session';
import styles from './shell.module.css';
import { UserMenu } from './UserMenu';

/** The frame of every signed-in page. */
export function Shell() {
  const me = useMe();
  const can = useCan();
  const navigate = useNavigate();
  const [open, menu] = useDisclosure(false);
  const [help, helpDialog] = useDisclosure(false);
  const [palette, paletteDialog] = useDisclosure(false);
  const main = useRef<HTMLElement>(null);
  const { pathname } = useLocation();
  useTopic('approvals');
  useFocusOnNewPage(main, pathname);
  const closeMenu = menu.close;
  useEffect(() => closeMenu(), [pathname, closeMenu]);

  const pages: Binding[] = NAVIGATION.filter((page) => can(page.needs)).map((page) => ({
    keys: `g ${page.key}`,
    words: `go to ${page.label}`,
    run: () => void navigate(page.link),
  }));
  useKeys('Everywhere', [
    { keys: '?', words: 'this help', run: helpDialog.open },
    { keys: '/', words: 'to the search field', run: () => document.querySelector<HTMLInputElement>('[data-search]')?.focus() },
    { keys: 'y', words: 'copy the link to this page', run: () => void navigator.clipboard?.writeText(globalThis.location.href) },
    ...pages,
  ]);
  useControlK(paletteDialog.open);

  return (
    <AppShell header={{ height: 44 }} navbar={{ width: 176, breakpoint: 'sm', collapsed: { mobile: !open } }} padding="md">
      <a href="#main" className={styles.skip}>Skip to content</a>
      <AppShell.Header>
        <Group h="100%" px="sm" gap="sm" wrap="nowrap">
          <Burger opened={open} onClick={menu.toggle} hiddenFrom="sm" size="sm" aria-label="navigation" />
          <Text fw={700} component="span">Penstock</Text>
          <Text component="span" className={styles.where} title="environment and tenant">
            <strong>{me.environment.toUpperCase()}</strong> {me.tenant}
          </Text>
          <Box hiddenFrom="sm"><StaleLamp /></Box>
          <Group ml="auto" gap="xs" wrap="nowrap">
            <Button variant="default" size="compact-sm" onClick={paletteDialog.open} visibleFrom="sm" aria-keyshortcuts="Control+K">
              Go to… <kbd className={styles.kbd}>Ctrl K</kbd>
            </Button>
            <UserMenu me={me} />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar aria-label="main">
        <AppShell.Section grow p={6}>
          {NAVIGATION.filter((page) => can(page.needs)).map((page) => (
            <NavItem key={page.key} page={page} pathname={pathname} />
          ))}
        </AppShell.Section>
        <AppShell.Section p="sm" className={styles.foot}>
          <LiveLamp />
          <Button variant="subtle" size="compact-xs" px={0} onClick={helpDialog.open} aria-keyshortcuts="?">Keys <kbd className={styles.kbd}>?</kbd></Button>
        </AppShell.Section>
      </AppShell.Navbar>
      <AppShell.Main id="main" ref={main} tabIndex={-1} className={styles.main}>
        {can('runs:read') ? <Outlet /> : <NoRight needs="runs:read" />}
      </AppShell.Main>
      <HelpDialog opened={help} close={helpDialog.close} />
      <Palette opened={palette} close={paletteDialog.close} />
    </AppShell>
  );
}

/** A link without these would be marked wherever its address begins the page's. */
const NEVER = { exact: true, includeSearch: true, includeHash: true } as const;

function NavItem({ page, pathname }: { page: (typeof NAVIGATION)[number]; pathname: string }) {
  const active = pageAt(pathname) === page;
  return (
    <NavLink
      // What is the page of the address is said below: the router would also take what lies above it for one.
      renderRoot={(props) => <Link {...page.link} activeOptions={NEVER} {...props} />}
      label={page.label}
      className={'sub' in page ? styles.sub : undefined}
      active={active}
      aria-current={active ? 'page' : undefined}
      rightSection={page.key === 'a' ? <Waiting /> : null}
    />
  );
}

/** The page of an address: the one with the longest beginning of it. */
function pageAt(pathname: string): (typeof NAVIGATION)[number] | undefined {
  const base = (page: (typeof NAVIGATION)[number]): string => page.link.to.replace('/{-$id}', '');
  const found = NAVIGATION.filter((page) => pathname === base(page) || (base(page) !== '/' && pathname.startsWith(base(page) + '/')));
  return found.toSorted((a, b) => base(b).length - base(a).length)[0];
}

/** How many approvals wait for the caller: the only count in the navigation. */
function Waiting() {
  const { data } = useQuery(approvalsQuery);
  if (!data?.mine) return null;
  return <span className={styles.badge}>{count(data.mine)}<span className={styles.hidden}> wait for you</span></span>;
}

/** A new page starts at its top for the keyboard and for screen readers too. */
function useFocusOnNewPage(main: React.RefObject<HTMLElement | null>, pathname: string): void {
  const router = useRouter();
  const before = useRef(pathname);
  useEffect(() => {
    const page = pathname.split('/')[1];
    if (before.current.split('/')[1] !== page && !main.current?.contains(document.activeElement)) main.current?.focus({ preventScroll: true });
    before.current = pathname;
  }, [main, pathname, router]);
}

/** Ctrl K or ⌘ K, also from within fields. */
function useControlK(open: () => void): void {
  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      if (event.key.toLowerCase() !== 'k' || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
      event.preventDefault();
      open();
    };
    document.addEventListener('keydown', press);
    return () => document.removeEventListener('keydown', press);
  }, [open]);
}
