#!/usr/bin/env python3
"""A member of a thor network in 60 lines of code, with nothing but Python's standard library: the NATS protocol by hand.

    member.py HOST:PORT NODE ROLE ADDRESS node.crt node.key ca.crt

docs/wire.md has the contract. It prints "joined", then each list of its role's members, and leaves at SIGTERM.
"""
import json, secrets, select, signal, socket, ssl, sys, time

broker, node, role, address, cert, key, ca = sys.argv[1:]
host, port = broker.rsplit(":", 1)
boot = secrets.token_hex(12)  # of this process; also the name of its connection, whose end tells managers that it died

def connect():
    tls = ssl.create_default_context(cafile=ca)
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    tls.load_cert_chain(cert, key)
    s = tls.wrap_socket(socket.create_connection((host, int(port)), 5), server_hostname=host)  # TLS first, then INFO
    options = {"verbose": False, "pedantic": False, "name": boot, "lang": "python", "version": "1", "protocol": 1, "headers": True}
    s.sendall(f"CONNECT {json.dumps(options)}\r\nSUB thor.role.{role} 1\r\nPING\r\n".encode())
    return s

def announce(s, state):
    global seq
    seq += 1  # rises within a boot; 0 or absent: the member is shown as plain
    a = {"v": 1, "node": node, "role": role, "boot": boot, "seq": seq, "addresses": [address], "state": state}
    body = json.dumps(a).encode()
    s.sendall(f"PUB thor.role.{role}.{node} {len(body)}\r\n".encode() + body + b"\r\n")

def read(s, buf):
    """What came: answers each PING, yields the payload of each message, returns what is not whole yet."""
    buf += s.recv(65536) or sys.exit("the broker closed the connection")
    while b"\r\n" in buf:
        line, rest = buf.split(b"\r\n", 1)
        words = line.split()
        if words[0] == b"PING":
            s.sendall(b"PONG\r\n")
        elif words[0] == b"-ERR":
            print(line.decode(), file=sys.stderr, flush=True)
        elif words[0] in (b"MSG", b"HMSG"):
            size, head = int(words[-1]), int(words[-2]) if words[0] == b"HMSG" else 0
            if len(rest) < size + 2:
                break
            yield rest[head:size]
            rest = rest[size + 2:]
        buf = rest
    return buf

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
seq, buf, beat, s = 0, b"", 0.0, connect()
try:
    print("joined", flush=True)
    while True:
        if time.monotonic() >= beat:  # once a second; after 5 s of silence it is out
            announce(s, "up")
            beat = time.monotonic() + 1
        if s.pending() or select.select([s], [], [], max(0, beat - time.monotonic()))[0]:
            messages = read(s, buf)
            while True:
                try:
                    view = json.loads(next(messages))
                    print(" ".join(m["node"] for m in view["members"]), flush=True)
                except StopIteration as end:
                    buf = end.value
                    break
finally:
    announce(s, "leave")
    s.sendall(b"PING\r\n")  # its answer says that the leave has arrived
    while b"PONG" not in s.recv(65536):
        pass
