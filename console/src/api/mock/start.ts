import { type Line, ownLine } from '@/app/live/lines';
import type { FromHub } from '@/app/live/protocol';

import { answer } from './answer';
import { stream } from './stream';

/** Puts the mock in the place of the network and gives the stream that goes with it. */
export function startMock(): (listen: (message: FromHub) => void) => Line {
  const real = globalThis.fetch.bind(globalThis);
  globalThis.fetch = async (input, init) => {
    const request = input instanceof Request ? input : new Request(new URL(String(input), location.origin), init);
    const url = new URL(request.url);
    return url.pathname.startsWith('/v1/') ? answer(request, url) : real(request);
  };
  return (listen) => ownLine(listen, stream);
}
