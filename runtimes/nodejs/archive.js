// SPDX-License-Identifier: Apache-2.0

// A reader of zip archives, as far as actions need one: stored and deflated
// entries, symbolic links, one disk, no zip64, no encryption.
'use strict';

const fs = require('fs');
const path = require('path');
const zlib = require('zlib');

const END = 0x06054b50; // signature of the end of the central directory
const ENTRY = 0x02014b50; // of an entry of the central directory
const LOCAL = 0x04034b50; // of the header before an entry's data
const END_SIZE = 22;
const LINK = 0o120000; // file type of a symbolic link

// unpack writes the archive's files into dir. It throws if the archive is
// damaged or an entry would leave dir. Links are made last, so that no entry
// can be written through one.
function unpack(archive, dir) {
    const links = [];
    for (const entry of entries(archive)) {
        const target = inside(dir, entry.name);
        if (entry.name.endsWith('/')) {
            fs.mkdirSync(target, { recursive: true });
            continue;
        }
        fs.mkdirSync(path.dirname(target), { recursive: true });
        const content = read(archive, entry);
        if ((entry.mode & 0o170000) === LINK) {
            links.push([content.toString(), target]);
        } else {
            fs.writeFileSync(target, content);
            if (entry.mode & 0o777) fs.chmodSync(target, (entry.mode & 0o777) | 0o600);
        }
    }
    for (const [to, target] of links) {
        inside(dir, path.join(path.relative(dir, path.dirname(target)), to));
        fs.symlinkSync(to, target);
    }
}

function inside(dir, name) {
    const target = path.resolve(dir, name);
    if (name.includes('\0') || path.isAbsolute(name) || (target !== dir && !target.startsWith(dir + path.sep))) {
        throw bad(`the entry ${JSON.stringify(name)} leads out of it`);
    }
    return target;
}

// entries lists the central directory, which, unlike the headers between the
// files, knows every entry's size.
function* entries(archive) {
    const end = findEnd(archive);
    const count = archive.readUInt16LE(end + 10);
    let at = archive.readUInt32LE(end + 16);
    for (let i = 0; i < count; i++) {
        if (at + 46 > archive.length || archive.readUInt32LE(at) !== ENTRY) throw bad('its directory is damaged');
        const nameEnd = at + 46 + archive.readUInt16LE(at + 28);
        yield {
            flags: archive.readUInt16LE(at + 8),
            method: archive.readUInt16LE(at + 10),
            packed: archive.readUInt32LE(at + 20),
            size: archive.readUInt32LE(at + 24),
            mode: archive[at + 5] === 3 ? archive.readUInt16LE(at + 40) : 0, // made on Unix
            header: archive.readUInt32LE(at + 42),
            name: archive.toString('utf8', at + 46, nameEnd),
        };
        at = nameEnd + archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32);
    }
}

function findEnd(archive) {
    const lowest = Math.max(0, archive.length - END_SIZE - 0xffff);
    for (let at = archive.length - END_SIZE; at >= lowest; at--) {
        if (archive.readUInt32LE(at) === END) return at;
    }
    throw bad('it is no zip archive');
}

function read(archive, { name, flags, method, packed, size, header }) {
    if (flags & 1) throw bad(`${name} is encrypted`);
    if (header + 30 > archive.length || archive.readUInt32LE(header) !== LOCAL) throw bad(`${name} has no header`);
    const start = header + 30 + archive.readUInt16LE(header + 26) + archive.readUInt16LE(header + 28);
    const data = archive.subarray(start, start + packed);
    let content = data;
    if (method === 8) {
        content = zlib.inflateRawSync(data, { maxOutputLength: Math.max(size, 1) });
    } else if (method !== 0) {
        throw bad(`${name} is packed by method ${method}, which is not supported`);
    }
    if (content.length !== size) throw bad(`${name} is cut short`);
    return content;
}

function bad(reason) {
    return new Error(`There was an error uncompressing the action Zip archive: ${reason}.`);
}

module.exports = { unpack };
