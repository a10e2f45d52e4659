// oidc-provider on a free port of the loopback, for tests: strict without GRACE, with all state in
// memory. The program writes one line of JSON when the server is ready. The program ends with its standard
// input, and therefore with the test that started it.
//
// INSTALLED    the directory of its node_modules
// CLIENTS      [{"id": .., "secret": ..}, ..]; the first client owns the sessions
// PORT         0 for a free port
// ACCESS_TTL, REFRESH_TTL   seconds
// ROTATE       1: each refresh token is valid for one use; 0: an exchange returns the same refresh token
// GRACE        the seconds after the first use in which a used refresh token returns another pair
//
// POST /test/session issues the first pair of a session, as a sign-in does.

import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const { INSTALLED, CLIENTS, PORT, ACCESS_TTL, REFRESH_TTL, ROTATE, GRACE } = process.env;
const require = createRequire(`${INSTALLED}/`);
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

// Standard output carries only the line of readiness.
console.info = console.warn = console.error;

const graceMs = Number(GRACE) * 1000;

// The package's own adapter keeps only 1,000 entries, and does not support a grace window.
function adapter() {
  const entries = new Map();
  return class {
    constructor(model) {
      this.prefix = `${model}:`;
    }

    async upsert(id, payload) {
      entries.set(this.prefix + id, { payload: { ...payload } });
    }

    async find(id) {
      const entry = entries.get(this.prefix + id);
      if (!entry) return undefined;
      const isConsumed = entry.consumedAt !== undefined && Date.now() >= entry.consumedAt + graceMs;
      return isConsumed ? { ...entry.payload, consumed: entry.consumedAt / 1000 } : { ...entry.payload };
    }

    async consume(id) {
      // The window counts from the first use.
      entries.get(this.prefix + id).consumedAt ??= Date.now();
    }

    async destroy(id) {
      entries.delete(this.prefix + id);
    }

    async revokeByGrantId(grantId) {
      for (const [key, { payload }] of entries) {
        if (key.startsWith(this.prefix) && payload.grantId === grantId) entries.delete(key);
      }
    }

    async findByUid() {
      return undefined;
    }

    async findByUserCode() {
      return undefined;
    }
  };
}

const clients = JSON.parse(CLIENTS);
const scope = 'openid offline_access';

const http = createServer((request, response) => {
  if (request.method === 'POST' && request.url === '/test/session') {
    signIn().then(
      (pair) => response.setHeader('content-type', 'application/json').end(JSON.stringify(pair)),
      (error) => {
        response.statusCode = 500;
        response.end(String(error.stack));
      },
    );
  } else {
    answer(request, response);
  }
});
await new Promise((ready) => http.listen(Number(PORT), '127.0.0.1', ready));
const { port } = http.address();
const url = `http://127.0.0.1:${port}`;

const provider = new Provider(url, {
  adapter: adapter(),
  clients: clients.map(({ id, secret }) => ({
    client_id: id,
    client_secret: secret,
    grant_types: ['refresh_token'],
    redirect_uris: [],
    response_types: [],
  })),
  cookies: { keys: ['for tests'] },
  features: {
    devInteractions: { enabled: false },
    introspection: { enabled: true },
    revocation: { enabled: true },
  },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  rotateRefreshToken: ROTATE === '1',
  ttl: {
    AccessToken: Number(ACCESS_TTL),
    Grant: 24 * 3600,
    IdToken: Number(ACCESS_TTL),
    RefreshToken: Number(REFRESH_TTL),
  },
});
const answer = provider.callback();

async function signIn() {
  const accountId = 'ada';
  const client = await provider.Client.find(clients[0].id);
  const grant = new provider.Grant({ accountId, clientId: client.clientId });
  grant.addOIDCScope(scope);
  const grantId = await grant.save();
  const of = { accountId, client, grantId, scope, gty: 'authorization_code', expiresWithSession: false };
  return {
    access_token: await new provider.AccessToken({ ...of }).save(),
    refresh_token: await new provider.RefreshToken({ ...of }).save(),
    expires_in: Number(ACCESS_TTL),
  };
}

process.stdin.on('close', () => process.exit()).resume();
console.log(JSON.stringify({
  token_url: `${url}/token`,
  revocation_url: `${url}/token/revocation`,
  introspection_url: `${url}/token/introspection`,
  session_url: `${url}/test/session`,
}));
