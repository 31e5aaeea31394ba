// SPDX-License-Identifier: Apache-2.0

// The npm package openwhisk-composer against a running platform, which the
// environment names: what it composes is deployed by its own client, and run.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import composer from 'openwhisk-composer';
import client from 'openwhisk-composer/client.js';

const apihost = process.env.__OW_API_HOST;
const key = process.env.__OW_API_KEY;
const ow = client({ apihost, api_key: key, namespace: '_' }, true);
const made = new Set();

const actions = {
    'composer-increment': '({ n }) => ({ n: n + 1 })',
    'composer-double': '({ n }) => ({ n: 2 * n })',
    'composer-even': '({ n }) => ({ value: n % 2 === 0 })',
    'composer-fail': '() => ({ error: "failed on purpose" })',
};

before(async () => {
    for (const [name, code] of Object.entries(actions)) {
        made.add(name);
        await ow.actions.update({ name, action: `const main = ${code}`, limits: { memory: 128 } });
    }
});

after(async () => {
    for (const name of made) await ow.actions.delete(name).catch(() => {});
});

// deploy puts a composition and what it brings along.
async function deploy(name, composition) {
    for (const action of await ow.compositions.deploy({ name, ...composition.compile() }, true)) made.add(action.name);
}

const invoke = (name, params = {}) => ow.actions.invoke({ name, params, blocking: true });
const call = async (name, params) => (await invoke(name, params)).response.result;
const annotation = (record, key) => record.annotations.find((one) => one.key === key)?.value;

// recordOf waits for a record, which is written after the answer.
async function recordOf(id) {
    for (let tries = 100; ; tries--) {
        try {
            return await ow.activations.get(id);
        } catch (error) {
            if (tries === 0) throw error;
            await delay(100);
        }
    }
}

const stepsOf = (record) => Promise.all(record.logs.map(recordOf));

// failsWith expects a call whose activation ends with an error.
async function failsWith(calling, message) {
    await assert.rejects(calling, (error) => {
        assert.equal(error.statusCode, 502);
        assert.equal(error.error.response.status, 'application error');
        assert.match(error.error.response.result.error, message);
        return true;
    });
}

test('branch', async () => {
    await deploy('composer-branch', composer.if('composer-even', 'composer-double', 'composer-increment'));
    assert.deepEqual(await call('composer-branch', { n: 3 }), { n: 4 });
    const answer = await invoke('composer-branch', { n: 4 });
    assert.deepEqual(answer.response.result, { n: 8 });
    const record = await recordOf(answer.activationId);
    assert.equal(annotation(record, 'kind'), 'sequence');
    assert.equal(annotation(record, 'conductor'), true);
    assert.equal(annotation(record, 'topmost'), true);
    const steps = await stepsOf(record);
    assert.deepEqual(
        steps.map((step) => step.name),
        ['composer-branch', 'composer-even', 'composer-branch', 'composer-double', 'composer-branch'],
    );
    for (const step of steps) assert.equal(step.cause, answer.activationId);
    assert.equal(
        record.duration,
        steps.reduce((sum, step) => sum + step.duration, 0),
    );
});

test('loop', async () => {
    await deploy('composer-loop', composer.let({ most: 5 }, composer.while(({ n }) => n < most, 'composer-increment')));
    assert.deepEqual(await call('composer-loop', { n: 1 }), { n: 5 });
    assert.deepEqual(await call('composer-loop', { n: 7 }), { n: 7 });
});

test('repeat', async () => {
    await deploy('composer-repeat', composer.repeat(3, 'composer-double'));
    assert.deepEqual(await call('composer-repeat', { n: 1 }), { n: 8 });
});

test('a loop that is too long', async () => {
    await deploy('composer-endless', composer.while(() => true, 'composer-increment'));
    await failsWith(call('composer-endless', { n: 0 }), /^Too many actions in the composition\.$/);
});

test('catch', async () => {
    const handler = ({ error }) => ({ caught: error });
    await deploy('composer-catch', composer.try(composer.sequence('composer-fail', 'composer-increment'), handler));
    assert.deepEqual(await call('composer-catch'), { caught: 'failed on purpose' });
    await deploy('composer-catch-missing', composer.try('composer-nowhere', handler));
    assert.deepEqual(await call('composer-catch-missing'), {
        caught: "Failed to resolve action with name 'guest/composer-nowhere' during composition.",
    });
});

test('finally', async () => {
    await deploy('composer-finally', composer.finally('composer-fail', ({ error }) => ({ n: error.length })));
    assert.deepEqual(await call('composer-finally'), { n: 'failed on purpose'.length });
});

test('an error that nothing catches', async () => {
    await deploy('composer-uncaught', composer.sequence('composer-fail', 'composer-increment'));
    await failsWith(call('composer-uncaught'), /^failed on purpose$/);
});

test('nested', async () => {
    await deploy('composer-inner', composer.repeat(2, 'composer-increment'));
    await deploy('composer-outer', composer.sequence('composer-inner', 'composer-double', composer.retain('composer-inner'), ({ params, result }) => ({ n: params.n, m: result.n })));
    const answer = await invoke('composer-outer', { n: 1 });
    assert.deepEqual(answer.response.result, { n: 6, m: 8 });
    const [, inner] = await stepsOf(await recordOf(answer.activationId));
    assert.equal(inner.name, 'composer-inner');
    assert.equal(annotation(inner, 'topmost'), false);
    assert.equal(annotation(inner, 'causedBy'), 'sequence');
    assert.equal(inner.logs.length, 5);
});

test('in a sequence', async () => {
    await deploy('composer-part', composer.repeat(2, 'composer-increment'));
    made.add('composer-sequence');
    await ow.actions.update({ name: 'composer-sequence', sequence: ['/_/composer-increment', '/_/composer-part', '/_/composer-double'] });
    assert.deepEqual(await call('composer-sequence', { n: 1 }), { n: 8 });
});

test('an action that a composition brings along', async () => {
    const own = composer.action('composer-own', { action: ({ name }) => ({ greeting: `Hello, ${name}` }) });
    await deploy('composer-bringing', composer.sequence(({ name }) => ({ name: name.toUpperCase() }), own));
    assert.deepEqual(await call('composer-bringing', { name: 'whirl' }), { greeting: 'Hello, WHIRL' });
});

test('dynamic', async () => {
    await deploy('composer-dynamic', composer.sequence(({ name }) => ({ type: 'action', name, params: { n: 20 } }), composer.dynamic()));
    assert.deepEqual(await call('composer-dynamic', { name: 'composer-double' }), { n: 40 });
});

// The conductor invokes itself by the API, with the key that it asked for.
test('async', async () => {
    await deploy('composer-async', composer.sequence(composer.async('composer-increment', 'composer-double'), (p) => p));
    const { method, activationId } = await call('composer-async', { n: 4 });
    assert.equal(method, 'async');
    const record = await recordOf(activationId);
    assert.deepEqual(record.response.result, { n: 10 });
    assert.equal(annotation(record, 'conductor'), true);
});

test('without waiting', async () => {
    await deploy('composer-later', composer.repeat(2, 'composer-double'));
    const { activationId } = await ow.actions.invoke({ name: 'composer-later', params: { n: 1 } });
    assert.deepEqual((await recordOf(activationId)).response.result, { n: 4 });
});

test('the commands compose and deploy', async () => {
    const run = (command, ...args) => execFileSync(process.execPath, [`node_modules/openwhisk-composer/bin/${command}.js`, ...args], { encoding: 'utf8' });
    writeFileSync(
        'commands.js',
        "const composer = require('openwhisk-composer')\nmodule.exports = composer.if(composer.action('composer-odd', { action: ({ n }) => ({ value: n % 2 === 1 }) }), 'composer-increment', 'composer-double')\n",
    );
    writeFileSync('commands.json', run('compose', 'commands.js'));
    for (const name of ['composer-odd', 'composer-commands']) made.add(name);
    const deploying = () => run('deploy', 'composer-commands', 'commands.json', '--basic', '--apihost', apihost, '-u', key, '-w');
    assert.match(deploying(), /composer-commands/);
    assert.match(deploying(), /composer-commands/); // in place of what is there
    assert.deepEqual(await call('composer-commands', { n: 3 }), { n: 4 });
    assert.deepEqual(await call('composer-commands', { n: 4 }), { n: 8 });
});
