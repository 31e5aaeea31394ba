// SPDX-License-Identifier: Apache-2.0

// The npm client's options against a running platform: how it is told where
// and who, how it names things, what it does when calls fail.

import assert from 'node:assert/strict';
import http from 'node:http';
import { test } from 'node:test';
import openwhisk from 'openwhisk';
import { apihost, apiKey, create, make, ow, soon, source } from './platform.mjs';

const basic = `Basic ${Buffer.from(apiKey).toString('base64')}`;

test('what the environment says, and api in place of apihost', async () => {
    for (const options of [undefined, { api: `${apihost}/api/v1` }, { api: `${apihost}/api/v1/` }, { apihost, apiversion: 'v1' }]) {
        assert.deepEqual(await openwhisk(options).namespaces.list(), ['guest']);
    }
});

test('auth_handler', async () => {
    const header = (text) => openwhisk({ apihost, auth_handler: { getAuthHeader: async () => text } });
    assert.deepEqual(await header(basic).namespaces.list(), ['guest']);
    await assert.rejects(header('Bearer token').namespaces.list(), (error) => {
        assert.equal(error.statusCode, 401);
        assert.match(error.message, /The supplied authentication is invalid/);
        return true;
    });
});

test('namespace', async () => {
    await create({ name: 'npm-space', action: source });
    const guest = openwhisk({ apihost, api_key: apiKey, namespace: 'guest' });
    assert.equal((await guest.actions.get('npm-space')).namespace, 'guest');
    assert.equal((await ow.actions.get({ name: 'npm-space', namespace: 'guest' })).namespace, 'guest');
    const elsewhere = openwhisk({ apihost, api_key: apiKey, namespace: 'elsewhere' });
    await assert.rejects(elsewhere.actions.get('npm-space'), (error) => {
        assert.equal(error.statusCode, 403);
        assert.equal(error.error.error, "The supplied authentication is not authorized to access 'elsewhere/npm-space'.");
        return true;
    });
    await assert.rejects(elsewhere.actions.list(), { statusCode: 403 });
});

test('the transaction id of the caller is the code of an error', async () => {
    process.env.__OW_TRANSACTION_ID = 'npm-transaction';
    try {
        await assert.rejects(ow.actions.get('npm-missing'), (error) => error.error.code === 'npm-transaction');
    } finally {
        delete process.env.__OW_TRANSACTION_ID;
    }
});

test('an agent keeps its connection', async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const opened = new Set();
    const connect = agent.createConnection.bind(agent);
    agent.createConnection = (...args) => {
        const socket = connect(...args);
        opened.add(socket);
        return socket;
    };
    const client = openwhisk({ apihost, api_key: apiKey, agent });
    for (let i = 0; i < 5; i++) await client.namespaces.list();
    await assert.rejects(client.actions.get('npm-missing'), { statusCode: 404 });
    await client.actions.list();
    assert.equal(opened.size, 1);
    agent.destroy();
});

// faulty serves the platform's API with faults: fault is told each request's
// number and returns 'cut' (the request is lost), 'lose' (its answer is), a status, or nothing.
async function faulty(t, fault) {
    const seen = [];
    const server = http.createServer(async (request, response) => {
        const chunks = await collect(request);
        seen.push(request.method);
        const kind = fault(seen.length);
        if (kind === 'cut') return request.socket.destroy();
        if (typeof kind === 'number') {
            response.writeHead(kind, { 'content-type': 'application/json' });
            return response.end(JSON.stringify({ error: 'faulty', code: '0' }));
        }
        const { authorization, 'content-type': type } = request.headers;
        const answer = await fetch(apihost + request.url, {
            method: request.method,
            headers: { authorization, ...(type && { 'content-type': type }) },
            body: chunks.length > 0 ? Buffer.concat(chunks) : undefined,
        });
        const body = await answer.text();
        if (kind === 'lose') return request.socket.destroy();
        response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? 'text/plain' });
        response.end(body);
    });
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    t.after(() => server.close());
    return { apihost: `http://127.0.0.1:${server.address().port}`, seen };
}

async function collect(stream) {
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    return chunks;
}

test('without retry a lost call fails', async (t) => {
    const front = await faulty(t, () => 'cut');
    const client = openwhisk({ apihost: front.apihost, api_key: apiKey });
    await assert.rejects(client.namespaces.list(), /socket hang up|ECONNRESET/);
    assert.equal(front.seen.length, 1);
});

test('retry repeats what was lost or refused', async (t) => {
    const front = await faulty(t, (n) => ({ 1: 'cut', 2: 503 })[n]);
    const retried = [];
    const client = openwhisk({ apihost: front.apihost, api_key: apiKey, retry: { retries: 2, minTimeout: 1, onRetry: (error) => retried.push(error.statusCode) } });
    assert.deepEqual(await client.namespaces.list(), ['guest']);
    assert.equal(front.seen.length, 3);
    assert.deepEqual(retried, [undefined, 503]);
});

test('retry of a create whose answer was lost tells that it was done', async (t) => {
    const front = await faulty(t, (n) => (n === 1 ? 'lose' : undefined));
    const client = openwhisk({ apihost: front.apihost, api_key: apiKey, retry: { retries: 1, minTimeout: 1 } });
    t.after(() => ow.actions.delete('npm-retry'));
    await assert.rejects(client.actions.create({ name: 'npm-retry', action: source }), { statusCode: 409 });
    assert.deepEqual(front.seen, ['PUT', 'PUT']);
    assert.equal((await ow.actions.get('npm-retry')).version, '0.0.1');
    // An update may be repeated.
    const again = await faulty(t, (n) => (n === 1 ? 'lose' : undefined));
    const updating = openwhisk({ apihost: again.apihost, api_key: apiKey, retry: { retries: 1, minTimeout: 1 } });
    assert.equal((await updating.actions.update({ name: 'npm-retry', action: source })).version, '0.0.3');
});

test('all ways to name things', async () => {
    await create({ name: 'npm-named', action: source });
    await make('packages', { name: 'npm-names' });
    await create({ name: 'npm-names/inner', action: source });
    await make('triggers', { name: 'npm-named-trigger' });
    await make('rules', { name: 'npm-named-rule', action: '/_/npm-names/inner', trigger: '/guest/npm-named-trigger' });
    for (const name of ['npm-named', '/guest/npm-named', '/_/npm-named']) {
        assert.equal((await ow.actions.get(name)).name, 'npm-named');
        assert.equal((await ow.actions.get({ actionName: name })).name, 'npm-named');
    }
    for (const name of ['npm-names/inner', 'guest/npm-names/inner', '/guest/npm-names/inner']) {
        assert.equal((await ow.actions.get(name)).namespace, 'guest/npm-names');
    }
    assert.equal((await ow.packages.get({ packageName: 'npm-names' })).name, 'npm-names');
    assert.equal((await ow.triggers.get({ triggerName: '/guest/npm-named-trigger' })).name, 'npm-named-trigger');
    const rule = await ow.rules.get({ ruleName: 'npm-named-rule' });
    assert.deepEqual(rule.action, { name: 'inner', path: 'guest/npm-names' });
    await create({ name: 'npm with spaces', action: source });
    assert.deepEqual(await ow.actions.invoke({ name: 'npm with spaces', blocking: true, result: true, params: { name: 'ü ✓' } }), { hello: 'ü ✓' });
});

test('lists of things', async () => {
    for (const name of ['npm-one', 'npm-two']) {
        await create({ name, action: source });
        await make('triggers', { name: `${name}-trigger` });
    }
    const started = await ow.actions.invoke(['npm-one', 'npm-two']); // without a body
    const records = await Promise.all(started.map(({ activationId }) => soon(() => ow.activations.get({ activationId }))));
    assert.deepEqual(records.map((one) => one.name), ['npm-one', 'npm-two']);
    assert.deepEqual((await ow.triggers.get(['npm-one-trigger', 'npm-two-trigger'])).map((one) => one.version), ['0.0.1', '0.0.1']);
    assert.equal((await ow.actions.delete(['npm-one', 'npm-two'])).length, 2);
    await assert.rejects(ow.actions.get(['npm-one', 'npm-two']), { statusCode: 404 });
    assert.equal((await ow.triggers.list({ limit: 1, skip: 1 })).length, 1);
    assert.equal((await ow.triggers.list({ count: true })).triggers >= 2, true);
    await make('packages', { name: 'npm-shared', package: { publish: true } });
    assert.ok((await ow.packages.list({ public: true })).some((one) => one.name === 'npm-shared'));
});

test('actions.create by an object, an exec, a version, or over another', async () => {
    const whole = await create({ name: 'npm-whole', action: { exec: { kind: 'nodejs:default', code: 'function other() { return { main: "other" } }', main: 'other' }, limits: { memory: 128 } } });
    assert.equal(whole.exec.main, 'other');
    assert.deepEqual(await ow.actions.invoke({ name: 'npm-whole', blocking: true, result: true }), { main: 'other' });
    const exec = await create({ name: 'npm-exec', action: 'function third() { return { main: "third" } }', exec: { main: 'third' }, version: '1.2.3' });
    assert.equal(exec.exec.main, 'third');
    assert.equal(exec.version, '1.2.3');
    const over = await create({ name: 'npm-exec', overwrite: true, action: source });
    assert.equal(over.version, '1.2.4');
    assert.equal(over.exec.code, source);
    await create({ name: 'npm-python', kind: 'python:default', action: 'def main(args):\n    return {"python": args.get("n")}\n' });
    assert.deepEqual(await ow.actions.invoke({ name: 'npm-python', blocking: true, result: true, params: { n: 1 } }), { python: 1 });
});

test('the messages of errors', async () => {
    const fails = async (name, code, limits) => {
        await create({ name, action: code, limits });
        return ow.actions.invoke({ name, blocking: true }).then(() => assert.fail(`${name} did not fail`), (error) => error);
    };
    const object = await fails('npm-error-object', 'function main() { return { error: { statusCode: 418 } } }');
    assert.match(object.message, /Returned HTTP 502 \(Bad Gateway\) --> "application error, status code: 418"/);
    const nested = await fails('npm-error-nested', 'function main() { return { error: { error: "nested" } } }');
    assert.match(nested.message, /--> "nested"/);
    assert.deepEqual(nested.error.response.result, { error: { error: 'nested' } });
    const thrown = await fails('npm-error-thrown', 'function main() { throw new Error("thrown") }');
    assert.equal(thrown.statusCode, 502);
    assert.match(thrown.message, /An error has occurred: Error: thrown/);
    const late = await fails('npm-error-late', 'function main() { return new Promise(() => {}) }', { timeout: 500 });
    assert.match(late.message, /The action exceeded its time limits of 500 milliseconds/); // even when it starts, on a slow machine
    assert.equal(late.error.response.status, 'action developer error');
    await assert.rejects(create({ name: 'npm-error-kind', kind: 'nosuch:1', action: source }), (error) => {
        assert.equal(error.statusCode, 400);
        assert.match(error.message, /The specified runtime 'nosuch:1' is not supported by this platform/);
        return true;
    });
    await assert.rejects(create({ name: 'npm-error-limits', action: source, limits: { timeout: 1 } }), /duration 1 milliseconds below allowed threshold of 100 milliseconds/);
    await assert.rejects(ow.actions.invoke({ name: 'npm-error-thrown', params: { long: 'x'.repeat(1 << 20) } }), (error) => {
        assert.equal(error.statusCode, 413);
        assert.match(error.error.error, /^Request larger than allowed: \d+ > 1048576 bytes\.$/);
        return true;
    });
});

test('feeds by other names, and one that refuses', async () => {
    await create({ name: 'npm-refusing', action: 'function main(p) { return p.refuse ? { error: "no such stream" } : p }' });
    const record = await ow.feeds.create({ feedName: '/guest/npm-refusing', trigger: '/guest/npm-fed' });
    assert.equal(record.response.result.triggerName, '/guest/npm-fed');
    await assert.rejects(ow.feeds.update({ feedName: 'npm-refusing', trigger: 'npm-fed', params: { refuse: true } }), /no such stream/);
    await assert.rejects(ow.feeds.create({ name: 'npm-no-feed', trigger: 'npm-fed' }), { statusCode: 404 });
});
