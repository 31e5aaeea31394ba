# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 as far as the platform speaks it to an action: requests with a
Content-Length on connections that stay open, served one after the other."""

import selectors
import socket

MAX_HEAD = 64 << 10  # bytes
MAX_BODY = 128 << 20  # bytes; the platform's own limits are far below

REASONS = {
    200: b"OK", 400: b"Bad Request", 403: b"Forbidden", 404: b"Not Found", 411: b"Length Required",
    413: b"Content Too Large", 431: b"Request Header Fields Too Large", 500: b"Internal Server Error", 502: b"Bad Gateway",
}


class Broken(Exception):
    """The connection is of no use any more: it ended or made no sense."""

    def __init__(self, status=0):
        super().__init__(status)
        self.status = status  # of a last answer, 0 for none


class Request:
    def __init__(self, connection, method, path, body, keep):
        self.connection = connection
        self.method = method
        self.path = path
        self.body = body
        self.keep = keep  # the connection stays open after the answer


class Server:
    def __init__(self, listener):
        listener.setblocking(False)
        self.listener = listener
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ)
        self.ready = []  # connections with something to read
        self.rest = {}  # of each open connection, what was read beyond its last request

    def next(self):
        """Waits for a request and returns it."""
        while True:
            while not self.ready:
                self.wait()
            connection = self.ready.pop()
            if connection not in self.rest:
                continue
            try:
                return self.read(connection)
            except Broken as broken:
                if broken.status:
                    self.send(connection, broken.status, b'{"error":"Bad request."}')
                self.close(connection)
            except OSError:
                self.close(connection)

    def reply(self, request, status, body):
        self.send(request.connection, status, body)
        if not request.keep:
            self.close(request.connection)
        elif self.rest.get(request.connection):
            self.ready.append(request.connection)

    def wait(self):
        for key, _ in self.selector.select():
            if key.fileobj is not self.listener:
                self.ready.append(key.fileobj)
                continue
            try:
                connection, _ = self.listener.accept()
            except OSError:
                continue  # who asked is gone
            connection.setblocking(True)
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(connection, selectors.EVENT_READ)
            self.rest[connection] = b""

    def read(self, connection):
        data = self.rest[connection]
        end = data.find(b"\r\n\r\n")
        while end < 0:
            if len(data) > MAX_HEAD:
                raise Broken(431)
            data += receive(connection, 65536)
            end = data.find(b"\r\n\r\n")
        method, path, version, headers = parse_head(data[:end])
        if b"transfer-encoding" in headers:
            raise Broken(411)
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            raise Broken(400)
        length = int(length)
        if length > MAX_BODY:
            raise Broken(413)
        if headers.get(b"expect", b"").lower() == b"100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body, self.rest[connection] = read_body(connection, data[end + 4 :], length)
        wish = headers.get(b"connection", b"").lower()
        keep = wish != b"close" and (version == "HTTP/1.1" or wish == b"keep-alive")
        return Request(connection, method, path, body, keep)

    def send(self, connection, status, body):
        head = b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        try:
            connection.sendall(head % (status, REASONS[status], len(body)) + body)
        except OSError:
            self.close(connection)

    def close(self, connection):
        if self.rest.pop(connection, None) is not None:
            self.selector.unregister(connection)
            connection.close()


def receive(connection, most):
    data = connection.recv(most)
    if not data:
        raise Broken()
    return data


def read_body(connection, start, length):
    """Returns the body and what follows it."""
    if len(start) >= length:
        return start[:length], start[length:]
    parts, missing = [start], length - len(start)
    while missing:
        parts.append(receive(connection, min(missing, 1 << 20)))
        missing -= len(parts[-1])
    return b"".join(parts), b""


def parse_head(head):
    lines = head.split(b"\r\n")
    words = lines[0].decode("latin-1").split(" ")
    if len(words) != 3:
        raise Broken(400)
    headers = {}
    for line in lines[1:]:
        name, _, text = line.partition(b":")
        headers[name.strip().lower()] = text.strip()
    return words[0], words[1], words[2], headers
