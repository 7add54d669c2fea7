import { fileURLToPath } from 'node:url';

import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

const server = process.env['PENSTOCK_CONSOLE_SERVER'] ?? 'http://127.0.0.1:8321';

export default defineConfig(({ mode }) => ({
  plugins: [react()],
  resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
  build: {
    outDir: mode === 'mock' ? 'dist' : '../src/penstock/server/console',
    emptyOutDir: true,
    target: 'es2023',
    // The content security policy forbids data: and inline everything.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    manifest: 'manifest.json',
    reportCompressedSize: false,
  },
  worker: { format: 'es' },
  // The host stays the one that the browser names: the server takes a change only from its own origin.
  server: { port: 8322, proxy: Object.fromEntries(['/v1', '/healthz'].map((path) => [path, { target: server, changeOrigin: false }])) },
  test: { include: ['src/**/*.test.{ts,tsx}'], restoreMocks: true },
}));
