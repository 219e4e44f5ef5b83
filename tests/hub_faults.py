"""Faults of a hub, each a function of the request handler of `fake_hub`."""

import json
import socket

WORD = b"<html>Please log in to the hospital's network</html>"


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def leftovers(store):
    """What a store should not hold: anything but bundles, manifest and lock."""
    if not store.exists():
        return []
    return [p.name for p in store.iterdir() if p.name.startswith((".incoming", ".wri"))]


def works(handler):
    handler.answer()


def status(code, error="", text="", **headers):
    return lambda handler: handler.fail(code, error, text, **headers)


def portal(handler):
    handler.send(WORD, kind="text/html")


def portal_redirect(handler):
    handler.send(b"", status=302, Location="/login")


def circle(handler):
    handler.send(b"", status=302, Location=handler.path)


def reset(handler):
    linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.cut()


def hang(handler):
    handler.hub.released.wait(30)
    handler.close_connection = True


def garbage(handler):
    handler.wfile.write(b"\x00\x01\x02 no HTTP at all\r\n\r\n")
    handler.cut()


def value(document):
    return lambda handler: handler.send(json.dumps(document).encode())


def _announce(handler, size):
    handler.send_response(200)
    handler.send_header("Content-Length", str(size))
    handler.end_headers()


def cut_at(share):
    """Announce the whole file, send a share of it, drop the connection."""

    def fault(handler):
        content = handler.file_content()
        _announce(handler, len(content))
        handler.wfile.write(content[: int(share * len(content))])
        handler.cut()

    return fault


def stall(handler):
    content = handler.file_content()
    _announce(handler, len(content))
    handler.wfile.write(content[: len(content) // 2])
    handler.wfile.flush()
    hang(handler)


def trickle(handler):
    """Send a byte now and then, for ever."""
    content = handler.file_content()
    _announce(handler, len(content))
    for place in range(len(content)):
        if handler.hub.released.wait(0.05):
            break
        try:
            handler.wfile.write(content[place : place + 1])
            handler.wfile.flush()
        except OSError:
            break
    handler.close_connection = True


def changed(change):
    """Send other bytes than those of the commit, well formed."""
    return lambda handler: handler.send_range(change(handler.file_content()))


def flip(content):
    return content[:-1] + bytes([content[-1] ^ 1])


def no_range(handler):
    """Answer a request for the rest with the whole."""
    handler.send(handler.file_content())


def wrong_range(handler):
    content = handler.file_content()
    handler.send(content[:10], status=206, Content_Range=f"bytes 0-9/{len(content)}")
