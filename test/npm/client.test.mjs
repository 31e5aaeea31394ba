// SPDX-License-Identifier: Apache-2.0

// The npm client against a running platform, which the environment names:
// every method that the client has for actions, activations and namespaces,
// but namespaces.get, which reads packages, triggers and rules as well.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import openwhisk from 'openwhisk';

const ow = openwhisk({ apihost: process.env.__OW_API_HOST, api_key: process.env.__OW_API_KEY });
const source = 'function main(p) { console.log("hello", p.name); return { hello: p.name } }';
const made = new Set();

async function create(options) {
    made.add(options.name);
    return ow.actions.create(options);
}

after(async () => {
    for (const name of made) await ow.actions.delete(name).catch(() => {});
});

// soon asks again until ask succeeds: records and logs are written after the answer.
async function soon(ask) {
    for (let tries = 100; ; tries--) {
        try {
            return await ask();
        } catch (error) {
            if (tries === 0) throw error;
            await delay(100);
        }
    }
}

const annotation = (entity, key) => entity.annotations.find((one) => one.key === key)?.value;

test('namespaces.list', async () => {
    assert.deepEqual(await ow.namespaces.list(), ['guest']);
});

test('actions.create', async () => {
    const action = await create({
        name: 'npm-create',
        action: source,
        params: { name: 'bound' },
        annotations: { note: { deep: true } },
        limits: { timeout: 5000, memory: 128 },
    });
    assert.equal(action.name, 'npm-create');
    assert.equal(action.namespace, 'guest');
    assert.equal(action.version, '0.0.1');
    assert.match(action.exec.kind, /^nodejs:\d+$/);
    assert.equal(action.exec.code, source);
    assert.deepEqual(action.parameters, [{ key: 'name', value: 'bound' }]);
    assert.deepEqual(annotation(action, 'note'), { deep: true });
    assert.equal(action.limits.timeout, 5000);
    assert.equal(action.limits.memory, 128);
});

test('actions.create of an action that exists', async () => {
    await create({ name: 'npm-twice', action: source });
    await assert.rejects(create({ name: 'npm-twice', action: source }), (error) => {
        assert.equal(error.statusCode, 409);
        assert.match(error.message, /resource already exists/);
        return true;
    });
});

test('actions.create of another kind', async () => {
    await create({ name: 'npm-native', kind: 'native:default', action: '#!/bin/sh\necho "$1"\n' });
    assert.deepEqual(await ow.actions.invoke({ name: 'npm-native', blocking: true, result: true, params: { n: 1 } }), { n: 1 });
});

test('actions.create of a Buffer', async () => {
    // A zip archive with an index.js, stored without compression.
    const archive = storedZip('index.js', 'exports.main = () => ({ zipped: true })');
    const action = await create({ name: 'npm-zip', action: archive });
    assert.equal(action.exec.binary, true);
    assert.deepEqual(await ow.actions.invoke({ name: 'npm-zip', blocking: true, result: true }), { zipped: true });
});

test('actions.get', async () => {
    await create({ name: 'npm-get', action: source });
    assert.equal((await ow.actions.get('npm-get')).exec.code, source);
    assert.equal((await ow.actions.get({ name: 'npm-get' })).name, 'npm-get');
    assert.equal((await ow.actions.get({ name: '/guest/npm-get', code: false })).exec.code, undefined);
    const both = await ow.actions.get(['npm-get', { name: 'npm-get' }]);
    assert.deepEqual(both.map((one) => one.name), ['npm-get', 'npm-get']);
});

test('actions.get of what is not there', async () => {
    await assert.rejects(ow.actions.get('npm-missing'), (error) => {
        assert.equal(error.name, 'OpenWhiskError');
        assert.equal(error.statusCode, 404);
        assert.match(error.message, /The requested resource does not exist\./);
        assert.equal(typeof error.error.code, 'string');
        return true;
    });
});

test('actions.list', async () => {
    await create({ name: 'npm-list', action: source });
    const all = await ow.actions.list();
    assert.ok(all.some((one) => one.name === 'npm-list'));
    assert.equal((await ow.actions.list({ limit: 1 })).length, 1);
    const { actions } = await ow.actions.list({ count: true });
    assert.equal(actions, all.length);
});

test('actions.update', async () => {
    await create({ name: 'npm-update', action: source, annotations: { kept: 1 } });
    const updated = await ow.actions.update({ name: 'npm-update', action: 'function main() { return { version: 2 } }' });
    assert.equal(updated.version, '0.0.2');
    assert.equal(annotation(updated, 'kept'), 1);
    assert.deepEqual(await ow.actions.invoke({ name: 'npm-update', blocking: true, result: true }), { version: 2 });
    const limits = await ow.actions.update({ name: 'npm-update', limits: { timeout: 1000 } });
    assert.equal(limits.limits.timeout, 1000);
});

test('actions.delete', async () => {
    await create({ name: 'npm-delete', action: source });
    assert.equal((await ow.actions.delete('npm-delete')).name, 'npm-delete');
    await assert.rejects(ow.actions.get('npm-delete'), { statusCode: 404 });
    await assert.rejects(ow.actions.delete('npm-delete'), { statusCode: 404 });
});

test('actions.invoke', async () => {
    await create({ name: 'npm-invoke', action: source });
    const params = { name: 'you' };
    const record = await ow.actions.invoke({ name: 'npm-invoke', blocking: true, params });
    assert.deepEqual(record.response.result, { hello: 'you' });
    assert.equal(record.response.success, true);
    assert.match(record.activationId, /^[0-9a-f]{32}$/);
    assert.deepEqual(await ow.actions.invoke({ name: 'npm-invoke', blocking: true, result: true, params }), { hello: 'you' });
    const { activationId } = await ow.actions.invoke({ name: 'npm-invoke', params });
    const later = await soon(() => ow.activations.get(activationId));
    assert.deepEqual(later.response.result, { hello: 'you' });
});

test('actions.invoke of an action that fails', async () => {
    await create({ name: 'npm-fail', action: 'function main() { return { error: "no luck" } }' });
    for (const result of [false, true]) {
        await assert.rejects(ow.actions.invoke({ name: 'npm-fail', blocking: true, result }), (error) => {
            assert.equal(error.statusCode, 502);
            assert.match(error.message, /no luck/);
            return true;
        });
    }
});

test('activations', async () => {
    await create({ name: 'npm-records', action: source });
    const { activationId, start } = await ow.actions.invoke({ name: 'npm-records', blocking: true, params: { name: 'you' } });
    const record = await soon(() => ow.activations.get({ name: activationId }));
    assert.equal(record.name, 'npm-records');
    assert.deepEqual((await ow.activations.result(activationId)).result, { hello: 'you' });
    const logs = await soon(async () => {
        const { logs } = await ow.activations.logs({ activation: activationId });
        assert.equal(logs.length, 1);
        return logs;
    });
    assert.match(logs[0], /^\d{4}-\d\d-\d\dT\S+ +stdout: hello you$/);

    const listed = await soon(async () => {
        const all = await ow.activations.list({ name: 'npm-records' });
        assert.deepEqual(all.map((one) => one.activationId), [activationId]);
        return all;
    });
    assert.equal(listed[0].statusCode, 0);
    const [full] = await ow.activations.list({ name: 'npm-records', docs: true, since: start, upto: start, limit: 1, skip: 0 });
    assert.deepEqual(full.response.result, { hello: 'you' });
    assert.deepEqual(await ow.activations.list({ name: 'npm-records', since: start + 1 }), []);
    assert.deepEqual(await ow.activations.list({ name: 'npm-records', count: true }), { activations: 1 });
    await assert.rejects(ow.activations.get('0123456789abcdef0123456789abcdef'), { statusCode: 404 });
});

test('a wrong key', async () => {
    const stranger = openwhisk({ apihost: process.env.__OW_API_HOST, api_key: `nobody:${'x'.repeat(64)}` });
    await assert.rejects(stranger.actions.list(), { statusCode: 401 });
});

// storedZip makes a zip archive of one file, without compression.
function storedZip(name, text) {
    const file = Buffer.from(name);
    const content = Buffer.from(text);
    const entry = Buffer.alloc(26); // what the local header and the directory share
    entry.writeUInt16LE(20, 0);
    entry.writeUInt32LE(crc32(content), 10);
    entry.writeUInt32LE(content.length, 14);
    entry.writeUInt32LE(content.length, 18);
    entry.writeUInt16LE(file.length, 22);
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), entry, file, content]);
    const rest = Buffer.alloc(14); // no comment, first disk, no attributes, at offset 0
    const directory = Buffer.concat([Buffer.from('PK\x01\x02'), Buffer.from([20, 0]), entry, rest, file]);
    const end = Buffer.alloc(18);
    end.writeUInt16LE(1, 4);
    end.writeUInt16LE(1, 6);
    end.writeUInt32LE(directory.length, 8);
    end.writeUInt32LE(local.length, 12);
    return Buffer.concat([local, directory, Buffer.from('PK\x05\x06'), end]);
}

function crc32(bytes) {
    let sum = ~0;
    for (const byte of bytes) {
        sum ^= byte;
        for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
    }
    return ~sum >>> 0;
}
