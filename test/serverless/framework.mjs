// SPDX-License-Identifier: Apache-2.0

// What the tests of the Serverless Framework share: the command, and a client
// of the platform that the environment names.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { after } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import openwhisk from 'openwhisk';

const apihost = process.env.__OW_API_HOST;
const auth = process.env.__OW_API_KEY;
const home = await mkdtemp(`${tmpdir()}/serverless-`); // so that nobody's settings are read or written
after(() => rm(home, { recursive: true }));

export const ow = openwhisk({ apihost, api_key: auth });

// serverless runs the command, and returns its exit status and all that it printed.
export function serverless(...args) {
    const env = {
        PATH: process.env.PATH, HOME: home, CI: 'true',
        OW_APIHOST: apihost, OW_AUTH: auth, SLS_TELEMETRY_DISABLED: '1', SLS_NOTIFICATIONS_MODE: 'off',
    };
    return new Promise((done) => {
        const child = execFile(process.execPath, ['node_modules/serverless/bin/serverless.js', ...args], { env }, (error, stdout, stderr) => {
            done({ status: error ? error.code : 0, text: stripVTControlCharacters(stdout + stderr) });
        });
        child.stdin.end();
    });
}

export async function succeeds(...args) {
    const { status, text } = await serverless(...args);
    assert.equal(status, 0, `serverless ${args.join(' ')}: ${text}`);
    return text;
}

// soon asks again until ask succeeds: records and logs are written after the answer.
export async function soon(ask) {
    for (let tries = 50; ; tries--) {
        try {
            return await ask();
        } catch (error) {
            if (tries === 0) throw error;
            await delay(100);
        }
    }
}
