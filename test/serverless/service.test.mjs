// SPDX-License-Identifier: Apache-2.0

// The Serverless Framework with the plugin serverless-openwhisk against a
// running platform, which the environment names: the life of a service.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ow, serverless, soon, succeeds } from './framework.mjs';

const valueOf = (list, key) => list.find((one) => one.key === key)?.value;

// lent is a package that is there before the service, with a feed.
before(async () => {
    await ow.packages.create({ name: 'lent', package: { parameters: [{ key: 'from', value: 'lender' }] } });
    await ow.actions.create({ name: 'lent/feed', action: 'function main(p) { console.log(p.lifecycleEvent, p.triggerName); return { from: p.from } }', annotations: { feed: true } });
});

after(async () => {
    await ow.actions.delete('lent/feed');
    await ow.packages.delete('lent');
});

test('deploy', async () => {
    assert.match(await succeeds('deploy'), /Deployment successful!/);
    const hello = await ow.actions.get('greeter-dev-hello');
    assert.equal(hello.version, '0.0.1');
    assert.match(hello.exec.kind, /^nodejs:/);
    assert.equal(hello.exec.binary, true);
    assert.equal(hello.exec.main, 'hello');
    assert.deepEqual(hello.parameters, [{ key: 'greeting', value: 'Hello' }]);
    assert.equal(hello.limits.timeout, 10000);
    assert.equal(hello.limits.memory, 128);
    assert.equal(valueOf(hello.annotations, 'note'), 'deployed');
    const both = await ow.actions.get('greeter-dev-both');
    assert.deepEqual(both.exec.components, ['/guest/greeter-dev-hello', '/guest/voices/shout']);

    const voices = await ow.packages.get('voices');
    assert.equal(voices.publish, true);
    assert.deepEqual(voices.parameters, [{ key: 'mark', value: '!' }]);
    assert.equal(valueOf(voices.annotations, 'kind'), 'loud');
    assert.deepEqual(voices.actions.map((one) => one.name), ['shout']);
    assert.deepEqual((await ow.packages.get('borrowed')).binding, { namespace: 'guest', name: 'lent' });
    assert.deepEqual(await ow.actions.invoke({ name: 'borrowed/feed', blocking: true, result: true }), { from: 'service' });

    const { rules } = await ow.triggers.get('callers');
    assert.deepEqual(rules, { 'guest/greeter_callers_to_hello': { action: { name: 'greeter-dev-hello', path: 'guest' }, status: 'active' } });
    assert.equal((await ow.rules.get('ticks')).trigger.name, 'clock');
    // The plugin's version forgets to tell the feed of it, and the triggers' parameters.
    assert.equal(valueOf((await ow.triggers.get('clock')).annotations, 'feed'), '/guest/lent/feed');
});

test('deploy over what is there', async () => {
    assert.match(await succeeds('deploy'), /Deployment successful!/);
    assert.equal((await ow.actions.get('greeter-dev-hello')).version, '0.0.2');
    assert.equal((await ow.packages.get('voices')).version, '0.0.2');
    assert.equal((await ow.rules.get('ticks')).status, 'active');
});

test('invoke', async () => {
    const result = async (...args) => JSON.parse((await succeeds('invoke', ...args)).match(/^\{[^]*?^\}/m)[0]);
    const data = '{"name":"Whirl"}';
    assert.deepEqual(await result('-f', 'hello', '-d', data), { text: 'Hello, Whirl' });
    assert.deepEqual(await result('-f', 'both', '-d', data), { text: 'HELLO, WHIRL!' });
    assert.deepEqual(await result('-f', 'python', '-d', '{"n":[1]}'), { python: [1] });
    const { activationId } = await result('-f', 'hello', '-d', data, '--type', 'nonblocking');
    assert.deepEqual((await soon(() => ow.activations.get(activationId))).response.result, { text: 'Hello, Whirl' });
    const failed = await serverless('invoke', '-f', 'hello', '-d', '{}');
    assert.equal(failed.status, 1);
    assert.match(failed.text, /due to application error:\s+nobody asks\s+Check logs for activation: [0-9a-f]{32}/);
});

test('a trigger runs the function of the service', async () => {
    const { activationId } = await ow.triggers.invoke({ name: 'callers', params: { name: 'trigger' } });
    const fired = await soon(() => ow.activations.get(activationId));
    const entry = JSON.parse(fired.logs[0]);
    const ran = await soon(() => ow.activations.get(entry.activationId));
    assert.deepEqual(ran.response.result, { text: 'Hello, trigger' });
});

test('logs', async () => {
    await soon(async () => {
        const records = await ow.activations.list({ docs: true, limit: 100 });
        for (const name of ['Whirl', 'trigger']) assert.ok(records.some((one) => one.logs[0]?.endsWith(`asked by ${name}`)));
    });
    assert.match(await succeeds('logs', '-f', 'hello'), /activation \([0-9a-f]{32}\):\n[0-9-]+ [0-9:.]+ asked by trigger/);
    const filtered = await succeeds('logs', '-f', 'hello', '--filter', 'whirl');
    assert.match(filtered, /asked by Whirl/);
    assert.doesNotMatch(filtered, /asked by trigger/);
});

test('remove', async () => {
    assert.match(await succeeds('remove'), /Resource removal successful!/);
    for (const [resource, names] of Object.entries({
        actions: ['greeter-dev-hello', 'greeter-dev-python', 'greeter-dev-both'],
        packages: ['voices', 'borrowed'], triggers: ['callers', 'clock'], rules: ['greeter_callers_to_hello', 'ticks'],
    })) {
        for (const name of names) await assert.rejects(ow[resource].get(name), { statusCode: 404 }, name);
    }
    assert.equal((await ow.packages.get('lent')).name, 'lent');
    await soon(async () => {
        const [told] = await ow.activations.list({ name: 'lent/feed', docs: true, limit: 1 });
        assert.match(told.logs[0], /stdout: DELETE \/.+\/clock/);
    });
});
