"""wire.py - one end of a connection on an event loop: octets as they come, TLS when asked for, FIN or RST at the end.

Nothing is read unless somebody asks, so that a peer that does not read is one that does not ask.
"""

import socket
import ssl
import struct

from waiting import is_readable

CHUNK = 262144


class Wire:
    def __init__(self, loop, connection):
        self.loop, self.socket = loop, connection
        connection.setblocking(False)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tls = None  # the session's `ssl.SSLObject` after the handshake

    @property
    def version(self):
        """`TLSv1.3` and the like, None in the clear."""
        return self.tls.version() if self.tls else None

    async def receive(self):
        """Some octets.

        Raises EOFError when there will be none.
        """
        while True:
            try:
                data = await self.loop.sock_recv(self.socket, CHUNK)
            except OSError:
                data = b""
            if not data:
                raise EOFError
            data = self._decrypted(data)
            if data:
                return data

    def receive_now(self):
        """What is there already, perhaps nothing; for any thread.

        Raises EOFError when there will be nothing more.
        """
        if not is_readable(self.socket, 0):
            return b""
        try:
            data = self.socket.recv(CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            raise EOFError
        return self._decrypted(data)

    async def send(self, data):
        """Raises EOFError when the other side has gone."""
        try:
            if self.tls:
                self.tls.write(data)
                data = self.outgoing.read()
            await self.loop.sock_sendall(self.socket, data)
        except OSError:
            raise EOFError from None

    async def start_tls(self, context):
        """The server's side of a handshake.

        Raises EOFError when it fails; the alert has been sent.
        """
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._flush()
                try:
                    data = await self.loop.sock_recv(self.socket, CHUNK)
                except OSError:
                    data = b""
                if not data:
                    raise EOFError from None
                self.incoming.write(data)
            except ssl.SSLError:
                await self._flush()
                raise EOFError from None
        await self._flush()
        self.tls = tls
        return self._decrypted(b"")

    async def _flush(self):
        try:
            await self.loop.sock_sendall(self.socket, self.outgoing.read())
        except OSError:
            raise EOFError from None

    def _decrypted(self, data):
        if not self.tls:
            return data
        self.incoming.write(data)
        clear = b""
        while True:
            try:
                piece = self.tls.read(CHUNK)
            except ssl.SSLWantReadError:
                return clear
            except ssl.SSLError:
                piece = b""
            if not piece:
                if clear:
                    return clear
                raise EOFError
            clear += piece

    def reset_at_close(self):
        """The end will be an RST."""
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass

    def close(self):
        try:
            self.socket.close()
        except OSError:
            pass
