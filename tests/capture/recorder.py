# SPDX-License-Identifier: Apache-2.0
"""A proxy between two unix sockets that keeps what passed, per connection and direction."""
import socket
import threading


class Recorder:
    def __init__(self, listen, connect):
        self.connect_path = connect
        self.connections = []  # of {"out": bytearray, "back": bytearray}, in order of arrival
        self.threads = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(listen)
        self.listener.listen(16)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(self.connect_path)
            record = {"out": bytearray(), "back": bytearray()}
            self.connections.append(record)
            for source, sink, kept in ((near, far, record["out"]), (far, near, record["back"])):
                thread = threading.Thread(target=self._pass, args=(source, sink, kept), daemon=True)
                thread.start()
                self.threads.append(thread)

    @staticmethod
    def _pass(source, sink, kept):
        try:
            while data := source.recv(65536):
                kept += data
                sink.sendall(data)
        except OSError:
            pass
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def finish(self):
        self.listener.close()
        for thread in list(self.threads):
            thread.join(10)
        return self.connections
