// SPDX-License-Identifier: Apache-2.0

// A service with http events, which need an API gateway.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ow, succeeds } from './framework.mjs';

const run = (...args) => succeeds(...args, '--config', 'web.yml');
let url; // of the API

test('deploy', async () => {
    assert.match(await run('deploy'), /Deployment successful!/);
    const { apis: [api] } = await ow.routes.get({ name: 'library' });
    url = api.value.gwApiUrl;
    assert.match(url, /\/library$/);
});

test('info tells the endpoints', async () => {
    const text = await run('info');
    for (const line of [`GET ${url}/greeting --> library-dev-greet`, `GET ${url}/books/{id} --> book`, `PUT ${url}/books/{id} --> book`]) {
        assert.ok(text.includes(line), `${line} is not in ${text}`);
    }
});

test('the endpoints answer', async () => {
    const greeting = await fetch(`${url}/greeting?name=Whirl`);
    assert.equal(greeting.status, 200);
    assert.deepEqual(await greeting.json(), { text: 'Hello, Whirl' });
    for (const [method, status] of [['GET', 200], ['PUT', 201]]) {
        const book = await fetch(`${url}/books/42`, { method });
        assert.equal(book.status, status);
        assert.deepEqual(await book.json(), { id: '42' });
    }
    assert.equal((await fetch(`${url}/books/42`, { method: 'DELETE' })).status, 404);
});

test('nothing but the API reaches the web action', async () => {
    const direct = await fetch(`${process.env.__OW_API_HOST}/api/v1/web/guest/shelf/book/42`);
    assert.equal(direct.status, 401);
});

test('remove', async () => {
    assert.match(await run('remove'), /Resource removal successful!/);
    assert.deepEqual((await ow.routes.get({ name: 'library' })).apis, []);
    assert.equal((await fetch(`${url}/greeting`)).status, 404);
    await assert.rejects(ow.actions.get('shelf/book'), { statusCode: 404 });
});
