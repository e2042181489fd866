// A token service that is not ours, for tests/it/interop.rs: oidc-provider with everything in memory, on a free port of
// 127.0.0.1, which it prints. `GET /counts` tells how often each of its paths was asked for; nothing else is added to it.
// Deliberately absent: anything that adapts it to the gateway. What it answers is what its authors meant it to answer.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
const secret = process.env.PORTCULLIS_TEST_SECRET;

// What access tokens are for: a resource of either format (RFC 8707), or none.
const resources = {
  'urn:interop:opaque': 'opaque',
  'urn:interop:orders': 'jwt',
  'urn:interop:invoices': 'jwt',
};

const scopes = ['orders:read', 'orders:write'];

// A client that signs people in. Only a client that wants back-channel logouts by session has `sid` in its tokens.
const shop = (id, more) => ({
  client_id: id,
  client_secret: secret,
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  redirect_uris: ['https://shop.example/callback'],
  ...more,
});

const configuration = {
  clients: [
    shop('shop', {}),
    shop('sid-shop', {
      backchannel_logout_uri: 'http://127.0.0.1:9/nobody-listens',
      backchannel_logout_session_required: true,
    }),
    { client_id: 'worker', client_secret: secret, grant_types: ['client_credentials'], response_types: [], redirect_uris: [] },
    { client_id: 'gate way', client_secret: secret, grant_types: [], response_types: [], redirect_uris: [] },
  ],
  cookies: { keys: ['not a secret'] },
  jwks: { keys: [{ ...key, use: 'sig', alg: 'ES256', kid: 'k1' }] },
  enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  scopes: ['openid', 'offline_access', ...scopes],
  rotateRefreshToken: true,
  ttl: { AccessToken: 600, ClientCredentials: 600, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600, IdToken: 600 },
  features: {
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true },
    clientCredentials: { enabled: true },
    backchannelLogout: { enabled: true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        scope: scopes.join(' '),
        audience: resource,
        accessTokenFormat: resources[resource],
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
};

const counts = {};
let answer;
const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://provider.invalid');
  if (pathname === '/counts') {
    response.setHeader('Content-Type', 'application/json').end(JSON.stringify(counts));
    return;
  }
  counts[pathname] = (counts[pathname] ?? 0) + 1;
  answer(request, response);
});

server.listen(0, '127.0.0.1', () => {
  const url = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(url, configuration);
  provider.on('server_error', (_, error) => console.error(error));
  answer = provider.callback();
  console.log(`listening on ${url}`);
});
