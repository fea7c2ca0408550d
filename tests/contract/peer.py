"""The far side of a byte stream in the contract tests: a program on standard input and output.

Usage: peer.py BEHAVIOUR CONTROL [ARGUMENT...], CONTROL being a Unix socket of the test, to which it reports, in lines
of JSON, what it does, and from which it takes orders. With --listen PATH at the end it serves one client of that Unix
socket instead of its standard input and output.
"""

import json
import os
import select
import signal
import socket
import sys

PIECE = 65_536


class Control:
    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._orders = self._socket.makefile("r")
        self.tell("pid", os.getpid())

    def tell(self, what, value):
        self._socket.sendall(json.dumps([what, value]).encode() + b"\n")

    def order(self):
        return self._orders.readline().split()


def write_all(data):
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def echo(control):
    while data := os.read(0, PIECE):
        write_all(data)


def flood(control, total):
    """Write ``total`` bytes; report once how many had gone when the line first stood still for half a second."""
    written, told, piece = 0, False, b"x" * PIECE
    os.set_blocking(1, False)
    while written < int(total):
        if not select.select([], [1], [], None if told else 0.5)[1]:
            control.tell("stalled", written)
            told = True
            continue
        try:
            written += os.write(1, piece[: int(total) - written])
        except BlockingIOError:
            continue
    control.tell("wrote", written)


def sink(control):
    """Read nothing until told how many bytes to read; report when they are there."""
    wanted = int(control.order()[0])
    count = 0
    while count < wanted and (data := os.read(0, PIECE)):
        count += len(data)
    control.tell("read", count)
    while os.read(0, PIECE):
        pass


def close(control):
    write_all(b"goodbye")


def cut(control):
    """Say something, then wait to be killed."""
    write_all(b"x" * 100_000)
    control.tell("ready", 0)
    control.order()
    os.kill(os.getpid(), signal.SIGKILL)


def complain(control):
    """Write more to standard error than anybody keeps, then leave with status 3."""
    os.write(2, b"first words\n" + b"y" * 300_000 + b"\n\x1b[31mlast \x1b]0;title\x07words\x1b[0m\n")
    sys.exit(3)


def deaf(control):
    """Take no notice of the end of input, nor of SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    write_all(b"deaf")
    control.order()


BEHAVIOURS = {f.__name__: f for f in (echo, flood, sink, close, cut, complain, deaf)}


def listen(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        yield
        connection, _ = listener.accept()
    os.dup2(connection.fileno(), 0)
    os.dup2(connection.fileno(), 1)
    connection.close()


def main(behaviour, control_path, *arguments):
    control = Control(control_path)
    if "--listen" in arguments:
        *arguments, _, path = arguments
        steps = listen(path)
        next(steps)
        control.tell("listening", 0)
        next(steps, None)
    BEHAVIOURS[behaviour](control, *arguments)


main(*sys.argv[1:])
