// A real identity provider for the tests: node provider.mjs PORT REDIRECT_URI AUTH_METHOD
// Its sign-in page takes any name; those that begin with "agent" are in the group "desk", "boss" in "chiefs".
import { generateKeyPairSync, randomUUID } from 'node:crypto';

import Provider from 'oidc-provider';

const [port, redirectUri, authMethod] = process.argv.slice(2);
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const key = { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' };

const groupsOf = (login) => (login.startsWith('agent') ? ['desk', 'staff'] : login === 'boss' ? ['chiefs'] : []);

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: 'penstock',
      ...(authMethod === 'none' ? {} : { client_secret: 'a secret: 100% & more' }),
      token_endpoint_auth_method: authMethod,
      redirect_uris: [redirectUri],
      response_types: ['code'],
      grant_types: ['authorization_code'],
    },
  ],
  jwks: { keys: [key] },
  cookies: { keys: [randomUUID()] },
  claims: { openid: ['sub'], profile: ['name'], groups: ['groups'] },
  scopes: ['openid', 'profile', 'groups'],
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true } },
  findAccount: async (_, login) => ({
    accountId: login,
    claims: async () => ({ sub: login, name: `Name of ${login}`, groups: groupsOf(login) }),
  }),
});

provider.listen(Number(port), '127.0.0.1', () => console.log('listening'));
