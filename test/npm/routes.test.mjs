// SPDX-License-Identifier: Apache-2.0

// The npm client's methods for routes, which ask the web actions of
// /whisk.system/apimgmt, and the routes that they make.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import openwhisk from 'openwhisk';
import { apihost, apiKey, create, make, ow } from './platform.mjs';

const code = 'function main(p) { return { body: { method: p.__ow_method, name: p.name, path: p.__ow_path } } }';
const web = { 'web-export': true, final: true };
const bases = [];

// route makes a route of an API that is deleted in the end.
function route(options, client = ow) {
    bases.push(options.basepath ?? '/');
    return client.routes.create(options);
}

after(async () => {
    for (const basepath of bases) await ow.routes.delete({ basepath }).catch(() => {});
});

// operations lists what an API has, as "GET /path".
const operations = ({ apis: [api] }) => Object.entries(api.value.apidoc.paths)
    .flatMap(([path, verbs]) => Object.keys(verbs).filter((verb) => !verb.startsWith('x-')).map((verb) => `${verb.toUpperCase()} ${path}`)).sort();

test('routes.create, call, get, list and delete', async () => {
    await create({ name: 'npm-web', action: code, annotations: web });
    const made = await route({ basepath: '/npm', relpath: '/hello', operation: 'GET', action: 'npm-web' });
    assert.match(made.gwApiUrl, /\/npm$/);
    assert.equal(made.gwApiActivated, true);
    const answer = await fetch(`${made.gwApiUrl}/hello?name=W`);
    assert.equal(answer.status, 200);
    const { body } = await answer.json(); // without a response type the result as it is
    assert.deepEqual([body.method, body.name], ['get', 'W']);

    await route({ basepath: '/npm', relpath: '/hello', operation: 'POST', action: '/guest/npm-web', responsetype: 'http' });
    await route({ basepath: '/npm', relpath: '/other', operation: 'DELETE', action: 'npm-web' });
    const got = await ow.routes.get({ basepath: '/npm' });
    assert.equal(got.apis.length, 1);
    assert.equal(got.apis[0].value.apidoc.basePath, '/npm');
    assert.equal(got.apis[0].value.gwApiUrl, made.gwApiUrl);
    assert.deepEqual(operations(got), ['DELETE /other', 'GET /hello', 'POST /hello']);
    assert.deepEqual(got.apis[0].value.apidoc.paths['/hello'].get['x-openwhisk'].action, 'npm-web');
    assert.equal((await fetch(`${made.gwApiUrl}/hello`, { method: 'POST', body: '{"name":"P"}', headers: { 'content-type': 'application/json' } }).then((one) => one.json())).name, 'P');

    assert.ok(operations(await ow.routes.list({ basepath: '/npm', relpath: '/hello', operation: 'POST' })).includes('POST /hello'));
    assert.ok((await ow.routes.list()).apis.some((api) => api.value.apidoc.basePath === '/npm'));
    await ow.routes.delete({ basepath: '/npm', relpath: '/hello', operation: 'POST' });
    assert.deepEqual(operations(await ow.routes.get({ basepath: '/npm' })), ['DELETE /other', 'GET /hello']);
    await ow.routes.delete({ basepath: '/npm', relpath: '/other' });
    assert.deepEqual(operations(await ow.routes.get({ basepath: '/npm' })), ['GET /hello']);
    await ow.routes.delete({ basepath: '/npm' });
    assert.deepEqual((await ow.routes.get({ basepath: '/npm' })).apis, []);
    assert.equal((await fetch(`${made.gwApiUrl}/hello`)).status, 404);
});

test('routes with an API name, a package, and path parameters', async () => {
    await make('packages', { name: 'npm-routes' });
    await create({ name: 'npm-routes/inner', action: code, annotations: web });
    const made = await route({ basepath: '/npm-books', name: 'npm books', relpath: '/book/{id}', operation: 'PUT', action: 'npm-routes/inner', responsetype: 'http' });
    const answer = await fetch(`${made.gwApiUrl}/book/42?name=x`, { method: 'PUT' });
    assert.equal(answer.status, 200);
    const { method, name, path } = await answer.json();
    assert.deepEqual([method, name], ['put', 'x']);
    assert.match(path, /\/book\/42$/);
    const { apis: [api] } = await ow.routes.get({ name: 'npm books' });
    assert.equal(api.value.apidoc.info.title, 'npm books');
    const item = api.value.apidoc.paths['/book/{id}'];
    assert.deepEqual((item.parameters ?? item.put.parameters).map((one) => [one.name, one.in]), [['id', 'path']]);
});

test('routes.create of a swagger document', async () => {
    await create({ name: 'npm-swagger', action: code, annotations: web });
    const operation = { operationId: 'getIt', responses: { default: { description: 'any' } }, 'x-openwhisk': { namespace: 'guest', package: 'default', action: 'npm-swagger', url: `${apihost}/api/v1/web/guest/default/npm-swagger.http` } };
    const swagger = { swagger: '2.0', basePath: '/npm-doc', info: { title: 'npm document', version: '1.0' }, paths: { '/it': { get: operation } } };
    const made = await route({ basepath: '/npm-doc', swagger: JSON.stringify(swagger) });
    assert.equal((await fetch(`${made.gwApiUrl}/it`)).status, 200);
    const { apis } = await ow.routes.get({ name: 'npm document' });
    assert.equal(apis[0].value.apidoc.basePath, '/npm-doc');
});

test('routes with a token', async () => {
    await create({ name: 'npm-token', action: code, annotations: web });
    const client = openwhisk({ apihost, api_key: apiKey, apigw_token: 'token' });
    assert.equal(client.routes.client.options.apigwSpaceGuid, apiKey.split(':')[0]);
    const made = await route({ basepath: '/npm-token', relpath: '/it', operation: 'GET', action: 'npm-token' }, client);
    assert.equal((await fetch(`${made.gwApiUrl}/it`)).status, 200);
    assert.deepEqual(operations(await client.routes.get({ basepath: '/npm-token' })), ['GET /it']);
    await client.routes.delete({ basepath: '/npm-token' });
    assert.deepEqual((await ow.routes.get({ basepath: '/npm-token' })).apis, []);
});

test('a route whose action demands a key', async () => {
    await create({ name: 'npm-secure', action: code, annotations: { ...web, 'require-whisk-auth': 'hidden' } });
    const made = await route({ basepath: '/npm-secure', relpath: '/it', operation: 'GET', action: 'npm-secure', secure_key: 'hidden' });
    assert.equal((await fetch(`${made.gwApiUrl}/it`)).status, 200);
    assert.equal((await fetch(`${apihost}/api/v1/web/guest/default/npm-secure`)).status, 401);
});

test('routes that cannot be', async () => {
    await assert.rejects(ow.routes.delete({ basepath: '/npm-nothing' }), /API '\/npm-nothing' does not exist/);
    await assert.rejects(ow.routes.create({ swagger: '{"swagger":"2.0"}' }), (error) => error.statusCode >= 400);
    const stranger = openwhisk({ apihost, api_key: `nobody:${'x'.repeat(64)}` });
    await assert.rejects(stranger.routes.list(), (error) => error.statusCode >= 400);
});
