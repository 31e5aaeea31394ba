// SPDX-License-Identifier: Apache-2.0

// The npm client against a running platform, which the environment names:
// every method that the client has; routes.test.mjs has those for routes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import openwhisk from 'openwhisk';
import { annotation, apihost, create, make, ow, soon, source, storedZip } from './platform.mjs';

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

test('sequences', async () => {
    await create({ name: 'npm-double', action: 'function main({ n }) { if (n > 50) return { error: "too much" }; return { n: 2 * n } }' });
    const sequence = await create({ name: 'npm-sequence', sequence: ['/_/npm-double', '/guest/npm-double'] });
    assert.deepEqual(sequence.exec, { kind: 'sequence', components: ['/guest/npm-double', '/guest/npm-double'] });
    const record = await ow.actions.invoke({ name: 'npm-sequence', blocking: true, params: { n: 3 } });
    assert.deepEqual(record.response.result, { n: 12 });
    assert.equal(annotation(record, 'kind'), 'sequence');
    assert.equal(record.logs.length, 2);
    const component = await soon(() => ow.activations.get(record.logs[1]));
    assert.equal(component.cause, record.activationId);
    assert.equal(annotation(component, 'causedBy'), 'sequence');
    await assert.rejects(ow.actions.invoke({ name: 'npm-sequence', blocking: true, params: { n: 60 } }), { statusCode: 502 });
    const { activationId } = await ow.actions.invoke({ name: 'npm-sequence', params: { n: 1 } });
    assert.deepEqual((await soon(() => ow.activations.get(activationId))).response.result, { n: 4 });
});

test('packages', async () => {
    const made = await make('packages', { name: 'npm-package', package: { publish: true, parameters: [{ key: 'name', value: 'bound' }] }, annotations: { note: 1 } });
    assert.equal(made.version, '0.0.1');
    assert.equal(made.publish, true);
    assert.deepEqual(made.binding, {});
    await create({ name: 'npm-package/hello', action: source });
    await make('packages', { name: 'npm-binding', package: { binding: { namespace: '_', name: 'npm-package' }, parameters: [{ key: 'name', value: 'over' }] } });
    for (const [name, hello] of [['npm-package/hello', 'bound'], ['npm-binding/hello', 'over'], ['/guest/npm-package/hello', 'bound']]) {
        assert.deepEqual(await ow.actions.invoke({ name, blocking: true, result: true }), { hello });
    }
    const got = await ow.packages.get('npm-package');
    assert.deepEqual(got.actions.map((one) => one.name), ['hello']);
    assert.deepEqual(got.feeds, []);
    assert.deepEqual((await ow.packages.get('npm-binding')).binding, { namespace: 'guest', name: 'npm-package' });
    assert.equal((await ow.actions.get('npm-binding/hello')).namespace, 'guest/npm-package');
    assert.equal((await ow.packages.update({ name: 'npm-package', package: { publish: false } })).version, '0.0.2');
    const listed = await ow.packages.list();
    assert.equal(listed.find((one) => one.name === 'npm-package').binding, false);
    assert.equal((await ow.packages.list({ count: true })).packages, listed.length);
    await assert.rejects(ow.packages.delete('npm-package'), { statusCode: 409 });
    const all = await ow.namespaces.get();
    assert.ok(all.packages.some((one) => one.name === 'npm-binding'));
    assert.ok(all.actions.some((one) => one.namespace === 'guest/npm-package'));
});

test('triggers and rules', async () => {
    await create({ name: 'npm-fired', action: source });
    const trigger = await make('triggers', { name: 'npm-trigger', trigger: { parameters: [{ key: 'name', value: 'bound' }] } });
    assert.equal(trigger.version, '0.0.1');
    assert.equal((await ow.triggers.invoke('npm-trigger')).length, 0); // 204
    const rule = await make('rules', { name: 'npm-rule', action: 'npm-fired', trigger: 'npm-trigger' });
    assert.equal(rule.status, 'active');
    assert.deepEqual(rule.trigger, { name: 'npm-trigger', path: 'guest' });
    assert.deepEqual(rule.action, { name: 'npm-fired', path: 'guest' });
    assert.equal((await ow.triggers.get('npm-trigger')).rules['guest/npm-rule'].status, 'active');

    const { activationId } = await ow.triggers.invoke({ name: 'npm-trigger', params: { n: 1 } });
    const record = await soon(() => ow.activations.get(activationId));
    const [entry] = record.logs.map(JSON.parse);
    assert.equal(entry.success, true);
    const fired = await soon(() => ow.activations.get(entry.activationId));
    assert.deepEqual(fired.response.result, { hello: 'bound' });

    await ow.rules.disable({ name: 'npm-rule' });
    assert.equal((await ow.rules.get('npm-rule')).status, 'inactive');
    assert.equal((await ow.triggers.invoke('npm-trigger')).length, 0); // 204
    await ow.rules.enable({ name: 'npm-rule' });
    const updated = await ow.rules.update({ name: 'npm-rule', action: 'npm-fired', trigger: 'npm-trigger' });
    assert.equal(updated.version, '0.0.2');
    assert.equal(updated.status, 'active');
    assert.ok((await ow.rules.list()).some((one) => one.name === 'npm-rule'));
    assert.ok((await ow.rules.list({ count: true })).rules > 0);
    assert.equal((await ow.triggers.update({ name: 'npm-trigger', trigger: { publish: true } })).version, '0.0.2');
    assert.ok((await ow.triggers.list({ limit: 200 })).some((one) => one.name === 'npm-trigger'));
    assert.equal((await ow.rules.delete('npm-rule')).status, 'inactive');
    assert.equal((await ow.triggers.delete('npm-trigger')).name, 'npm-trigger');
    await assert.rejects(ow.triggers.get('npm-trigger'), { statusCode: 404 });
});

test('feeds', async () => {
    await create({ name: 'npm-feed', action: 'function main(p) { return p }', annotations: { feed: true } });
    await make('triggers', { name: 'npm-fed', annotations: { feed: '/_/npm-feed' } });
    for (const [method, event] of [['create', 'CREATE'], ['get', 'READ'], ['update', 'UPDATE'], ['delete', 'DELETE']]) {
        const record = await ow.feeds[method]({ name: 'npm-feed', trigger: 'npm-fed', params: { cron: '* * * * *' } });
        const { lifecycleEvent, triggerName, authKey } = record.response.result;
        assert.deepEqual([lifecycleEvent, triggerName, authKey], [event, '/_/npm-fed', process.env.__OW_API_KEY]);
    }
});

test('a wrong key', async () => {
    const stranger = openwhisk({ apihost, api_key: `nobody:${'x'.repeat(64)}` });
    await assert.rejects(stranger.actions.list(), { statusCode: 401 });
});
