// SPDX-License-Identifier: Apache-2.0

// What the tests of the npm client share: a client of the platform that the
// environment names, and entities that are deleted in the end.

import { after } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import openwhisk from 'openwhisk';

export const apihost = process.env.__OW_API_HOST;
export const apiKey = process.env.__OW_API_KEY;
export const ow = openwhisk({ apihost, api_key: apiKey });
export const source = 'function main(p) { console.log("hello", p.name); return { hello: p.name } }';
const made = [];

// make creates an entity that is deleted in the end, before what was made earlier.
export async function make(resource, options) {
    made.push([resource, options.name]);
    return ow[resource].create(options);
}

export const create = (options) => make('actions', options);

after(async () => {
    for (const [resource, name] of made.reverse()) await ow[resource].delete(name).catch(() => {});
});

// soon asks again until ask succeeds: records and logs are written after the answer.
export async function soon(ask) {
    for (let tries = 100; ; tries--) {
        try {
            return await ask();
        } catch (error) {
            if (tries === 0) throw error;
            await delay(100);
        }
    }
}

export const annotation = (entity, key) => entity.annotations.find((one) => one.key === key)?.value;

// storedZip makes a zip archive of one file, without compression.
export function storedZip(name, text) {
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
