import '@/ui/mantine';

import { MantineProvider } from '@mantine/core';
import { QueryClientProvider } from '@tanstack/react-query';
import { RouterProvider } from '@tanstack/react-router';
import { setNonce } from 'get-nonce';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { keys } from '@/api/keys';
import { onSignedOut } from '@/api/client';
import { AnnounceProvider } from '@/app/announce';
import { KeysProvider } from '@/app/keys';
import { LiveProvider } from '@/app/live/context';
import { type Line, openLine } from '@/app/live/lines';
import type { FromHub } from '@/app/live/protocol';
import { makeQueryClient } from '@/app/query';
import { makeRouter } from '@/app/router';
import { styleNonce, theme, variables } from '@/app/theme';

async function start(): Promise<void> {
  let open: (listen: (message: FromHub) => void) => Line = openLine;
  if (import.meta.env.MODE === 'mock') open = (await import('@/api/mock')).startMock();
  // Locks of the scroll bar (react-remove-scroll) make a style element of their own.
  setNonce(styleNonce());
  const queryClient = makeQueryClient();
  const router = makeRouter(queryClient);
  onSignedOut(() => {
    const { pathname, href } = router.state.location;
    if (pathname === '/sign-in') return;
    // The page first, then the caller: what is on the screen until then still has one.
    void router.navigate({ to: '/sign-in', search: { next: href }, replace: true }).then(() => queryClient.setQueryData(keys.me, null));
  });
  const element = document.getElementById('root');
  if (!element) throw new Error('the page has no root');
  createRoot(element).render(
    <StrictMode>
      <MantineProvider theme={theme} cssVariablesResolver={variables} defaultColorScheme="auto" getStyleNonce={styleNonce}>
        <QueryClientProvider client={queryClient}>
          <LiveProvider open={open}>
            <KeysProvider>
              <AnnounceProvider>
                <RouterProvider router={router} />
              </AnnounceProvider>
            </KeysProvider>
          </LiveProvider>
        </QueryClientProvider>
      </MantineProvider>
    </StrictMode>,
  );
}

const RELOADED = 'penstock-reloaded';

// A server of another release has other files. Loading the page anew finds them; a page that does so twice in a row has
// another trouble, which the error box then shows.
globalThis.addEventListener('vite:preloadError', () => {
  const last = Number(sessionStorage.getItem(RELOADED) ?? 0);
  if (Date.now() - last < 30_000) return;
  sessionStorage.setItem(RELOADED, String(Date.now()));
  globalThis.location.reload();
});

void start();
