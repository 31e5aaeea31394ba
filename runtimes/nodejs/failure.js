// SPDX-License-Identifier: Apache-2.0

// What an action rejected with, as plain data that JSON can hold.
'use strict';

// These properties of an Error are not enumerable, but worth keeping.
const HIDDEN = ['name', 'message', 'stack', 'code', 'cause'];

// plainError copies value without functions and cycles.
function plainError(value, above = []) {
    if (typeof value === 'function') return `[Function: ${value.name || 'anonymous'}]`;
    if (typeof value === 'bigint') return String(value);
    if (value === null || typeof value !== 'object') return value;
    if (above.includes(value)) return '[Circular]';
    if (Buffer.isBuffer(value)) return '[object Buffer]';
    if (typeof value.toJSON === 'function') return value.toJSON();

    const path = [...above, value];
    if (Array.isArray(value)) return value.map((item) => plainError(item, path));
    const copy = {};
    for (const key of Object.keys(value)) {
        if (typeof value[key] !== 'function') copy[key] = plainError(value[key], path);
    }
    if (value instanceof Error || typeof value.stack === 'string') {
        for (const key of HIDDEN) {
            if (value[key] !== undefined) copy[key] = plainError(value[key], path);
        }
    }
    return copy;
}

module.exports = { plainError };
