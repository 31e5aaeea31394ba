// SPDX-License-Identifier: Apache-2.0

// The action proxy of the nodejs runtimes: an HTTP server that loads an action
// by POST /init and runs it by POST /run, as OpenWhisk's nodejs images do.
'use strict';

const http = require('http');
const { loadAction } = require('./action');
const { plainError } = require('./failure');

const SENTINEL = 'XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n';
const MAX_BODY = 128 << 20; // bytes; the platform's own limits are far below
const concurrent = (process.env.__OW_ALLOW_CONCURRENT || '').toLowerCase() === 'true';

// What concerns the proxy alone is taken out of the action's environment.
const { WHIRL_ACTION_DIR: actionDir = '/tmp/action', WHIRL_LISTEN_FD: inherited, WHIRL_PORT: port = 8080 } = process.env;
for (const name of ['WHIRL_ACTION_DIR', 'WHIRL_LISTEN_FD', 'WHIRL_PORT']) delete process.env[name];

// ready (before and after a successful init), starting, running, stopped. A
// stopped container takes nothing any more: its init or a run went wrong.
let status = 'ready';
let action; // the user's function, once loaded

class Refusal {
    constructor(code, error) {
        this.code = code;
        this.body = JSON.stringify({ error });
    }
}

async function init(body) {
    if (action) throw refuse('Cannot initialize the action more than once.');
    if (status !== 'ready') throw refuse(`System not ready, status is ${status}.`);
    const value = body.value || {};
    if (!isText(value.code) || !isText(value.main)) throw refuse('Missing main/no code to execute.');

    status = 'starting';
    setInitEnv(value.env);
    try {
        action = loadAction(value, actionDir);
        status = 'ready';
        return '{"ok":true}';
    } catch (error) {
        status = 'stopped';
        console.error('Error during initialization:', error);
        await endOutput();
        throw new Refusal(502, `Initialization has failed due to: ${(error && error.stack) || error}`);
    }
}

async function run(body) {
    if (!action) throw refuse('System not initialized.');
    if (status !== 'ready') throw refuse(`System not ready, status is ${status}.`);
    const args = body.value ?? {};
    if (typeof args !== 'object') throw refuse(`The argument must be a dictionary or array but is a ${typeof args}.`);

    if (!concurrent) status = 'running';
    setRunEnv(body);
    try {
        const answer = toAnswer(await call(args));
        if (status === 'running') status = 'ready';
        return answer;
    } catch (error) {
        status = 'stopped';
        console.error(error);
        throw new Refusal(502, `An error has occurred: ${error}`);
    } finally {
        const flushed = endOutput();
        if (flushed) await flushed;
    }
}

// call runs the action once. What the action throws at once is its developer's
// error and thrown on; a promise it rejects is the application's own error.
function call(args) {
    const result = action(args);
    if (!result || typeof result.then !== 'function') return result;
    return Promise.resolve(result).catch((reason) => ({ error: reason ? plainError(reason) : {} }));
}

// toAnswer turns a result into the body of a reply. It looks at the text, not
// the value, so that null, dates and the like count as what a client would see.
function toAnswer(result) {
    const text = result === undefined ? '{}' : JSON.stringify(result);
    if (text && (text[0] === '{' || text[0] === '[')) return text;
    console.error(`The result must be a dictionary or array but is a ${typeof result}:`, result);
    return new Refusal(502, 'The action did not return a dictionary or array.');
}

// The environment of /init stays; each /run sets its own fields again.
function setInitEnv(env) {
    for (const [name, value] of Object.entries(env || {})) {
        process.env[name] = value === null ? '' : typeof value === 'string' ? value : JSON.stringify(value);
    }
}

const envNames = new Map(); // of the fields of /run

function setRunEnv(body) {
    for (const field in body) {
        if (field === 'value' || typeof body[field] !== 'string') continue;
        let name = envNames.get(field);
        if (!name) envNames.set(field, (name = '__OW_' + field.toUpperCase()));
        process.env[name] = body[field];
    }
}

// endOutput marks the end of an activation's output on both streams. The
// action may have replaced the streams' write; the marks go past that. It
// returns a promise only if a reader is slow and output is still queued.
const streams = [process.stdout, process.stderr].map((stream) => [stream, stream.write]);

function endOutput() {
    for (const [stream, write] of streams) write.call(stream, SENTINEL);
    const queued = streams.filter(([stream]) => stream.writableLength > 0);
    if (queued.length === 0) return undefined;
    return Promise.all(queued.map(([stream, write]) => new Promise((done) => write.call(stream, '', done))));
}

function isText(value) {
    return typeof value === 'string' && value !== '';
}

function refuse(text) {
    console.error(text);
    return new Refusal(403, text);
}

const routes = { '/init': init, '/run': run };

function handle(request, response) {
    const chunks = [];
    let length = 0;
    request.on('data', (chunk) => {
        length += chunk.length;
        if (length <= MAX_BODY) chunks.push(chunk);
    });
    request.on('end', () => serve(request, response, chunks, length));
}

async function serve(request, response, chunks, length) {
    let answer;
    try {
        const route = request.method === 'POST' && routes[request.url];
        if (!route) throw new Refusal(404, 'Bad request.');
        if (length > MAX_BODY) throw new Refusal(413, `The request has ${length} bytes, more than ${MAX_BODY}.`);
        answer = await route(parse(chunks));
    } catch (error) {
        answer = error instanceof Refusal ? error : new Refusal(500, `Internal error: ${error}`);
    }
    const refused = answer instanceof Refusal;
    const text = refused ? answer.body : answer;
    response.writeHead(refused ? answer.code : 200, {
        'Content-Type': 'application/json',
        'Content-Length': Buffer.byteLength(text),
    });
    response.end(text);
}

function parse(chunks) {
    const text = (chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)).toString();
    let body;
    try {
        body = text === '' ? {} : JSON.parse(text);
    } catch {
        body = undefined;
    }
    if (!body || typeof body !== 'object') throw new Refusal(400, 'Bad request.');
    return body;
}

// The client alone decides when a connection ends, so all timeouts are off.
const server = http.createServer({ keepAlive: true, noDelay: true, requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 0 }, handle);
server.timeout = 0;

// A socket that already listens is inherited in the sandbox; a port serves elsewhere.
if (inherited) {
    server.listen({ fd: Number(inherited) });
} else {
    server.listen(Number(port), '0.0.0.0');
}
