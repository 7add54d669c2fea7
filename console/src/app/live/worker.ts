import { connect } from './connect';
import { Hub } from './hub';
import type { FromHub, Port, ToHub } from './protocol';

const hub = new Hub(connect);

self.addEventListener('connect', (event) => {
  const line = (event as MessageEvent).ports[0];
  if (!line) return;
  const port: Port = { post: (message: FromHub) => line.postMessage(message) };
  hub.add(port);
  line.onmessage = (message: MessageEvent<ToHub & { readonly lock?: string }>) => {
    hub.receive(port, message.data);
    // A tab that crashes says no goodbye, but it loses its lock, and then this worker gets it.
    if (message.data.lock) void navigator.locks.request(message.data.lock, () => hub.remove(port));
  };
});
