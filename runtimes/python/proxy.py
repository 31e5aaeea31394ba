# SPDX-License-Identifier: Apache-2.0
"""The action proxy of the python runtimes: an HTTP server that loads an action
by POST /init and runs it by POST /run, as OpenWhisk's python images do.

One thread does it all, the main one, so that actions may use signals and
whatever else wants that thread. Hence requests are served one after the other:
a second /run waits in its socket until the first one was answered.
"""

import json
import os
import socket
import sys
import traceback

SENTINEL = b"XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n"

# What concerns the proxy alone is taken out of the action's environment.
ACTION_DIR = os.environ.pop("WHIRL_ACTION_DIR", "/tmp/action")
LISTEN_FD = os.environ.pop("WHIRL_LISTEN_FD", None)
PORT = int(os.environ.pop("WHIRL_PORT", "8080"))

# Nothing here is imported twice, so bytecode would be written for nobody.
sys.dont_write_bytecode = True

from loader import NotLoaded, load
from server import Server

# The proxy's own modules are loaded; an action that has a module of the same
# name must find its own.
sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
for name in ("loader", "server"):
    del sys.modules[name]


class Refusal(Exception):
    """An answer other than 200."""

    def __init__(self, status, error):
        super().__init__(error)
        self.status = status
        self.body = encode({"error": error})


class Exit(Exception):
    """The action ended the process."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code if isinstance(code, int) else code is not None


class Proxy:
    def __init__(self):
        self.action = None  # the user's function, once loaded
        self.stopped = False  # an init went wrong; nothing is taken any more
        self.names = {}  # of environment variables, by field of /run

    def answer(self, method, path, body):
        """Returns the status and the body of the reply to one request."""
        try:
            if method != "POST" or path not in ("/init", "/run"):
                raise Refusal(404, "Bad request.")
            message = decode(body)
            return 200, self.init(message) if path == "/init" else self.run(message)
        except Refusal as refusal:
            return refusal.status, refusal.body

    def init(self, message):
        if self.action:
            raise refuse("Cannot initialize the action more than once.")
        if self.stopped:
            raise refuse("System not ready, status is stopped.")
        value = message.get("value") or {}
        if not isinstance(value, dict) or not isinstance(value.get("env") or {}, dict):
            raise Refusal(400, "Bad request.")
        if not value.get("code") or not isinstance(value["code"], str):
            raise refuse("Missing main/no code to execute.")
        for name, text in (value.get("env") or {}).items():
            set_variable(name, text if isinstance(text, str) else "" if text is None else json.dumps(text))
        try:
            self.action = load(value["code"], value.get("main") or "main", value.get("binary"), ACTION_DIR)
            flush()
            return b'{"ok":true}'
        except NotLoaded as error:
            reason = str(error)
            print(reason, file=sys.stderr)
        except SystemExit:
            reason = "Command exited abruptly during initialization."
            print(reason, file=sys.stderr)
        except BaseException as error:
            reason = "".join(traceback.format_exception_only(type(error), error)).strip()
            print_traceback(error)
        self.stopped = True
        end_output()
        raise Refusal(502, "Cannot start action. Check logs for details. " + reason)

    def run(self, message):
        if not self.action:
            raise refuse("System not ready, status is stopped." if self.stopped else "System not initialized.")
        args = message.get("value")
        if args is None:
            args = {}
        elif not isinstance(args, (dict, list)):
            raise refuse("The action did not receive a dictionary or array as an argument.")
        self.set_run_environment(message)
        try:
            text = self.call(args)
        except SystemExit as error:
            raise Exit(error.code) from None
        finally:
            end_output()
        if text[:1] not in (b"{", b"["):
            raise Refusal(502, "The action did not return a dictionary or array.")
        return text

    def call(self, args):
        """Runs the action once. What it raises is an error of its own, as what
        it returns under the name "error" is."""
        try:
            result = self.action(args)
        except Exception as error:
            print_traceback(error)
            result = {"error": str(error)}
        try:
            return encode(result)
        except Exception as error:
            print_traceback(error)
            return b""

    def set_run_environment(self, message):
        for field, text in message.items():
            if field == "value" or not isinstance(text, str):
                continue
            name = self.names.get(field)
            if name is None:
                name = self.names[field] = "__OW_" + field.upper()
            set_variable(name, text)


def set_variable(name, text):
    """Sets an environment variable, unless no process can have one like that."""
    try:
        os.environ[name] = text
    except (OSError, ValueError):
        pass


def refuse(text):
    print(text, file=sys.stderr)
    return Refusal(403, text)


def decode(body):
    try:
        message = json.loads(body) if body else {}
    except ValueError:
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("value") or {}, (dict, list)):
        raise Refusal(400, "Bad request.")
    return message


def encode(value):
    """Returns the JSON of value. Lone surrogates have no UTF-8 and are escaped,
    which costs the readable form of the rest."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False).encode()


def print_traceback(error):
    """Prints the action's part of a traceback: the proxy's frames come first."""
    trace = error.__traceback__
    while trace and trace.tb_frame.f_code.co_filename in (__file__, load.__code__.co_filename):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


def flush():
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # the action replaced or closed it


def end_output():
    """Marks the end of an activation's output on both streams."""
    flush()
    for stream in (1, 2):
        try:
            os.write(stream, SENTINEL)
        except OSError:
            pass  # the action closed it


def listen():
    """A socket that already listens is inherited in the sandbox; a port serves elsewhere."""
    if LISTEN_FD:
        return socket.socket(fileno=int(LISTEN_FD))
    return socket.create_server(("0.0.0.0", PORT), backlog=128)


def main():
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    server = Server(listen())
    proxy = Proxy()
    while True:
        request = server.next()
        try:
            server.reply(request, *proxy.answer(request.method, request.path, request.body))
        except Exit as end:
            server.reply(request, 400, encode({"error": "command exited"}))
            os._exit(end.code)


main()
