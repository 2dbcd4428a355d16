"""A cable between an agent and a broker that a test can cut, stretch and mute: a TCP relay in a thread."""

import selectors
import socket
import threading
import time


class Cable:
    """Relays connections to `port`. While `held`, nothing passes and nobody is told: a half-open connection.
    While `down`, connections are closed as soon as they come.

    `rate` is in bytes per second towards the broker, 0 for no limit. `carried` counts bytes towards the broker.
    """

    def __init__(self, port: int) -> None:
        self.held = self.down = False
        self.rate = 0.0
        self.carried = 0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._stop = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Cable":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """End every connection."""
        for pair in self._pairs:
            for end in pair:
                end.close()
        self._pairs = []

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                client, _address = self._listener.accept()
                if self.down:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                if not self._stop.is_set():
                    time.sleep(0.05)
                continue
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            self._pairs.append((client, server))
            threading.Thread(target=self._relay, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._relay, args=(server, client, False), daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, up: bool) -> None:
        try:
            with selectors.DefaultSelector() as ready:
                ready.register(source, selectors.EVENT_READ)
                while not self._stop.is_set():
                    if self.held or not ready.select(0.1):
                        time.sleep(0.01)
                        continue
                    if not (data := source.recv(4096)):
                        break
                    self._pass_on(data, target, up)
        except (OSError, ValueError):
            pass
        for end in (source, target):
            end.close()

    def _pass_on(self, data: bytes, target: socket.socket, up: bool) -> None:
        while self.held and not self._stop.is_set():
            time.sleep(0.01)
        target.sendall(data)
        self.carried += len(data) * up
        if up and self.rate:
            time.sleep(len(data) / self.rate)
