"""A provider of the test's own: remembers what it was asked and answers as told."""

import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ProviderStub:
    def __init__(self, certificate=None):
        """`certificate`: a PEM file of certificate and key; then it speaks TLS."""
        self.requests = []          # (method, path, ask id)
        self.acted = {}             # ask id: how often
        self.behave = lambda method, path, number: (200, {}, "answer")
        self.lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                ask_id = self.headers.get("X-Ask-Id")
                with stub.lock:
                    number = sum(1 for method, path, _ in stub.requests if (method, path) == (self.command, self.path)) + 1
                    stub.requests.append((self.command, self.path, ask_id))
                told = stub.behave(self.command, self.path, number)
                if self.command == "GET" and self.path.startswith("/once"):
                    told = (200, {}, "found" if stub.acted.get(ask_id) else "")
                status, headers, body = told[:3]
                with stub.lock:
                    if self.command == "POST" and (status < 300 or "acts" in told):
                        stub.acted[ask_id] = stub.acted.get(ask_id, 0) + 1
                if "cut" in told:
                    self.close_connection = True
                    self.connection.close()
                    return
                if "stall" in told:
                    time.sleep(float(headers["stall_s"]))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                content = body.encode(errors="surrogateescape")         # "\udcff" is the byte FF, which is no text
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = serve

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 1024

            def handle_error(self, *_):
                pass                # connections that were cut on purpose

        self.server = Server(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def asked(self, path, method=None):
        return [request for request in self.requests if request[1] == path and method in (None, request[0])]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
