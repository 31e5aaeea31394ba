// SPDX-License-Identifier: Apache-2.0

// Finding the user's function in what /init sent.
'use strict';

const fs = require('fs');
const path = require('path');
const Module = require('module');
const { unpack } = require('./archive');

// loadAction returns the function that value describes. Archives are unpacked
// into dir, which becomes the working directory either way.
function loadAction({ code, main, binary }, dir) {
    fs.mkdirSync(dir, { recursive: true });
    dir = fs.realpathSync(dir);
    const handler = binary ? fromArchive(Buffer.from(code, 'base64'), main, dir) : fromSource(code, main, dir);
    if (typeof handler !== 'function') throw `Action entrypoint '${main}' is not a function.`;
    return handler;
}

// fromSource evaluates a single file. Its entry point is what the name stands
// for inside the file, be it declared or global, or else an export. A file is
// compiled like any module, so require, import() and stack traces work.
function fromSource(code, main, dir) {
    process.chdir(dir);
    const file = path.join(dir, 'index.js');
    const module = new Module(file);
    module.filename = file;
    module.paths = Module._nodeModulePaths(dir);
    return module._compile(
        `${code}
;try { return ${main} } catch (error) {
    if (error.name !== 'ReferenceError') throw error;
    return module.exports.${main} || exports.${main};
}`,
        file,
    );
}

// fromArchive requires an npm package. "main" names an export of the package;
// in "file.main" the part before the first dot names the file to require.
function fromArchive(archive, main, dir) {
    unpack(archive, dir);
    process.chdir(dir);
    const [, file, names] = /^(?:([^.]+)\.)?(.+)$/.exec(main);
    if (!file && !fs.existsSync('package.json') && !fs.existsSync('index.js')) {
        throw 'Zipped actions must contain either package.json or index.js at the root.';
    }
    const exported = Module.createRequire(path.join(dir, 'index.js'))(file ? path.join(dir, file) : dir);
    return names.split('.').reduce((value, name) => value?.[name], exported);
}

module.exports = { loadAction };
