"""A program that joins a role through the node agent's Unix socket and leaves.

    join.py SOCKET ROLE
"""
import json
import socket
import sys

path, role = sys.argv[1:]
conn = socket.socket(socket.AF_UNIX)
conn.settimeout(20)
conn.connect(path)


def say(message):
    line = json.dumps(message).encode() + b"\n"
    conn.sendall(b"%x\r\n%s\r\n" % (len(line), line))


conn.sendall(
    b"POST /join/%s HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\n\r\n"
    % role.encode()
)
say({"version": "python", "watch": ["sip_proxy"]})

lines = conn.makefile("rb")
status = lines.readline()
assert status.startswith(b"HTTP/1.1 200"), status
while lines.readline().strip():
    pass


def messages():
    """The lines of the answer, whose chunks are whole lines."""
    while size := int(lines.readline(), 16):
        yield json.loads(lines.read(size))
        lines.readline()


node = state = None
for message in messages():
    if "joined" in message:
        node = message["joined"]["node"]
    if "ping" in message:
        say({"pong": message["ping"]})
    if "self" in message and state is None:
        state = message["self"]["state"]
        say({"leave": True})
print(node, state, "left")
