// A certified OpenID Connect provider with a few people, over TLS, for tests.
// One argument: a JSON document {key, cert, clients, people, root}. Prints its issuer once it listens.
import { createRequire } from 'node:module';
import { createServer } from 'node:https';
import { readFileSync } from 'node:fs';
import { generateKeyPairSync } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const given = JSON.parse(process.argv[2]);
const entry = createRequire(`${given.root}/package.json`).resolve('oidc-provider');
const { default: Provider } = await import(pathToFileURL(entry).href);
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const jwk = { ...privateKey.export({ format: 'jwk' }), kid: 'rsa-1', use: 'sig', alg: 'RS256' };

let handler = (_, response) => response.destroy();
const server = createServer(
  { key: readFileSync(given.key), cert: readFileSync(given.cert) },
  (request, response) => handler(request, response),
);
server.listen(0, '127.0.0.1', () => {
  const issuer = `https://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: given.clients,
    jwks: { keys: [jwk] },
    claims: {
      openid: ['sub'],
      email: ['email', 'email_verified'],
      profile: ['preferred_username'],
      groups: ['groups'],
    },
    scopes: ['openid', 'email', 'profile', 'groups'],
    conformIdTokenClaims: false, // groups belong into the ID token
    pkce: { required: () => true },
    cookies: { keys: ['only for tests'] },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, ...(given.people[id] ?? {}) }),
    }),
  });
  handler = provider.callback();
  console.log(`listening ${issuer}`);
});
